//! One file for each command.

mod claim;
mod demo;
mod doctor;
mod echo;
mod identity;
mod offer;
mod password;
mod ping;
mod receive;
mod send;
mod serve;
mod token;

use core::net::SocketAddr;
use std::fs;
use std::path::Path;

use rtmfp_core::SessionHandle;
use rtmfp_files::transfer::{self, Summary};
use rtmfp_std::{Driver, peer_id_of};

use crate::args::{Command, Common, Listen};
use crate::buffers::Buffers;
use crate::failure::{Code, Failure};
use crate::identity::Identity;
use crate::report::Report;
use crate::resume::Place;
use crate::text::shown;
use crate::trace::TraceFile;
use crate::{net, output};

/// Does what the command line asks, telling of everything but the failure it ends with.
///
/// # Errors
/// Whatever kept it from being done.
pub fn run(command: &Command, report: Report) -> Result<(), Failure> {
    let mut trace = TraceFile::of(command);
    let result = match command {
        Command::Demo(args) => demo::run(args, &mut trace),
        Command::Receive(args) => receive::run(args, report, &mut trace),
        Command::Send(args) => send::run(args, report, &mut trace),
        Command::Echo(args) => echo::run(args, report, &mut trace),
        Command::Ping(args) => ping::run(args, report, &mut trace),
        Command::Serve(args) => serve::run(args, report, &mut trace),
        Command::Doctor(args) => doctor::run(args, report, &mut trace),
        Command::Password(args) => password::run(args),
        Command::Token(args) => token::run(args),
        Command::Identity(args) => identity::run(args),
    };
    trace.finish(result)
}

/// Refuses options that have no meaning in a form of a command: passed over, they would be taken for granted.
fn refuse(options: &[(&str, bool)], why: &str) -> Result<(), Failure> {
    match options.iter().find(|(_, is_given)| *is_given) {
        Some((option, _)) => Err(Failure::new(Code::Usage, format!("{option} {why}"))),
        None => Ok(()),
    }
}

/// How a transfer by a code has ended.
fn ended(ended: &Result<Summary, transfer::Failure>, with: &str) -> Result<(), Failure> {
    match ended {
        Ok(Summary { failed: 0, refused: 0, .. }) => Ok(()),
        Ok(summary) => {
            let failed = summary.failed + summary.refused;
            let all = failed + summary.verified;
            Err(Failure::new(Code::Files, format!("{failed} of {all} were refused or failed, see above")))
        }
        Err(transfer::Failure::Lost(reason)) => Err(Failure::lost(*reason, with)),
        Err(transfer::Failure::Declined(text)) => {
            let why = if text.is_empty() { String::new() } else { format!(": {}", shown(text)) };
            Err(Failure::new(Code::Declined, format!("{with} has declined{why}")))
        }
        Err(transfer::Failure::Cancelled) => Err(Failure::new(Code::Declined, "declined")),
        Err(transfer::Failure::Storage(error)) => Err(Failure::new(Code::Local, error.to_string())),
        Err(failure) => Err(Failure::new(Code::Lost, format!("{with}: {failure}"))),
    }
}

/// Forgets a transfer that is over, and says how to go on with one that is not.
fn settle(
    place: Option<&Place>,
    ended: Option<&Result<Summary, transfer::Failure>>,
    result: Result<(), Failure>,
) -> Result<(), Failure> {
    let Some(place) = place else { return result };
    let is_declined = result.as_ref().is_err_and(|failure| failure.code == Code::Declined);
    let is_interrupted = result.as_ref().is_err_and(|failure| failure.code == Code::Interrupted);
    if is_declined || !is_interrupted && !offer::is_resumable(ended) {
        place.remove();
        return result;
    }
    result.map_err(|failure| {
        let advice = "to go on, run the same command again at both ends";
        Failure::new(failure.code, format!("{failure}; {advice}"))
    })
}

/// Tells where this end listens, and who it is.
fn announce(driver: &Driver, identity: &Identity, listen: &Listen, report: &mut Report) -> Result<(), Failure> {
    announce_at(&net::local_addresses(driver), identity, listen, report)
}

/// The same, of some of its addresses.
fn announce_at(
    addresses: &[SocketAddr],
    identity: &Identity,
    listen: &Listen,
    report: &mut Report,
) -> Result<(), Failure> {
    let fingerprint = identity.fingerprint.map(|fingerprint| fingerprint.to_string());
    if let Some(file) = &listen.fingerprint_file {
        write_whole(file, &format!("{}\n", fingerprint.as_deref().unwrap_or_default()))?;
    }
    report.listening(addresses, fingerprint.as_deref(), None);
    Ok(())
}

/// Tells what is known only at the end, however it came: what was dropped, by this end and by its sockets.
fn conclude(driver: &Driver, common: &Common, report: &mut Report) {
    let buffers = Buffers::of(driver.pump());
    if common.verbose {
        report.drops(&driver.pump().endpoint().stats());
        report.buffers(&buffers);
    } else if let Some(warning) = buffers.warning() {
        output::complain("rtmfp", warning);
    }
}

/// Writes a file so that whoever waits for it never sees half of it.
fn write_whole(file: &Path, text: &str) -> Result<(), Failure> {
    let mut part = file.as_os_str().to_owned();
    part.push(".part");
    fs::write(&part, text)
        .and_then(|()| fs::rename(&part, file))
        .map_err(|e| Failure::local(format_args!("{} could not be written", file.display()), e))
}

/// Whether a session's keys also depend on ML-KEM.
fn is_post_quantum(driver: &Driver, session: SessionHandle) -> bool {
    driver.pump().endpoint().session(session).is_some_and(|session| session.is_post_quantum())
}

/// The far end's fingerprint, if it has proved to own it.
fn far_fingerprint(driver: &Driver, session: SessionHandle) -> Option<String> {
    let session = driver.pump().endpoint().session(session).filter(|session| session.far_owner_proved())?;
    let peer_id = peer_id_of(session.far_certificate(), &session.far_canonical_discriminator())?;
    Some(peer_id.to_string())
}
