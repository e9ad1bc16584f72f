use super::*;

#[test]
fn every_builtin_is_right_and_round_trips() {
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios")).unwrap();
    assert_eq!(builtins().count(), files.count(), "each file is in the list");
    for builtin in builtins() {
        let scenario = builtin.scenario().unwrap_or_else(|error| panic!("{}: {error}", builtin.name));
        assert_eq!(scenario.name, builtin.name);
        assert!(!scenario.about.is_empty(), "{} says what it is about", builtin.name);
        let again = Scenario::parse(&scenario.to_toml()).unwrap_or_else(|error| panic!("{}: {error}", builtin.name));
        assert_eq!(again, scenario);
        for case in scenario.cases().unwrap_or_else(|error| panic!("{}: {error}", builtin.name)) {
            assert_eq!(Scenario::parse(&case.scenario.to_toml()).as_ref(), Ok(&case.scenario));
        }
        scenario.seed_range().unwrap();
        assert!(!scenario.expect.is_empty() || !scenario.needs.is_empty(), "{} expects nothing", builtin.name);
    }
}

#[test]
fn what_is_wrong_names_its_line() {
    let text = builtin("hs-clean").unwrap().text;
    for (wrong, line) in [
        (text.replace("about =", "abuot ="), "line 2"),
        (text.replace("25ms", "25mz"), "line"),
        (format!("{text}\n[node.c]\n"), "line"),
        (text.replace("to = \"b\"", "to = \"bob\""), "line"),
    ] {
        let error = Scenario::parse(&wrong).expect_err(&wrong).to_string();
        assert!(error.contains(line), "{error}");
    }
}
