//! Two programs that find each other in a network by what both know, without a server:
//!
//! ```text
//! cargo run -p rtmfp-local --example nearby -- announce 7214 1936
//! cargo run -p rtmfp-local --example nearby -- find 7214
//! ```
//!
//! What to look for: the second names the addresses of the first. The first ends when its input does.

use core::time::Duration;
use std::io::{BufRead as _, stdin};

use rtmfp_local::{Announcement, Search};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["announce", topic, port] => {
            let _announcement = Announcement::new(topic.as_bytes(), port.parse()?)?;
            println!("announced");
            for line in stdin().lock().lines() {
                drop(line?);
            }
        }
        ["find", topic] => {
            let search = Search::new(topic.as_bytes())?;
            let found = search.next_within(Duration::from_secs(10)).ok_or("nobody announces this here")?;
            found.addresses.iter().for_each(|address| println!("found {address}"));
        }
        _ => return Err("say `announce TOPIC PORT` or `find TOPIC`".into()),
    }
    Ok(())
}
