//! A process with a thousand endpoints; a quarter of them without `RTMFP_LONG=1`.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use core::time::Duration;
use std::sync::{Arc, Mutex};

use rtmfp_core::FlowOptions;
use rtmfp_core::profile::plain::PlainProfile;
use rtmfp_smol::Endpoint;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Of the whole process, for each endpoint.
const LIMIT: usize = (300 << 20) / 1_000;

/// Memory of this process in bytes, as the kernel counts it.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1_024
}

fn endpoint(executor: &smol::LocalExecutor<'_>, name: &str) -> Endpoint {
    let profile = PlainProfile::new(name.as_bytes()).pretend_authentic(true);
    let local = "127.0.0.1:0".parse().unwrap();
    let (endpoint, driver) = Endpoint::builder().profile(Arc::new(profile)).bind(local).build().unwrap();
    executor.spawn(driver).detach();
    endpoint
}

/// Whether this process may have so many threads more.
fn can_have(threads: usize) -> bool {
    let held = Mutex::new(());
    std::thread::scope(|scope| {
        // All of them are there at once: each waits for this.
        let _held = held.lock();
        (0..threads).all(|_| std::thread::Builder::new().spawn_scoped(scope, || drop(held.lock())).is_ok())
    })
}

/// It took 2.1 GiB of receive buffers alone.
#[test]
fn each_of_a_thousand_endpoints_with_a_session_takes_less_than_315_kb() {
    let endpoints = if std::env::var_os("RTMFP_LONG").is_some() { 1_000 } else { 250 };
    let limit = getrlimit(Resource::Nofile);
    if limit.maximum.is_some_and(|most| most < 3_000) {
        eprintln!("SKIPPED: this process may not open enough sockets, so nobody has tried this");
        return;
    }
    // One for each driver and one for its key agreements, and some that are for all.
    if !can_have(2 * endpoints + 20) {
        eprintln!("SKIPPED: this process may not start enough threads, so nobody has tried this");
        return;
    }
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
    let executor = smol::LocalExecutor::new();
    smol::block_on(executor.run(async {
        let server = endpoint(&executor, "server");
        let address = server.local_addrs()[0];
        let before = resident();
        let mut kept = Vec::new();
        for number in 0..endpoints {
            let client = endpoint(&executor, &format!("client {number}"));
            let session = client.connect("server", &[address]).await.unwrap();
            let flow = session.open_flow(FlowOptions::new("x"));
            flow.send(vec![1; 10_000]).await.unwrap();
            let accepted = server.accept().await.unwrap();
            let message = accepted.accept_flow().await.unwrap().recv().await.unwrap().unwrap();
            assert_eq!(message.data.len(), 10_000);
            kept.push((client, session, flow, accepted));
        }
        let after = resident();
        println!("{} KiB for each endpoint, {} MiB in all", (after - before) / endpoints / 1_024, after >> 20);
        assert!(after < LIMIT * endpoints, "{after}");
        server.shutdown(Duration::ZERO).await.unwrap();
    }));
}
