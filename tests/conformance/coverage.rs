//! The README's table of coverage is made from the lists.

use std::fs;

use super::list::Statement;
use super::{PARTS, root, statements};

const BEGIN: &str = "<!-- coverage: made by tests/conformance -->\n";
const END: &str = "<!-- /coverage -->\n";

/// The rows: RFC, what its sections are about, and how the numbers of its sections start.
const ROWS: [(&str, &str, &[&str]); 12] = [
    ("rfc7016", "§2 syntax", &["2"]),
    ("rfc7016", "§3.1 to §3.3 overview, identity, multiplex", &["3.1", "3.2", "3.3"]),
    ("rfc7016", "§3.4 packet fragmentation", &["3.4"]),
    ("rfc7016", "§3.5.1 startup", &["3.5.1"]),
    ("rfc7016", "§3.5.2 congestion control, appendix A", &["3.5.2", "A"]),
    ("rfc7016", "§3.5.3, §3.5.4 address mobility, ping", &["3.5.3", "3.5.4"]),
    ("rfc7016", "§3.5.5 close", &["3.5.5"]),
    ("rfc7016", "§3.6.1, §3.6.2 sending flows", &["3.6.1", "3.6.2"]),
    ("rfc7016", "§3.6.3 receiving flows", &["3.6.3"]),
    ("rfc7016", "§5 security considerations", &["5"]),
    ("rfc7425", "§4 cryptography profile", &["4"]),
    ("modern", "", &PARTS),
];

fn belongs(section: &str, starts: &[&str]) -> bool {
    starts.iter().any(|start| section.strip_prefix(start).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}

/// One row for each of `rows`; an error names a statement that belongs to no row, or to two.
fn table(list: &[(&str, Vec<Statement>)], rows: &[(&str, &str, &[&str])]) -> Result<String, String> {
    for (rfc, statement) in list.iter().flat_map(|(rfc, list)| list.iter().map(move |statement| (rfc, statement))) {
        let places = rows.iter().filter(|(of, _, starts)| of == rfc && belongs(&statement.section, starts)).count();
        if places != 1 {
            return Err(format!("{rfc} {statement}: in {places} rows"));
        }
    }
    let mut text =
        String::from("| Source | Statements | Code and test | Not for code | Pending |\n|---|--:|--:|--:|--:|\n");
    for (rfc, title, starts) in rows {
        let of: Vec<&Statement> = list
            .iter()
            .filter(|(name, _)| name == rfc)
            .flat_map(|(_, list)| list.iter().filter(|statement| belongs(&statement.section, starts)))
            .collect();
        let shown = of.iter().filter(|statement| !statement.tests.is_empty()).count();
        let pending = of.iter().filter(|statement| statement.is_pending()).count();
        let name = match rfc.strip_prefix("rfc") {
            Some(number) => format!("RFC {number} {title}"),
            None => "the modern profile".to_owned(),
        };
        let other = of.len() - shown - pending;
        text.push_str(&format!("| {name} | {} | {shown} | {other} | {pending} |\n", of.len()));
    }
    Ok(text)
}

#[test]
fn the_readme_shows_the_coverage() {
    let list = ["rfc7016", "rfc7425", "modern"].map(|of| (of, statements(of)));
    let made = table(&list, &ROWS).unwrap_or_else(|e| panic!("{e}"));
    let readme = fs::read_to_string(root().join("README.md")).expect("a README");
    let (before, rest) = readme.split_once(BEGIN).expect("the README's mark where the table begins");
    let (shown, after) = rest.split_once(END).expect("the README's mark where the table ends");
    if std::env::var_os("UPDATE_README").is_some() {
        fs::write(root().join("README.md"), format!("{before}{BEGIN}{made}{END}{after}")).expect("a writable README");
        return;
    }
    assert_eq!(shown, made, "run: UPDATE_README=1 cargo test -p rtmfp-tests --test house conformance");
}

#[test]
fn every_statement_is_in_one_row() {
    let list = |text: &str| vec![("rfc7016", super::list::parse(text).expect("a list"))];
    let rows: [(&str, &str, &[&str]); 2] = [("rfc7016", "two", &["2"]), ("rfc7016", "three", &["3.1"])];
    let text = "= 2.1\n1 MUST a\n  code a.rs::f\n  test a.rs::g\n= 3.1\n1 MUST b\nn1 NUMBER c\n  reason d\n";
    let made = table(&list(text), &rows).expect("a table");
    assert!(made.contains("| RFC 7016 two | 1 | 1 | 0 | 0 |") && made.contains("| RFC 7016 three | 2 | 0 | 1 | 1 |"));
    assert!(table(&list("= 3.10\n1 MUST a\n"), &rows).is_err(), "§3.10 is not below §3.1");
}
