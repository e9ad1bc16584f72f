//! Running tshark with the dissector.

use core::sync::atomic::{AtomicU32, Ordering};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::capture::Capture;

/// The fields of a packet, each with all its values in order. What is empty is left out.
pub(crate) type Fields = BTreeMap<String, Vec<String>>;

/// A file of this test alone, removed at its end.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new(content: &[u8]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("rtmfp-wireshark-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::write(&path, content).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A file of the dissector's folder.
pub(crate) fn dissector(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("drivers/wireshark").join(name)
}

/// What tshark says with this script and these arguments; `None`, loudly, if it is not installed.
pub(crate) fn run(script: &Path, capture: &Capture, arguments: &[String]) -> Option<String> {
    let file = Scratch::new(capture.bytes());
    let ran = Command::new("tshark")
        .env_remove("RTMFP_KEYLOG")
        .args(["-n", "-X", &format!("lua_script:{}", script.display()), "-r", file.0.to_str().unwrap()])
        .args(arguments)
        .output();
    let Ok(ran) = ran else {
        eprintln!("SKIPPED: tshark is not installed, so the dissector was not tried");
        return None;
    };
    let errors = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{}: {errors}", ran.status);
    assert!(!errors.contains("Lua"), "{errors}");
    let out = String::from_utf8(ran.stdout).unwrap();
    assert!(!out.contains("Lua Error"), "{out}");
    Some(out)
}

/// The values of `fields` in every packet, with these preferences.
pub(crate) fn fields(capture: &Capture, preferences: &[&str], fields: &[&str]) -> Option<Vec<Fields>> {
    let mut arguments: Vec<String> = ["-T", "fields", "-E", "aggregator=|"].map(str::to_owned).into();
    // Lua errors of a packet are told where this field is.
    for field in fields.iter().chain(&["_ws.lua.text"]) {
        arguments.extend(["-e".to_owned(), (*field).to_owned()]);
    }
    for preference in preferences {
        arguments.extend(["-o".to_owned(), (*preference).to_owned()]);
    }
    let out = run(&dissector("rtmfp.lua"), capture, &arguments)?;
    let packets = out.lines().map(|line| {
        let mut columns: Vec<&str> = line.split('\t').collect();
        assert_eq!(columns.pop(), Some(""), "{line}");
        let values = |column: &&str| -> Vec<String> {
            column.split('|').filter(|value| !value.is_empty() && *value != "<MISSING>").map(str::to_owned).collect()
        };
        let pairs = fields.iter().zip(&columns).map(|(field, column)| ((*field).to_owned(), values(column)));
        pairs.filter(|(_, values)| !values.is_empty()).collect()
    });
    Some(packets.collect())
}
