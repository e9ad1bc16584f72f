//! Names of a stranger, an entry a line: its kind, its path, and after a tab the target of a link. No name that is taken
//! leads out of the directory, and no two lead to the same place.

use std::collections::BTreeSet;

use rtmfp_files::manifest::{Entry, EntryKind, Manifest};
use rtmfp_files::name::{MAX_NAME, Names, Rules};

/// The most entries of one run, to keep runs short.
const MOST_ENTRIES: usize = 300;

pub(super) fn run(data: &[u8]) {
    let Some((flags, lines)) = data.split_first() else { return };
    let is = |bit: u8| flags & bit != 0;
    let rules = Rules { windows: is(1), case_matters: is(2), dot_names: is(4), any_links: is(8) };
    let text = String::from_utf8_lossy(lines);
    let manifest = Manifest { entries: text.split('\n').take(MOST_ENTRIES).filter_map(entry).collect() };
    let names = Names::of(&manifest, &rules);
    assert_eq!(names, Names::of(&manifest, &rules), "the judgement is a pure function");
    let mut taken = BTreeSet::new();
    for (index, entry) in manifest.entries.iter().enumerate() {
        if matches!(entry.kind, EntryKind::Text { .. }) {
            continue;
        }
        let Some(path) = names.path(&manifest, index) else { continue };
        for name in path.split('/') {
            assert!(!matches!(name, "" | "." | ".."), "{path:?} leads elsewhere");
            assert!(name.len() <= MAX_NAME && !name.contains('\0'), "{path:?} is no path");
            assert!(!rules.windows || !name.contains([':', '\\']), "{path:?} is another path on Windows");
        }
        let same = if rules.case_matters { path.clone() } else { path.to_ascii_lowercase() };
        assert!(taken.insert(same), "{path:?} is taken twice");
    }
}

fn entry(line: &str) -> Option<Entry> {
    let mut rest = line.chars();
    let kind = rest.next()?;
    let (path, target) = rest.as_str().split_once('\t').unwrap_or((rest.as_str(), ""));
    let kind = match kind {
        'd' => EntryKind::Directory,
        'l' => EntryKind::Symlink { target: target.to_owned() },
        't' => EntryKind::Text { size: 1 },
        _ => EntryKind::File { size: Some(1) },
    };
    Some(Entry { path: path.to_owned(), kind, mode: None, modified: None })
}
