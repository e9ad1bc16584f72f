#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use super::*;

/// A directory of one test alone, removed at its end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("rtmfp-keyring-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn an_identity_is_the_same_when_it_is_read_again() {
    let directory = Directory::new("again");
    let path = directory.file("identity");
    let made = Kept::create(&path).unwrap();
    assert_eq!(Kept::open(&path).unwrap().identity.to_bytes(), made.to_bytes());
    let again = Kept::create(&path).unwrap_err().to_string();
    assert!(again.contains("rotate"), "nothing is overwritten: {again}");
    let (old, new) = Kept::rotate(&path).unwrap();
    assert_eq!(old, made.peer_id());
    assert_ne!(new.peer_id(), old);
    assert_eq!(Kept::open(&path).unwrap().identity.peer_id(), new.peer_id());
}

#[test]
fn an_identity_is_locked_while_it_is_used() {
    let directory = Directory::new("locked");
    let path = directory.file("identity");
    Kept::create(&path).unwrap();
    let used = Kept::open(&path).unwrap();
    for error in [Kept::open(&path).map(|_| ()).unwrap_err(), Kept::rotate(&path).map(|_| ()).unwrap_err()] {
        assert!(error.to_string().contains("another process is reachable"), "{error}");
    }
    drop(used);
    assert!(Kept::open(&path).is_ok());
}

/// A child that had not begun yet held the lock of its parent, and the program gave up at once.
#[test]
fn a_lock_that_ends_in_a_moment_is_waited_for() {
    let directory = Directory::new("moment");
    let path = directory.file("identity");
    Kept::create(&path).unwrap();
    let used = Kept::open(&path).unwrap();
    let other = std::thread::spawn(move || Kept::open(&path).map(drop));
    // It waits for half a second. Whichever comes first, it has the lock.
    drop(used);
    assert!(other.join().unwrap().is_ok());
}

#[cfg(unix)]
#[test]
fn an_identity_that_was_replaced_before_it_was_locked_is_read_anew() {
    let directory = Directory::new("replaced");
    let path = directory.file("identity");
    Kept::create(&path).unwrap();
    let early = super::open(&path).unwrap();
    let (_, new) = Kept::rotate(&path).unwrap();
    assert!(lock(&path, early).unwrap().is_none(), "the lock of a file that is gone keeps nobody out");
    assert_eq!(Kept::open(&path).unwrap().identity.peer_id(), new.peer_id());
}

#[test]
fn what_a_rotation_has_left_is_named() {
    let directory = Directory::new("left");
    let path = directory.file("identity");
    let old = Kept::create(&path).unwrap();
    let left = directory.file("identity.new");
    fs::write(&left, "left over").unwrap();
    let error = Kept::rotate(&path).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("identity.new") && error.contains("remove it"), "{error}");
    assert_eq!(Kept::look(&path).unwrap(), old.peer_id());
    fs::remove_file(&left).unwrap();
    assert!(Kept::rotate(&path).is_ok());
}

#[cfg(unix)]
#[test]
fn an_identity_that_cannot_be_looked_for_is_not_taken_for_none() {
    let directory = Directory::new("looked");
    assert!(Kept::open_if_there(&directory.file("identity")).unwrap().is_none());
    fs::create_dir_all(&directory.0).unwrap();
    fs::write(directory.file("in the way"), "").unwrap();
    assert!(Kept::open_if_there(&directory.file("in the way").join("identity")).is_err());
}

#[test]
fn a_pin_after_a_line_without_an_end_has_a_line_of_its_own() {
    let directory = Directory::new("cut");
    let path = directory.file("known_peers");
    let (one, two) = (Fingerprint([1; 32]), Fingerprint([2; 32]));
    fs::create_dir_all(&directory.0).unwrap();
    fs::write(&path, format!("anna {one}")).unwrap();
    let mut peers = Peers::load_from(path.clone()).unwrap();
    peers.pin("bert", two).unwrap();
    peers.pin("carl", one).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("anna {one}\nbert {two}\ncarl {one}\n"));
}

#[test]
fn pinned_peers_beyond_the_limit_are_refused_rather_than_cut() {
    let directory = Directory::new("long");
    let path = directory.file("known_peers");
    fs::create_dir_all(&directory.0).unwrap();
    let most = "\n".repeat(usize::try_from(PEERS_BYTES).unwrap());
    fs::write(&path, &most).unwrap();
    assert!(Peers::load_from(path.clone()).is_ok());
    fs::write(&path, format!("{most}#")).unwrap();
    assert!(Peers::load_from(path).unwrap_err().to_string().contains("too long"));
}

#[cfg(unix)]
#[test]
fn an_identity_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = Directory::new("modes");
    let path = directory.file("identity");
    Kept::create(&path).unwrap();
    for mode in [0o640, 0o620, 0o604, 0o602, 0o610] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let error = Kept::open(&path).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("chmod 600"), "{mode:o}: {error}");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    assert!(Kept::open(&path).is_ok());
}

#[test]
fn a_damaged_identity_is_refused() {
    let directory = Directory::new("damaged");
    let path = directory.file("identity");
    Kept::create(&path).unwrap();
    let whole = fs::read_to_string(&path).unwrap();
    for damaged in ["", &whole[..60], &whole.replace("identity-1", "identity-2"), &format!("{}x", whole.trim_end())] {
        fs::write(&path, damaged).unwrap();
        assert!(Kept::open(&path).map(|_| ()).unwrap_err().to_string().contains("no identity"), "{damaged}");
    }
}

#[test]
fn a_pinned_name_keeps_its_fingerprint() {
    let directory = Directory::new("peers");
    let path = directory.file("known_peers");
    let (one, two) = (Fingerprint([1; 32]), Fingerprint([2; 32]));
    let mut peers = Peers::load_from(path.clone()).unwrap();
    peers.pin("host.example:1936", one).unwrap();
    peers.pin("anna", two).unwrap();
    peers.pin("anna", two).unwrap();
    let error = peers.pin("Host.example:1936", two).unwrap_err().to_string();
    assert!(error.contains("remove that line"), "{error}");
    for wrong in ["", "two words", "#x", "a\nb", &"x".repeat(LONGEST_NAME + 1), &"ab".repeat(32)] {
        assert!(peers.pin(wrong, one).is_err(), "{wrong}");
    }
    let peers = Peers::load_from(path.clone()).unwrap();
    assert_eq!((peers.get("HOST.example:1936"), peers.get("anna"), peers.get("bert")), (Some(one), Some(two), None));
    assert_eq!(peers.lines.len(), 2);
    fs::write(&path, format!("# people\n\nanna\t{}\n", grouped(&one).replace('\n', " "))).unwrap();
    assert_eq!(Peers::load_from(path.clone()).unwrap().get("anna"), Some(one));
    fs::write(&path, "anna 12\n").unwrap();
    assert!(Peers::load_from(path).unwrap_err().to_string().contains("line 1"));
}

#[test]
fn a_place_is_found_in_every_form_of_its_name() {
    let directory = Directory::new("forms");
    let one = Fingerprint([1; 32]);
    for (host, port, forms) in [
        ("2001:db8::1", 1936, &["[2001:db8::1]:1936", "[2001:DB8:0:0::1]:1936", "[2001:db8::1]"][..]),
        ("::1", 70, &["[::1]:70", "[0:0::1]:70"]),
        ("fe80::1%eth0", 70, &["[fe80::1%eth0]:70", "[FE80:0::1%eth0]:70"]),
        ("10.0.0.1", 1936, &["10.0.0.1:1936", "10.0.0.1", "[::ffff:10.0.0.1]:1936"]),
        ("host.example", 1936, &["host.example:1936", "HOST.example.:1936", "Host.Example.", "host.example"]),
        ("Host.example.", 1936, &["host.example:1936", "host.example"]),
    ] {
        for (number, form) in forms.iter().enumerate() {
            let path = directory.file(&format!("{}-{number}", host.replace([':', '%'], "_")));
            let mut peers = Peers::load_from(path.clone()).unwrap();
            peers.pin(form, one).unwrap();
            let again = Peers::load_from(path).unwrap();
            for peers in [&peers, &again] {
                assert_eq!(peers.at(host, port), Some(one), "{form}");
                assert_eq!(peers.at(host, port + 1), None, "{form}");
            }
            assert!(peers.pin(&place(host, port), one).is_ok(), "{form}");
        }
    }
    for form in ["2001:db8::1", "2001:db8::1:1936", "::1:1936", "fe80::1%eth0"] {
        let path = directory.file("bare");
        assert!(Peers::load_from(path.clone()).unwrap().pin(form, one).unwrap_err().message.contains("brackets"));
        fs::write(&path, format!("{form} {one}\n")).unwrap();
        assert!(Peers::load_from(path.clone()).unwrap_err().message.contains("brackets"), "{form}");
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn fingerprints_are_read_in_every_form_that_is_shown() {
    let one = Fingerprint(core::array::from_fn(|place| u8::try_from(place * 7).unwrap()));
    let shown = grouped(&one);
    assert!(shown.starts_with("0007 0e15 1c23 2a31"), "{shown}");
    assert_eq!(shown.lines().map(str::len).collect::<Vec<_>>(), [39, 39]);
    for text in
        [one.to_string(), shown.replace('\n', " "), shown.replace([' ', '\n'], ":"), one.to_string().to_uppercase()]
    {
        assert_eq!(fingerprint(&text), Some(one), "{text}");
    }
    assert_eq!(fingerprint("0007"), None);
}
