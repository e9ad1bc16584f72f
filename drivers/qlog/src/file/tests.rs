//! Slow, full and broken files.

use super::*;
use crate::event::VantagePoint;
use rtmfp_core::error::DropReason;
use std::sync::Mutex;
use std::sync::mpsc::channel;

const HEADER: Header<'static> = Header { title: "test", vantage_point: VantagePoint::Unknown, began: None };
const EVENT: TraceEvent<'static> = TraceEvent::ChunkDropped { reason: DropReason::Unexpected };

/// Writes when it is let, into memory.
struct Slow {
    let_go: Receiver<()>,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _always = self.let_go.recv();
        self.written.lock().map_err(|_| io::ErrorKind::Other)?.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The records of a file, as JSON.
fn records(bytes: &[u8]) -> Vec<serde_json::Value> {
    let text = core::str::from_utf8(bytes).unwrap();
    let records: Vec<_> = text.split('\u{1e}').collect();
    assert_eq!(records[0], "", "each record begins with the separator");
    records[1..].iter().map(|record| serde_json::from_str(record.strip_suffix('\n').unwrap()).unwrap()).collect()
}

#[test]
fn a_disk_that_stands_still_holds_nobody_up_and_what_is_lost_is_counted() {
    let (let_go, gate) = channel();
    let written = Arc::new(Mutex::new(Vec::new()));
    let slow = Slow { let_go: gate, written: Arc::clone(&written) };
    let (file, mut sink) = QlogFile::start(slow, &HEADER, u64::MAX, |_| {}).unwrap();
    const EVENTS: u64 = 100_000;
    for at in 0..EVENTS {
        sink.event(Instant::from_micros(at), None, &EVENT);
        assert!(sink.held.len() < MAX_HELD + 1_000);
    }
    assert!(sink.lost_now > 0, "all of it had room");
    drop(let_go);
    // There is room again once the disk goes on: what is lost is said there.
    while sink.lost_now > 0 {
        sink.event(Instant::from_micros(EVENTS), None, &EVENT);
        thread::yield_now();
    }
    drop(sink);
    let Err(QlogError::Lost(lost)) = file.finish() else { panic!("nothing was lost") };
    let records = records(&written.lock().unwrap());
    let told: Vec<_> = records.iter().filter(|record| record["name"] == "rtmfp:events_lost").collect();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["data"]["count"], lost);
    // The header and the note are no events; some more came than were counted above.
    let kept = records.len() as u64 - 2;
    assert!(kept + lost > EVENTS && kept > 1_000, "{kept} kept, {lost} lost");
    let times: Vec<f64> = records[1..].iter().map(|record| record["time"].as_f64().unwrap()).collect();
    assert!(times.is_sorted());
}

#[test]
fn an_error_is_told_at_once_and_at_the_end() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (tell, told) = channel();
    let (file, mut sink) =
        QlogFile::start(Full, &HEADER, u64::MAX, move |error| tell.send(error.kind()).unwrap()).unwrap();
    // The second is too late to go with the first.
    sink.event(Instant::from_millis(1_000), None, &EVENT);
    assert_eq!(told.recv().unwrap(), io::ErrorKind::StorageFull);
    for second in 2..100 {
        sink.event(Instant::from_millis(second * 1_000), None, &EVENT);
    }
    assert!(sink.broken && sink.held.is_empty());
    drop(sink);
    assert!(matches!(file.finish(), Err(QlogError::Write(error)) if error.kind() == io::ErrorKind::StorageFull));
}

#[test]
fn what_a_sink_holds_is_written_when_it_is_dropped() {
    let (let_go, gate) = channel();
    drop(let_go);
    let written = Arc::new(Mutex::new(Vec::new()));
    let (file, mut sink) =
        QlogFile::start(Slow { let_go: gate, written: Arc::clone(&written) }, &HEADER, u64::MAX, |_| {}).unwrap();
    sink.event(Instant::from_micros(1), None, &EVENT);
    drop(sink);
    file.finish().unwrap();
    assert_eq!(records(&written.lock().unwrap()).len(), 2);
}

#[test]
fn a_file_ends_though_its_sink_lives() {
    let (file, sink) = QlogFile::start(io::sink(), &HEADER, u64::MAX, |_| {}).unwrap();
    file.finish().unwrap();
    drop(sink);
}

#[test]
fn a_file_ends_at_its_greatest_size_and_says_what_is_missing() {
    const MAX: u64 = 10_000;
    let (let_go, gate) = channel();
    drop(let_go);
    let written = Arc::new(Mutex::new(Vec::new()));
    let slow = Slow { let_go: gate, written: Arc::clone(&written) };
    let (file, mut sink) = QlogFile::start(slow, &HEADER, MAX, |_| {}).unwrap();
    const EVENTS: u64 = 1_000;
    (1..=EVENTS).for_each(|at| sink.event(Instant::from_millis(at), None, &EVENT));
    drop(sink);
    let Err(QlogError::Full { max_bytes: MAX, lost }) = file.finish() else { panic!("there was room for all") };
    let written = written.lock().unwrap();
    let records = records(&written);
    let last = records.last().unwrap();
    assert_eq!(last["name"], "rtmfp:events_lost");
    assert_eq!((&last["time"], &last["data"]["count"]), (&(EVENTS as f64).into(), &lost.into()));
    // But for the header and that record, all are events.
    assert_eq!(records.len() as u64 - 2 + lost, EVENTS);
    let end = written.iter().rposition(|byte| *byte == 0x1e).unwrap() as u64;
    let event = written[..end as usize].iter().rev().position(|byte| *byte == 0x1e).unwrap() as u64 + 1;
    assert!((MAX - event..=MAX).contains(&end), "{end} bytes, {event} of them in the last event");
}
