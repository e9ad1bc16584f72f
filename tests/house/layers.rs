//! Imports in core go one way: wire ← profile ← flow, congestion ← session ← endpoint ← app, tc.
//!
//! The other modules of core (time, handle, params, config, error, event, stats, transmit) may be used by all, and
//! import none of the layers above `profile`: else they would be a way around.

use std::collections::BTreeSet;

use crate::source::{Source, rust_files};

/// The layers from the lowest up; modules of one layer may know each other.
const LAYERS: [&[&str]; 6] =
    [&["wire"], &["profile"], &["flow", "congestion"], &["session"], &["endpoint"], &["app", "tc"]];
/// The highest layer that a module outside the layers may import.
const BASIC_MAY_IMPORT: usize = 1;

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|names| names.contains(&module))
}

/// The module path of a file of `core/src`, without the crate: `core/src/flow/send.rs` is `["flow", "send"]`.
fn module_path(file: &str) -> Vec<&str> {
    let inside = file.trim_start_matches("core/src/").trim_end_matches(".rs");
    inside.split('/').filter(|part| *part != "mod").collect()
}

/// Names that `lib.rs` re-exports, each with the module it comes from.
fn reexports(lib: &str) -> Vec<(String, String)> {
    statements(lib, "pub use ")
        .iter()
        .flat_map(|tree| expand(tree))
        .filter(|path| path.len() > 1)
        .map(|path| (path[path.len() - 1].clone(), path[0].clone()))
        .collect()
}

/// What follows each `start` of the code up to the semicolon.
fn statements<'a>(code: &'a str, start: &str) -> Vec<&'a str> {
    let end = |rest: &'a str| rest.split(';').next().unwrap_or(rest);
    code.match_indices(start).map(|(at, _)| end(&code[at + start.len()..])).collect()
}

/// The paths of a use tree: `a::{b, c::d}` is `a::b` and `a::c::d`. Renames keep the original name.
fn expand(tree: &str) -> Vec<Vec<String>> {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let name = tree.split(" as ").next().unwrap_or(tree);
        return vec![name.split("::").map(|s| s.trim().to_owned()).filter(|s| !s.is_empty()).collect()];
    };
    let prefix: Vec<String> = tree[..open].split("::").map(|s| s.trim().to_owned()).filter(|s| !s.is_empty()).collect();
    let inner = tree[open + 1..].rsplit_once('}').map_or(&tree[open + 1..], |(inner, _)| inner);
    let (mut depth, mut start, mut parts) = (0_i32, 0, Vec::new());
    for (at, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&inner[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&inner[start..]);
    let parts = parts.into_iter().filter(|part| !part.trim().is_empty());
    parts.flat_map(expand).map(|rest| prefix.iter().cloned().chain(rest).collect()).collect()
}

/// The top-level modules of core that a file names, be it in a `use` or in the middle of code.
fn imports(file: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in file.code.match_indices("crate::") {
        if file.code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &file.code[at + "crate::".len()..];
        let tree = if rest.trim_start().starts_with('{') { rest.split(';').next().unwrap_or(rest) } else { rest };
        if tree.trim_start().starts_with('{') {
            found.extend(expand(tree).into_iter().filter_map(|path| path.first().cloned()));
        } else {
            found.extend(first_name(tree));
        }
    }
    // `super::super::x` is `crate::x` when it climbs to the top. An inline `mod tests` is one step deeper.
    let depth = module_path(&file.path).len();
    for (at, _) in file.code.match_indices("super::") {
        let before = &file.code[..at];
        if before.ends_with("super::") || before.ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let mut rest = &file.code[at..];
        let mut climbed = 0;
        while let Some(next) = rest.strip_prefix("super::") {
            rest = next;
            climbed += 1;
        }
        if climbed >= depth {
            found.extend(first_name(rest).filter(|name| layer(name).is_some()));
        }
    }
    found
}

fn first_name(path: &str) -> Option<String> {
    let name: String = path.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!name.is_empty()).then_some(name)
}

/// A line for each import of `file` that runs up.
fn violations(file: &Source, reexports: &[(String, String)]) -> Vec<String> {
    let path = module_path(&file.path);
    let Some(own) = path.first().filter(|name| **name != "lib") else { return Vec::new() };
    let allowed = layer(own).unwrap_or(BASIC_MAY_IMPORT);
    let found: BTreeSet<String> = imports(file)
        .into_iter()
        .map(|name| {
            let origin = reexports.iter().find(|(exported, _)| *exported == name).map(|(_, module)| module.clone());
            origin.unwrap_or(name)
        })
        .filter(|module| layer(module).is_some_and(|theirs| theirs > allowed))
        .collect();
    found.iter().map(|module| format!("{} imports `{module}`, which is above `{own}`", file.path)).collect()
}

#[test]
fn no_import_runs_up_the_house() {
    let files = rust_files("core/src");
    let lib = files.iter().find(|file| file.path == "core/src/lib.rs").expect("core has a lib.rs");
    let names = reexports(&lib.code);
    assert!(names.contains(&("Endpoint".to_owned(), "endpoint".to_owned())), "re-exports were not read: {names:?}");
    let found: Vec<String> = files.iter().flat_map(|file| violations(file, &names)).collect();
    assert!(found.is_empty(), "imports go wire <- profile <- flow, congestion <- session <- endpoint:\n{found:#?}");
}

#[test]
fn every_layer_that_exists_is_a_module_of_core() {
    let files = rust_files("core/src");
    for name in ["wire", "profile", "flow", "congestion", "session", "endpoint"] {
        let exists = files.iter().any(|file| module_path(&file.path).first() == Some(&name));
        assert!(exists, "core has no module `{name}`: the layers here are out of date");
    }
}

#[test]
fn an_arrow_that_runs_back_is_found() {
    let names = reexports("pub use endpoint::{Endpoint, Target}; pub use time::Instant;");
    let bad = [
        ("core/src/wire/vlu.rs", "use crate::profile::Keys;"),
        ("core/src/wire/mod.rs", "use crate::{error::Drop, session::{Role, State}};"),
        ("core/src/profile/plain.rs", "fn f(x: &crate::flow::Message) {}"),
        ("core/src/flow/send.rs", "pub(crate) use crate::session::Role as R;"),
        ("core/src/flow/send.rs", "use crate::Endpoint;"),
        ("core/src/flow/send.rs", "use super::super::endpoint::Endpoint;"),
        ("core/src/flow/mod.rs", "use super::session::Role;"),
        ("core/src/session/state.rs", "use crate::{\n    endpoint::Endpoint,\n};"),
        ("core/src/event.rs", "use crate::session::Role;"),
    ];
    for (path, text) in bad {
        assert_eq!(violations(&Source::new(path, text), &names).len(), 1, "not found: {path}: {text}");
    }
    let good = [
        ("core/src/session/state.rs", "use crate::flow::Message; use crate::{wire::Chunk, Instant};"),
        ("core/src/flow/send.rs", "use crate::congestion::Controller; use super::recv::RecvFlow;"),
        ("core/src/flow/send.rs", "// use crate::endpoint::Endpoint;\nuse super::session::Role;"),
        ("core/src/wire/vlu.rs", "/// See [`crate::endpoint`].\nconst X: &str = \"crate::endpoint\";"),
        ("core/src/lib.rs", "pub use crate::endpoint::Endpoint;"),
        ("core/src/event.rs", "use crate::handle::SessionHandle;"),
    ];
    for (path, text) in good {
        let found = violations(&Source::new(path, text), &names);
        assert!(found.is_empty(), "wrongly found: {found:?}");
    }
}
