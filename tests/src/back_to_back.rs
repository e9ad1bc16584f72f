//! Two endpoints with nothing between them: what one sends the other has, at once and always. For measuring what the
//! endpoints themselves cost.

use std::sync::Arc;
use std::time::Duration;

use rtmfp_core::profile::CryptoProfile;
use rtmfp_core::{
    Bytes, Endpoint, EndpointConfig, Event, FlowOptions, Instant, InterfaceId, Path, RecvFlowHandle, RecvMeta,
    SendFlowHandle, Target, TransmitBuf,
};

use crate::duo::{TestRng, home};

/// See the module. Endpoint 0 sends, endpoint 1 receives.
#[derive(Debug)]
pub struct BackToBack {
    /// The endpoints.
    pub endpoints: [Endpoint; 2],
    /// Their time, which goes on by 100 microseconds in each round.
    pub now: Instant,
    /// Bytes of messages that were read.
    pub read: u64,
    written: u64,
    /// Datagrams that passed, by sender.
    pub datagrams: [u64; 2],
    /// Called around each endpoint's work, with its number: true before, false after.
    pub watch: fn(usize, bool),
    flow: Option<SendFlowHandle>,
    from: Option<RecvFlowHandle>,
    buf: TransmitBuf,
    received: Vec<u8>,
}

impl BackToBack {
    /// Two endpoints of which none knows the other.
    ///
    /// # Panics
    /// If the configuration is not valid.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test with a bad configuration should stop")]
    pub fn new(config: &EndpointConfig, profiles: [Arc<dyn CryptoProfile>; 2]) -> Self {
        let now = Instant::from_millis(1_000);
        let mut seed = 0;
        let endpoints = profiles.map(|profile| {
            seed += 1;
            Endpoint::new(config.clone(), profile, Box::new(TestRng(seed)), now).expect("a valid configuration")
        });
        Self {
            endpoints,
            now,
            read: 0,
            written: 0,
            datagrams: [0; 2],
            watch: |_, _| {},
            flow: None,
            from: None,
            buf: TransmitBuf::new(8),
            received: vec![0; 65_536],
        }
    }

    /// Opens a session and, when there is one, a flow.
    ///
    /// # Panics
    /// If that does not succeed.
    #[expect(clippy::expect_used, reason = "a test without a session should stop")]
    pub fn connect(&mut self, discriminator: &[u8]) {
        let path = Path::new(InterfaceId(0), home(1));
        let target = Target::new(discriminator.to_vec(), path);
        let session = self.endpoints[0].open(self.now, target).expect("room for a session");
        while !matches!(self.endpoints[0].poll_event(), Some(Event::SessionOpened { .. })) {
            assert!(self.round() > 0, "no session");
        }
        let mut session = self.endpoints[0].session_mut(self.now, session).expect("a session");
        self.flow = Some(session.open_flow(FlowOptions::new("bulk")).expect("a flow"));
    }

    /// Everything that the two have to say is said, once each; time goes on. Gives the number of datagrams.
    pub fn round(&mut self) -> u64 {
        let mut count = 0;
        for from in 0..2 {
            loop {
                (self.watch)(from, true);
                let transmit = self.endpoints[from].poll_transmit(self.now, &mut self.buf);
                (self.watch)(from, false);
                if transmit.is_none() {
                    break;
                }
                let path = Path::new(InterfaceId(0), home(from));
                (self.watch)(1 - from, true);
                for datagram in self.buf.datagrams() {
                    count += 1;
                    self.datagrams[from] += 1;
                    let received = &mut self.received[..datagram.len()];
                    received.copy_from_slice(datagram);
                    let _ = self.endpoints[1 - from].handle_datagram(self.now, path, RecvMeta::default(), received);
                }
                (self.watch)(1 - from, false);
            }
        }
        self.now += Duration::from_micros(100);
        for index in 0..2 {
            (self.watch)(index, true);
            if self.endpoints[index].poll_timeout().is_some_and(|at| at <= self.now) {
                self.endpoints[index].handle_timeout(self.now);
            }
            (self.watch)(index, false);
        }
        count
    }

    /// Moves at least so many bytes in messages that are like `message`.
    ///
    /// # Panics
    /// If there is no flow.
    #[expect(clippy::expect_used, reason = "a test without a flow should stop")]
    pub fn transfer(&mut self, bytes: u64, message: &Bytes) {
        let end = self.read + bytes;
        let flow = self.flow.expect("a flow");
        while self.read < end {
            (self.watch)(0, true);
            // No more than what is to arrive, so that each call does the same work whatever the window is.
            while self.written < end
                && let Some(mut flow) = self.endpoints[0].send_flow_mut(self.now, flow)
                && flow.write(message.clone()).is_ok()
            {
                self.written += message.len() as u64;
            }
            while self.endpoints[0].poll_event().is_some() {}
            (self.watch)(0, false);
            self.round();
            (self.watch)(1, true);
            while let Some(event) = self.endpoints[1].poll_event() {
                if let Event::FlowOpened { flow } = event {
                    self.from = Some(flow);
                }
            }
            if let Some(mut flow) = self.from.and_then(|flow| self.endpoints[1].recv_flow_mut(self.now, flow)) {
                while let Some(message) = flow.read() {
                    self.read += message.data.len() as u64;
                }
            }
            (self.watch)(1, false);
        }
    }
}
