//! Instructions that work takes, counted by valgrind: immune to noise, so that a slower commit is seen.
//!
//! ```text
//! cargo bench -p rtmfp-tests --bench counts              # counts, and compares with counts.txt
//! cargo bench -p rtmfp-tests --bench counts -- --renew   # writes counts.txt
//! cargo bench -p rtmfp-tests --bench counts -- --large   # also with 100,000 sessions, flows and messages
//! ```
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_macros,
    reason = "a benchmark"
)]

mod compare;
mod work;

use std::process::{Command, ExitCode};

use compare::{Count, Table};
use work::{WORKS, Work};

/// Instructions within [`work::measured`], a time.
fn count(name: &str, size: u32, times: u64) -> Result<u64, String> {
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*measured*"])
        .arg(this)
        .args(["--work", name, &size.to_string(), &times.to_string()])
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    let collected = told.lines().find_map(|line| line.split_once("Collected : ")).map(|(_, count)| count.trim());
    let total: u64 = collected.and_then(|count| count.parse().ok()).ok_or_else(|| format!("{name}: {told}"))?;
    if total == 0 { Err(format!("{name}: nothing was counted")) } else { Ok(total / times) }
}

fn all(large: bool) -> Result<Table, String> {
    let mut table = Table::new(place());
    for Work { name, sizes, times, .. } in WORKS {
        for &size in sizes.iter().filter(|&&size| large || size <= work::LARGE) {
            let count = Count { name: (*name).to_owned(), size, instructions: count(name, size, *times)? };
            println!("{count}");
            table.counts.push(count);
        }
    }
    Ok(table)
}

/// What the counts depend on besides the code: compiler, valgrind, and what the processor can do.
fn place() -> String {
    let first_line = |program: &str| {
        let output = Command::new(program).arg("--version").output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
    };
    let compiler = first_line(&std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned()));
    format!("{compiler}, {}, {}", first_line("valgrind"), processor())
}

#[cfg(target_arch = "x86_64")]
fn processor() -> String {
    let has = [("aes", is_x86_feature_detected!("aes")), ("avx2", is_x86_feature_detected!("avx2"))];
    let has: Vec<&str> = has.iter().filter(|(_, has)| *has).map(|(name, _)| *name).collect();
    format!("x86_64 {}", has.join(" "))
}

#[cfg(not(target_arch = "x86_64"))]
fn processor() -> String {
    std::env::consts::ARCH.to_owned()
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match args[..] {
        ["--work", name, size, times] => work::run(name, size.parse().unwrap_or(1), times.parse().unwrap_or(1)),
        [] => all(false).and_then(|table| table.compare()),
        ["--renew"] => all(false).and_then(|table| table.write()),
        ["--large"] => all(true).and_then(|table| table.flat()),
        _ => Err("nothing, --renew or --large".to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
