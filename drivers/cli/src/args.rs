//! The command line.

mod doctor;
mod files;
mod reaching;

use core::net::SocketAddr;
use core::time::Duration;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use rtmfp_server::{Config, ProbeAddress};

use crate::whom::Whom;

pub use doctor::Doctor;
pub use files::{Meet, Receive, Send};
pub use reaching::{Connect, Paths, Via};

/// Told at the end of the help.
const AFTER_HELP: &str = "\
Exit codes:
  0    everything was done and verified
  1    this end failed: a file, a socket, a setting
  2    the command line was wrong
  3    no session could be opened: nobody answered, or wrong password or fingerprint
  4    the far end went away, or does not do what was asked
  5    one or more files were refused, left out or not verified
  6    the code is wrong, or was used or burnt before; the sender's is burnt
  7    somebody has guessed the code of this end, wrongly: it is burnt
  8    the code of this end has expired before anybody used it
  9    the receiver has declined what was offered
  130  interrupted; a second interrupt ends it at once, whatever it waits for

Environment:
  RTMFP_CODE      the code for `rtmfp receive`, which is otherwise asked for, or read from standard input
  RTMFP_VIA       the server through which `rtmfp send` and `rtmfp receive` meet, unless --via names one. Otherwise
                  the setting via in config.toml in RTMFP_HOME names it
  RTMFP_PASSWORD  a password that both ends must know (or use --password-file)
  RTMFP_KEYLOG    a file that gets the keys of all sessions, so that Wireshark can read what they carry: for finding
                  faults, and never otherwise

  RTMFP_HOME      the directory of the identity and of known_peers; otherwise rtmfp in the directory for settings

Who is at the other end is known by a fingerprint (send --fingerprint), by a pin (send --pin, rtmfp identity pin) or by a \
password; without any, anybody can answer in its place. Passwords belong to the Flash profile, and choose it. A password can be guessed offline, at hundreds of thousands of guesses a second, by whoever has \
seen one session begin: RFC 7425 leaves no way around that. Use one that `rtmfp password` has made.";

/// The whole command line.
#[derive(Clone, Debug, Parser)]
#[command(name = "rtmfp", version, about = "Send and receive files over RTMFP (RFC 7016)", after_help = AFTER_HELP)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Told at the end of the help for `rtmfp password`.
const AFTER_PASSWORD: &str = "\
Give the same file to both ends with --password-file. A password of your own can be guessed offline from the first \
packets of one session (RFC 7425 section 4.3.5.1.1: they carry an HMAC of it); one with 80 random bits cannot.";

/// Told at the end of the help for `rtmfp token`.
const AFTER_TOKEN: &str = "\
What is printed is the line for the file of tokens: the name, and the SHA-256 of the token, from which nobody learns it.

  rtmfp token ada ada.token >> tokens
  rtmfp serve --tokens tokens
  rtmfp echo --via rtmfp://server.example.com/ --token-file ada.token

Give the token to its owner by a way that nobody else reads. To take it back, remove its line.";

/// Told at the end of the help for `rtmfp serve`.
const AFTER_SERVE: &str = "\
Programs that are registered here can be reached by others through their NATs: by peer ID, or by a number that this \
server gives them for as long as they stay. What they say to each other does not come here, except that with --relay \
their encrypted datagrams do, if there is no direct path between them. Everything is kept in \
memory, and gone when the server ends. Anybody may register and ask, unless --tokens says otherwise. Over sessions, each address (IPv4) or network (IPv6, \
/64) may ask 20 times at once, and once more every 3 seconds.

A number names nobody: it can be guessed, and goes to another program after its holder has left. Programs must prove to \
each other who they are.

The first interrupt (or SIGTERM) closes all sessions in order, so that clients look elsewhere at once. /health tells so \
meanwhile, with status 503.";

/// Told at the end of the help for `rtmfp identity`.
const AFTER_IDENTITY: &str = "\
Whoever has the identity file can pose as its owner, so only the owner may read it. If there is one, `receive`, `echo` \
and `serve` are reached under it, one process at a time; otherwise they have a new identity at each start. Commands that \
reach out have a new one each time. Pinned peers stand in known_peers, a line each: a name and a fingerprint. A server's \
name is HOST:PORT (HOST alone for port 1936; an IPv6 address in brackets), and from then on nobody else is accepted there.";

/// What the program can do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Move data between two endpoints in this process, over real sockets, and tell how it goes
    Demo(Demo),
    /// Send files and directories to whoever is told the code, or to a receiver at an address
    #[command(after_help = files::AFTER_SEND, override_usage = files::SEND_USAGE)]
    Send(Send),
    /// Receive what a code leads to, or what comes to an address
    #[command(after_help = files::AFTER_RECEIVE)]
    Receive(Receive),
    /// Answer every flow with its own messages
    Echo(Echo),
    /// Measure round trips to an echo
    Ping(Ping),
    /// Introduce programs to each other, which have a session with this server
    #[command(after_help = AFTER_SERVE)]
    Serve(Serve),
    /// Find out what kind of network this end is in, and whether two ends will meet directly
    #[command(after_help = doctor::AFTER)]
    Doctor(Doctor),
    /// Make a password that cannot be guessed: 80 random bits
    #[command(after_help = AFTER_PASSWORD)]
    Password(Password),
    /// Make a token for somebody who is to use a server with --tokens
    #[command(after_help = AFTER_TOKEN)]
    Token(Token),
    /// The lasting identity under which this user is reached, and the pinned ones of others
    #[command(after_help = AFTER_IDENTITY)]
    Identity(IdentityArgs),
}

/// The greatest size of a trace in MiB, unless another is given.
pub(crate) const TRACE_MEBIBYTES: u64 = 1_024;

/// What every command that talks to others takes.
#[derive(Clone, Debug, Args)]
pub struct Common {
    /// One JSON object a line on standard output, for programs
    #[arg(long)]
    pub json: bool,
    /// Tell at the end which packets were dropped and why, and which socket buffers the system has granted
    #[arg(long, short)]
    pub verbose: bool,
    /// Read the password from this file (its first line), rather than from RTMFP_PASSWORD. Make it with `rtmfp password`:
    /// whoever sees a session begin can try others offline
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Give up on a far end that answers nothing for so many seconds
    #[arg(long, value_name = "SECONDS", default_value = "15", value_parser = seconds)]
    pub timeout: Duration,
    /// Write what this end does, packet by packet, to this file: qlog, as JSON text sequences. A file that is there is
    /// replaced
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// The greatest size of the trace, in MiB: whoever can reach this end can fill it. What comes later is only counted
    #[arg(long, value_name = "MIB", default_value_t = TRACE_MEBIBYTES, value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    pub trace_limit: u64,
    /// How to protect sessions.
    #[command(flatten)]
    pub profile: ProfileArgs,
}

/// How sessions are protected.
#[derive(Clone, Debug, Args)]
pub struct ProfileArgs {
    /// Accept older peers too: weak groups (not with a password), and no message authentication unless they ask for it.
    /// Without it a session cannot follow a change of address: a NAT that gives one end a new port stalls it for good
    #[arg(long)]
    pub compatible: bool,
    /// Speak to MonaServer2, librtmfp and their relatives, as they do: in a weak group, without message authentication.
    /// Anybody on the path can read and change what is sent
    #[arg(long, conflicts_with_all = ["compatible", "hmac", "sequence"])]
    pub mona: bool,
    /// Cryptography of both ends [default: modern; flash with --compatible, --mona or a password]
    #[arg(long, value_enum)]
    pub profile: Option<Profile>,
    /// Whether sessions also agree on keys with ML-KEM-768, so that what is recorded today stays secret from quantum computers
    /// to come. Only in the modern profile. The implementation of ML-KEM has had no independent audit; X25519 protects such
    /// sessions too
    #[arg(long, value_enum, value_name = "WHEN")]
    pub hybrid: Option<HybridChoice>,
    /// Name of this end in the plain profile
    #[arg(long, default_value = "rtmfp", hide = true)]
    pub name: String,
    /// Message authentication codes, against the preset
    #[arg(long, value_enum, hide = true)]
    pub hmac: Option<Protect>,
    /// Session sequence numbers, against the preset
    #[arg(long, value_enum, hide = true)]
    pub sequence: Option<Protect>,
}

/// A cryptography profile.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Profile {
    /// Ed25519, X25519 and AES-GCM or ChaCha20-Poly1305, at port 1936
    Modern,
    /// RFC 7425 section 4, for existing RTMFP software, at port 1935
    Flash,
    /// None at all, for tests
    #[value(hide = true)]
    Plain,
}

/// When sessions have ML-KEM beside X25519.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum HybridChoice {
    /// Never: the default
    Off,
    /// If the far end has it too
    Offer,
    /// Always: a far end without it is refused
    Require,
}

/// How one protection is negotiated (RFC 7425 §4.6.4, §4.6.6).
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Protect {
    /// Not sent, not asked for.
    Never,
    /// Sent if asked for.
    OnRequest,
    /// Sent and required.
    Required,
}

/// Where to listen.
#[derive(Clone, Debug, Args)]
pub struct Listen {
    /// Local address and port, may be given several times; port 0 lets the system choose [default: port 1936 of all
    /// addresses, 1935 with the Flash profile]
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Vec<SocketAddr>,
    /// Be reached under the identity in this file [default: that of `rtmfp identity`, if there is one]. Identities belong
    /// to the modern profile: with another, the fingerprint is another too
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// Write the fingerprint of this end to this file once it listens. With a password, or --compatible, this end has a
    /// fingerprint only if this is given; with a password senders must then pin it
    #[arg(long, value_name = "FILE")]
    pub fingerprint_file: Option<PathBuf>,
}

/// `rtmfp demo`
#[derive(Clone, Debug, Args)]
pub struct Demo {
    /// How much to move, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    pub size: u64,
    /// Write what the sending end does, packet by packet, to this file: qlog, as JSON text sequences. A file that is there
    /// is replaced. It ends at 1 GiB
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
}

/// `rtmfp identity`
#[derive(Clone, Debug, Args)]
pub struct IdentityArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: IdentityCommand,
}

/// What `rtmfp identity` can do.
#[derive(Clone, Debug, Subcommand)]
pub enum IdentityCommand {
    /// Show the fingerprint by which others know this user
    Show(IdentityFile),
    /// Make an identity, if there is none
    New(IdentityFile),
    /// Replace the identity by a new one. The old one is gone
    Rotate(IdentityFile),
    /// Give a fingerprint a name, for --fingerprint; the name HOST:PORT is that of a server
    Pin(Pin),
}

/// Where an identity is.
#[derive(Clone, Debug, Args)]
pub struct IdentityFile {
    /// The file [default: identity in RTMFP_HOME, or in rtmfp in the directory for settings]
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// `rtmfp identity pin`
#[derive(Clone, Debug, Args)]
pub struct Pin {
    /// The name, without spaces
    pub name: String,
    /// The fingerprint: 64 hexadecimal digits, in groups or not
    pub fingerprint: String,
}

/// `rtmfp password`
#[derive(Clone, Debug, Args)]
pub struct Password {
    /// Write it to this new file, which only its owner can read, rather than to standard output
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// `rtmfp token`
#[derive(Clone, Debug, Args)]
pub struct Token {
    /// For whom: shown in the file of tokens alone
    #[arg(value_parser = name)]
    pub name: String,
    /// Write the token to this new file, which only its owner can read, for --token-file of the client
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// `rtmfp echo`
#[derive(Clone, Debug, Args)]
pub struct Echo {
    /// Where to listen.
    #[command(flatten)]
    pub listen: Listen,
    /// Through whom to be met.
    #[command(flatten)]
    pub via: Via,
    /// Let programs in this network find this end by its fingerprint, without a server (mDNS)
    #[arg(long)]
    pub nearby: bool,
    /// Common options.
    #[command(flatten)]
    pub common: Common,
}

/// `rtmfp serve`
#[derive(Clone, Debug, Args)]
pub struct Serve {
    /// Where to listen.
    #[command(flatten)]
    pub listen: Listen,
    /// Serve the Flash profile (RFC 7425) at this local address too, for existing RTMFP software; may be given several times
    /// [default: nowhere]. Clients of the two profiles cannot meet: each has numbers, registrations and limits of its own. A
    /// password, --compatible and --mona are for the Flash profile then. Its fingerprint is another at each start
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen_flash: Vec<SocketAddr>,
    /// Read settings from this TOML file. Options given here come before it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One more local address, from which `rtmfp doctor` has probes sent; may be given several times. Best are another port
    /// of the same address, and another address. If others reach it at another address than here, add that one
    #[arg(long, value_name = "ADDR:PORT[=PUBLIC]")]
    pub probe_listen: Vec<ProbeAddress>,
    /// Let those alone use this server who show a token of this file (`rtmfp token` makes one, and its line for the file).
    /// Without one, a client may show one, and run `rtmfp doctor`. The file is read again when it has changed; who was let
    /// in stays until the session ends [default: everybody may use it]
    #[arg(long, value_name = "FILE")]
    pub tokens: Option<PathBuf>,
    /// Serve /metrics (for Prometheus) and /health over HTTP at this address [default: nowhere]. There is no password
    #[arg(long, value_name = "ADDR:PORT")]
    pub http: Option<SocketAddr>,
    /// Relay datagrams between clients that cannot reach each other directly. Each may send 500 kB a second and 1 GiB in
    /// all. Those of one address may send 1 MB a second, and all together 10 MB. A file of settings can say otherwise
    #[arg(long)]
    pub relay: bool,
    /// Sessions at once [default: 20000]
    #[arg(long, value_name = "N", value_parser = sessions)]
    pub max_sessions: Option<usize>,
    /// Close sessions that have had no flow for so many seconds [default: 86400]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub idle: Option<Duration>,
    /// Common options.
    #[command(flatten)]
    pub common: Common,
}

/// `rtmfp ping`
#[derive(Clone, Debug, Args)]
pub struct Ping {
    /// The echo, as in `rtmfp://HOST:PORT/` (without a port, that of the profile). With --via, its number or fingerprint.
    /// A fingerprint without --via is looked for in this network
    #[arg(value_name = "URI, NUMBER or HEX")]
    pub whom: Whom,
    /// Through whom to meet it.
    #[command(flatten)]
    pub via: Via,
    /// How many messages
    #[arg(long, short, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..))]
    pub count: u64,
    /// From one to the next, in seconds; 0 for the next as soon as the last is back
    #[arg(long, short, value_name = "SECONDS", default_value = "1", value_parser = seconds_or_zero)]
    pub interval: Duration,
    /// Bytes in each
    #[arg(long, short, default_value_t = 64, value_parser = clap::value_parser!(u32).range(8..=4_194_304))]
    pub size: u32,
    /// Metadata of the flow
    #[arg(long, default_value = "ping", hide = true)]
    pub metadata: String,
    /// Flows
    #[arg(long, default_value_t = 1, hide = true, value_parser = clap::value_parser!(u16).range(1..=1_024))]
    pub flows: u16,
    /// Do not wait for answers to earlier messages
    #[arg(long, hide = true)]
    pub flood: bool,
    /// The far end does not echo: measure acknowledgements
    #[arg(long)]
    pub one_way: bool,
    /// Whom to connect to.
    #[command(flatten)]
    pub connect: Connect,
    /// Common options.
    #[command(flatten)]
    pub common: Common,
}

/// A day, beyond which nobody waits.
const LONGEST: f64 = 86_400.0;

fn seconds_or_zero(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    if (0.0..=LONGEST).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("must be 0 to 86400 seconds".to_owned())
    }
}

fn name(text: &str) -> Result<String, String> {
    let is_name = !text.starts_with('#') && text.len() <= 64 && text.chars().all(|c| c.is_ascii_graphic());
    if is_name && !text.is_empty() {
        Ok(text.to_owned())
    } else {
        Err("a name has 1 to 64 letters, digits and signs of ASCII, without spaces, and does not begin with #"
            .to_owned())
    }
}

fn sessions(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| Config::SESSIONS.contains(number));
    number.ok_or_else(|| format!("must be {} to {} sessions", Config::SESSIONS.start(), Config::SESSIONS.end()))
}

fn seconds(text: &str) -> Result<Duration, String> {
    seconds_or_zero(text).and_then(|duration| {
        if duration >= Duration::from_secs(1) { Ok(duration) } else { Err("must be at least 1 second".to_owned()) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [
            &["rtmfp"][..],
            &["rtmfp", "send", "--words", "0", "file"],
            &["rtmfp", "ping", "http://example.org/"],
            &["rtmfp", "send", "file", "rtmfp://h/", "--max-rate", "1"],
            &["rtmfp", "receive", "dir", "--listen", "nowhere"],
            &["rtmfp", "receive", "dir", "--timeout", "0.5"],
            &["rtmfp", "receive", "dir", "--password", "secret"],
            &["rtmfp", "ping", "rtmfp://h/", "--interval", "-1"],
            &["rtmfp", "serve", "--max-sessions", "15"],
            &["rtmfp", "serve", "--probe-listen", "1937"],
            &["rtmfp", "token", "ada of here", "file"],
            &["rtmfp", "token", "#ada", "file"],
            &["rtmfp", "token", "", "file"],
            &["rtmfp", "doctor", "--lifetime"],
            &["rtmfp", "doctor", "--explain", "1"],
            &["rtmfp", "doctor", "--via", "rtmfp://h/", "--explain", "1", "--relay-only", "--lan-only"],
            &["rtmfp", "doctor", "--via", "rtmfp://h/", "--explain", "rtmfp://h/"],
            &["rtmfp", "doctor", "--with", "a", "b", "c"],
        ] {
            assert!(Cli::try_parse_from(line).is_err(), "{line:?}");
        }
    }
}
