//! What must be true of the lists.

use std::collections::BTreeMap;

use super::list::{Counts, Statement};

/// A line for each difference between the keywords listed and the keywords counted.
pub(crate) fn reach_the_counts(list: &[Statement], counts: &Counts) -> Vec<String> {
    let mut found = Vec::new();
    let mut listed = Counts::new();
    let mut ordinals: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let mut labels: Vec<(&str, &str)> = Vec::new();
    for statement in list {
        for (ordinal, keyword) in &statement.keywords {
            *listed.entry((statement.section.clone(), keyword.clone())).or_default() += 1;
            ordinals.entry(&statement.section).or_default().push(*ordinal);
        }
        labels.push((&statement.section, &statement.label));
    }
    for key in counts.keys().chain(listed.keys().filter(|key| !counts.contains_key(*key))) {
        let (want, have) = (counts.get(key).copied().unwrap_or(0), listed.get(key).copied().unwrap_or(0));
        if want != have {
            found.push(format!("§{}: {} {} times, listed {have}", key.0, key.1, want));
        }
    }
    for (section, have) in ordinals {
        if have.iter().copied().ne(1..=have.len()) {
            found.push(format!("§{section}: ordinals {have:?} do not count up from 1"));
        }
    }
    labels.sort_unstable();
    for pair in labels.windows(2).filter(|pair| pair[0] == pair[1]) {
        found.push(format!("§{} #{} is there twice", pair[0].0, pair[0].1));
    }
    found
}

/// A line for each named piece of code or test that does not exist. `load` gives the text of a file of the tree.
pub(crate) fn named_places(list: &[Statement], load: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
    let mut files: BTreeMap<String, Option<String>> = BTreeMap::new();
    let mut found = Vec::new();
    for statement in list {
        let code = statement.code.iter().map(|place| (place, false));
        for (place, is_test) in code.chain(statement.tests.iter().map(|place| (place, true))) {
            let Some((path, item)) = place.split_once("::") else {
                found.push(format!("{statement}\n  {place} is not path::item"));
                continue;
            };
            let text = files.entry(path.to_owned()).or_insert_with(|| load(path));
            let exists = match text {
                None => false,
                Some(text) if is_test => has_test(text, item),
                Some(text) => item.split("::").all(|part| has_item(text, part)),
            };
            if !exists {
                found.push(format!("{statement}\n  {place} does not exist"));
            }
        }
    }
    found
}

/// Whether `name` is defined in `text`: behind a keyword of definition, or as a field or variant at the start of a line.
fn has_item(text: &str, name: &str) -> bool {
    text.lines().map(str::trim_start).filter(|line| !line.starts_with("//")).any(|line| {
        let words = line.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty());
        let definition = ["fn", "struct", "enum", "trait", "const", "static", "type", "mod", "impl", "for"];
        let words: Vec<&str> = words.collect();
        let defined = words.windows(2).any(|pair| definition.contains(&pair[0]) && pair[1] == name);
        let first = words.iter().position(|word| !matches!(*word, "pub" | "crate" | "super"));
        let follows: &[char] = if name.starts_with(char::is_uppercase) { &[',', ' ', '(', ':'] } else { &[':'] };
        let member = first.is_some_and(|at| words[at] == name)
            && line.split_once(name).is_some_and(|(_, rest)| rest.starts_with(follows));
        defined || member
    })
}

/// Whether `text` has a test function of that name.
fn has_test(text: &str, name: &str) -> bool {
    let mut marked = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[test]") {
            marked = true;
        } else if marked && line.contains("fn ") {
            marked = false;
            if line.contains(&format!("fn {name}(")) {
                return true;
            }
        }
    }
    // Properties inside quickcheck's macro have no attribute of their own.
    text.split_once("quickcheck! {").is_some_and(|(_, inside)| inside.contains(&format!("fn {name}(")))
}

/// The statements of which nothing is told yet.
pub(crate) fn unfinished(list: &[Statement]) -> impl Iterator<Item = &Statement> {
    list.iter().filter(|statement| statement.is_pending())
}

#[cfg(test)]
mod tests {
    use super::super::list::{parse, parse_counts};
    use super::{has_item, has_test, named_places, reach_the_counts};

    #[test]
    fn a_missing_or_doubled_statement_is_found() {
        let counts = parse_counts("1 MUST=2\n2 MAY=1").expect("counts");
        let check = |text: &str| reach_the_counts(&parse(text).expect("a list"), &counts).len();
        assert_eq!(check("= 1\n1 MUST a\n2 MUST b\nn1 NUMBER c\n= 2\n1 MAY d"), 0);
        assert_eq!(check("= 1\n1 MUST a\n2 MUST b"), 1, "a section is missing");
        assert_eq!(check("= 1\n1 MUST a\n= 2\n1 MAY d"), 1, "an ordinal is missing");
        assert_eq!(check("= 1\n1 MUST a\n3 MUST b\n= 2\n1 MAY d"), 1, "ordinals jump");
        assert_eq!(check("= 1\n1 MUST a\n2 MUST b\n= 2\n1 MAY d\n= 3\n1 MAY e"), 1, "a keyword too many");
        assert!(check("= 1\n1 MUST a\n1 MUST b\n= 2\n1 MAY d") > 0, "an ordinal twice");
        assert_eq!(check("= 1\n1 MUST a\n2 MUST b\nn1 NUMBER c\nn1 NUMBER c\n= 2\n1 MAY d"), 1, "a number twice");
    }

    #[test]
    fn a_place_that_is_gone_is_found() {
        let text = "pub(crate) fn f() {}\n#[test]\nfn t() {}\n// fn gone() {}\n";
        let load = |path: &str| (path == "a.rs").then(|| text.to_owned());
        let check =
            |detail: &str| named_places(&parse(&format!("= 1\n1 MUST a\n  {detail}")).expect("a list"), &load).len();
        assert_eq!(check("code a.rs::f"), 0);
        assert_eq!(check("test a.rs::t"), 0);
        for gone in ["code a.rs::gone", "code b.rs::f", "test a.rs::f", "test a.rs::gone", "code a.rs"] {
            assert_eq!(check(gone), 1, "not found: {gone}");
        }
    }

    #[test]
    fn items_are_definitions() {
        let text = "pub const LIMIT: u8 = 1;\nimpl Foo {\n    pub(crate) fn bar(&self) {}\n}\npub enum E {\n    Variant,\n}\nstruct S {\n    pub(crate) field: u8,\n}\nlet x = used(1);";
        for name in ["LIMIT", "Foo", "bar", "E", "Variant", "S", "field"] {
            assert!(has_item(text, name), "{name}");
        }
        for name in ["used", "u8", "ba"] {
            assert!(!has_item(text, name), "{name}");
        }
        assert!(has_test("#[test]\n#[should_panic]\nfn a() {}", "a"));
        assert!(has_test("quickcheck! {\n    fn p(x: u8) -> bool { true }\n}", "p"));
        assert!(!has_test("#[test]\nfn a() {}\nfn b() {}", "b"));
    }
}
