use core::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;

use super::*;

/// A file of this test alone, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(text: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("rtmfp-tokens-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let scratch = Self(std::env::temp_dir().join(name));
        scratch.write(text);
        scratch
    }

    /// Replaces it, as editors do.
    fn write(&self, text: &str) {
        let other = self.0.with_extension("new");
        fs::write(&other, text).unwrap();
        fs::rename(&other, &self.0).unwrap();
    }

    fn open(&self) -> Result<(Tokens, mpsc::Receiver<TokensError>), TokensError> {
        let (sender, complaints) = mpsc::channel();
        let tokens = Tokens::open(&self.0, move |error| sender.send(error).unwrap())?;
        Ok((tokens, complaints))
    }

    fn refused(&self) -> String {
        self.open().map(|_| ()).unwrap_err().to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn a_token_of_the_file_is_accepted_and_no_other() {
    let (ada, ben) = (Tokens::line("ada", b"one"), Tokens::line("ben", b"two"));
    // As `sha256sum` says.
    assert_eq!(ada, "ada 7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed");
    let file = Scratch::new(&format!("# who\n\n{ada}  since May\n{}\n", ben.to_uppercase()));
    let (tokens, _complaints) = file.open().unwrap();
    assert!(tokens.accepts(b"one") && tokens.accepts(b"two"));
    for wrong in [&b""[..], b"on", b"one\n", b"three", ada.as_bytes()] {
        assert!(!tokens.accepts(wrong), "{wrong:?}");
    }
    let empty = Scratch::new("");
    assert!(!empty.open().unwrap().0.accepts(b""), "nobody has one");
}

#[test]
fn a_file_that_has_changed_is_read_again_and_one_that_is_wrong_changes_nothing() {
    let file = Scratch::new(&Tokens::line("ada", b"one"));
    let (tokens, complaints) = file.open().unwrap();
    let other = tokens.clone();
    file.write(&Tokens::line("ben", b"two"));
    assert!(tokens.accepts(b"two") && !tokens.accepts(b"one"));
    assert!(other.accepts(b"two"), "copies have one file");
    file.write("ben two");
    assert!(tokens.accepts(b"two") && tokens.accepts(b"two"));
    assert!(matches!(complaints.try_recv(), Ok(TokensError::Line(1))));
    fs::remove_file(&file.0).unwrap();
    assert!(tokens.accepts(b"two") && tokens.accepts(b"two"));
    assert!(matches!(complaints.try_recv(), Ok(TokensError::Unreadable(_))));
    assert!(complaints.try_recv().is_err(), "each is told once");
    file.write(&Tokens::line("cyd", b"three"));
    assert!(tokens.accepts(b"three") && !tokens.accepts(b"two"));
}

#[test]
fn a_file_that_says_something_else_is_refused_and_no_token_in_it_is_told() {
    let line = Tokens::line("ada", b"one");
    for (text, number) in [
        ("ada".to_owned(), 1),
        ("secret-token".to_owned(), 1),
        (format!("{line}\nada secret-token"), 2),
        (format!("{line}0"), 1),
        (line.replace("7692", "769g"), 1),
    ] {
        let told = Scratch::new(&text).refused();
        assert!(told.contains(&format!("line {number} ")) && !told.contains("secret"), "{text}: {told}");
    }
    assert!(Tokens::open(Path::new("/nonexistent/tokens"), |_| {}).is_err());
}

#[test]
fn a_file_has_a_limit() {
    let most: String = (0..MAX_TOKENS).map(|number| Tokens::line("ada", &number.to_be_bytes()) + "\n").collect();
    let file = Scratch::new(&most);
    let (tokens, _complaints) = file.open().unwrap();
    assert!(tokens.accepts(&0_usize.to_be_bytes()) && tokens.accepts(&(MAX_TOKENS - 1).to_be_bytes()));
    assert!(Scratch::new(&(most + &Tokens::line("ada", b"one"))).refused().contains("at most 4096"));
    let long = format!("#{}", "x".repeat(MAX_FILE as usize));
    assert!(Scratch::new(&long).refused().contains("1048576 bytes"));
}

#[cfg(unix)]
#[test]
fn a_file_to_which_others_may_write_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    for mode in [0o646, 0o664] {
        let file = Scratch::new(&Tokens::line("ada", b"one"));
        fs::set_permissions(&file.0, fs::Permissions::from_mode(mode)).unwrap();
        assert!(file.refused().contains("chmod go-w"), "{mode:o}");
    }
}

#[cfg(unix)]
#[test]
fn a_pipe_is_refused_and_nobody_is_waited_for() {
    let file = Scratch::new("");
    fs::remove_file(&file.0).unwrap();
    assert!(std::process::Command::new("mkfifo").args(["-m", "600"]).arg(&file.0).status().unwrap().success());
    assert!(file.refused().contains("no file"));
}
