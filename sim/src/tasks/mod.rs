//! Programs written against the asynchronous handles, as nodes of a world.
//!
//! A [`Tasks`] node runs an [`rtmfp_smol::Driver`] and the tasks that hold its handles by a small executor of its own. They
//! have the world's network, and its clock ([`rtmfp_smol::Endpoint::sleep`]): a minute passes in as long as it takes to
//! compute. Which of the tasks that could go on is next is drawn from a seed, the driver being one of them. Each seed is
//! another order in which things might have happened, and shows it again.

mod reactor;

use core::fmt;
use core::future::Future;
use core::net::SocketAddr;
use core::pin::Pin;
use core::task::{Context, Waker};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Wake;

use datagram_sim::{Key, NetChange, Node, RxMeta, Stream, Time, Tx};
use rtmfp_core::{Endpoint, Instant, InterfaceId, Path, RecvMeta};

use self::reactor::{Arrived, SimReactor, Wire};
use crate::rtmfp::{instant, time};

/// What tasks do at one instant before they are taken to do it for ever.
const STEPS: u64 = 1_000_000;
/// About one poll in so many comes without a reason.
const STRAY_POLLS: u64 = 16;

/// A task on its own.
type Boxed = Pin<Box<dyn Future<Output = ()> + Send>>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A node that runs an endpoint's driver, and the tasks that use the endpoint.
pub struct Tasks {
    tasks: BTreeMap<u64, (Boxed, Waker)>,
    begun: u64,
    spawner: Spawner,
    wire: Arc<Mutex<Wire>>,
    order: Stream,
    runaway: bool,
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks").field("tasks", &self.tasks.len()).finish_non_exhaustive()
    }
}

/// Begins tasks; clones begin them at the same node.
#[derive(Clone)]
pub struct Spawner {
    queue: Arc<Queue>,
    wire: Arc<Mutex<Wire>>,
}

impl fmt::Debug for Spawner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spawner").finish_non_exhaustive()
    }
}

/// What wakers and spawners write to.
#[derive(Default)]
struct Queue {
    spawned: Mutex<Vec<Boxed>>,
    /// Tasks that can go on.
    ready: Mutex<Vec<u64>>,
}

struct TaskWaker {
    task: u64,
    queue: Arc<Queue>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        let mut ready = lock(&self.queue.ready);
        if !ready.contains(&self.task) {
            ready.push(self.task);
        }
    }
}

impl Spawner {
    /// The time of the node's clock.
    #[must_use]
    pub fn now(&self) -> Instant {
        lock(&self.wire).now
    }

    /// Begins a task. It ends with the world at the latest.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        lock(&self.queue.spawned).push(Box::pin(task));
    }
}

impl Tasks {
    /// A node for an endpoint with these local addresses, in the order of its interfaces, all with the same port. `begin`
    /// is given the first handle, and spawns what is to run from the start. `key` draws the order of all that happens.
    pub fn new(
        endpoint: Endpoint,
        locals: Vec<SocketAddr>,
        key: Key,
        begin: impl FnOnce(rtmfp_smol::Endpoint, &Spawner),
    ) -> Self {
        let wire = Arc::new(Mutex::new(Wire::new()));
        let spawner = Spawner { queue: Arc::default(), wire: Arc::clone(&wire) };
        let port = locals.first().map_or(0, SocketAddr::port);
        let budgets = key.sub(1).stream();
        let reactor = SimReactor { endpoint, port, wire: Arc::clone(&wire), budgets, woken: true };
        let (handle, driver) = rtmfp_smol::Endpoint::over(locals, reactor);
        spawner.spawn(async move {
            // The reactor has no errors.
            let _ = driver.await;
        });
        begin(handle, &spawner);
        Self { tasks: BTreeMap::new(), begun: 0, spawner, wire, order: key.sub(0).stream(), runaway: false }
    }

    /// How many tasks have not ended. The driver is one of them: it ends when all handles are dropped.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        self.tasks.len() + lock(&self.spawner.queue.spawned).len()
    }

    /// Whether tasks kept one another busy without an end while no time passed. Nothing of this node runs any more then.
    #[must_use]
    pub const fn ran_away(&self) -> bool {
        self.runaway
    }

    /// Takes up tasks that were spawned. They can go on at once.
    fn take_up(&mut self) {
        for task in core::mem::take(&mut *lock(&self.spawner.queue.spawned)) {
            let waker = Arc::new(TaskWaker { task: self.begun, queue: Arc::clone(&self.spawner.queue) });
            lock(&self.spawner.queue.ready).push(self.begun);
            self.tasks.insert(self.begun, (task, waker.into()));
            self.begun += 1;
        }
    }

    /// Draws one of the tasks that can go on.
    fn draw(&mut self) -> Option<u64> {
        let mut ready = lock(&self.spawner.queue.ready);
        let drawn = usize::try_from(self.order.below(ready.len() as u64)).unwrap_or_default();
        (drawn < ready.len()).then(|| ready.remove(drawn))
    }

    /// Goes on until all wait.
    fn run(&mut self, now: Time) {
        lock(&self.wire).now = instant(now);
        if self.runaway {
            return;
        }
        for _ in 0..STEPS {
            self.take_up();
            let Some(task) = self.draw() else { return };
            self.poll(task);
            // Wakers may wake for nothing, and futures have to bear that.
            let stray = self.order.below(STRAY_POLLS * (self.begun + 1));
            if stray < self.begun {
                self.poll(stray);
            }
        }
        self.runaway = true;
    }

    fn poll(&mut self, task: u64) {
        let Some((future, waker)) = self.tasks.get_mut(&task) else { return };
        if future.as_mut().poll(&mut Context::from_waker(waker)).is_ready() {
            self.tasks.remove(&task);
        }
    }
}

impl Node for Tasks {
    fn on_start(&mut self, now: Time) {
        self.run(now);
    }

    fn on_datagram(&mut self, now: Time, meta: &RxMeta, bytes: &mut [u8]) {
        let path = Path::new(InterfaceId(meta.interface), meta.remote);
        let meta = RecvMeta { ecn: rtmfp_core::Ecn::from_bits(meta.ecn as u8) };
        let mut wire = lock(&self.wire);
        wire.arrived.push_back(Arrived { path, meta, bytes: bytes.to_vec() });
        wire.wake();
        drop(wire);
        self.run(now);
    }

    fn on_timeout(&mut self, now: Time) {
        lock(&self.wire).wake();
        self.run(now);
    }

    fn on_network_change(&mut self, now: Time, change: NetChange) {
        if let NetChange::InterfaceUp { interface, .. } = change {
            let mut wire = lock(&self.wire);
            wire.changed.push(InterfaceId(interface));
            wire.wake();
            drop(wire);
            self.run(now);
        }
    }

    fn poll_transmit(&mut self, _now: Time, out: &mut Vec<u8>) -> Option<Tx> {
        let (tx, datagram) = lock(&self.wire).leaving.pop_front()?;
        out.extend_from_slice(&datagram);
        Some(tx)
    }

    fn poll_timeout(&self) -> Option<Time> {
        let wire = lock(&self.wire);
        let (_, deadline) = wire.waiting.as_ref().filter(|_| !self.runaway)?;
        deadline.map(time)
    }
}
