//! What a process has used.

use core::time::Duration;
use std::sync::OnceLock;

/// Processor time of this process, user and system, all threads.
#[cfg(unix)]
pub(super) fn cpu_time() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

/// Processor time of this process; not known on this system.
#[cfg(not(unix))]
pub(super) fn cpu_time() -> Duration {
    Duration::ZERO
}

/// Processor time of this thread, user and system.
#[cfg(unix)]
pub(super) fn thread_time() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// Processor time of this thread; not known on this system.
#[cfg(not(unix))]
pub(super) fn thread_time() -> Duration {
    Duration::ZERO
}

/// Waits until something may have come, for a tenth of a second at most.
#[cfg(unix)]
pub(super) fn wait_readable(socket: &std::net::UdpSocket) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let tenth = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    // Whatever it says, the socket is asked next.
    let _ = poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&tenth));
}

/// Lets others work until something may have come.
#[cfg(not(unix))]
pub(super) fn wait_readable(_socket: &std::net::UdpSocket) {
    std::thread::yield_now();
}

/// A clock finer than the core's, from any origin.
#[cfg(unix)]
pub(super) fn wall_time() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default()
}

/// A clock from any origin.
#[cfg(not(unix))]
pub(super) fn wall_time() -> Duration {
    static CLOCK: std::sync::LazyLock<rtmfp_std::Clock> = std::sync::LazyLock::new(rtmfp_std::Clock::new);
    Duration::from_micros(CLOCK.now().as_micros())
}

/// Memory of this process in bytes, of which the kernel tells in `/proc`: `VmRSS` now, `VmHWM` at most. Zero where it
/// does not.
pub(super) fn memory(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()).unwrap_or(0) * 1_024
}

/// The processor that is left for the far end, which inherits that this one may use no other than its own.
static FOR_THE_FAR_END: OnceLock<usize> = OnceLock::new();
/// Tells the far end of it.
const PROCESSOR: &str = "RTMFP_BENCH_PROCESSOR";

/// Keeps this process on one processor: the near end on the last but one that it may use, the far end on the last, as
/// the near end has it. Does nothing if there is only one, or the system has no such thing.
pub(super) fn pin(far: bool) {
    #[cfg(target_os = "linux")]
    {
        use rustix::thread::{CpuSet, sched_getaffinity};
        let Ok(allowed) = sched_getaffinity(None) else { return };
        let own = if far {
            std::env::var(PROCESSOR).ok().and_then(|cpu| cpu.parse().ok())
        } else {
            let mut cpus = (0..CpuSet::MAX_CPU).rev().filter(|cpu| allowed.is_set(*cpu));
            let (last, before) = (cpus.next(), cpus.next());
            if let (Some(last), Some(_)) = (last, before) {
                let _ = FOR_THE_FAR_END.set(last);
            }
            before
        };
        pin_to(own);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = far;
}

/// Keeps this thread on the processor that is left for the far end.
pub(super) fn pin_beside() {
    #[cfg(target_os = "linux")]
    pin_to(FOR_THE_FAR_END.get().copied());
}

#[cfg(target_os = "linux")]
fn pin_to(processor: Option<usize>) {
    use rustix::thread::{CpuSet, sched_setaffinity};
    if let Some(processor) = processor.filter(|cpu| *cpu < CpuSet::MAX_CPU) {
        let mut one = CpuSet::new();
        one.set(processor);
        // A wish: without it the figures are only noisier.
        let _ = sched_setaffinity(None, &one);
    }
}

/// What the far end is to find in its environment.
pub(super) fn for_the_far_end() -> Option<(&'static str, String)> {
    FOR_THE_FAR_END.get().map(|cpu| (PROCESSOR, cpu.to_string()))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::thread::sched_getaffinity;

    /// Both ends were on one processor, and every figure of two processes was that of taking turns.
    #[test]
    fn the_far_end_has_a_processor_of_its_own() {
        let allowed = sched_getaffinity(None).unwrap().count();
        super::pin(false);
        let own = sched_getaffinity(None).unwrap();
        match super::for_the_far_end() {
            Some((_, cpu)) => assert!(own.count() == 1 && !own.is_set(cpu.parse().unwrap())),
            None => assert_eq!(allowed, 1),
        }
    }
}
