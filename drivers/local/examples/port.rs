//! A port of the gateway, as long as this program runs: `cargo run -p rtmfp-local --example port -- 1936`
//!
//! What to look for: the address outside, and each datagram that comes from there. It ends when its input does.

use std::io::{BufRead as _, Write as _, stdin, stdout};
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;

use rtmfp_local::{PortChange, PortMapping};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = std::env::args().nth(1).map_or(Ok(0), |port| port.parse())?;
    let socket = Arc::new(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))?);
    let mapping = PortMapping::new(socket.local_addr()?.port(), |change| {
        match change {
            PortChange::Mapped { external, by } => println!("mapped {external} by {by}"),
            PortChange::Unmapped(why) => println!("not mapped: {why}"),
            _ => {}
        }
        let _ = stdout().flush();
    })?;
    let heard = Arc::clone(&socket);
    std::thread::spawn(move || {
        let mut buffer = [0; 2_048];
        while let Ok((length, from)) = heard.recv_from(&mut buffer) {
            println!("{length} bytes from {from}");
        }
    });
    for line in stdin().lock().lines() {
        drop(line?);
    }
    drop(mapping);
    println!("given back");
    Ok(())
}
