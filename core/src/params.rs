//! Every constant of the protocol, named, with its source.

use core::time::Duration;

/// Default for an opening session's whole startup (RFC 7016 §3.5.1.1.1, "ultimate open timeout").
pub const ULTIMATE_OPEN_TIMEOUT: Duration = Duration::from_secs(95);
/// Wait between the first and the second IHello to one address, and likewise for IIKeying. The RFC leaves it open.
pub const HELLO_FIRST_INTERVAL: Duration = Duration::from_secs(1);
/// Added to the interval between each attempt (RFC 7016 §3.5.1.1.1, at least 1.5 s).
pub const HELLO_BACKOFF_STEP: Duration = Duration::from_millis(1_500);
/// Added to that, at most, and different for each opening, so that those of many ends drift apart.
pub const HELLO_BACKOFF_DRIFT: Duration = Duration::from_millis(500);
/// The most candidate addresses that redirects may bring the set to (RFC 7016 §3.5.1.1.1, REDIRECT_THRESHOLD).
pub const REDIRECT_THRESHOLD: usize = 24;
/// Length of the tags sent in hellos (RFC 7016 §3.5.1.1.1: at least 8 bytes).
pub const TAG_LEN: usize = 16;
/// The shortest tag of a hello that is answered (RFC 7016 §3.5.1.1.1: "at least 8 bytes").
pub const TAG_MIN: usize = 8;
/// Length that hellos are padded to in bytes, as plain packets. Peers may answer a datagram with three times its bytes
/// before its address is proved, and an RHello with a certificate of four static keys takes 1,340.
pub const HELLO_LEN: usize = 464;
/// How long a responder's cookie is good for (RFC 7016 §3.5.1.1.2: at least 95 s).
pub const COOKIE_LIFETIME: Duration = Duration::from_secs(95);
/// The longest certificate that is taken from a far end: it is kept for as long as the session. The RFCs leave it
/// open; one with static keys in four groups has about 1,200 bytes.
pub const CERTIFICATE_MAX: usize = 8_192;
/// The longest session key component, and the longest signature, of a keying: both may wait for their key agreement.
/// The RFCs leave it open; a public key of the largest group has 512 bytes.
pub const COMPONENT_MAX: usize = 4_096;
/// Packets of a session kept while its RIKeying has not arrived yet, each of at most [`DATAGRAM_MAX`] bytes, or as many
/// as are probed for if that is more.
pub const EARLY_PACKETS: usize = 18;

/// MRTO before the first measurement (RFC 7016 §3.5.2.2).
pub const MRTO_INIT: Duration = Duration::from_millis(250);
/// ERTO before the first measurement (RFC 7016 §3.5.2.2).
pub const ERTO_INIT: Duration = Duration::from_secs(3);
/// The least ERTO (RFC 7016 §3.5.2.2).
pub const ERTO_MIN: Duration = Duration::from_millis(250);
/// The cap of the ERTO's exponential backoff (RFC 7016 §3.5.2.2).
pub const ERTO_BACKOFF_CAP: Duration = Duration::from_secs(10);
/// Allowance in MRTO for the receiver's delayed acknowledgement (RFC 7016 §3.5.2.2).
pub const MRTO_ALLOWANCE: Duration = Duration::from_millis(200);
/// A timestamp older than this is not echoed (RFC 7016 §3.5.2.2).
pub const TIMESTAMP_ECHO_MAX_AGE: Duration = Duration::from_secs(128);
/// The longest that an acknowledgement is delayed (RFC 7016 §3.6.3.4.4).
pub const DELAYED_ACK: Duration = Duration::from_millis(200);
/// Received data packets that make an acknowledgement due at once (RFC 7016 §3.6.3.2).
pub const ACK_EVERY_PACKETS: u32 = 2;
/// Data packets that may be sent between two acknowledgements (RFC 7016 §3.5.2.3).
pub const BURST_PACKETS: u16 = 6;
/// Negative acknowledgements that make a fragment lost (RFC 7016 §3.6.2.5).
pub const NAK_LOSS_THRESHOLD: usize = 3;
/// How long a time critical notification, sent or received, has effect (RFC 7016 §3.5.2.1, appendix A).
pub const TIME_CRITICAL_MEMORY: Duration = Duration::from_millis(800);

/// How long a far end may take to show that it has the keys of a session that opened beside another one.
pub const PROOF_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest that a session may be without flows whose far end began it and has not shown yet that it has its keys.
pub const UNPROVED_IDLE_LIMIT: Duration = Duration::from_secs(300);

/// Between mobility checks (RFC 7016 §3.5.4.2).
pub const MOBILITY_CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// The oldest mobility check whose answer counts (RFC 7016 §3.5.4.2).
pub const MOBILITY_CHECK_MAX_AGE: Duration = Duration::from_secs(120);

/// Between Session Close Requests in S_NEARCLOSE (RFC 7016 §3.5.5).
pub const CLOSE_RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// The longest stay in S_NEARCLOSE (RFC 7016 §3.5.5).
pub const NEARCLOSE_TIMEOUT: Duration = Duration::from_secs(90);
/// The stay in S_FARCLOSE_LINGER (RFC 7016 §3.5.5).
pub const FARCLOSE_LINGER: Duration = Duration::from_secs(19);

/// A completed sending flow keeps its flow ID this long (RFC 7016 §3.6.2.11).
pub const SEND_FLOW_LINGER: Duration = Duration::from_secs(130);
/// A completed receiving flow keeps its flow ID this long (RFC 7016 §3.6.3.8).
pub const RECV_FLOW_LINGER: Duration = Duration::from_secs(120);
/// A sending flow's view of the receive window before the first acknowledgement (RFC 7016 §3.6.2).
pub const RX_BUFFER_INIT: u64 = 65_536;
/// The unit of receive window advertisements (RFC 7016 §2.3.13).
pub const WINDOW_BLOCK: u64 = 1_024;
/// The most metadata that a flow may have (RFC 7016 §2.3.11.1.1).
pub const METADATA_MAX: usize = 512;
/// The first interval between buffer probes; the greater of this and ERTO counts (RFC 7016 §3.6.2.9.1).
pub const BUFFER_PROBE_INIT: Duration = Duration::from_secs(1);
/// The longest interval between buffer probes; the greater of this and ERTO counts (RFC 7016 §3.6.2.9.1).
pub const BUFFER_PROBE_MAX: Duration = Duration::from_secs(60);
/// User data options below this type that are not understood make a flow be rejected (RFC 7016 §2.3.11.1).
pub const OPTION_CRITICAL_BELOW: u64 = 8_192;

/// A fragmented packet may take this long to arrive as long as it progresses (RFC 7016 §3.4).
pub const FRAGMENT_REASSEMBLY_TIMEOUT: Duration = Duration::from_secs(60);
/// A fragmented packet with no new fragment for this long no longer progresses (RFC 7016 §3.4).
pub const FRAGMENT_PROGRESS_TIMEOUT: Duration = Duration::from_secs(1);
/// The largest packet put together from fragments (RFC 7016 §3.4).
pub const FRAGMENT_PACKET_MAX: usize = 65_536;
/// Startup packets to one endpoint in each [`STARTUP_RATE_PERIOD`] (RFC 7016 §3.4).
pub const STARTUP_RATE_PACKETS: u32 = 4;
/// Startup bytes to one endpoint in each [`STARTUP_RATE_PERIOD`] (RFC 7016 §3.4).
pub const STARTUP_RATE_BYTES: usize = 4_380;
/// See [`STARTUP_RATE_PACKETS`] (RFC 7016 §3.4).
pub const STARTUP_RATE_PERIOD: Duration = Duration::from_millis(200);

/// The datagram size (UDP payload) that most paths carry: fits the IPv6 minimum MTU of 1280.
pub const DATAGRAM_BASE: usize = 1_200;
/// The datagram size (UDP payload) that fragments are cut for before a path is known to carry the base size.
pub const DATAGRAM_SAFE: usize = 1_000;
/// The datagram size (UDP payload) that path MTU discovery tries for by default: Ethernet under IPv6.
pub const DATAGRAM_MAX: usize = 1_452;

/// A target rate is less by this part than what congestion control allows, so that what waits at the sender drains.
pub const TARGET_MARGIN: u64 = 16;
/// A target rate that is larger by more than this part is told.
pub const TARGET_RISE: u64 = 8;
/// A target rate that is smaller by more than this part is told: sooner, as a sender that does not hear of it fills queues.
pub const TARGET_FALL: u64 = 16;

/// Data is paced at no rate slower than this, in bytes a second: a packet each second.
pub const LEAST_RATE: u64 = 1_200;
