//! How two part whose transfer by a code is done.

use std::io;

use rtmfp_cli::code::{Decision, Receiving, Sending};
use rtmfp_cli::store::StandardOutput;
use rtmfp_cli::tree::{Tree, TreeOptions};
use rtmfp_core::{App, Endpoint, Event, Instant};
use rtmfp_files::transfer::{Sender, SenderOptions};

use super::Duration;
use super::world::{Net, World};

/// Receives from the first who comes, and takes whatever it is.
#[derive(Default)]
struct First(Option<Box<dyn App>>);

impl App for First {
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        if let Event::SessionOpened { session } = event {
            let decide = |_: rtmfp_cli::code::Offer<'_>| {
                Some(Decision::Accept(Box::new(StandardOutput::new(Box::new(io::sink())))))
            };
            self.0.get_or_insert_with(|| Box::new(Receiving::new(session, decide, |_, _| {})));
        }
        if let Some(app) = &mut self.0 {
            app.on_event(now, endpoint, event);
        }
    }

    fn on_wake(&mut self, now: Instant, endpoint: &mut Endpoint) {
        if let Some(app) = &mut self.0 {
            app.on_wake(now, endpoint);
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.0.as_ref().and_then(|app| app.next_timeout())
    }

    fn is_done(&self) -> bool {
        self.0.as_ref().is_some_and(|app| app.is_done())
    }
}

/// The receiver waited two seconds each time, for an event of a close that it had begun itself.
#[test]
fn both_end_as_soon_as_the_last_word_is_heard() {
    let mut world = World::new(Net::default());
    let session = world.open();
    let tree = Tree::new(&TreeOptions { text: Some("hello".to_owned()), ..TreeOptions::default() }).unwrap();
    let sender = Sender::new(session, tree.manifest().clone(), Box::new(tree), SenderOptions::default()).unwrap();
    let (mut sending, mut receiving) = (Sending::new(session, sender, |_| {}), First::default());
    world.run(&mut sending, &mut receiving);
    assert!(sending.outcome().unwrap().is_ok());
    // In virtual time, of which a round trip takes 10 ms.
    assert!(world.now() < Instant::ORIGIN + Duration::from_secs(1), "{:?}", world.now());
}
