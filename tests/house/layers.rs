//! Imports go one way: in core, in the simulator and its network, and in the drivers.
//!
//! Core and `sim/net` have named layers. In `sim` and the drivers it is enough that no two top-level modules need each
//! other, directly or through others.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Source, rust_files};

/// The layers of a package.
struct Package {
    folder: &'static str,
    /// From the lowest up. Modules of one layer may know each other.
    layers: &'static [&'static [&'static str]],
    /// The highest layer that a module outside the layers may import.
    others_may_import: usize,
}

/// Modules of core outside its layers (such as time, handle and error) may be used by all. They import none of the layers
/// above `profile`: else they would be a way around.
const CORE: Package = Package {
    folder: "core/src/",
    layers: &[
        &["wire"],
        &["profile", "congestion"],
        &["flow"],
        &["session"],
        &["endpoint"],
        &["app", "tc"],
        &["router"],
    ],
    others_may_import: 1,
};

/// All modules are in a layer. What lanes and devices share (`engine`) is below both.
const NET: Package = Package {
    folder: "sim/net/src/",
    layers: &[
        &["time", "ecn", "rng", "id"],
        &["digest", "route", "wheel", "node", "fault"],
        &["arena", "counters"],
        &["trace", "queue", "nat"],
        &["engine"],
        &["link"],
        &["attack", "cross"],
        &["world"],
        &["emulator"],
    ],
    others_may_import: 0,
};

/// The parts of a session. What stands in `session/mod.rs` itself, as `Session` does, is above them all.
const SESSION: [&[&str]; 5] = [
    &["alarm", "context", "state", "time_critical"],
    &["transport"],
    &["delivery"],
    &["control", "lifecycle", "watch"],
    &["close", "opening", "packetizer", "path_change", "receive"],
];

/// Packages in which no top-level modules may need each other.
const WITHOUT_CYCLES: [&str; 11] = [
    "core/meet/src/",
    "core/files/src/",
    "sim/net/src/",
    "sim/src/",
    "drivers/std/src/",
    "drivers/smol/src/",
    "drivers/cli/src/",
    "drivers/bench/src/",
    "drivers/qlog/src/",
    "drivers/server/src/",
    "drivers/local/src/",
];

/// Imports that are left out of account, with the reason.
const EXCEPTIONS: [(&str, &str, &str, &str); 2] = [
    ("drivers/std/src/", "incoming", "pump", "it counts in the pump's statistics, which stand with the pump"),
    (
        "drivers/std/src/",
        "socket",
        "outgoing",
        "a socket holds its unsent flight, whose file has that part of `Socket`",
    ),
];

impl Package {
    fn layer(&self, module: &str) -> Option<usize> {
        self.layers.iter().position(|names| names.contains(&module))
    }
}

/// The module path of a file, without the crate: `core/src/flow/send.rs` is `["flow", "send"]`.
fn module_path(file: &str) -> Vec<&str> {
    let inside = file.split_once("/src/").map_or(file, |(_, inside)| inside).trim_end_matches(".rs");
    inside.split('/').filter(|part| *part != "mod").collect()
}

/// Tests of a lower layer may build whole worlds of the upper ones.
fn is_test_file(file: &Source) -> bool {
    file.path.ends_with("/tests.rs") || file.path.contains("/tests/")
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

/// The paths that the code of a file names, from the top of its package, be it in a `use` or in the middle of code.
fn named_paths(path: &str, code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let own: Vec<String> = module_path(path).into_iter().map(str::to_owned).collect();
    for (at, _) in code.match_indices("crate::") {
        let before = &code[..at];
        if before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        found.extend(paths_of(before, &code[at + "crate::".len()..]));
    }
    // `super::super::x` is `crate::x` when it climbs to the top. An inline `mod tests` is one step deeper.
    for (at, _) in code.match_indices("super::") {
        let before = &code[..at];
        if before.ends_with("super::") || before.ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let mut rest = &code[at..];
        let mut climbed = 0;
        while let Some(next) = rest.strip_prefix("super::") {
            rest = next;
            climbed += 1;
        }
        let above = &own[..own.len().saturating_sub(climbed)];
        found.extend(paths_of(before, rest).into_iter().map(|path| [above, &path[..]].concat()));
    }
    found
}

/// The paths that begin at `rest`: many in a `use`, else one.
fn paths_of(before: &str, rest: &str) -> Vec<Vec<String>> {
    if before.ends_with("use ") || rest.trim_start().starts_with('{') {
        return expand(rest.split(';').next().unwrap_or(rest));
    }
    let is_path = |c: &char| c.is_alphanumeric() || *c == '_' || *c == ':';
    let path: String = rest.trim_start().chars().take_while(is_path).collect();
    let names: Vec<String> = path.split("::").filter(|name| !name.is_empty()).map(str::to_owned).collect();
    if names.is_empty() { Vec::new() } else { vec![names] }
}

/// The top-level modules of its package that a file names.
fn imports(file: &Source) -> Vec<String> {
    named_paths(&file.path, &file.code).into_iter().filter_map(|path| path.into_iter().next()).collect()
}

/// The top-level module of a file; none for the root of a library or program.
fn own_module(file: &Source) -> Option<&str> {
    module_path(&file.path).first().copied().filter(|name| !matches!(*name, "lib" | "main"))
}

/// The modules that a file imports, where a name that `lib.rs` re-exports stands for its module.
fn imported(file: &Source, reexports: &[(String, String)]) -> BTreeSet<String> {
    let origin = |name: String| {
        let known = reexports.iter().find(|(exported, _)| *exported == name);
        known.map_or(name, |(_, module)| module.clone())
    };
    imports(file).into_iter().map(origin).collect()
}

/// A line for each import of `file` that runs up.
fn violations(package: &Package, file: &Source, reexports: &[(String, String)]) -> Vec<String> {
    let Some(own) = own_module(file) else { return Vec::new() };
    let allowed = package.layer(own).unwrap_or(package.others_may_import);
    let above = |module: &String| package.layer(module).is_some_and(|theirs| theirs > allowed);
    let found = imported(file, reexports).into_iter().filter(above);
    found.map(|module| format!("{} imports `{module}`, which is above `{own}`", file.path)).collect()
}

/// A line for each import of a part of a session that runs up.
fn session_violations(file: &Source) -> Vec<String> {
    let own = module_path(&file.path);
    let layer = |module: &str| SESSION.iter().position(|names| names.contains(&module));
    let Some(allowed) = own.get(1).copied().filter(|_| own[0] == "session").and_then(layer) else { return Vec::new() };
    let theirs = |path: &Vec<String>| match path.get(..2) {
        Some([session, name]) if session == "session" => Some(layer(name).unwrap_or(SESSION.len() - 1)),
        _ => None,
    };
    // Without inline tests, which stand last and are one step deeper.
    let code = file.code.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let found =
        named_paths(&file.path, code).into_iter().filter(|path| theirs(path).is_some_and(|theirs| theirs > allowed));
    found.map(|path| format!("{} imports `{}`, which is above `{}`", file.path, path.join("::"), own[1])).collect()
}

/// Which top-level modules each top-level module imports.
type Graph = BTreeMap<String, BTreeSet<String>>;

fn graph(files: &[Source], reexports: &[(String, String)]) -> Graph {
    let modules: BTreeSet<&str> = files.iter().filter_map(own_module).collect();
    let mut graph = Graph::new();
    for file in files.iter().filter(|file| !is_test_file(file)) {
        let Some(own) = own_module(file) else { continue };
        let others =
            imported(file, reexports).into_iter().filter(|name| name != own && modules.contains(name.as_str()));
        graph.entry(own.to_owned()).or_default().extend(others);
    }
    graph
}

/// The modules that need themselves through others.
fn cyclic(graph: &Graph) -> Vec<&String> {
    let needs_itself = |start: &&String| {
        let (mut pending, mut seen) = (vec![*start], BTreeSet::new());
        while let Some(module) = pending.pop() {
            let others = graph.get(module).into_iter().flatten();
            pending.extend(others.filter(|other| seen.insert(*other)));
        }
        seen.contains(*start)
    };
    graph.keys().filter(needs_itself).collect()
}

/// The files of a package with what its `lib.rs` re-exports.
fn package(folder: &str) -> (Vec<Source>, Vec<(String, String)>) {
    let files = rust_files(folder.trim_end_matches('/'));
    let root = |file: &&Source| ["lib.rs", "main.rs"].iter().any(|root| file.path == format!("{folder}{root}"));
    let names = reexports(&files.iter().find(root).expect("the package has a root").code);
    (files, names)
}

#[test]
fn no_import_runs_up_the_house() {
    for layered in [&CORE, &NET] {
        let (files, names) = package(layered.folder);
        let known = if layered.folder == CORE.folder { ("Endpoint", "endpoint") } else { ("World", "world") };
        assert!(names.contains(&(known.0.to_owned(), known.1.to_owned())), "re-exports were not read: {names:?}");
        // Core's tests keep to the layers too; those of `sim/net` build worlds.
        let read = files.iter().filter(|file| layered.folder == CORE.folder || !is_test_file(file));
        let found: Vec<String> = read.flat_map(|file| violations(layered, file, &names)).collect();
        assert!(found.is_empty(), "imports go from the last of these to the first, {:?}:\n{found:#?}", layered.layers);
    }
}

#[test]
fn no_import_runs_up_a_session() {
    let files = rust_files("core/src/session");
    let parts: BTreeSet<&str> = files.iter().filter_map(|file| module_path(&file.path).get(1).copied()).collect();
    for part in SESSION.iter().flat_map(|names| names.iter()) {
        assert!(parts.contains(part), "a session has no part `{part}`: the layers here are out of date");
    }
    for part in parts.iter().filter(|part| **part != "tests") {
        assert!(SESSION.iter().any(|names| names.contains(part)), "the part `{part}` of a session is in no layer");
    }
    let read = files.iter().filter(|file| !is_test_file(file));
    let found: Vec<String> = read.flat_map(session_violations).collect();
    assert!(found.is_empty(), "imports go from the last of these to the first, {SESSION:?}:\n{found:#?}");
}

#[test]
fn an_arrow_that_runs_up_a_session_is_found() {
    let found = |path: &str, text: &str| session_violations(&Source::new(path, text)).len();
    for (path, text) in [
        ("core/src/session/transport/mtu.rs", "use crate::session::delivery::Delivery;"),
        ("core/src/session/transport/mod.rs", "use super::{alarm::Alarm, control::Control};"),
        ("core/src/session/delivery/stall.rs", "use super::super::control::Control;"),
        ("core/src/session/delivery/mod.rs", "fn f(session: &super::Session) {}"),
        ("core/src/session/context.rs", "use crate::session::{transport::Transport};"),
    ] {
        assert_eq!(found(path, text), 1, "not found: {path}: {text}");
    }
    for (path, text) in [
        ("core/src/session/delivery/mod.rs", "use super::alarm::Alarm; use crate::session::transport::Transport;"),
        ("core/src/session/transport/mod.rs", "use super::alarm::Alarm; use crate::wire::Chunk;"),
        ("core/src/session/mod.rs", "use control::Control;"),
        ("core/src/session/close.rs", "use super::{Session, context::Context};"),
    ] {
        assert_eq!(found(path, text), 0, "wrongly found: {path}: {text}");
    }
}

#[test]
fn no_modules_need_each_other() {
    for folder in WITHOUT_CYCLES {
        let (files, names) = package(folder);
        let mut graph = graph(&files, &names);
        for (_, from, to, why) in EXCEPTIONS.iter().filter(|(of, ..)| *of == folder) {
            let there = graph.get_mut(*from).is_some_and(|others| others.remove(*to));
            assert!(there, "{folder}: `{from}` does not import `{to}` any more ({why}): take the exception out");
        }
        assert!(cyclic(&graph).is_empty(), "{folder}: these need each other: {:?}\n{graph:#?}", cyclic(&graph));
    }
}

#[test]
fn every_layer_that_exists_is_a_module() {
    let exists = |files: &[Source], name: &str| files.iter().any(|file| own_module(file) == Some(name));
    let (core, _) = package(CORE.folder);
    for name in ["wire", "profile", "flow", "congestion", "session", "endpoint"] {
        assert!(exists(&core, name), "core has no module `{name}`: the layers here are out of date");
    }
    let (net, _) = package(NET.folder);
    for name in NET.layers.iter().flat_map(|names| names.iter()) {
        assert!(exists(&net, name), "sim/net has no module `{name}`: the layers here are out of date");
    }
    for own in net.iter().filter_map(own_module) {
        assert!(NET.layer(own).is_some(), "the module `{own}` of sim/net is in no layer");
    }
}

/// What an author of another protocol reads must not need RTMFP to be understood.
#[test]
fn the_network_knows_no_rtmfp() {
    let files = rust_files("sim/net");
    let about =
        |file: &&Source| file.text.to_lowercase().contains("rtmfp_") || file.code.to_lowercase().contains("rtmfp");
    let found: Vec<&str> = files.iter().filter(about).map(|file| file.path.as_str()).collect();
    assert!(found.is_empty(), "these name RTMFP: {found:?}");
    let manifest =
        std::fs::read_to_string(crate::source::root().join("sim/net/Cargo.toml")).expect("it has a manifest");
    assert!(!manifest.contains("rtmfp"), "sim/net must not depend on a package of ours");
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
        assert_eq!(violations(&CORE, &Source::new(path, text), &names).len(), 1, "not found: {path}: {text}");
    }
    // Lanes and devices share the engine, and a link knows no world.
    let file = |text: &str| Source::new("sim/net/src/link/mod.rs", text);
    assert_eq!(violations(&NET, &file("use crate::world::{Core, Event};"), &[]).len(), 1);
    assert_eq!(violations(&NET, &file("use crate::engine::{Core, Event};"), &[]), [""; 0]);
    let good = [
        ("core/src/session/state.rs", "use crate::flow::Message; use crate::{wire::Chunk, Instant};"),
        ("core/src/flow/send.rs", "use crate::congestion::Controller; use super::recv::RecvFlow;"),
        ("core/src/flow/send.rs", "// use crate::endpoint::Endpoint;\nuse super::session::Role;"),
        ("core/src/wire/vlu.rs", "/// See [`crate::endpoint`].\nconst X: &str = \"crate::endpoint\";"),
        ("core/src/lib.rs", "pub use crate::endpoint::Endpoint;"),
        ("core/src/event.rs", "use crate::handle::SessionHandle;"),
    ];
    for (path, text) in good {
        let found = violations(&CORE, &Source::new(path, text), &names);
        assert!(found.is_empty(), "wrongly found: {found:?}");
    }
}

#[test]
fn a_cycle_is_found() {
    let files = |third: &str| {
        let file = |name: &str, text: &str| Source::new(&format!("sim/src/{name}"), text);
        [
            file("lib.rs", "pub use run::run; mod run;"),
            file("run/mod.rs", "use crate::{scenario::{Action, At}, rtmfp};"),
            file("run/tests.rs", "use crate::report::html;"),
            file("scenario.rs", "fn f() -> crate::rtmfp::X {}"),
            file("rtmfp.rs", third),
            file("report.rs", "use crate::run::Run;"),
        ]
    };
    let names = [("run".to_owned(), "run".to_owned())];
    assert!(cyclic(&graph(&files("use crate::time::Time;"), &names)).is_empty());
    assert_eq!(cyclic(&graph(&files("use crate::scenario::At;"), &names)), ["rtmfp", "scenario"]);
    assert_eq!(cyclic(&graph(&files("use super::run;"), &names)), ["rtmfp", "run", "scenario"]);
}
