//! What a key log gets: enough to open every packet.

extern crate std;

use self::std::sync::Mutex;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use aes::Aes128Dec;
use aes::cipher::{BlockCipherDecrypt, KeyInit};

use super::*;
use crate::profile::checksum::internet_checksum;
use crate::profile::flash::derive::hmac;
use crate::profile::flash::{KeyLog, Protection};

#[derive(Debug, Default)]
struct Lines(Mutex<Vec<String>>);

impl KeyLog for Lines {
    fn log(&self, line: &str) {
        self.0.lock().unwrap().push(line.to_string());
    }
}

/// Opens a packet with no more than the three fields of a line that are for its direction.
fn open_with(fields: &[&str], sealed: &[u8]) -> Vec<u8> {
    let mut blocks = sealed.to_vec();
    if let Some((length, key)) = fields[1].split_once(':') {
        let code = blocks.split_off(sealed.len() - length.parse::<usize>().unwrap());
        assert_eq!(hmac(&hex(key), &[&blocks])[..code.len()], code);
    }
    let cipher = Aes128Dec::new_from_slice(&hex(fields[0])).unwrap();
    let mut plain = Vec::new();
    let mut before = [0; 16];
    for block in blocks.as_chunks::<16>().0 {
        let mut clear = (*block).into();
        cipher.decrypt_block(&mut clear);
        plain.extend(clear.iter().zip(before).map(|(byte, mask)| byte ^ mask));
        before = *block;
    }
    if fields[2] == "seq" {
        assert_eq!(plain.remove(0), 0, "the first packet's number");
    }
    if fields[1] == "-" {
        let rest = plain.split_off(2);
        assert_eq!(internet_checksum(&rest).to_be_bytes(), plain[..]);
        return rest;
    }
    plain
}

#[test]
fn a_line_opens_the_packets_of_both_ends() {
    let (always, never) = (Protection::required(), Protection::never());
    for (hmac, sequence) in [(always, always), (always, never), (never, always), (never, never)] {
        let logs = [Arc::<Lines>::default(), Arc::<Lines>::default()];
        let [initiator, responder] = [0, 1].map(|end| {
            profile(KeyKind::Ephemeral, Group::Modp1024, end as u64, |builder| {
                builder.hmac(hmac).hmac_length(12 + end).sequence_numbers(sequence).key_log(logs[end].clone())
            })
        });
        let mut ends = agree(&initiator, &responder, 3).unwrap();
        let [lines, far_lines] = logs.map(|log| log.0.lock().unwrap().clone());
        assert_eq!(lines.len(), 1, "one line a session");
        assert_eq!(lines, far_lines, "both ends tell the same");
        let fields: Vec<&str> = lines[0].split(' ').collect();
        assert_eq!((fields.len(), fields[0], fields[2], fields[6]), (10, "RTMFP_SESSION", "I", "R"));
        assert_eq!(hex(fields[1]).len(), 32);
        for (sender, fields) in [(&mut ends.0, &fields[3..6]), (&mut ends.1, &fields[7..])] {
            let sealed = seal_one(sender.as_mut(), b"plain packet");
            assert!(is_padded(&open_with(fields, &sealed), b"plain packet"), "{fields:?}");
        }
    }
}

#[test]
fn debug_output_hides_the_line() {
    let log = Arc::<Lines>::default();
    let profile = profile(KeyKind::Static, Group::Modp1024, 1, |builder| builder.key_log(log.clone()));
    let initiation = profile.initiate(profile.certificate(), None, &mut rng(2)).unwrap();
    let response = profile.respond(profile.certificate(), &initiation.component, None, &mut rng(3)).unwrap();
    let shown = alloc::format!("{:?}", response.keys);
    let line = log.0.lock().unwrap().remove(0);
    assert!(line.split(' ').filter(|field| field.len() > 3).all(|field| !shown.contains(field)), "{shown}");
}
