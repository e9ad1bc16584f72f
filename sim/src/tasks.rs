//! Programs written against the asynchronous handles, as nodes of a world.
//!
//! [`Tasks`] is the application of an endpoint as [`rtmfp_smol`] runs it over sockets, and beside it a small executor for
//! the tasks that hold the handles. Time is the world's ([`rtmfp_smol::Endpoint::sleep`]), so a minute passes in as long
//! as it takes to compute. Of the tasks that could go on, and the endpoint's own work, the next is drawn from a seed:
//! each seed is another order in which things might have happened, and shows it again.
//!
//! What is not simulated is the loop around the sockets, [`rtmfp_smol::Driver`].

use core::fmt;
use core::future::Future;
use core::net::SocketAddr;
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Waker};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Wake;

use datagram_sim::Stream;
use rtmfp_core::{App, Endpoint, Event, Instant};
use rtmfp_std::EndpointApp;

/// What tasks do at one instant before they are taken to do it for ever.
const STEPS: u64 = 1_000_000;
/// About one poll in so many comes without a reason.
const STRAY_POLLS: u64 = 16;

/// A task on its own.
type Boxed = Pin<Box<dyn Future<Output = ()> + Send>>;

/// An endpoint's handles, and the tasks that use them.
pub struct Tasks {
    app: EndpointApp,
    tasks: BTreeMap<u64, (Boxed, Waker)>,
    begun: u64,
    spawner: Spawner,
    order: Stream,
    runaway: bool,
}

/// Begins tasks; clones begin them at the same node.
#[derive(Clone, Debug)]
pub struct Spawner(Arc<Shared>);

/// What wakers and spawners write to.
struct Shared {
    spawned: Mutex<Vec<Boxed>>,
    /// Tasks that can go on, in no order that would matter.
    ready: Mutex<Vec<u64>>,
    /// The endpoint's side has commands.
    commands: AtomicBool,
    now: Mutex<Instant>,
}

impl Shared {
    fn new() -> Self {
        Self {
            spawned: Mutex::default(),
            ready: Mutex::default(),
            commands: AtomicBool::default(),
            now: Mutex::new(Instant::ORIGIN),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks").field("app", &self.app).field("tasks", &self.tasks.len()).finish_non_exhaustive()
    }
}

struct TaskWaker {
    task: u64,
    shared: Arc<Shared>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        let mut ready = lock(&self.shared.ready);
        if !ready.contains(&self.task) {
            ready.push(self.task);
        }
    }
}

/// What can be done next.
enum Step {
    /// The endpoint's side: commands of the handles, and its deadlines.
    Endpoint,
    Task(u64),
}

impl Spawner {
    /// The time of the node's clock.
    #[must_use]
    pub fn now(&self) -> Instant {
        *lock(&self.0.now)
    }

    /// Begins a task. It ends with the world at the latest.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        lock(&self.0.spawned).push(Box::pin(task));
    }
}

impl Tasks {
    /// The application of an endpoint with these local addresses, in the order of its interfaces. `begin` is given the
    /// first handle, and spawns what is to run from the start. `order` draws what goes on next.
    pub fn new(locals: Vec<SocketAddr>, order: Stream, begin: impl FnOnce(rtmfp_smol::Endpoint, &Spawner)) -> Self {
        let shared = Arc::new(Shared::new());
        let commands = Arc::clone(&shared);
        let (app, handle) = EndpointApp::new(locals, move || commands.commands.store(true, Ordering::Relaxed));
        let spawner = Spawner(shared);
        begin(handle.into(), &spawner);
        Self { app, tasks: BTreeMap::new(), begun: 0, spawner, order, runaway: false }
    }

    /// How many tasks have not ended.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        self.tasks.len() + lock(&self.spawner.0.spawned).len()
    }

    /// Whether tasks kept one another busy without an end while no time passed. Nothing of this node runs any more then.
    #[must_use]
    pub const fn ran_away(&self) -> bool {
        self.runaway
    }

    /// Takes up tasks that were spawned. They can go on at once.
    fn take_up(&mut self) {
        for task in core::mem::take(&mut *lock(&self.spawner.0.spawned)) {
            let waker = Arc::new(TaskWaker { task: self.begun, shared: Arc::clone(&self.spawner.0) });
            lock(&self.spawner.0.ready).push(self.begun);
            self.tasks.insert(self.begun, (task, waker.into()));
            self.begun += 1;
        }
    }

    /// Draws one of what can be done now.
    fn draw(&mut self, now: Instant) -> Option<Step> {
        let due = self.app.next_timeout().is_some_and(|due| due <= now);
        let endpoint = due || self.spawner.0.commands.load(Ordering::Relaxed);
        let mut ready = lock(&self.spawner.0.ready);
        let choices = ready.len() + usize::from(endpoint);
        if choices == 0 {
            return None;
        }
        let drawn = usize::try_from(self.order.below(choices as u64)).unwrap_or_default();
        if drawn < ready.len() {
            return Some(Step::Task(ready.remove(drawn)));
        }
        self.spawner.0.commands.store(false, Ordering::Relaxed);
        Some(Step::Endpoint)
    }

    /// Goes on until all wait.
    fn run(&mut self, now: Instant, endpoint: &mut Endpoint) {
        *lock(&self.spawner.0.now) = now;
        for _ in 0..STEPS {
            self.take_up();
            match self.draw(now) {
                Some(Step::Endpoint) => self.app.on_wake(now, endpoint),
                Some(Step::Task(task)) => self.poll(task),
                None => return,
            }
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

impl App for Tasks {
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        self.app.on_event(now, endpoint, event);
        if !self.runaway {
            self.run(now, endpoint);
        }
    }

    fn on_wake(&mut self, now: Instant, endpoint: &mut Endpoint) {
        self.app.on_wake(now, endpoint);
        if !self.runaway {
            self.run(now, endpoint);
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        if self.runaway { None } else { self.app.next_timeout() }
    }

    fn is_done(&self) -> bool {
        self.app.is_done()
    }
}
