//! Links that people know by name.

use super::lane::Lane;

/// Name, direction of the path, other direction.
pub const PRESETS: [(&str, &[&str], &[&str]); 9] = [
    ("lan", &["rate 1Gbit", "delay 100us"], &["rate 1Gbit", "delay 100us"]),
    ("datacentre", &["rate 10Gbit", "delay 50us"], &["rate 10Gbit", "delay 50us"]),
    ("fibre", &["rate 500Mbit", "delay 4ms"], &["rate 1Gbit", "delay 4ms"]),
    ("cable", &["rate 20Mbit", "queue tail 200ms", "delay 8ms"], &["rate 200Mbit", "queue tail 100ms", "delay 8ms"]),
    ("dsl", &["rate 5Mbit", "queue tail 300ms", "delay 15ms"], &["rate 50Mbit", "queue tail 100ms", "delay 15ms"]),
    (
        "wifi",
        &["rate 60Mbit", "queue tail 100ms", "delay 2ms", "jitter exponential 2ms keep-order", "loss random 0.1%"],
        &["rate 60Mbit", "queue tail 100ms", "delay 2ms", "jitter exponential 2ms keep-order", "loss random 0.1%"],
    ),
    (
        "lte",
        &["rate 15Mbit", "queue tail 500ms", "delay 25ms", "jitter uniform 10ms keep-order", "loss random 0.5%"],
        &["rate 50Mbit", "queue tail 500ms", "delay 25ms", "jitter uniform 10ms keep-order", "loss random 0.5%"],
    ),
    (
        "3g",
        &["rate 1Mbit", "queue tail 1s", "delay 75ms", "jitter uniform 30ms keep-order"],
        &["rate 5Mbit", "queue tail 1s", "delay 75ms", "jitter uniform 30ms keep-order"],
    ),
    (
        "satellite",
        &["rate 5Mbit", "queue tail 500ms", "delay 300ms", "loss random 0.2%"],
        &["rate 50Mbit", "queue tail 500ms", "delay 300ms", "loss random 0.2%"],
    ),
];

pub(super) fn lanes(name: &str) -> Result<(Lane, Lane), String> {
    let Some((_, up, down)) = PRESETS.iter().find(|(known, ..)| *known == name) else {
        return Err(format!("`{name}` is no link preset; there are: {}", PRESETS.map(|(name, ..)| name).join(", ")));
    };
    let lane = |stages: &[&str]| {
        stages.iter().try_fold(Lane::default(), |lane, stage| lane.with(stage)).map_err(|error| error.to_string())
    };
    Ok((lane(up)?, lane(down)?))
}

#[test]
fn presets_are_right() {
    for (name, ..) in PRESETS {
        lanes(name).unwrap();
    }
}
