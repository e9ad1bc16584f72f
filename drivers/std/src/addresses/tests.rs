use core::sync::atomic::{AtomicU32, Ordering};
use std::fs::File;
use std::os::fd::AsFd as _;
use std::process::{Command, Stdio};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::*;

fn has(text: &str) -> bool {
    Addresses::now().has(text.parse().unwrap())
}

#[test]
fn addresses_of_this_machine_are_found_and_others_are_not() {
    assert!(Addresses::now().listed.is_some_and(|listed| !listed.is_empty()));
    assert!(has("127.0.0.1:9"));
    assert!(has("127.7.7.7:9"), "all of its network are local");
    assert!(!has("192.0.2.77:9") && !has("[2001:db8::77]:9"));
}

/// A network namespace with a link that leads nowhere.
struct Namespace(String);

fn ip(line: &str) -> bool {
    let command = Command::new("ip").args(line.split(' ')).stdin(Stdio::null()).stderr(Stdio::null()).status();
    command.is_ok_and(|status| status.success())
}

impl Namespace {
    fn new() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let namespace = Self(format!("rtmfp-a{}-{number}", std::process::id()));
        let name = &namespace.0;
        let made = ip(&format!("netns add {name}"))
            && ip(&format!("-n {name} link add wire0 type veth peer name wire1"))
            && namespace.change("link set wire0 addrgenmode none")
            && namespace.change("link set wire0 up")
            && namespace.change("link set wire1 up");
        if !made {
            eprintln!("SKIPPED: network namespaces do not work here, so nobody has tried this");
        }
        made.then_some(namespace)
    }

    fn change(&self, line: &str) -> bool {
        ip(&format!("-n {} {line}", self.0))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        ip(&format!("netns del {}", self.0));
    }
}

fn in_a_namespace(test: impl FnOnce(&Namespace) + Send + 'static) {
    let Some(namespace) = Namespace::new() else { return };
    let run = move || {
        let file = File::open(format!("/run/netns/{}", namespace.0)).unwrap();
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        test(&namespace);
    };
    thread::spawn(run).join().unwrap();
}

/// Binding told of an address that was gone that it was there: it needs a scope, or may be bound at any time.
#[test]
fn addresses_that_are_gone_are_not_found_though_binding_does_not_tell() {
    in_a_namespace(|namespace| {
        for family in ["ipv4", "ipv6"] {
            std::fs::write(format!("/proc/sys/net/{family}/ip_nonlocal_bind"), "1").unwrap();
        }
        assert!(UdpSocket::bind("192.0.2.77:0").is_ok(), "anything can be bound");
        for (plain, address) in [("192.0.2.77/24", "192.0.2.77:9"), ("fe80::77/64 nodad", "[fe80::77]:9")] {
            assert!(!has(address), "{address} is not there yet");
            assert!(namespace.change(&format!("addr add dev wire0 {plain}")));
            assert!(has(address));
            let plain = plain.split(' ').next().unwrap();
            assert!(namespace.change(&format!("addr del dev wire0 {plain}")));
            assert!(!has(address), "{address} is gone");
        }
    });
}

#[test]
fn a_link_local_address_is_of_its_link_and_one_that_is_checked_is_not_there_yet() {
    in_a_namespace(|namespace| {
        assert!(namespace.change("addr add dev wire0 fe80::77/64 nodad"));
        let links = netlink::addresses().unwrap();
        let link = links.iter().find(|one| one.ip.to_string() == "fe80::77").unwrap().link;
        assert!(has(&format!("[fe80::77%{link}]:9")) && !has(&format!("[fe80::77%{}]:9", link + 1)));
        assert!(namespace.change("addr add dev wire0 2001:db8::77/64"));
        assert!(!has("[2001:db8::77]:9"), "the system asks whether another host has it");
        while !has("[2001:db8::77]:9") {
            thread::yield_now();
        }
    });
}
