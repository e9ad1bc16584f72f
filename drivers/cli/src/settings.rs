//! What the user has configured: `config.toml` in the program's directory.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rtmfp_std::Uri;

use crate::args::{Meet, Via};
use crate::failure::{Code, Failure};
use crate::keyring;

/// Names the server in the environment.
const VARIABLE: &str = "RTMFP_VIA";
/// The file's name.
const FILE: &str = "config.toml";
/// The most bytes of it.
const BYTES: u64 = 1 << 20;

/// How to meet: as the command line says, or the environment, or the file.
///
/// # Errors
/// If a server is none, the file cannot be read, or an option needs a server and there is none.
pub fn meet(args: &Meet) -> Result<Via, Failure> {
    let (server, fingerprint, token_file) = match &args.via {
        Some(server) => (Some(server.clone()), None, None),
        None => match environment(std::env::var_os(VARIABLE))? {
            Some(uri) => (Some(uri), None, None),
            None => configured()?,
        },
    };
    let fingerprint = args.via_fingerprint.clone().or(fingerprint);
    let via = args.through(server, fingerprint, args.token_file.clone().or(token_file));
    if via.via.is_none() {
        let needs = [
            ("--relay-only", args.relay_only),
            ("--via-fingerprint", args.via_fingerprint.is_some()),
            ("--token-file", args.token_file.is_some()),
        ];
        if let Some((option, _)) = needs.into_iter().find(|(_, given)| *given) {
            let message = format!("{option} needs a server: name it with --via, {VARIABLE}, or in {FILE}");
            return Err(Failure::new(Code::Usage, message));
        }
    }
    Ok(via)
}

/// The server that the variable names.
fn environment(value: Option<OsString>) -> Result<Option<Uri>, Failure> {
    let Some(value) = value else { return Ok(None) };
    let wrong = |why: &dyn core::fmt::Display| Failure::new(Code::Usage, format!("{VARIABLE}: {why}"));
    let text = value.to_str().ok_or_else(|| wrong(&"it is not Unicode"))?.trim();
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(|e| wrong(&e)) }
}

type Configured = (Option<Uri>, Option<String>, Option<PathBuf>);

/// What the file says, if there is one.
fn configured() -> Result<Configured, Failure> {
    // Without a home directory there is none.
    let Ok(path) = keyring::in_home(FILE) else { return Ok((None, None, None)) };
    let there = match fs::metadata(&path) {
        Ok(metadata) if metadata.len() > BYTES => return Err(Failure::local(path.display(), "it is too long")),
        Ok(_) => fs::read_to_string(&path).map_err(|e| Failure::local(path.display(), e))?,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => String::new(),
        Err(e) => return Err(Failure::local(path.display(), e)),
    };
    read(&path, &there)
}

fn read(path: &Path, text: &str) -> Result<Configured, Failure> {
    let wrong = |why: &dyn core::fmt::Display| Failure::local(path.display(), why);
    let table: toml::Table = text.parse().map_err(|e| wrong(&e))?;
    let (mut via, mut fingerprint, mut token_file) = (None, None, None);
    for (key, value) in &table {
        let text = value.as_str().ok_or_else(|| wrong(&format_args!("{key} must be a text in quotes")))?;
        match key.as_str() {
            "via" => via = Some(text.parse().map_err(|e| wrong(&format_args!("via: {e}")))?),
            "via-fingerprint" => fingerprint = Some(text.to_owned()),
            "token-file" => token_file = Some(PathBuf::from(text)),
            other => {
                let known = "via, via-fingerprint and token-file are";
                return Err(wrong(&format_args!("{other} is no setting; {known}")));
            }
        }
    }
    Ok((via, fingerprint, token_file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_names_a_server_and_nothing_that_is_not_known() {
        let path = Path::new("config.toml");
        let text = "# mine\nvia = \"rtmfp://h:1/\"\nvia-fingerprint = \"home\"\ntoken-file = \"/t\"\n";
        let (via, fingerprint, token) = read(path, text).unwrap();
        assert_eq!(via.map(|via| via.text).as_deref(), Some("rtmfp://h:1/"));
        assert_eq!((fingerprint.as_deref(), token), (Some("home"), Some(PathBuf::from("/t"))));
        assert_eq!(read(path, ""), Ok((None, None, None)));
        for wrong in ["via = 1", "via = \"http://h/\"", "vai = \"x\"", "via"] {
            assert!(read(path, wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_server_in_the_environment_is_taken_or_refused_and_never_passed_over() {
        assert_eq!(environment(None), Ok(None));
        assert_eq!(environment(Some(" ".into())), Ok(None));
        assert!(environment(Some("rtmfp://h:1/".into())).unwrap().is_some());
        assert!(environment(Some("h".into())).is_err());
        #[cfg(unix)]
        {
            let value = std::os::unix::ffi::OsStringExt::from_vec(b"rtmfp://\xff/".to_vec());
            assert!(environment(Some(value)).is_err());
        }
    }
}
