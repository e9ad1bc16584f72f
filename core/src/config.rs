//! What a user may set, with defaults that are safe to leave alone.

use core::time::Duration;

use bytes::Bytes;

use crate::congestion::CongestionControl;
use crate::error::ConfigError;
use crate::handle::{MessageId, RecvFlowHandle};
use crate::params;
use crate::time::Instant;

/// Settings of an endpoint. Fields are plain data; [`validate`](Self::validate) is called by
/// [`Endpoint::new`](crate::Endpoint::new).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EndpointConfig {
    /// The most sessions at once, opening and lingering ones included. Those that have ended and are kept to be read
    /// give way to new ones, the longest unread first. Default 65,536.
    pub max_sessions: usize,
    /// Of these, sessions that far ends began from one source: an IPv4 address, or a /64 network of IPv6. A /56 network
    /// has one and a half times as many, and a /48 network twice. A session counts where its far end is now, until it is
    /// over or only kept to be read. A further IIKeying from there is dropped. Default `None`: a quarter of
    /// [`max_sessions`](Self::max_sessions), but at least 16.
    pub max_sessions_per_source: Option<usize>,
    /// The most sessions that are opening from this end at once. Default 1,024.
    pub max_opening: usize,
    /// The most sessions in S_OPEN with one address and port, not counting those whose far ends have not shown yet that
    /// they have the keys. A further IIKeying from there is dropped. Default 16, at least 1.
    pub max_sessions_per_address: usize,
    /// How many sessions that peers began may claim one identity, and not show its keys, for as long as a session may be
    /// idle. Those beyond end after 10 s ([`Unproved`](crate::CloseReason::Unproved)), and so do all that begin while there
    /// are half as many sessions as [`max_sessions`](Self::max_sessions). Default 4.
    pub max_unproved_per_identity: usize,
    /// The most candidate addresses of one opening session. Default and most 24 (RFC 7016 §3.5.1.1.1).
    pub max_candidates: usize,
    /// Startup replies (RHello, Redirect, cookie change) a second to unproved addresses, all together; more hellos
    /// than this are dropped. Default 10,000.
    pub max_hello_replies_per_second: u32,
    /// Of these, to one source: an IPv4 address, or a /64 network of IPv6. A /56 network has one and a half times as
    /// many, and a /48 network twice. Hellos that a session hands on count for the address of its far end too.
    /// Default 50.
    pub max_hello_replies_per_source: u32,
    /// A startup reply to an unproved address may be three times as large as the datagram that asks for it (as in
    /// RFC 9000 §8.1). Bytes beyond that, which peers need that do not pad their hellos, are limited to this many a
    /// second, all together. Default 50,000.
    pub max_excess_reply_bytes: u32,
    /// Of these, to one source, and to larger networks as for
    /// [`max_hello_replies_per_source`](Self::max_hello_replies_per_source). Default 2,000: one or two replies with a
    /// certificate of four static keys, a dozen with one.
    pub max_excess_reply_bytes_per_source: u32,
    /// Hellos and pings a second to addresses that others named, in redirects or by hellos that they handed on, all
    /// together. Default 1,000.
    pub max_probes_per_second: u32,
    /// Of these, to one IPv4 address or one /64 network of IPv6, and to larger networks as for
    /// [`max_hello_replies_per_source`](Self::max_hello_replies_per_source). Default 32.
    pub max_probes_per_host: u32,
    /// Pings a second that one session whose far end is looked for sends to such addresses. Default 6.
    pub max_probes_per_session: u32,
    /// Work a second that peers' IIKeyings can cause, all together, in units that the profile defines
    /// ([`respond_cost`](crate::profile::CryptoProfile::respond_cost)): a key agreement of the Flash profile costs 1
    /// with up to 2,048 bits (measured: 0.83 ms) and 5 with 4,096 bits (4.3 ms). One of the modern profile costs 1 (0.16 ms),
    /// and 2 with ML-KEM (0.25 ms). Default 400: a third of a processor.
    pub max_keying_units_per_second: u32,
    /// Of these, for one source, and for larger networks as for
    /// [`max_hello_replies_per_source`](Self::max_hello_replies_per_source): whoever has a cookie can repeat it with
    /// anything that looks like a keying. A key agreement that costs more than this takes all of it. Default 100.
    pub max_keying_units_per_source: u32,
    /// Key agreements of peers' IIKeyings that may wait or be computed at once, if the endpoint
    /// [offloads](crate::Endpoint::offload_key_agreements) them, as the drivers have it do. This is the length of a
    /// queue, not a number of threads. Each address may have one, and one IPv4 address, or one /64 or /48 network of
    /// IPv6, no more than there is room for others then: half of this, if it is the only one and this is more than 1.
    /// Those beyond are dropped, and the peers repeat them. Default 256. With 0 none are offloaded: each, this end's own
    /// too, is computed in the call that needs it, which takes milliseconds.
    pub max_waiting_key_agreements: usize,
    /// Keys to make ahead, as jobs, when no key agreement waits: each is for one session, of either end's opening, and
    /// makes its key agreement a quarter shorter for a responder. Default 0, at most 65,536. Without effect unless the
    /// endpoint [offloads](crate::Endpoint::offload_key_agreements) key agreements.
    pub max_prepared_keys: usize,
    /// How long an opening session tries. Default 95 s, at least 1 s (RFC 7016 §3.5.1.1.1).
    pub open_timeout: Duration,
    /// Whether hellos and keyings from peers are answered at all. Default true; a mere client may say false.
    pub accept: bool,
    /// What to do with a hello for this identity that a forwarder hands on (RFC 7016 §3.5.1.1.2). Default: answer it.
    pub forwarded_hello: ForwardedHelloPolicy,
    /// Whether to introduce: a hello that names the far end of an open session by its Canonical Endpoint
    /// Discriminator is answered with a redirect to that end's address and handed on over the session
    /// (RFC 7016 §3.5.1.6). Default false.
    pub introduce: bool,
    /// How many hellos for others may wait in [`UnmatchedHello`](crate::Event::UnmatchedHello) events at once; with 0,
    /// the default, none are told.
    pub max_unmatched_hellos: usize,
    /// Of these, from one source, and from larger networks as for
    /// [`max_hello_replies_per_source`](Self::max_hello_replies_per_source). Default 64.
    pub max_unmatched_hellos_per_source: usize,
    /// Bytes of memory that all sessions together may take for what they receive: fragments, messages that are not
    /// read, flows, and what it takes to keep track of them. Default 512 MiB, at least 1 MiB.
    ///
    /// A quarter of it is kept for guaranteed shares, one for each of [`max_sessions`](Self::max_sessions). Of the
    /// rest, a session may take as much as it leaves free for others. Sessions whose far end has not proved to have
    /// the keys have a sixteenth of it together. Receive windows shrink with what a session may still take. When three
    /// quarters of the common part are taken, the session that has held most of unfinished messages for longest
    /// without progress is closed ([`Stalled`](crate::CloseReason::Stalled)), if that is longer than
    /// [`scarce_stall_limit`](Self::scarce_stall_limit).
    pub max_recv_memory: usize,
    /// Bytes of memory that all sessions together may take for what they send: messages until they are acknowledged,
    /// what is in flight, flows, and answers that wait. A payload that several messages share counts for each. Default
    /// 512 MiB, at least 1 MiB.
    ///
    /// It is shared like [`max_recv_memory`](Self::max_recv_memory), and when it is short, the session that has held
    /// most of messages not acknowledged for longest without progress is closed.
    pub max_send_memory: usize,
    /// How long a session may be without progress while memory is short. Less than a 64th of what it holds is no
    /// progress. Default 10 s, at least 1 s.
    pub scarce_stall_limit: Duration,
    /// Settings for new sessions, whichever end begins them.
    pub session: SessionConfig,
}

/// The three ways to take a forwarded hello (RFC 7016 §3.5.1.1.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum ForwardedHelloPolicy {
    /// With an RHello, as though it had come from the reply address.
    #[default]
    Answer,
    /// With an Implied Redirect to the reply address: opens the way through this end's NAT, at the cost of a round
    /// trip.
    ImpliedRedirect,
    /// Not at all.
    Ignore,
}

/// Settings of a session.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionConfig {
    /// A ping is sent when nothing was heard from the far end for this long. Default 15 s, which keeps common NAT
    /// mappings open; at least 1 s. The end that was responder waits a little longer, so that only one end pings.
    pub keepalive: Duration,
    /// With data or a ping unanswered for this long the session is closed, and also if only small packets are answered
    /// and data is lost all the time. Default 60 s, at least 1 s.
    pub retransmit_limit: Duration,
    /// Without any flow in either direction for this long the session is closed in order. Default 300 s, at
    /// least 1 s. Until a far end that began the session has shown that it has its keys, 300 s are the most.
    pub idle_limit: Duration,
    /// Receiving flows that are complete when the session ends stay readable. If less than a 64th of what they hold is
    /// read for this long after the session has left S_NEARCLOSE or S_FARCLOSE_LINGER, it is discarded. It is earlier if
    /// memory is short ([`scarce_stall_limit`](EndpointConfig::scarce_stall_limit)) or a new session needs the place of
    /// this one ([`max_sessions`](EndpointConfig::max_sessions)). Default 120 s, at least 1 s.
    pub unread_limit: Duration,
    /// The datagram (UDP payload, bytes) that fragments are cut for, once a probe has shown that the path carries it; at
    /// most 1,000 bytes before. Default 1,200, at least 576 and at most 65,507.
    pub base_datagram: usize,
    /// The largest datagram that path MTU discovery may find (RFC 7016 §3.5.4.3). Default 1,452, at most 65,507; not
    /// above `base_datagram`, nothing is probed, and paths are trusted to carry that.
    pub max_datagram: usize,
    /// The most sending flows, lingering ones included. Default 4,096.
    pub max_send_flows: usize,
    /// The most receiving flows, lingering ones included; data of further flows is not acknowledged. Default 1,024.
    pub max_recv_flows: usize,
    /// The most that the receive window of a new receiving flow may be, in bytes (RFC 7016 §3.6.3, BUFFER_CAPACITY).
    /// Default 16 MiB.
    ///
    /// A window begins with 262,144 bytes, or this if it is less. It doubles when more than a quarter of it is read in a
    /// round trip, if that is faster than before. All windows of a session together grow by no more than half of
    /// [`max_recv_bytes`](Self::max_recv_bytes), and not while half of the common part of the endpoint's
    /// [`max_recv_memory`](EndpointConfig::max_recv_memory) is taken. One that is not used shrinks again. While a window is
    /// full and a message waits to be read, the sender is stopped.
    ///
    /// A long message, or what comes after a loss, can fill a window before there is anything to read. One flow at a time
    /// may then use what `max_recv_bytes` has left, until there is a message to read. A reserve of 256 KiB stays for
    /// others, or a sixteenth if that is less. It may not while windows do not grow for want of the endpoint's memory.
    pub recv_buffer: usize,
    /// Bytes of memory that received messages and fragments of all flows together may take, with what it takes to keep
    /// track of them; what comes beyond is not acknowledged. If that is needed for messages that are not complete, and
    /// none of them makes progress, flows are rejected with code 0 until the others go on. Default 16 MiB.
    ///
    /// It limits the length of messages: a flow with one that does not fit is rejected with code 0. A far end cannot know
    /// the limit before, as RFC 7016 has no word for it.
    pub max_recv_bytes: usize,
    /// Bytes of acknowledgements for each byte received, at most; beside them one datagram each round trip. What more is
    /// to be acknowledged waits. Default 2, at least 1.
    pub max_ack_expansion: u32,
    /// A session is closed as [`UnrepairedGaps`](crate::CloseReason::UnrepairedGaps) if what it received has more gaps
    /// than `max_recv_bytes` holds pairs of datagrams of the base size, and for this long not as many are closed.
    /// Default 10 s, at least 1 s.
    pub gap_limit: Duration,
    /// The most that a new sending flow buffers, in bytes of messages that are not acknowledged, sent or not. It limits
    /// what is in flight, so it is to be large enough for the path. Default 16 MiB.
    pub send_buffer: usize,
    /// Bytes of a new sending flow that may wait to be sent for the first time: while there are as many, writes are
    /// refused. What is in flight does not count, so a writer keeps any path busy, and what it writes waits no longer
    /// than these take to leave. [`FlowWritable`](crate::Event::FlowWritable) comes when half of them have left. It is
    /// what `TCP_NOTSENT_LOWAT` is for TCP. Default 131,072, at least 1.
    pub unsent_limit: usize,
    /// Bytes of memory that messages of all sending flows together may take until they are acknowledged, with what it
    /// takes to keep track of them. A message of any size is taken while there is no other. Default 64 MiB.
    pub max_send_bytes: usize,
    /// How long a far end may take next to nothing of what waits for it, less than a 64th, before the session is
    /// closed ([`Stalled`](crate::CloseReason::Stalled)). A far end that answers, and whose receive window is closed,
    /// may be suspended for hours (RFC 7016 §3.6.3.5). Default `None`: for ever, unless memory is short; at least 1 s.
    pub stall_limit: Option<Duration>,
    /// For peers of the Mona family (MonaServer2, MonaServer, Cumulus, librtmfp). Default false.
    ///
    /// They read a timestamp in every packet of a session, whatever its flags say (RFC 7016 §2.2.4): all are stamped,
    /// with an echo if there is one. They close a session on a buffer probe or on a window of zero: neither is sent.
    /// They know no ECN report: nothing is marked.
    pub mona: bool,
    /// Which congestion controller sessions have. Default [`Bbr`](CongestionControl::Bbr).
    pub congestion: CongestionControl,
    /// The most bytes of user data a second that a session sends, whatever its congestion controller: its packets are spread
    /// accordingly. Bytes count as in [`pacing_rate`](crate::SessionStats::pacing_rate): acknowledgements, headers and
    /// encryption come on top. [`set_max_rate`](crate::SessionMut::set_max_rate) changes it later. Default `None`: no limit;
    /// at least 1,200.
    pub max_rate: Option<u64>,
    /// Whether data packets are sent ECT(0) and congestion marks are reported and answered. Default true.
    pub ecn: bool,
}

/// Sending priority of a flow (RFC 7016 §3.6.1.2): strict between levels, fair within one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(u8)]
pub enum Priority {
    /// Yields to everything.
    Background = 0,
    /// Bulk transfer.
    Bulk = 1,
    /// Below routine.
    Low = 2,
    /// The default.
    #[default]
    Routine = 3,
    /// Above routine.
    Elevated = 4,
    /// Interactive.
    High = 5,
    /// Real-time media.
    Immediate = 6,
    /// Before all else.
    Urgent = 7,
}

impl Priority {
    /// How many levels there are.
    pub const LEVELS: usize = 8;

    /// The level as a number, 0 the lowest.
    #[must_use]
    pub const fn level(self) -> usize {
        self as usize
    }
}

/// What a new sending flow is to be like (RFC 7016 §3.6.2.1).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct FlowOptions {
    /// The flow's name, at most 512 bytes (RFC 7016 §2.3.11.1.1).
    pub metadata: Bytes,
    /// The receiving flow that this one answers (RFC 7016 §2.3.11.1.2).
    pub association: Option<RecvFlowHandle>,
    /// Sending priority; can be changed at any time.
    pub priority: Priority,
    /// Whether its packets are marked time critical (RFC 7016 §2.2.4, §3.5.2.1).
    pub time_critical: bool,
    /// Bytes of messages that may be buffered; `None` takes the session's setting. One message of any size is
    /// always taken while the buffer is empty.
    pub send_buffer: Option<usize>,
    /// Bytes that may wait to be sent for the first time ([`unsent_limit`](SessionConfig::unsent_limit)); `None` takes
    /// the session's setting.
    pub unsent_limit: Option<usize>,
}

impl FlowOptions {
    /// A routine flow of this name.
    #[must_use]
    pub fn new(metadata: impl Into<Bytes>) -> Self {
        Self { metadata: metadata.into(), ..Self::default() }
    }

    /// The same, in answer to a receiving flow (RFC 7016 §2.3.11.1.2).
    #[must_use]
    pub fn in_return_to(mut self, flow: RecvFlowHandle) -> Self {
        self.association = Some(flow);
        self
    }

    /// The same, at this priority.
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// The same, marked time critical (RFC 7016 §3.5.2.1).
    #[must_use]
    pub fn time_critical(mut self) -> Self {
        self.time_critical = true;
        self
    }

    /// The same, with a send buffer of this many bytes.
    #[must_use]
    pub fn send_buffer(mut self, bytes: usize) -> Self {
        self.send_buffer = Some(bytes);
        self
    }

    /// The same, with writes refused while so many bytes were never sent.
    #[must_use]
    pub fn unsent_limit(mut self, bytes: usize) -> Self {
        self.unsent_limit = Some(bytes);
        self
    }
}

/// How one message is to be sent (RFC 7016 §3.6.1.2, §3.6.2.7). The default is full reliability.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct SendOptions {
    /// Abandon the message if no part of it was sent by then.
    pub start_by: Option<Instant>,
    /// Abandon the message if it is not delivered by then.
    pub finish_by: Option<Instant>,
    /// Whether lost fragments are sent again; if not, a loss abandons the message.
    pub retransmit: bool,
    /// Abandon the message if that earlier one of the same flow is abandoned, as a predicted frame depends on its
    /// reference.
    pub after: Option<MessageId>,
    /// Report the outcome in [`MessageDone`](crate::Event::MessageDone).
    pub receipt: bool,
}

impl Default for SendOptions {
    fn default() -> Self {
        Self { start_by: None, finish_by: None, retransmit: true, after: None, receipt: false }
    }
}

/// The order in which a receiving flow delivers messages (RFC 7016 §3.6.3.3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum ReceiveOrder {
    /// The order in which they were written.
    #[default]
    Queuing,
    /// The order in which they are completed by the network.
    Network,
}

impl Default for EndpointConfig {
    fn default() -> Self {
        Self {
            max_sessions: 65_536,
            max_sessions_per_source: None,
            max_opening: 1_024,
            max_sessions_per_address: 16,
            max_unproved_per_identity: 4,
            max_candidates: params::REDIRECT_THRESHOLD,
            max_hello_replies_per_second: 10_000,
            max_hello_replies_per_source: 50,
            max_excess_reply_bytes: 50_000,
            max_excess_reply_bytes_per_source: 2_000,
            max_probes_per_second: 1_000,
            max_probes_per_host: 32,
            max_probes_per_session: 6,
            max_keying_units_per_second: 400,
            max_keying_units_per_source: 100,
            max_waiting_key_agreements: 256,
            max_prepared_keys: 0,
            open_timeout: params::ULTIMATE_OPEN_TIMEOUT,
            accept: true,
            forwarded_hello: ForwardedHelloPolicy::Answer,
            introduce: false,
            max_unmatched_hellos: 0,
            max_unmatched_hellos_per_source: 64,
            max_recv_memory: 512 * 1_024 * 1_024,
            max_send_memory: 512 * 1_024 * 1_024,
            scarce_stall_limit: Duration::from_secs(10),
            session: SessionConfig::default(),
        }
    }
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            keepalive: Duration::from_secs(15),
            retransmit_limit: Duration::from_secs(60),
            idle_limit: Duration::from_secs(300),
            unread_limit: Duration::from_secs(120),
            base_datagram: params::DATAGRAM_BASE,
            max_datagram: params::DATAGRAM_MAX,
            max_send_flows: 4_096,
            max_recv_flows: 1_024,
            recv_buffer: 16 * 1_024 * 1_024,
            max_recv_bytes: 16 * 1_024 * 1_024,
            max_ack_expansion: 2,
            gap_limit: Duration::from_secs(10),
            send_buffer: 16 * 1_024 * 1_024,
            unsent_limit: 131_072,
            max_send_bytes: 64 * 1_024 * 1_024,
            stall_limit: None,
            mona: false,
            congestion: CongestionControl::default(),
            max_rate: None,
            ecn: true,
        }
    }
}

impl EndpointConfig {
    /// Checks every field against its range.
    ///
    /// # Errors
    /// Names the first field that is out of range, and its rule.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let rule = |ok: bool, field, rule| if ok { Ok(()) } else { Err(ConfigError { field, rule }) };
        rule((1..=1 << 24).contains(&self.max_sessions), "max_sessions", "must be 1 to 16,777,216")?;
        rule(self.max_opening >= 1, "max_opening", "must be at least 1")?;
        let per_source = self.max_sessions_per_source;
        rule(per_source.is_none_or(|most| most >= 1), "max_sessions_per_source", "must be at least 1")?;
        rule(self.max_sessions_per_address >= 1, "max_sessions_per_address", "must be at least 1")?;
        rule((1..=params::REDIRECT_THRESHOLD).contains(&self.max_candidates), "max_candidates", "must be 1 to 24")?;
        let offloads = self.max_waiting_key_agreements > 0 || self.max_prepared_keys == 0;
        rule(offloads, "max_prepared_keys", "must be 0 unless max_waiting_key_agreements is more than 0")?;
        rule(self.max_prepared_keys <= 65_536, "max_prepared_keys", "must be at most 65,536")?;
        rule(self.open_timeout >= Duration::from_secs(1), "open_timeout", "must be at least 1 s")?;
        rule(self.max_recv_memory >= 1 << 20, "max_recv_memory", "must be at least 1 MiB")?;
        rule(self.max_send_memory >= 1 << 20, "max_send_memory", "must be at least 1 MiB")?;
        rule(self.scarce_stall_limit >= Duration::from_secs(1), "scarce_stall_limit", "must be at least 1 s")?;
        self.session.validate()
    }
}

impl SessionConfig {
    /// Checks every field against its range.
    ///
    /// # Errors
    /// Names the first field that is out of range, and its rule.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let rule = |ok: bool, field, rule| if ok { Ok(()) } else { Err(ConfigError { field, rule }) };
        let second = Duration::from_secs(1);
        rule(self.keepalive >= second, "keepalive", "must be at least 1 s")?;
        rule(self.retransmit_limit >= second, "retransmit_limit", "must be at least 1 s")?;
        rule(self.idle_limit >= second, "idle_limit", "must be at least 1 s")?;
        rule(self.unread_limit >= second, "unread_limit", "must be at least 1 s")?;
        rule((576..=65_507).contains(&self.base_datagram), "base_datagram", "must be 576 to 65,507")?;
        rule(self.max_datagram <= 65_507, "max_datagram", "must be at most 65,507")?;
        rule((1..=1 << 20).contains(&self.max_send_flows), "max_send_flows", "must be 1 to 1,048,576")?;
        rule(self.max_recv_flows <= 1 << 20, "max_recv_flows", "must be at most 1,048,576")?;
        rule(self.stall_limit.is_none_or(|limit| limit >= second), "stall_limit", "must be at least 1 s")?;
        rule(self.max_recv_bytes >= 65_536, "max_recv_bytes", "must be at least 65,536")?;
        let slowest = params::LEAST_RATE;
        rule(self.max_rate.is_none_or(|rate| rate >= slowest), "max_rate", "must be at least 1,200")?;
        rule(self.unsent_limit >= 1, "unsent_limit", "must be at least 1")?;
        rule(self.max_ack_expansion >= 1, "max_ack_expansion", "must be at least 1")?;
        rule(self.gap_limit >= second, "gap_limit", "must be at least 1 s")
    }
}

#[cfg(test)]
mod tests;
