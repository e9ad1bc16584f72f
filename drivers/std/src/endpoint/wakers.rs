//! Tasks that wait for a change.

use core::task::{Context, Waker};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rtmfp_core::Bytes;

/// Tasks to wake when something changes. Registering one, and forgetting it, takes constant time.
#[derive(Debug, Default)]
pub(crate) struct WakerSet {
    slots: Option<Arc<Mutex<Slots>>>,
    due: Due,
}

/// Wakers to call, and wakers and payloads to drop. Any of it may run a program's own code, so whoever has these drops
/// them when nothing is locked.
#[derive(Debug, Default)]
pub(crate) struct Due {
    woken: Vec<Waker>,
    left: Vec<Left>,
}

/// What is to be dropped.
#[derive(Debug)]
#[expect(dead_code, reason = "it is only held until it may be dropped")]
enum Left {
    Waker(Waker),
    Payload(Bytes),
}

impl Drop for Due {
    fn drop(&mut self) {
        core::mem::take(&mut self.woken).into_iter().for_each(Waker::wake);
        self.left.clear();
    }
}

#[derive(Debug, Default)]
struct Slots {
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
    /// How often all were woken: places given before are void.
    round: u64,
}

/// What a `poll_…` call is waited for with: it remembers where the task is registered, and forgets the task when it is
/// dropped. Each future, or each blocking call, has one of its own.
#[derive(Debug, Default)]
pub struct Waiter(Option<Place>);

#[derive(Debug)]
struct Place {
    set: Arc<Mutex<Slots>>,
    round: u64,
    index: usize,
}

impl WakerSet {
    /// Has the task woken at the next [`wake`](Self::wake), unless `waiter` is dropped before.
    pub(crate) fn add(&mut self, context: &Context<'_>, waiter: &mut Waiter) {
        let set = self.slots.get_or_insert_default();
        if waiter.0.as_ref().is_some_and(|place| !Arc::ptr_eq(&place.set, set)) {
            self.due.left.extend(waiter.leave().map(Left::Waker));
        }
        let mut slots = lock(set);
        let place = waiter.0.as_ref().filter(|place| place.round == slots.round).map(|place| place.index);
        let index = match place {
            Some(index) => index,
            None => slots.take_place(),
        };
        let round = slots.round;
        let known = slots.wakers.get_mut(index);
        let replaced = match known {
            Some(Some(waker)) if waker.will_wake(context.waker()) => None,
            Some(waker) => waker.replace(context.waker().clone()),
            None => None,
        };
        drop(slots);
        self.due.left.extend(replaced.map(Left::Waker));
        waiter.0 = Some(Place { set: Arc::clone(set), round, index });
    }

    /// Wakes all when what is [due](Self::take_due) is dropped.
    pub(crate) fn wake(&mut self) {
        let Some(set) = &self.slots else { return };
        let mut slots = lock(set);
        slots.round += 1;
        slots.free = Vec::new();
        let wakers = core::mem::take(&mut slots.wakers);
        drop(slots);
        self.due.woken.extend(wakers.into_iter().flatten());
    }

    /// Has a payload freed when what is [due](Self::take_due) is dropped.
    pub(crate) fn free(&mut self, payload: Bytes) {
        self.due.left.push(Left::Payload(payload));
    }

    /// Adds what is due to tasks of another set.
    pub(crate) fn defer(&mut self, mut due: Due) {
        self.due.woken.append(&mut due.woken);
        self.due.left.append(&mut due.left);
    }

    /// What has come together, to be dropped when nothing is locked.
    pub(crate) fn take_due(&mut self) -> Due {
        core::mem::take(&mut self.due)
    }

    /// Tasks that are registered.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.slots.as_ref().map_or(0, |set| lock(set).wakers.iter().flatten().count())
    }
}

fn lock(slots: &Mutex<Slots>) -> MutexGuard<'_, Slots> {
    slots.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Slots {
    fn take_place(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.wakers.push(None);
            self.wakers.len() - 1
        })
    }
}

impl Waiter {
    /// Leaves the set, and gives back the waker that was there.
    fn leave(&mut self) -> Option<Waker> {
        let Place { set, round, index } = self.0.take()?;
        let mut slots = lock(&set);
        if slots.round != round {
            return None;
        }
        let left = slots.wakers.get_mut(index).and_then(Option::take);
        slots.free.push(index);
        if slots.free.len() == slots.wakers.len() {
            (slots.free, slots.wakers) = (Vec::new(), Vec::new());
            // The places that were given are void with their memory.
            slots.round += 1;
        }
        left
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        drop(self.leave());
    }
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn slots(set: &WakerSet) -> usize {
        set.slots.as_ref().map_or(0, |slots| lock(slots).wakers.capacity())
    }

    fn wake(set: &mut WakerSet) {
        set.wake();
        drop(set.take_due());
    }

    #[test]
    fn every_task_is_woken_once_and_those_that_left_are_not() {
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let context = Context::from_waker(&waker);
        let mut set = WakerSet::default();
        wake(&mut set);
        let mut waiters: Vec<_> = (0..10).map(|_| Waiter::default()).collect();
        for waiter in &mut waiters {
            set.add(&context, waiter);
            set.add(&context, waiter);
        }
        assert_eq!(set.len(), 10);
        waiters.truncate(7);
        wake(&mut set);
        assert_eq!(count.0.load(Ordering::SeqCst), 7);
        wake(&mut set);
        assert_eq!(count.0.load(Ordering::SeqCst), 7, "once");
        // A place of an earlier round is another's now.
        let mut other = Waiter::default();
        set.add(&context, &mut other);
        drop(waiters);
        assert_eq!(set.len(), 1);
        wake(&mut set);
        assert_eq!(count.0.load(Ordering::SeqCst), 8);
    }

    #[test]
    fn a_waiter_is_in_one_set_at_a_time_and_with_its_last_waker() {
        let (first, second) = (Arc::new(Count::default()), Arc::new(Count::default()));
        let (waker, later) = (Waker::from(Arc::clone(&first)), Waker::from(Arc::clone(&second)));
        let (mut a, mut b, mut waiter) = (WakerSet::default(), WakerSet::default(), Waiter::default());
        a.add(&Context::from_waker(&waker), &mut waiter);
        a.add(&Context::from_waker(&later), &mut waiter);
        assert_eq!(a.len(), 1);
        b.add(&Context::from_waker(&later), &mut waiter);
        assert_eq!((a.len(), b.len()), (0, 1));
        wake(&mut b);
        assert_eq!((first.0.load(Ordering::SeqCst), second.0.load(Ordering::SeqCst)), (0, 1));
    }

    #[test]
    fn those_that_left_take_no_memory() {
        let mut set = WakerSet::default();
        for _ in 0..300_000 {
            set.add(&Context::from_waker(Waker::noop()), &mut Waiter::default());
        }
        assert_eq!((set.len(), slots(&set)), (0, 0));
        let mut staying = Waiter::default();
        set.add(&Context::from_waker(Waker::noop()), &mut staying);
        for _ in 0..300_000 {
            set.add(&Context::from_waker(Waker::noop()), &mut Waiter::default());
        }
        assert!(set.len() == 1 && slots(&set) < 10, "{}", slots(&set));
    }

    /// With a scan this takes hours.
    #[test]
    fn a_hundred_thousand_tasks_register_and_leave() {
        let mut set = WakerSet::default();
        let mut waiters: Vec<_> = (0..100_000).map(|_| Waiter::default()).collect();
        for _ in 0..3 {
            for waiter in &mut waiters {
                set.add(&Context::from_waker(Waker::noop()), waiter);
            }
        }
        assert_eq!(set.len(), 100_000);
        drop(waiters);
        assert_eq!(slots(&set), 0);
    }
}
