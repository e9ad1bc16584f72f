//! Whom to reach, and how.

use std::path::PathBuf;

use clap::Args;
use rtmfp_std::Uri;

/// Whom to connect to.
#[derive(Clone, Debug, Args)]
pub struct Connect {
    /// Refuse any far end but the one with this fingerprint, as `rtmfp receive` shows it; it must prove to own it. Or the
    /// name of a pinned peer
    #[arg(long, value_name = "HEX or NAME")]
    pub fingerprint: Option<String>,
    /// Pin whoever answers: from then on, nobody else is accepted at this HOST:PORT
    #[arg(long)]
    pub pin: bool,
    /// Name of the far end in the plain profile
    #[arg(long, default_value = "rtmfp", hide = true)]
    pub peer: String,
}

/// Through whom to meet.
#[derive(Clone, Debug, Default, Args)]
pub struct Via {
    /// Meet the far end through this rendezvous server (`rtmfp serve`), whatever NATs are between
    #[arg(long, value_name = "URI")]
    pub via: Option<Uri>,
    /// Refuse any server but the one with this fingerprint. Or the name of a pinned peer
    #[arg(long, value_name = "HEX or NAME", requires = "via")]
    pub via_fingerprint: Option<String>,
    /// How.
    #[command(flatten)]
    pub paths: Paths,
    /// Have the gateway forward a port to this end meanwhile (PCP, NAT-PMP or UPnP): whoever is elsewhere reaches it then
    #[arg(long, requires = "via")]
    pub map_port: bool,
}

/// How to meet through a server.
#[derive(Clone, Debug, Default, Args)]
pub struct Paths {
    /// Show the server the token in this file
    #[arg(long, value_name = "FILE", requires = "via")]
    pub token_file: Option<PathBuf>,
    /// Never go over the server's relay
    #[arg(long, requires = "via", group = "paths")]
    pub direct_only: bool,
    /// Go over the server's relay alone: the far end does not learn the address of this end
    #[arg(long, requires = "via", group = "paths")]
    pub relay_only: bool,
    /// Meet only on the same network
    #[arg(long, requires = "via", group = "paths")]
    pub lan_only: bool,
}
