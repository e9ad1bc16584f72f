#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::vec;

use quickcheck::quickcheck;

use super::*;

const UNIX: Rules = Rules { windows: false, case_matters: true, dot_names: false, any_links: false };
const MAC: Rules = Rules { case_matters: false, ..UNIX };
const WINDOWS: Rules = Rules { windows: true, ..MAC };

fn entry(path: &str, kind: EntryKind) -> Entry {
    Entry { path: path.to_owned(), kind, mode: None, modified: None }
}

fn dir(path: &str) -> Entry {
    entry(path, EntryKind::Directory)
}

fn file(path: &str) -> Entry {
    entry(path, EntryKind::File { size: Some(1) })
}

fn link(path: &str, target: &str) -> Entry {
    entry(path, EntryKind::Symlink { target: target.to_owned() })
}

fn judged(entries: &[Entry], rules: Rules) -> (Manifest, Names) {
    let manifest = Manifest { entries: entries.to_vec() };
    let names = Names::of(&manifest, &rules);
    (manifest, names)
}

/// The paths that entries get, or why they are refused.
fn paths(entries: &[Entry], rules: Rules) -> Vec<Result<String, Refusal>> {
    let (manifest, names) = judged(entries, rules);
    (0..entries.len()).map(|index| names.path(&manifest, index).ok_or_else(|| names.refusal(index).unwrap())).collect()
}

fn one(path: &str, rules: Rules) -> Result<String, Refusal> {
    paths(&[file(path)], rules).remove(0)
}

fn ok(path: &str) -> Result<String, Refusal> {
    Ok(path.to_owned())
}

#[test]
fn names_that_lead_elsewhere_are_refused_on_every_system() {
    for (name, why) in [
        ("", Refusal::Empty),
        (".", Refusal::Dots),
        ("..", Refusal::Dots),
        ("../x", Refusal::Dots),
        ("..\\x", Refusal::Dots),
        ("x\\..\\..\\y", Refusal::Dots),
        ("a/../../x", Refusal::Dots),
        ("/etc/passwd", Refusal::Absolute),
        ("/", Refusal::Absolute),
        ("//server/share/x", Refusal::Absolute),
        ("\\\\server\\share", Refusal::Absolute),
        ("\\x", Refusal::Absolute),
        ("C:", Refusal::Absolute),
        ("C:\\x", Refusal::Absolute),
        ("c:/x", Refusal::Absolute),
        ("a\0b", Refusal::Nul),
        (".a.rtmfp-part-00000000", Refusal::Reserved),
        (".a.RTMFP-Part-00000000", Refusal::Reserved),
        ("a/b", Refusal::NoDirectory),
        ("a//b", Refusal::NoDirectory),
    ] {
        for rules in [UNIX, MAC, WINDOWS, Rules { dot_names: true, any_links: true, ..UNIX }] {
            assert_eq!(one(name, rules), Err(why), "{name:?}");
        }
    }
    for (inner, why) in [
        ("d/..", Refusal::Dots),
        ("d/.", Refusal::Dots),
        ("d/", Refusal::Empty),
        ("d/C:", Refusal::Absolute),
        ("d//x", Refusal::NoDirectory),
    ] {
        assert_eq!(paths(&[dir("d"), file(inner)], UNIX), [ok("d"), Err(why)], "{inner}");
    }
}

#[test]
fn ordinary_names_are_taken() {
    for name in [
        "a",
        "a b.tar.gz",
        "...a".trim_start_matches('.'),
        "12:30.log",
        "наука.txt",
        "-rf",
        "~",
        "Ünïcode 👍",
        "nul",
        "a.",
    ] {
        assert_eq!(one(name, UNIX), ok(name));
        assert_eq!(check(name), Ok(()));
    }
}

#[test]
fn characters_that_cannot_be_seen_are_replaced() {
    for c in
        "\n\t\u{1b}\u{7f}\u{9b}\u{ad}\u{61c}\u{200b}\u{200d}\u{202e}\u{2028}\u{2029}\u{2066}\u{feff}\u{e0041}\\".chars()
    {
        assert_eq!(one(&format!("a{c}b.txt"), UNIX), ok("a_b.txt"), "{c:?}");
    }
    // Nor do they make a name that begins with a dot or is a partial file's.
    assert_eq!(one("\u{200b}.bashrc", UNIX), ok("_.bashrc"));
    let (_, names) = judged(&[file("a\nb")], UNIX);
    assert_eq!(names.renamed().collect::<Vec<_>>(), [(0, "a_b")], "and that is told");
}

#[test]
fn a_leading_dot_is_refused_at_the_top_only() {
    let tree = [dir(".git"), file(".git/hooks"), file(".bashrc"), dir("a"), file("a/.keep")];
    let beneath = Err(Refusal::DirectoryRefused);
    assert_eq!(
        paths(&tree, UNIX),
        [Err(Refusal::LeadingDot), beneath, Err(Refusal::LeadingDot), ok("a"), ok("a/.keep")]
    );
    let dots = Rules { dot_names: true, ..UNIX };
    assert!(paths(&tree, dots).iter().all(Result::is_ok));
    assert_eq!(one("..", dots), Err(Refusal::Dots));
}

#[test]
fn on_windows_devices_streams_and_lost_ends_get_other_names() {
    for (name, taken) in [
        ("nul", "nul_"),
        ("NUL.txt", "NUL_.txt"),
        ("aux.c", "aux_.c"),
        ("com1", "com1_"),
        ("LPT9.x", "LPT9_.x"),
        ("CON .txt", "CON _.txt"),
        ("COM¹", "COM¹_"),
        ("con", "con_"),
        ("a:b", "a_b"),
        ("C:x", "C_x"),
        ("what?", "what_"),
        ("a. .", "a___"),
        ("é ", "é_"),
        ("null", "null"),
        ("com", "com"),
        ("com10", "com10"),
        ("console.txt", "console.txt"),
    ] {
        assert_eq!(one(name, WINDOWS), ok(taken), "{name:?}");
        assert_eq!(one(name, UNIX), ok(name));
    }
}

#[test]
fn collisions_by_case_get_other_names_where_case_does_not_matter() {
    let tree =
        [dir("Src"), file("Src/a.c"), file("Src/A.C"), dir("src"), file("src/b"), file("straße"), file("STRASSE")];
    let all: Vec<_> = tree.iter().map(|entry| ok(&entry.path)).collect();
    assert_eq!(paths(&tree, UNIX), all);
    assert_eq!(
        paths(&tree, MAC),
        [ok("Src"), ok("Src/a.c"), ok("Src/A (2).C"), ok("src (2)"), ok("src (2)/b"), ok("straße"), ok("STRASSE (2)")]
    );
}

#[test]
fn collisions_by_normalisation_get_other_names_everywhere() {
    let tree = [file("caf\u{e9}"), file("cafe\u{301}"), file("\u{212b}"), file("\u{c5}")];
    for rules in [UNIX, MAC, WINDOWS] {
        assert_eq!(
            paths(&tree, rules),
            [ok("caf\u{e9}"), ok("cafe\u{301} (2)"), ok("\u{212b}"), ok("\u{c5} (2)")],
            "{rules:?}"
        );
    }
}

#[test]
fn what_was_replaced_collides_with_nothing_and_no_name_is_too_long() {
    let tree = [file("a_b"), file("a\nb"), file("a\tb"), file("a_b (2)")];
    assert_eq!(paths(&tree, UNIX), [ok("a_b"), ok("a_b (2)"), ok("a_b (3)"), ok("a_b (2) (2)")]);
    let long = "é".repeat(127);
    let (manifest, names) = judged(&[file(&long.to_uppercase()), file(&long)], MAC);
    let renamed = names.name(&manifest, 1).unwrap();
    assert!(renamed.ends_with(" (2)") && renamed.len() <= MAX_NAME, "{renamed}");
    // A directory's name has no extension, and a name that is only one is no extension either.
    let tree = [dir("v1.0"), dir("V1.0"), file("x"), file("X")];
    assert_eq!(paths(&tree, MAC), [ok("v1.0"), ok("V1.0 (2)"), ok("x"), ok("X (2)")]);
}

#[test]
fn names_are_tried_in_limited_number() {
    // 2^6 spellings of one name.
    let spelling = |bits: usize| -> String { (0..6).map(|bit| if bits >> bit & 1 == 1 { 'A' } else { 'a' }).collect() };
    let tree: Vec<_> = (0..64).map(|bits| file(&spelling(bits))).collect();
    let taken = paths(&tree, MAC);
    assert_eq!(taken.iter().filter(|path| path.is_ok()).count(), MAX_ATTEMPTS - 1);
    assert_eq!(taken.last(), Some(&Err(Refusal::Collision)));
}

#[test]
fn an_entry_of_the_same_path_is_refused_whatever_it_is() {
    let tree = [dir("a"), link("a", "b"), file("a"), dir("a"), file("b"), file("b")];
    let again = Err(Refusal::Duplicate);
    assert_eq!(paths(&tree, UNIX), [ok("a"), again.clone(), again.clone(), again.clone(), ok("b"), again.clone()]);
    // Also where the first has got another name.
    let tree = [file("x"), file("X"), file("X")];
    assert_eq!(paths(&tree, MAC), [ok("x"), ok("X (2)"), again]);
}

#[test]
fn nothing_is_taken_beneath_a_file_or_link() {
    let tree = [file("f"), file("f/x"), dir("d"), link("d/l", "../d"), file("d/l/x"), dir("d/l/y"), file("d/l/y/z")];
    assert_eq!(
        paths(&tree, UNIX),
        [
            ok("f"),
            Err(Refusal::InFile),
            ok("d"),
            ok("d/l"),
            Err(Refusal::InLink),
            Err(Refusal::InLink),
            Err(Refusal::DirectoryRefused)
        ]
    );
    // Nor if the link is refused, or a directory of its name is offered after it.
    let tree = [link("l", "/etc"), file("l/x"), dir("l"), file("l/y")];
    assert_eq!(paths(&tree, UNIX), [Err(Refusal::LinkAbsolute), Err(Refusal::InLink), ok("l"), Err(Refusal::InLink)]);
    // Nor by another spelling of the link's name: there is no directory of that path.
    let tree = [dir("t"), link("l", "t"), file("L/x"), dir("L"), file("L/y")];
    assert_eq!(paths(&tree, MAC), [ok("t"), ok("l"), Err(Refusal::NoDirectory), ok("L (2)"), ok("L (2)/y")]);
}

#[test]
fn a_directory_comes_before_what_is_in_it() {
    let tree = [file("d/x"), dir("d"), file("d/y")];
    assert_eq!(paths(&tree, UNIX), [Err(Refusal::NoDirectory), ok("d"), ok("d/y")]);
}

#[test]
fn links_stay_within_what_is_offered() {
    let tree = |target: &str| vec![dir("a"), dir("a/b"), file("a/b/f"), file("top"), link("a/b/l", target)];
    for target in ["f", "./f", "../b/f", "../b", "../../a/b", "../../top", "x/y", "..", ".", "a.b"] {
        assert_eq!(paths(&tree(target), UNIX)[4], ok("a/b/l"), "{target}");
    }
    for (target, why) in [
        ("/etc/passwd", Refusal::LinkAbsolute),
        ("\\\\server\\share", Refusal::LinkAbsolute),
        ("C:\\Windows", Refusal::LinkAbsolute),
        ("C:Windows", Refusal::LinkAbsolute),
        ("../../..", Refusal::LinkLeaves),
        ("../../../x", Refusal::LinkLeaves),
        ("..\\..\\..\\x", Refusal::LinkLeaves),
        ("../..", Refusal::LinkLeaves),
        ("../../.", Refusal::LinkLeaves),
        ("../../.bashrc", Refusal::LinkLeaves),
        ("../../other", Refusal::LinkLeaves),
        // `f` may be a link by then, to somewhere above which nothing was offered.
        ("f/..", Refusal::LinkLeaves),
        ("x/../../../../y", Refusal::LinkLeaves),
        ("", Refusal::LinkTarget),
        ("a\0b", Refusal::LinkTarget),
        ("a\u{202e}b", Refusal::LinkTarget),
    ] {
        assert_eq!(paths(&tree(target), UNIX)[4], Err(why), "{target:?}");
    }
    let any = Rules { any_links: true, ..UNIX };
    assert_eq!(paths(&tree("/etc/passwd"), any)[4], ok("a/b/l"));
    assert_eq!(paths(&tree(""), any)[4], Err(Refusal::LinkTarget));
    assert_eq!(
        paths(&[link("l", "."), link("m", ".bashrc"), link("n", "l")], UNIX)[..2],
        [Err(Refusal::LinkLeaves), Err(Refusal::LinkLeaves)]
    );
}

#[test]
fn depth_and_length_are_limited() {
    let mut tree = vec![dir("d")];
    for _ in 0..MAX_DEPTH {
        tree.push(dir(&format!("{}/d", tree.last().unwrap().path)));
    }
    let taken = paths(&tree, UNIX);
    assert!(taken.iter().all(Result::is_ok));
    tree.push(file(&format!("{}/f", tree.last().unwrap().path)));
    assert_eq!(paths(&tree, UNIX).last(), Some(&Err(Refusal::TooDeep)));

    assert_eq!(one(&"x".repeat(MAX_NAME), UNIX), Ok("x".repeat(MAX_NAME)));
    assert_eq!(one(&"x".repeat(MAX_NAME + 1), UNIX), Err(Refusal::TooLong));
    assert_eq!(one(&"x/".repeat(MAX_PATH), UNIX), Err(Refusal::TooLong));
}

#[test]
fn a_text_needs_no_name() {
    let text = |path: &str| entry(path, EntryKind::Text { size: 1 });
    let (_, names) =
        judged(&[text(""), text("../x"), dir("d"), text("d"), file("d/x"), link("l", "t"), text("t")], UNIX);
    assert_eq!(names.refused().collect::<Vec<_>>(), [(5, Refusal::LinkLeaves)]);
}

#[test]
fn many_entries_are_judged_in_time_that_grows_no_faster() {
    // A flat directory of 4,000 names that collide in pairs, and 4,000 more that all collide when they are numbered.
    let stem = "x".repeat(MAX_NAME - 8);
    let mut tree = vec![dir("d")];
    tree.extend((0..4_000).map(|n| file(&format!("d/{}{}", if n % 2 == 0 { "N" } else { "n" }, n / 2))));
    tree.extend((0..4_000).map(|n| file(&format!("d/{stem}{}{:05}", if n % 2 == 0 { "N" } else { "n" }, n / 2))));
    let (_, names) = judged(&tree, MAC);
    assert_eq!(names.renamed().count() + names.refused().count(), 4_000);
}

/// Texts of which many paths that matter are made.
fn path_of(choices: &[u8]) -> String {
    const PARTS: [&str; 16] =
        ["a", "A", "b", "/", "/", "..", ".", "\\", ":", "c", "\u{301}", "é", "\n", " ", "nul", ".rtmfp-part-"];
    choices.iter().map(|choice| PARTS[usize::from(*choice) % PARTS.len()]).collect()
}

quickcheck! {
    fn whatever_is_offered_stays_beneath_the_directory_under_names_of_its_own(
        offered: Vec<(Vec<u8>, u8, Vec<u8>)>,
        windows: bool,
        case_matters: bool
    ) -> bool {
        let entries: Vec<_> = offered
            .iter()
            .map(|(path, kind, target)| match kind % 4 {
                0 => file(&path_of(path)),
                1 => link(&path_of(path), &path_of(target)),
                _ => dir(&path_of(path)),
            })
            .collect();
        let rules = Rules { windows, case_matters, dot_names: true, any_links: false };
        let (manifest, names) = judged(&entries, rules);
        let mut seen = BTreeSet::new();
        (0..entries.len()).all(|index| {
            let Some(path) = names.path(&manifest, index) else { return names.refusal(index).is_some() };
            let plain = |name: &str| {
                !name.is_empty()
                    && name != "."
                    && name != ".."
                    && name.len() <= MAX_NAME
                    && !name.contains(['\\', '\0', '\n'])
                    && !name.contains(PART_MARK)
                    && !(windows && name.ends_with(['.', ' ', ':']))
            };
            let parent = names.parent(index);
            path.split('/').all(plain)
                && parent.is_none_or(|parent| parent < index && matches!(entries[parent].kind, EntryKind::Directory))
                && seen.insert((parent, single::folded(names.name(&manifest, index).unwrap(), case_matters)))
        })
    }

    fn any_text_at_all_is_judged(path: String, target: String, windows: bool) -> bool {
        let rules = Rules { windows, ..Rules::default() };
        let (manifest, names) = judged(&[dir("d"), file(&path), link(&format!("d/{path}"), &target)], rules);
        (0..3).all(|index| names.path(&manifest, index).is_some() != names.refusal(index).is_some())
    }
}

#[test]
fn a_link_to_what_is_refused_or_renamed_is_refused_as_the_receiver_may_have_its_own() {
    let refused = [dir(".ssh"), file(".ssh/k"), link("keys", ".ssh/k"), dir("d"), link("d/up", "../.ssh/k")];
    assert_eq!(
        paths(&refused, UNIX),
        [
            Err(Refusal::LeadingDot),
            Err(Refusal::DirectoryRefused),
            Err(Refusal::LinkLeaves),
            ok("d"),
            Err(Refusal::LinkLeaves)
        ]
    );
    let allowed = Rules { dot_names: true, ..UNIX };
    assert_eq!(paths(&refused[..3], allowed), [ok(".ssh"), ok(".ssh/k"), ok("keys")]);
    let chain = [link("c", "b"), link("a", ".ssh"), link("b", "a/x"), link("self", "self")];
    let leaves = Err(Refusal::LinkLeaves);
    assert_eq!(paths(&chain, UNIX), [leaves.clone(), leaves.clone(), leaves, ok("self")]);
    let renamed = [file("nul"), link("l", "nul"), link("m", "l")];
    assert!(
        matches!(&paths(&renamed, WINDOWS)[..], [Ok(name), Err(Refusal::LinkLeaves), Err(Refusal::LinkLeaves)] if name != "nul")
    );
}
