//! The program as people run it: what it prints, and its exit codes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::tests_outside_test_module, reason = "tests")]

use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

const QUICK: &str = r#"
name = "quick"
duration = "3s"
work = [{ kind = "messages", from = "a", to = "b", count = 10 }]
expect = ["messages(a->b) == 10", "opened(a->b) <= 1s"]
[node.a]
[node.b]
[link.wan]
path = ["a", "b"]
both = { rate = "10Mbit", delay = "25ms", loss = "none" }
[matrix]
"link.wan.both.loss" = ["none", "random 5%"]
seeds = "1..=2"
"#;

fn program(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rtmfp-sim")).args(args).output().expect("it starts")
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A folder of its own for each test.
fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn file(folder: &str, name: &str, text: &str) -> String {
    let file = self::folder(folder).join(name);
    std::fs::write(&file, text).unwrap();
    file.display().to_string()
}

#[test]
fn a_matrix_is_a_table_of_cases_and_seeds() {
    let file = file("matrix", "quick.toml", QUICK);
    let output = program(&["matrix", &file]);
    let lines: Vec<String> = told(&output).lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 1 + 2 * 2, "{lines:?}");
    assert!(lines[0].contains("messages(a->b) == 10") && lines[0].contains("opened(a->b) <= 1s"), "{lines:?}");
    assert!(lines[3].contains("random 5%"), "{lines:?}");
    assert_eq!(output.status.code(), Some(0));
    let wrong = QUICK.replace("== 10", "== 11");
    let output = program(&["matrix", &self::file("matrix-wrong", "quick.toml", &wrong)]);
    assert!(told(&output).contains("NOT"));
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_replay_says_how_a_kept_file_fails() {
    let kept = QUICK.replace("== 10", "== 11").replace("duration = \"3s\"", "duration = \"3s\"\nseed = 9");
    let output = program(&["replay", &file("replay", "kept.toml", &kept)]);
    let told = told(&output);
    assert!(told.contains("seed=9") && told.contains("NOT messages(a->b) == 11   (10)"), "{told}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_report_of_a_folder_is_one_of_each_scenario() {
    let folder = folder("reports");
    for name in ["one.toml", "two.toml"] {
        std::fs::write(folder.join(name), QUICK).unwrap();
    }
    let output = program(&["report", &folder.display().to_string()]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    for name in ["one.html", "two.html"] {
        let html = std::fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(html.contains("<svg") && html.trim_end().ends_with("</html>"), "{name}");
    }
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_its_line() {
    let output = program(&["check", &file("check", "wrong.toml", &QUICK.replace("25ms", "25mz"))]);
    assert!(told(&output).contains("line 10"), "{}", told(&output));
    assert_eq!(output.status.code(), Some(64));
}

/// How a program ends whose standard output is a pipe that is closed after its first bytes.
fn with_a_reader_that_goes(args: &[&str]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_rtmfp-sim"))
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut first = [0; 4];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    // The pipe is closed now.
    child.wait_with_output().unwrap()
}

#[test]
fn a_reader_that_goes_does_not_change_the_exit_code() {
    let passes = file("pipe", "quick.toml", &QUICK.replace("random 5%", "none"));
    let fails = file("pipe-failing", "quick.toml", &QUICK.replace("== 10", "== 11"));
    for (args, code) in [
        (&["run", &passes, "--seed", "1..=40"][..], 0),
        (&["run", &fails, "--seed", "1..=40"], 1),
        (&["matrix", &fails], 1),
        (&["replay", &fails], 1),
        (&["bisect", &passes, &passes, "--seed", "1", "--seed-b", "2"], 3),
    ] {
        let output = with_a_reader_that_goes(args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr).matches("panicked").count(), 0, "{output:?}");
    }
}

/// What the shell does with `| true`: the reader is gone before anything is written.
#[test]
fn a_failing_run_fails_with_nobody_reading_either_output() {
    let fails = file("unread", "quick.toml", &QUICK.replace("== 10", "== 11"));
    let jsonl = folder("unread-files").join("run.jsonl");
    for (scenario, code) in [(fails.as_str(), 1), ("no such scenario", 64)] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let status = Command::new(env!("CARGO_BIN_EXE_rtmfp-sim"))
            .args(["run", scenario, "--seed", "1", "--set", "link.wan.both.loss=none"])
            .args(["--jsonl", &jsonl.display().to_string()])
            .stdout(writer.try_clone().unwrap())
            .stderr(writer)
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(code), "{scenario}");
    }
    assert!(std::fs::metadata(jsonl).unwrap().len() > 0);
}

#[cfg(target_os = "linux")]
#[test]
fn with_a_full_standard_output_the_files_are_written_and_the_error_is_reported() {
    let folder = folder("full");
    for (text, code) in [(QUICK.to_owned(), 64), (QUICK.replace("== 10", "== 11"), 1)] {
        let scenario = folder.join("quick.toml");
        std::fs::write(&scenario, text).unwrap();
        let files = ["jsonl", "trace", "csv", "html"].map(|kind| (format!("--{kind}"), folder.join(kind)));
        let output = Command::new(env!("CARGO_BIN_EXE_rtmfp-sim"))
            .args(["run", &scenario.display().to_string(), "--seed", "1", "--set", "link.wan.both.loss=none"])
            .args(files.iter().flat_map(|(option, file)| [option.clone(), file.display().to_string()]))
            .stdout(std::fs::File::options().write(true).open("/dev/full").unwrap())
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{errors}");
        assert_eq!(errors.matches("standard output could not be written").count(), 1, "{errors}");
        for (option, file) in files {
            assert!(std::fs::metadata(&file).unwrap().len() > 0, "{option}");
            std::fs::remove_file(file).unwrap();
        }
    }
}

/// One line for each member of a crowd hid everything else: 1,501 lines for 500 nodes.
#[test]
fn a_verdict_that_is_the_same_for_many_is_one_line() {
    let crowd = r#"
name = "crowd"
duration = "3s"
expect = ["opens(peer->s) == 1", "messages(peer->s) == WANTED"]
[node.s]
[link.s]
path = ["s", "net"]
[crowd.peer]
count = 40
link = { path = ["*", "net"], both = { delay = "10ms" } }
work = [{ kind = "messages", to = "s", count = 2 }]
"#;
    let passes = file("folded", "crowd.toml", &crowd.replace("WANTED", "2"));
    let output = program(&["run", &passes]);
    let lines: Vec<String> = told(&output).lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 4, "{lines:#?}");
    assert_eq!(lines[1].trim(), "ok  opens(peer->s) == 1   (1; 40 times)");
    let fails = file("folded-fails", "crowd.toml", &crowd.replace("WANTED", "3"));
    for command in ["run", "replay"] {
        let output = program(&[command, &fails]);
        let told = told(&output);
        assert!(told.contains("NOT messages(peer1->s) == 3   (2)"), "{told}");
        assert!(told.contains("NOT messages(peer->s) == 3   (2; 35 times)"), "{told}");
        assert!(told.lines().count() < 20, "{told}");
        assert_eq!(output.status.code(), Some(1));
    }
    let output = program(&["matrix", &passes]);
    assert!(told(&output).lines().all(|line| line.matches(" | ").count() == 4), "{}", told(&output));
    let html = PathBuf::from(&passes).with_extension("html");
    program(&["report", &passes, "--output", &html.display().to_string()]);
    let html = std::fs::read_to_string(html).unwrap();
    assert_eq!(html.matches("opens(peer").count(), 2, "once as a verdict, and once in the scenario");
}
