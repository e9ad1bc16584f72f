//! Notices changes of the machine's addresses, links and routes (Linux): one thread for all endpoints of a process.
//!
//! A notice says only that something changed. To learn what it means for an endpoint, the system is asked about the
//! addresses that the endpoint uses. That is the same everywhere, and the system's messages need not be read.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::{io, thread};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};

use crate::clock::Clock;
use crate::notifier::Notifier;

/// Links, and addresses and routes of both families (`RTMGRP_…` of `linux/rtnetlink.h`).
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;

/// Notices that may come in a row, each as soon as the system gives it: a move to another network makes about ten.
const BURST: u32 = 20;
/// After them one comes in this time. Routers change their routes all the time.
const REFILL: Duration = Duration::from_secs(1);
/// What the system says within this time after a notice is one with the next.
const GATHER: Duration = Duration::from_millis(5);

/// Notices that are taken in a row. If more are there, they are one with the next: a flood has a pause too.
const DRAIN: usize = 1_024;

/// Who is told, by a number of its own.
type Subscribers = BTreeMap<u64, Arc<Subscriber>>;

struct Subscriber {
    changed: AtomicBool,
    wake: Box<dyn Fn() + Send + Sync>,
}

/// A thread that waits for notices, and whom it tells.
struct Watcher {
    subscribers: Mutex<Subscribers>,
    next: AtomicU64,
    /// Tells the thread that the watcher has ended.
    ended: Notifier,
    /// The thread has ended before: nobody is told any more.
    failed: AtomicBool,
}

/// The watchers of a process: one for each network namespace that a subscriber came from.
static WATCHERS: Mutex<BTreeMap<u64, Weak<Watcher>>> = Mutex::new(BTreeMap::new());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Is told of changes until it is dropped.
pub(crate) struct Watch {
    watcher: Arc<Watcher>,
    number: u64,
    subscriber: Arc<Subscriber>,
}

impl Watch {
    /// Has `wake` called after changes, on another thread.
    ///
    /// # Errors
    /// As the system tells.
    pub(crate) fn new(wake: impl Fn() + Send + Sync + 'static) -> io::Result<Self> {
        Ok(Self::of(Watcher::of_this_namespace()?, wake))
    }

    fn of(watcher: Arc<Watcher>, wake: impl Fn() + Send + Sync + 'static) -> Self {
        let subscriber = Arc::new(Subscriber { changed: AtomicBool::new(false), wake: Box::new(wake) });
        let number = watcher.next.fetch_add(1, Ordering::Relaxed);
        lock(&watcher.subscribers).insert(number, Arc::clone(&subscriber));
        Self { watcher, number, subscriber }
    }

    /// Whether changes are still noticed.
    pub(crate) fn works(&self) -> bool {
        !self.watcher.failed.load(Ordering::Acquire)
    }

    /// Whether anything changed since the last call.
    pub(crate) fn take_change(&self) -> bool {
        // Asked in every turn: a load is cheaper than a swap.
        self.subscriber.changed.load(Ordering::Acquire) && self.subscriber.changed.swap(false, Ordering::AcqRel)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // What its waker owns is dropped after the lock is.
        let removed = lock(&self.watcher.subscribers).remove(&self.number);
        drop(removed);
    }
}

impl core::fmt::Debug for Watch {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

impl Watcher {
    fn of_this_namespace() -> io::Result<Arc<Self>> {
        let mut watchers = lock(&WATCHERS);
        watchers.retain(|_, watcher| watcher.strong_count() > 0);
        let namespace = namespace();
        if let Some(watcher) = Self::of(&watchers, namespace) {
            return Ok(watcher);
        }
        let watcher = Self::start()?;
        watchers.insert(namespace, Arc::downgrade(&watcher));
        Ok(watcher)
    }

    /// The watcher of a namespace, if it has one that works.
    fn of(watchers: &BTreeMap<u64, Weak<Self>>, namespace: u64) -> Option<Arc<Self>> {
        watchers.get(&namespace)?.upgrade().filter(|watcher| !watcher.failed.load(Ordering::Acquire))
    }

    fn start() -> io::Result<Arc<Self>> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
        Self::over(socket)
    }

    fn with(ended: Notifier) -> Arc<Self> {
        let (subscribers, next) = (Mutex::default(), AtomicU64::new(0));
        Arc::new(Self { subscribers, next, ended, failed: AtomicBool::new(false) })
    }

    fn over(socket: OwnedFd) -> io::Result<Arc<Self>> {
        let ended = Notifier::new()?;
        let watcher = Self::with(ended.clone());
        let weak = Arc::downgrade(&watcher);
        let run = move || {
            // Why is of no use to anybody: changes are not noticed any more, and whoever comes next gets another.
            let _ = watch(&socket, &ended, &weak);
            if let Some(watcher) = weak.upgrade() {
                watcher.failed.store(true, Ordering::Release);
            }
        };
        thread::Builder::new().name("rtmfp-watch".to_owned()).spawn(run)?;
        Ok(watcher)
    }

    /// Tells everybody. A waker may run anything, so nothing is locked then. One that panics is told the next time too,
    /// and keeps none of the others from being told.
    fn tell(&self) {
        let subscribers: Vec<_> = lock(&self.subscribers).values().map(Arc::clone).collect();
        for subscriber in subscribers {
            subscriber.changed.store(true, Ordering::Release);
            // The panic hook has said what there is to say.
            let _ = catch_unwind(AssertUnwindSafe(|| (subscriber.wake)()));
            // Nor does one that panics when it is dropped, if this is the last that holds it.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(subscriber)));
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // It fails only if the system's object is broken, and then the thread has ended.
        let _ = self.ended.notify();
    }
}

/// Limits notices: a burst of [`BURST`], and then one for each [`REFILL`].
struct Pace {
    left: u32,
    refilled: Duration,
}

impl Pace {
    /// How long to wait after a notice at `now`, since any origin.
    fn after_notice(&mut self, now: Duration) -> Duration {
        let refills = now.saturating_sub(self.refilled).as_secs() / REFILL.as_secs();
        if refills > 0 {
            self.left = BURST.min(self.left.saturating_add(u32::try_from(refills).unwrap_or(BURST)));
            self.refilled = now;
        }
        self.left = self.left.saturating_sub(1);
        if self.left == 0 { REFILL } else { GATHER }
    }
}

/// What names the network namespace of this thread.
fn namespace() -> u64 {
    std::fs::metadata("/proc/thread-self/ns/net").map_or(0, |namespace| namespace.ino())
}

/// Until nobody wants to know any more, or the system's notices fail.
fn watch(socket: &OwnedFd, ended: &Notifier, watcher: &Weak<Watcher>) -> io::Result<()> {
    let clock = Clock::new();
    let mut pace = Pace { left: BURST, refilled: Duration::ZERO };
    while watcher.strong_count() > 0 {
        ended.wait([(socket.as_fd(), PollFlags::IN)], None)?;
        if drain(socket)? {
            let Some(watcher) = watcher.upgrade() else { break };
            watcher.tell();
            drop(watcher);
            // Only the end of the watcher ends this early: an overrun of the socket, say, does not.
            ended.wait([], Some(pace.after_notice(Duration::from_micros(clock.now().as_micros()))))?;
        }
    }
    Ok(())
}

/// Takes what the system has said; whether it was anything.
fn drain(socket: &OwnedFd) -> io::Result<bool> {
    let (mut any, mut buffer) = (false, [0_u8; 8_192]);
    for _ in 0..DRAIN {
        match recv(socket, &mut buffer, RecvFlags::empty()) {
            // What it had no room for was something too.
            Ok(_) | Err(Errno::NOBUFS) => any = true,
            Err(Errno::WOULDBLOCK) => return Ok(any),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(any)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn notices_in_a_burst_come_at_once_and_a_flood_of_them_once_a_second() {
        let mut pace = Pace { left: BURST, refilled: Duration::ZERO };
        let mut now = Duration::ZERO;
        let mut notices = 0;
        while now < Duration::from_secs(100) {
            notices += 1;
            now += pace.after_notice(now);
        }
        assert!((100..=125).contains(&notices), "{notices}");
        now += Duration::from_secs(30);
        let quick = (1..BURST).take_while(|_| pace.after_notice(now) == GATHER).count();
        assert_eq!(quick, BURST as usize - 1, "a quiet time makes room for another burst");
    }

    #[test]
    fn all_subscribers_are_told_once_and_the_last_ends_the_watcher() {
        let (woken, wakes) = channel();
        let watcher = Watcher::start().unwrap();
        let watch = |name: &'static str| {
            let woken = woken.clone();
            Watch::of(Arc::clone(&watcher), move || assert_eq!(woken.send(name), Ok(())))
        };
        let (one, two) = (watch("one"), watch("two"));
        one.watcher.tell();
        let told = [wakes.try_recv(), wakes.try_recv()];
        assert!(told.contains(&Ok("one")) && told.contains(&Ok("two")), "{told:?}");
        assert!(one.take_change() && !one.take_change() && two.take_change());
        drop(two);
        one.watcher.tell();
        assert_eq!(wakes.try_iter().collect::<Vec<_>>(), ["one"]);
        drop(one);
        let (notifier, ended) = (watcher.ended.clone(), Arc::downgrade(&watcher));
        drop(watcher);
        assert!(ended.upgrade().is_none());
        // The thread has the other, until it ends.
        while notifier.clones() > 1 {
            thread::yield_now();
        }
    }

    /// Whatever the socket has, and if it has lost something: the pause was over at once then.
    #[test]
    fn a_flood_of_notices_does_not_shorten_its_pauses() {
        let (near, far) = UnixDatagram::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let ended = Notifier::new().unwrap();
        let watcher = Watcher::with(ended.clone());
        let (woken, wakes) = channel();
        // After the last wake that is waited for nobody listens.
        let subscribed = Watch::of(Arc::clone(&watcher), move || {
            let _ = woken.send(());
        });
        let weak = Arc::downgrade(&watcher);
        let (clock, socket) = (Clock::new(), OwnedFd::from(near));
        let begun = clock.now();
        let watching = thread::spawn(move || watch(&socket, &ended, &weak));
        let flood = thread::spawn(move || while far.send(b"news").is_ok() {});
        (0..BURST + 1).for_each(|_| wakes.recv().unwrap());
        assert!(clock.now() >= begun + REFILL);
        drop((subscribed, watcher));
        watching.join().unwrap().unwrap();
        flood.join().unwrap();
    }

    /// It ended the thread, and nobody was told of a change any more.
    #[test]
    fn a_waker_that_panics_keeps_no_other_from_being_told() {
        let (woken, wakes) = channel();
        let watcher = Watcher::start().unwrap();
        let watches: Vec<_> = (0..3)
            .map(|number| {
                let woken = woken.clone();
                Watch::of(Arc::clone(&watcher), move || {
                    assert_ne!(number, 1, "a waker panics");
                    woken.send(number).unwrap();
                })
            })
            .collect();
        for _ in 0..2 {
            watcher.tell();
            assert_eq!(wakes.try_iter().collect::<Vec<_>>(), [0, 2]);
            assert!(watches.iter().all(Watch::take_change));
        }
    }

    /// It was handed out for ever, and changes were noticed no more.
    #[test]
    fn a_watcher_that_has_failed_is_nobodys_any_more() {
        let watching = Watch::of(Watcher::start().unwrap(), || {});
        // Not a socket: to receive from it is an error.
        let failing = Watch::of(Watcher::over(std::fs::File::open("/dev/null").unwrap().into()).unwrap(), || {});
        while failing.works() {
            thread::yield_now();
        }
        assert!(watching.works());
        let watchers = [&watching, &failing].map(|watch| Arc::downgrade(&watch.watcher));
        let watchers = (0..).zip(watchers).collect();
        assert!(Watcher::of(&watchers, 0).is_some() && Watcher::of(&watchers, 1).is_none());
    }

    #[test]
    fn endpoints_of_one_namespace_share_a_thread() {
        let (one, two) = (Watch::new(|| {}).unwrap(), Watch::new(|| {}).unwrap());
        assert!(Arc::ptr_eq(&one.watcher, &two.watcher));
    }
}
