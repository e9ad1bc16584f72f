//! Settings, from a file or from a program.

use core::fmt;
use core::net::SocketAddr;
use core::ops::RangeInclusive;
use core::time::Duration;
use std::io;
use std::path::{Path, PathBuf};

use rtmfp_core::EndpointConfig;
use rtmfp_meet::{Limits, Rate, RelayLimits};
use serde::{Deserialize, Deserializer, de};

use crate::probes::ProbeAddress;

/// Hellos for others that wait to be decided on, and how many of them from one source.
const HELLOS: usize = 1_024;
const HELLOS_PER_SOURCE: usize = 64;
/// How often a quiet session is asked for a sign of life: NATs keep their bindings for longer than this.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// How long a client may be silent, at least, before it counts as gone. A phone that changes networks takes a while.
const SILENCE: Duration = Duration::from_secs(60);
/// The window of a flow, which carries short questions only.
const WINDOW: usize = 64 << 10;
/// All that a session holds of what was received and not read, or sent and not acknowledged.
const SESSION_BYTES: usize = 256 << 10;
/// Sessions that open from here at once: introductions do.
const OPENING: usize = 256;

/// What a server is told. In a file it is TOML with the same names, with `-` for `_`; unknown names are errors.
///
/// ```
/// let config = rtmfp_server::Config::parse("max-sessions = 500\n[limits]\nnumbers = 100\n")?;
/// assert_eq!((config.max_sessions, config.limits.numbers), (500, 100));
/// assert!(rtmfp_server::Config::parse("max-session = 500").is_err());
/// # Ok::<(), rtmfp_server::ConfigError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Config {
    /// Local addresses. Default: none, which leaves it to the program.
    pub listen: Vec<SocketAddr>,
    /// Local addresses of a second endpoint with the Flash profile (RFC 7425), for the program that makes it. Default: none,
    /// and there is no such endpoint.
    pub listen_flash: Vec<SocketAddr>,
    /// Further local addresses, from which `rtmfp doctor` has probes sent: best another port of an address of
    /// [`listen`](Self::listen), and another address. Default: none.
    pub probe_listen: Vec<ProbeAddress>,
    /// The file with the server's identity, for the program that makes the endpoint. Default: none.
    pub identity: Option<PathBuf>,
    /// The file with the [tokens](crate::Tokens) of those who may use the server. Default: none, and everybody may.
    pub tokens: Option<PathBuf>,
    /// Where metrics and health are served over HTTP. Default: nowhere.
    pub http: Option<SocketAddr>,
    /// Sessions at once, of [`SESSIONS`](Self::SESSIONS). Default 20,000.
    #[serde(deserialize_with = "sessions")]
    pub max_sessions: usize,
    /// A session that has had no flow for so long is closed. In a file in seconds, at least 1. Default: a day.
    #[serde(deserialize_with = "seconds")]
    pub idle: Duration,
    /// What may be asked for over sessions.
    #[serde(deserialize_with = "limits")]
    pub limits: Limits,
    /// What is relayed. A file that has this table, empty or not, relays. Default: nothing.
    #[serde(deserialize_with = "relay")]
    pub relay: Option<RelayLimits>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            listen_flash: Vec::new(),
            probe_listen: Vec::new(),
            identity: None,
            tokens: None,
            http: None,
            max_sessions: 20_000,
            idle: Duration::from_secs(86_400),
            limits: Limits::default(),
            relay: None,
        }
    }
}

impl Config {
    /// What [`max_sessions`](Self::max_sessions) can be.
    pub const SESSIONS: RangeInclusive<usize> = 16..=1_000_000;

    /// Reads settings from text.
    ///
    /// # Errors
    /// It is not TOML, or a setting is unknown or has a value that it cannot have.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|error| ConfigError::Syntax(error.to_string()))
    }

    /// Reads settings from a file.
    ///
    /// # Errors
    /// As [`parse`](Self::parse), and if the file cannot be read.
    pub fn read(file: &Path) -> Result<Self, ConfigError> {
        Self::parse(&std::fs::read_to_string(file).map_err(ConfigError::Unreadable)?)
    }

    /// The limits of the rendezvous service, with those of its relay.
    #[must_use]
    pub const fn rendezvous(&self) -> Limits {
        let mut limits = self.limits;
        limits.relay = self.relay;
        limits
    }

    /// Changes an endpoint's settings to those of a server: many sessions of which each does little.
    pub fn apply(&self, endpoint: &mut EndpointConfig) {
        endpoint.accept = true;
        endpoint.max_sessions = self.max_sessions;
        endpoint.max_opening = OPENING;
        endpoint.max_unmatched_hellos = HELLOS;
        endpoint.max_unmatched_hellos_per_source = HELLOS_PER_SOURCE;
        let session = &mut endpoint.session;
        session.keepalive = KEEPALIVE;
        session.retransmit_limit = session.retransmit_limit.max(SILENCE);
        session.recv_buffer = WINDOW;
        session.max_recv_bytes = SESSION_BYTES;
        session.send_buffer = WINDOW;
        session.max_send_bytes = SESSION_BYTES;
        // Who is registered here may have no flow, and is kept until it leaves or does not answer.
        session.idle_limit = self.idle;
    }
}

/// Why settings cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    Unreadable(io::Error),
    /// It does not say what it should; where, and what is wrong.
    Syntax(String),
}

impl core::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => error.fmt(f),
            Self::Syntax(error) => f.write_str(error.trim_end()),
        }
    }
}

fn sessions<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    let (least, most) = (Config::SESSIONS.start(), Config::SESSIONS.end());
    let sessions = usize::deserialize(from)?;
    let error = || de::Error::custom(format_args!("must be {least} to {most} sessions"));
    Config::SESSIONS.contains(&sessions).then_some(sessions).ok_or_else(error)
}

fn seconds<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    match u32::deserialize(from)? {
        0 => Err(de::Error::custom("at least 1 second")),
        seconds => Ok(Duration::from_secs(seconds.into())),
    }
}

fn limits<'de, D: Deserializer<'de>>(from: D) -> Result<Limits, D::Error> {
    LimitsText::deserialize(from).map(Limits::from)
}

/// The least bytes a second that relay the longest datagram.
const LEAST_RATE: u64 = 10_000;

fn rate<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let rate = u64::deserialize(from)?;
    let error = || de::Error::custom(format_args!("must be at least {LEAST_RATE} bytes a second"));
    (rate >= LEAST_RATE).then_some(rate).ok_or_else(error)
}

fn relay<'de, D: Deserializer<'de>>(from: D) -> Result<Option<RelayLimits>, D::Error> {
    RelayText::deserialize(from).map(|text| Some(text.into()))
}

/// [`Limits`] as a file has them.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct LimitsText {
    numbers_per_session: usize,
    numbers: usize,
    requests_per_source: RateText,
    requests: RateText,
    sources: usize,
    permits: usize,
}

/// [`RelayLimits`] as a file has them.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct RelayText {
    circuits: usize,
    circuits_per_session: usize,
    circuits_per_source: usize,
    bytes_per_session: u64,
    #[serde(deserialize_with = "rate")]
    rate_per_session: u64,
    #[serde(deserialize_with = "rate")]
    rate_per_source: u64,
    #[serde(deserialize_with = "rate")]
    rate: u64,
    #[serde(deserialize_with = "seconds")]
    idle: Duration,
    #[serde(deserialize_with = "seconds")]
    age: Duration,
}

/// A [`Rate`]: so many at once, and one more in so many milliseconds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RateText {
    at_once: u32,
    #[serde(deserialize_with = "milliseconds")]
    every_ms: Duration,
}

fn milliseconds<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    match u32::deserialize(from)? {
        0 => Err(de::Error::custom("at least 1 millisecond")),
        milliseconds => Ok(Duration::from_millis(milliseconds.into())),
    }
}

impl Default for RelayText {
    fn default() -> Self {
        let limits = RelayLimits::default();
        Self {
            circuits: limits.circuits,
            circuits_per_session: limits.circuits_per_session,
            circuits_per_source: limits.circuits_per_source,
            bytes_per_session: limits.bytes_per_session,
            rate_per_session: limits.rate_per_session,
            rate_per_source: limits.rate_per_source,
            rate: limits.rate,
            idle: limits.idle,
            age: limits.age,
        }
    }
}

impl From<RelayText> for RelayLimits {
    fn from(text: RelayText) -> Self {
        let mut limits = Self::default();
        limits.circuits = text.circuits;
        limits.circuits_per_session = text.circuits_per_session;
        limits.circuits_per_source = text.circuits_per_source;
        limits.bytes_per_session = text.bytes_per_session;
        limits.rate_per_session = text.rate_per_session;
        limits.rate_per_source = text.rate_per_source;
        limits.rate = text.rate;
        limits.idle = text.idle;
        limits.age = text.age;
        limits
    }
}

impl Default for LimitsText {
    fn default() -> Self {
        Self::from(Limits::default())
    }
}

impl From<Limits> for LimitsText {
    fn from(limits: Limits) -> Self {
        let rate = |rate: Rate| RateText { at_once: rate.burst, every_ms: rate.every };
        Self {
            numbers_per_session: limits.numbers_per_session,
            numbers: limits.numbers,
            requests_per_source: rate(limits.requests_per_source),
            requests: rate(limits.requests),
            sources: limits.sources,
            permits: limits.permits,
        }
    }
}

impl From<LimitsText> for Limits {
    fn from(text: LimitsText) -> Self {
        let rate = |rate: RateText| Rate { burst: rate.at_once, every: rate.every_ms };
        let mut limits = Self::default();
        limits.numbers_per_session = text.numbers_per_session;
        limits.numbers = text.numbers;
        limits.requests_per_source = rate(text.requests_per_source);
        limits.requests = rate(text.requests);
        limits.sources = text.sources;
        limits.permits = text.permits;
        limits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_shows_the_defaults() {
        let example = include_str!("../serve.toml");
        let uncommented = |line: &str| match line.strip_prefix("#: ") {
            Some(setting) => format!("{setting}\n"),
            None => format!("{line}\n"),
        };
        assert_eq!(Config::parse(example).unwrap(), Config::default(), "as it is");
        let all: String = example.lines().map(uncommented).collect();
        let mut read = Config::parse(&all).unwrap();
        assert!(
            read.listen.len() == 2
                && read.listen_flash.len() == 1
                && read.probe_listen.len() == 2
                && read.http.is_some()
                && read.identity.is_some(),
            "{read:?}"
        );
        assert_eq!(read.relay, Some(RelayLimits::default()));
        (read.listen, read.http, read.identity, read.relay) = (Vec::new(), None, None, None);
        read.probe_listen.clear();
        read.listen_flash.clear();
        read.tokens = None;
        assert_eq!(read, Config::default(), "with all settings");
    }

    #[test]
    fn what_cannot_be_meant_is_refused_and_named() {
        let cases = [
            ("max-session = 3", "max-session"),
            ("max_sessions = 3", "max_sessions"),
            ("[limits]\nnumber = 3", "number"),
            ("max-sessions = 15", "16 to 1000000"),
            ("idle = 0", "at least 1 second"),
            ("idle = -1", "idle"),
            ("listen = [\"1936\"]", "listen"),
            ("[limits]\nrequests = { at-once = 3 }", "every-ms"),
            ("[limits]\nrequests = { at-once = 3, every-ms = 0 }", "at least 1 millisecond"),
            ("http", "http"),
            ("probe-listen = [\"1937\"]", "ADDR:PORT"),
            ("[relay]\nspeed = 3", "speed"),
            ("[relay]\nidle = 0", "at least 1 second"),
            ("[relay]\nrate = 9999", "at least 10000 bytes"),
        ];
        for (text, named) in cases {
            let error = Config::parse(text).unwrap_err().to_string();
            assert!(error.contains(named) && error.contains("line"), "{text}: {error}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_an_error() {
        assert!(matches!(Config::read(Path::new("/nonexistent/serve.toml")), Err(ConfigError::Unreadable(_))));
    }
}
