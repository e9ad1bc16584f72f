//! Where scenarios come from.

use std::path::Path;

use rtmfp_sim::scenario::{Scenario, builtin, builtins};

/// The scenario of a built-in name or a file.
pub(super) fn load(name: &str) -> Result<Scenario, String> {
    if let Some(builtin) = builtin(name) {
        return builtin.scenario().map_err(|error| format!("{name}: {error}"));
    }
    let path = Path::new(name);
    if !path.exists() {
        let near = builtins().find(|known| known.name.contains(name) || name.contains(known.name));
        let hint = near.map_or_else(String::new, |near| format!("; is it `{}`?", near.name));
        return Err(format!("`{name}` is neither a file nor a built-in scenario{hint}"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| format!("{name}: {error}"))?;
    Scenario::parse(&text).map_err(|error| format!("{name}: {error}"))
}
