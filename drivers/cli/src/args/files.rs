//! Sending and receiving files.

use core::time::Duration;
use std::path::PathBuf;

use clap::Args;
use rtmfp_files::MAX_WORDS;
use rtmfp_std::Uri;

use super::{Common, Connect, Listen, Paths, Via, seconds};

pub(super) const SEND_USAGE: &str =
    "rtmfp send [OPTIONS] <PATH>...\n       rtmfp send [OPTIONS] <FILE>... rtmfp://HOST:PORT/";

/// Told at the end of the help for `rtmfp send`.
pub(super) const AFTER_SEND: &str = "\
Prints a code on a line of standard output, and waits for whoever is told it and runs `rtmfp receive`. With --via, \
RTMFP_VIA or a configured server the two may be anywhere; without, they must be in one network. The server never sees the \
words of the code, and whoever has guessed wrongly once has burnt it: this end tells so, and ends. A code admits one \
receiver, and each transfer has an identity of its own. With --receivers, several codes are printed, as \
7214.2-castle-river; each is used or burnt by itself, and this end ends when that is so of all. What came of each is \
told, and the exit code is that of the first that failed.

Directories are sent with all that is in them; `-` is standard input. After an interruption at either end, the same \
commands go on: RTMFP_HOME keeps for seven days what that needs, and never the words of a code.

With an address in the place of the code, as in `rtmfp send file rtmfp://192.0.2.7/`, files go to `rtmfp receive --listen` \
there.";

/// Told at the end of the help for `rtmfp receive`.
pub(super) const AFTER_RECEIVE: &str = "\
Asks for the code, which is never taken from the command line: it comes from RTMFP_CODE, from the terminal, or from \
standard input. Shows what is offered and asks before anything is written. Without a terminal, --yes has to be given. \
Files that are there already are kept, unless --force is given. After an interruption at either end, the same commands \
go on without a code; what is there is hashed again.

With --listen, this end is reached by its address instead, and takes files from `rtmfp send FILE... URI`. \
Anyone who can reach it can fill the directory and keep it busy, unless both ends have a password \
(RTMFP_PASSWORD or --password-file): set one whenever strangers can reach it. Without --keep it ends with the first \
sender that has begun a file. Sessions without a file end after 10 seconds, and senders that bring less than 16 KiB a \
minute are sent away. At most 256 sessions and 192 files are taken at once, half of them from one address (IPv4) or \
network (IPv6, /64); when there is no room, those that brought nothing give way.

With --listen, a file is written as .NAME.rtmfp-part-XXXXXXXX and gets its name once it is verified. If this program is \
killed (SIGKILL) or the machine stops, such files remain and can be removed. Files of 1 MiB or more are on the disk when \
they are reported as verified; smaller ones are left to the system to write.";

/// Bytes a second.
fn rate(text: &str) -> Result<u64, String> {
    let (number, unit) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (text.get(..at), 1_000.0),
        Some((at, 'M')) => (text.get(..at), 1e6),
        Some((at, 'G')) => (text.get(..at), 1e9),
        _ => (Some(text), 1.0),
    };
    let number: f64 = number.and_then(|number| number.parse().ok()).ok_or("not a rate, such as 500k or 2.5M")?;
    let rate = number * unit;
    if (1_000.0..=1e12).contains(&rate) {
        Ok(rate as u64)
    } else {
        Err("must be 1k to 1000G bytes a second".to_owned())
    }
}

/// How two meet by a code.
#[derive(Clone, Debug, Default, Args)]
pub struct Meet {
    /// Meet through this rendezvous server (`rtmfp serve`) [default: RTMFP_VIA, or that of config.toml; without any, the two
    /// meet in one network]
    #[arg(long, value_name = "URI")]
    pub via: Option<Uri>,
    /// Refuse any server but the one with this fingerprint. Or the name of a pinned peer
    #[arg(long, value_name = "HEX or NAME")]
    pub via_fingerprint: Option<String>,
    /// Show the server the token in this file
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Never go over the server's relay
    #[arg(long, group = "ways")]
    pub direct_only: bool,
    /// Go over the server's relay alone: the far end does not learn the address of this end
    #[arg(long, group = "ways")]
    pub relay_only: bool,
    /// Meet only on the same network
    #[arg(long, group = "ways")]
    pub lan_only: bool,
    /// Have the gateway forward a port to this end meanwhile (PCP, NAT-PMP or UPnP)
    #[arg(long)]
    pub map_port: bool,
}

impl Meet {
    /// The same as other commands have it, through this server.
    #[must_use]
    pub fn through(&self, server: Option<Uri>, fingerprint: Option<String>, token_file: Option<PathBuf>) -> Via {
        let Self { direct_only, relay_only, lan_only, map_port, .. } = *self;
        let paths = Paths { token_file, direct_only, relay_only, lan_only };
        Via { via: server, via_fingerprint: fingerprint, paths, map_port }
    }
}

/// `rtmfp receive`
#[derive(Clone, Debug, Args)]
pub struct Receive {
    /// Where to put files; nothing is ever written elsewhere. It is created if it is not there. `-` writes one file to standard
    /// output [default: here]
    #[arg(value_name = "DIR", default_value = ".", hide_default_value = true)]
    pub directory: PathBuf,
    /// Begin anew, rather than go on with what was interrupted
    #[arg(long)]
    pub new: bool,
    /// Take what is offered without asking
    #[arg(long, short = 'y')]
    pub yes: bool,
    /// How to meet.
    #[command(flatten)]
    pub meet: Meet,
    /// Where to listen.
    #[command(flatten)]
    pub listen: Listen,
    /// Replace files that are there already, rather than keep them
    #[arg(long)]
    pub force: bool,
    /// Take files whose names begin with a dot, which most listings hide and some programs run
    #[arg(long)]
    pub dot_files: bool,
    /// Go on after the first sender has finished or gone away
    #[arg(long, requires = "listen")]
    pub keep: bool,
    /// Common options.
    #[command(flatten)]
    pub common: Common,
}

/// `rtmfp send`
#[derive(Clone, Debug, Args)]
pub struct Send {
    /// What to send. If the last is a receiver, as in `rtmfp://HOST:PORT/`, files go there; otherwise to whoever is told the
    /// code. Without a port it is that of the profile
    #[arg(value_name = "PATH", num_args = 1.., required_unless_present_any = ["text", "files_from"])]
    pub paths: Vec<PathBuf>,
    /// A text that the receiver is shown
    #[arg(long, value_name = "TEXT")]
    pub text: Option<String>,
    /// Leave out what this pattern matches, as in .gitignore; may be given several times
    #[arg(long, value_name = "PATTERN")]
    pub exclude: Vec<String>,
    /// Send the paths that this file lists, one a line; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub files_from: Option<PathBuf>,
    /// Send at most so many bytes a second; k, M and G stand for thousands, millions and billions. Several receivers have
    /// equal parts of it
    #[arg(long, value_name = "RATE", value_parser = rate, conflicts_with = "max_rate")]
    pub limit: Option<u64>,
    /// Show the code as a QR code too, on standard error
    #[arg(long)]
    pub qr: bool,
    /// Begin anew with another code, rather than go on with what was interrupted
    #[arg(long)]
    pub new: bool,
    /// Print so many codes, one a line, each for one receiver
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub receivers: u8,
    /// Words of the code: each makes a guess 2,048 times less likely to be right
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=MAX_WORDS as i64))]
    pub words: u8,
    /// Wait so many seconds for the receiver. After that the code is worth nothing
    #[arg(long, value_name = "SECONDS", default_value = "3600", value_parser = seconds)]
    pub expire: Duration,
    /// How to meet.
    #[command(flatten)]
    pub meet: Meet,
    /// Files on their way at once, to an address
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub parallel: u8,
    /// Send at most so many KiB a second
    #[arg(long, value_name = "KIB", value_parser = clap::value_parser!(u64).range(2..=1 << 30))]
    pub max_rate: Option<u64>,
    /// Whom to connect to.
    #[command(flatten)]
    pub connect: Connect,
    /// Common options.
    #[command(flatten)]
    pub common: Common,
}
