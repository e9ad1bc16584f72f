//! Two that know no address of each other, in one network, without a server.

use super::harness::{field, start_in};
use super::namespaces::{World, ip};

/// Without a route for groups the system asks nobody.
fn lead_groups_over_the_wire(world: &World) {
    for host in [&world.near, &world.far] {
        ip(&format!("-n {host} route add 224.0.0.0/4 dev wire")).unwrap();
    }
}

#[test]
fn a_fingerprint_is_found_in_the_network_without_a_server() {
    let Some(world) = World::new() else { return };
    lead_groups_over_the_wire(&world);
    let mut echo = start_in(Some(&world.far), &["echo", "--json", "--nearby", "--listen", "0.0.0.0:0"], None);
    let fingerprint = field(&echo.wait_for("\"listening\""), "fingerprint").unwrap();
    let ended = start_in(Some(&world.near), &["ping", "--json", "-i", "0", "-c", "3", &fingerprint], None).end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let path = ended.out.lines().find(|line| line.contains("\"path\"")).unwrap();
    assert_eq!(field(path, "kind").as_deref(), Some("lan"), "{path}");
    assert_eq!(field(path, "fingerprint"), Some(fingerprint));
    assert!(ended.out.contains("\"done\",\"replies\":3"), "{}", ended.out);
}

#[test]
fn nobody_in_the_network_is_told_with_what_to_do() {
    let Some(world) = World::new() else { return };
    lead_groups_over_the_wire(&world);
    // It announces itself, and is somebody else.
    let mut echo = start_in(Some(&world.far), &["echo", "--json", "--nearby", "--listen", "0.0.0.0:0"], None);
    echo.wait_for("\"listening\"");
    let nobody = "0".repeat(64);
    let ended = start_in(Some(&world.near), &["ping", "--timeout", "1", &nobody], None).end();
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.errors.contains("--nearby") && ended.errors.contains("--via"), "{}", ended.errors);
}
