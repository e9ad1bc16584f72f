//! `rtmfp doctor`

use std::path::PathBuf;

use clap::Args;
use rtmfp_std::Uri;

use super::{Common, Connect, Paths};
use crate::whom::Whom;

/// Told at the end of the help for `rtmfp doctor`.
pub(super) const AFTER: &str = "\
The server is one that `rtmfp serve` runs. It says most if it has --probe-listen with another port of its address, and \
with another address. What it does not tell is shown as unknown.

For a pair, write the report of each end to a file with --save, or with --json. Then `rtmfp doctor --with OTHER` at one \
end, or `rtmfp doctor --with ONE OTHER` anywhere, says whether the two meet directly, and why.

The verdict is about programs that a server introduces to each other. It goes by what is so now: NATs differ from one \
network to the next, and some change with load. With --explain it is tried: the far end is one that has joined the server, \
as `rtmfp echo --via` has. Exit codes are those of `rtmfp --help`; with --explain, 3 if the two do not meet.";

/// `rtmfp doctor`
#[derive(Clone, Debug, Args)]
pub struct Doctor {
    /// The server to find out with, as in `rtmfp://HOST:PORT/` (without a port, that of the profile). Without a server,
    /// only what this machine knows by itself is shown
    #[arg(long, value_name = "URI")]
    pub via: Option<Uri>,
    /// Say whether this end meets the end of this report. With two reports, say it of those, and look at nothing here
    #[arg(long, value_name = "FILE", num_args = 1..=2)]
    pub with: Vec<PathBuf>,
    /// Write this end's report to this file, for --with at the other end. A file that is there is replaced
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Also find out for how long the NAT or firewall keeps a mapping that nobody uses: takes about five minutes
    #[arg(long, requires = "via")]
    pub lifetime: bool,
    /// After that, try to meet this far end through the server, and tell of each step and how long it took. If they do not
    /// meet, the last line names the step that failed and what to do next
    #[arg(long, value_name = "NUMBER or HEX", requires = "via", value_parser = somebody)]
    pub explain: Option<Whom>,
    /// How to meet it.
    #[command(flatten)]
    pub paths: Paths,
    /// Whom to connect to.
    #[command(flatten)]
    pub connect: Connect,
    /// Common options.
    #[command(flatten)]
    pub common: Common,
}

/// Somebody who is found through a server.
fn somebody(text: &str) -> Result<Whom, String> {
    match text.parse() {
        Ok(Whom::Uri(_)) | Err(_) => Err("give the fingerprint or the number of the far end".to_owned()),
        Ok(whom @ (Whom::Peer(_) | Whom::Number(_))) => Ok(whom),
    }
}
