//! What there is: scenarios, metrics, presets.

use std::path::PathBuf;

use rtmfp_sim::scenario::{CAPABILITIES, KINDS, LINK_PRESETS, METRICS, Scenario, builtins, missing};

use super::output::{out, outln};
use super::{Done, PASSED, USAGE};

pub(super) fn list() -> Done {
    let mut waiting = 0;
    for builtin in builtins() {
        let scenario = builtin.scenario().map_err(|error| format!("{}: {error}", builtin.name))?;
        let lacking = missing(&scenario.needs);
        let quick = if scenario.quick { "*" } else { " " };
        let waits = if lacking.is_empty() { String::new() } else { format!("  [waits for {}]", lacking.join(", ")) };
        waiting += usize::from(!lacking.is_empty());
        outln!("{:>2} {:<20}{quick} {}{waits}", builtin.number, builtin.name, scenario.about);
    }
    outln!("\n* in the quick set; {waiting} wait for what is not there yet, and fail if run");
    Ok(PASSED)
}

pub(super) fn show(name: &str) -> Done {
    match name {
        "metrics" => {
            for (name, dimension, subject, about) in METRICS {
                outln!("{:<16} {:<20} {:<6} {about}", name, dimension.to_string(), subject.name());
            }
        }
        "presets" => {
            for (name, up, down) in LINK_PRESETS {
                outln!("{name}\n  up   {}\n  down {}", up.join(", "), down.join(", "));
            }
            outln!("stages, in the order in which packets pass: {}", KINDS.map(|(_, name)| name).join(", "));
        }
        "capabilities" => {
            for capability in CAPABILITIES {
                let state = if capability.present { "there" } else { "not yet" };
                outln!("{:<22} {state:<8} {}", capability.name, capability.about);
            }
        }
        _ => match rtmfp_sim::scenario::builtin(name) {
            Some(builtin) => out!("{}", builtin.text),
            None => out!("{}", super::source::load(name)?.to_toml()),
        },
    }
    Ok(PASSED)
}

pub(super) fn check(files: &[PathBuf]) -> Done {
    let mut code = PASSED;
    for file in files {
        let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        match Scenario::parse(&text).and_then(|scenario| Ok((scenario.cases()?.len(), scenario.seed_range()?.len()))) {
            Ok((cases, seeds)) => outln!("{}: right, {cases} cases with {seeds} seeds", file.display()),
            Err(error) => {
                outln!("{}: {error}", file.display());
                code = USAGE;
            }
        }
    }
    Ok(code)
}
