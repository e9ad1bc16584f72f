//! What 8 MiB in flight take, compared with 1 MiB: memory for each byte, and acknowledgements for each packet. With
//! `RTMFP_LONG=1` there are 64 MiB in flight.

use rtmfp_tests::counting::held;
use rtmfp_tests::pipe::{Line, Pipe};

const MIB: usize = 1 << 20;

/// Bytes that both ends hold for each byte in flight, and bytes that come back for each packet.
fn costs(in_flight: usize, message: usize, line: Line) -> (f64, f64) {
    let before = held();
    let mut pipe = Pipe::new(in_flight, message, line);
    let mut most = 0;
    for _ in 0..50 {
        pipe.packets(in_flight as u64 / 1_100 / 25 + 1);
        most = most.max(held() - before - pipe.line_memory() as isize);
    }
    let (ack_bytes, packets) = (pipe.ack_bytes, 50 * (in_flight as u64 / 1_100 / 25 + 1));
    let costs = (most as f64 / in_flight as f64, ack_bytes as f64 / packets as f64);
    println!("{} MiB, messages of {message}, {line:?}: {costs:.2?}", in_flight / MIB);
    costs
}

/// Messages that wait for a loss are held by the receiver: as much as is in flight, once more.
#[test]
fn memory_and_acknowledgements_are_in_proportion_to_what_is_in_flight() {
    let large = if std::env::var_os("RTMFP_LONG").is_some() { 64 * MIB } else { 8 * MIB };
    let one = |line: Line, message: usize| {
        let (_, few) = costs(MIB, message, line);
        let (memory, many) = costs(large, message, line);
        assert!(memory < 4.0, "{memory} bytes for each in flight: {line:?}, messages of {message}");
        assert!(many < 2.0 * few.max(80.0), "{many} bytes come back for each packet, {few} with less in flight");
    };
    // One after the other they take longer than all other tests of this program.
    std::thread::scope(|scope| {
        for (line, message) in [(Line::Clean, 16_384), (Line::Lossy, 1_000), (Line::Reordering, 1_000)] {
            scope.spawn(move || one(line, message));
        }
    });
}
