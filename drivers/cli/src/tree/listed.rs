//! Lists of paths.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use super::walk::Found;
use super::{LIST_MAX, PathList, TreeError, unreadable};

/// Adds all paths of a list.
pub(super) fn read(list: &PathList, found: &mut Found) -> Result<(), TreeError> {
    let mut bytes = Vec::new();
    let from: Box<dyn Read> = if list.path == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(&list.path).map_err(|e| unreadable(&list.path, e))?)
    };
    from.take(LIST_MAX.saturating_add(1)).read_to_end(&mut bytes).map_err(|e| unreadable(&list.path, e))?;
    if bytes.len() as u64 > LIST_MAX {
        return Err(unreadable(&list.path, "the list has more than 256 MiB"));
    }
    for line in paths(&bytes, list.nul) {
        match std::str::from_utf8(line) {
            Ok(line) => add(line, found)?,
            Err(_) => found.skip(Path::new(String::from_utf8_lossy(line).as_ref()), "its name is not Unicode"),
        }
    }
    Ok(())
}

/// The paths in a list, empty ones left out.
fn paths(list: &[u8], nul: bool) -> impl Iterator<Item = &[u8]> {
    let lines = list.split(move |byte| *byte == if nul { 0 } else { b'\n' });
    lines
        .map(move |line| if nul { line } else { line.strip_suffix(b"\r").unwrap_or(line) })
        .filter(|line| !line.is_empty())
}

fn add(line: &str, found: &mut Found) -> Result<(), TreeError> {
    let path = PathBuf::from(line);
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            // As `tar` does: the root is not part of the name.
            Component::Prefix(_) | Component::RootDir | Component::CurDir => {}
            Component::ParentDir => {
                found.skip(&path, "paths in a list may not have `..` in them");
                return Ok(());
            }
            // The line is Unicode, so each name is.
            Component::Normal(name) => names.push(name.to_string_lossy()),
        }
    }
    if names.is_empty() {
        return Ok(());
    }
    // Without `.` and doubled separators, so that parents can be counted.
    let plain: PathBuf = path.components().filter(|component| *component != Component::CurDir).collect();
    found.one(&plain, &names.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_with_what_was_said() {
        let lines: Vec<&[u8]> = paths(b"a\nb c\r\n\n d\n", false).collect();
        assert_eq!(lines, [b"a".as_slice(), b"b c", b" d"]);
        let lines: Vec<&[u8]> = paths(b"a\nb\0c\r\0\0d", true).collect();
        assert_eq!(lines, [b"a\nb".as_slice(), b"c\r", b"d"]);
    }
}
