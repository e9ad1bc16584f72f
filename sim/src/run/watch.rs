//! Watches the trace of a run: keeps the log's time, and what happens on each lane.
#![expect(clippy::wildcard_enum_match_arm, reason = "only some records are watched")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use datagram_sim::{DropCause, Duration, Ecn, Observer, Record, RecordKind, Time};

use super::amplification::Amplification;
use super::log::SharedRunLog;
use crate::rtmfp::ViolationLog;

/// What one direction of a link saw.
#[derive(Clone, Debug, Default)]
pub struct LaneLog {
    /// Packets that entered.
    pub entered: u64,
    /// Bytes on the wire of those that arrived.
    pub arrived_bytes: u64,
    /// Packets that were lost.
    pub dropped: u64,
    /// The largest IP packet that entered.
    pub largest: u32,
    /// When the first entered and the last arrived.
    pub span: (Time, Time),
    /// Time on the lane of each packet that arrived, and when it did.
    pub transit: Vec<(Time, Duration)>,
    /// When packets were lost, and why.
    pub losses: Vec<(Time, DropCause)>,
}

/// A packet that a node sent or got, for captures and ladders.
#[derive(Clone, Debug)]
pub struct Seen {
    /// World time.
    pub time: Time,
    /// What happened to it: sent, delivered, or lost.
    pub kind: RecordKind,
    /// Device, or twice the link plus direction.
    pub place: u32,
    /// Whether `place` is a link.
    pub on_link: bool,
    /// Its identity in the world.
    pub uid: u64,
    /// Source as seen there.
    pub src: core::net::SocketAddr,
    /// Destination as seen there.
    pub dst: core::net::SocketAddr,
    /// Its ECN field.
    pub ecn: Ecn,
    /// The UDP payload.
    pub bytes: Vec<u8>,
}

/// All that was watched.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    /// By twice the link's number plus direction.
    pub lanes: BTreeMap<u32, LaneLog>,
    /// The first packets, if they are kept.
    pub packets: Vec<Seen>,
    /// How many of them to keep.
    pub keep: usize,
    /// Records around here are kept as text.
    pub window: Option<(u64, u64)>,
    /// Those.
    pub lines: Vec<String>,
    /// The largest datagram sent, by device.
    pub largest_sent: BTreeMap<u32, usize>,
}

/// The observer of a run.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) log: SharedRunLog,
    pub(super) watched: Rc<RefCell<Watched>>,
    pub(super) violations: ViolationLog,
    pub(super) amplification: Amplification,
}

impl Watch {
    fn set_now(&self, now: Time) {
        self.log.with(|log| log.now = now);
        self.violations.set_now(now);
    }
}

impl Observer for Watch {
    fn on_wake(&mut self, now: Time) {
        self.set_now(now);
    }

    fn on_record(&mut self, record: &Record, bytes: &[u8]) {
        self.set_now(record.time);
        let mut watched = self.watched.borrow_mut();
        if watched.window.is_some_and(|(from, to)| (from..to).contains(&record.index)) {
            watched.lines.push(record.to_string());
        }
        let Some(packet) = record.packet else { return };
        if record.on_link {
            let lane = watched.lanes.entry(record.place).or_default();
            match record.kind {
                RecordKind::Entered => {
                    if lane.entered == 0 {
                        lane.span.0 = record.time;
                    }
                    lane.entered += 1;
                    lane.largest = lane.largest.max(packet.wire_len);
                }
                RecordKind::Arrived => {
                    lane.arrived_bytes += u64::from(packet.wire_len);
                    lane.span.1 = record.time;
                    lane.transit.push((record.time, record.time.since(packet.entered)));
                }
                RecordKind::Dropped(cause) => {
                    lane.dropped += 1;
                    lane.losses.push((record.time, cause));
                }
                _ => {}
            }
        }
        if record.kind == RecordKind::Delivered {
            self.amplification.got(record.time, record.place, packet.src, bytes);
        }
        if record.kind == RecordKind::Sent {
            // There are other limits on what goes where an introducer says.
            let fault = self.amplification.sent(record.time, record.place, packet.dst, bytes);
            if let Some(fault) = fault.filter(|_| !self.violations.is_introduced(packet.dst)) {
                self.violations.report(&fault);
            }
            let largest = watched.largest_sent.entry(record.place).or_default();
            *largest = (*largest).max(bytes.len());
        }
        let wanted = matches!(
            record.kind,
            RecordKind::Sent | RecordKind::Delivered | RecordKind::Dropped(_) | RecordKind::Entered
        );
        if wanted && watched.packets.len() < watched.keep {
            watched.packets.push(Seen {
                time: record.time,
                kind: record.kind,
                place: record.place,
                on_link: record.on_link,
                uid: packet.uid,
                src: packet.src,
                dst: packet.dst,
                ecn: packet.ecn,
                bytes: bytes.to_vec(),
            });
        }
    }
}
