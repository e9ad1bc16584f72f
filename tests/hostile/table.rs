//! Every test that the table in `README.md` names exists, and every limit of the configuration is in it.

use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    fs::read_to_string(root.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The text between backticks in one cell of a table.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

#[test]
fn every_limit_has_a_test_that_exists() {
    let readme = read("tests/hostile/README.md");
    let rows: Vec<Vec<&str>> = readme
        .lines()
        .filter(|line| line.starts_with("| `") || line.contains(".rs::"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    assert!(rows.len() > 20, "the table was not read");
    let mut found = Vec::new();
    for row in &rows {
        let [limits, .., places] = &row[..] else { panic!("a row with too few cells: {row:?}") };
        for place in quoted(places) {
            let (file, test) = place.split_once("::").unwrap_or_else(|| panic!("{place} is not file::test"));
            if !read(file).contains(&format!("fn {test}(")) {
                found.push(format!("{place}, for {limits}, does not exist"));
            }
        }
        if quoted(places).is_empty() {
            found.push(format!("{limits} has no test"));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn every_limit_of_the_code_is_in_the_table() {
    let readme = read("tests/hostile/README.md");
    let config = read("core/src/config.rs");
    let fields = config.lines().filter_map(|line| line.trim().strip_prefix("pub max_")?.split(':').next());
    let mut limits: Vec<String> = fields.map(|name| format!("max_{name}")).collect();
    assert!(limits.len() >= 10, "the configuration was not read");
    let modules = [
        "session/delivery/receiving/acks.rs",
        "session/delivery/receiving/allowance.rs",
        "session/control/mod.rs",
        "session/receive.rs",
        "endpoint/startup.rs",
        "endpoint/fragments.rs",
        "endpoint/fragments/partial.rs",
        "endpoint/initiator.rs",
        "endpoint/introduce.rs",
        "flow/recv.rs",
    ];
    for file in modules {
        let source = read(&format!("core/src/{file}"));
        let constants = source.lines().filter_map(|line| line.split_once("const MAX_")?.1.split(':').next());
        limits.extend(constants.map(|name| format!("MAX_{name}")));
    }
    let missing: Vec<&String> = limits.iter().filter(|limit| !readme.contains(&format!("`{limit}`"))).collect();
    assert!(missing.is_empty(), "limits without a row: {missing:?}");
}
