//! Who this end is, whom it looks for, and how sessions are protected.

use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use rtmfp_core::Bytes;
use rtmfp_core::profile::flash::{Builder, FlashProfile, Group, KeyLog, Protection, StaticKeys};
use rtmfp_core::profile::modern::{self, Hybrid, ModernProfile};
use rtmfp_core::profile::plain::PlainProfile;
use rtmfp_core::profile::{CryptoProfile, Fingerprint};
use rtmfp_std::{KeyLogFile, MODERN_PORT, ProfileKind, Uri};

use crate::args::{Common, Connect, HybridChoice, Listen, Profile, ProfileArgs, Protect};
use crate::failure::{Code, Failure};
use crate::keyring::{self, Kept, Peers};
use crate::output;
use crate::text::shown;

/// Names the password in signatures (RFC 7425 §4.3.5.1.1). Both ends of this program know one password or none.
const PASSWORD_ID: &[u8] = b"rtmfp";
/// Names a file for the keys of sessions, as SSLKEYLOGFILE does in TLS programs.
const KEY_LOG_VARIABLE: &str = "RTMFP_KEYLOG";
/// Where the password is looked for unless a file is given.
const PASSWORD_VARIABLE: &str = "RTMFP_PASSWORD";

/// The near end.
#[derive(Clone)]
pub struct Identity {
    /// For the endpoint.
    pub profile: Arc<dyn CryptoProfile>,
    /// What others can pin; `None` unless the profile's keys prove it.
    pub fingerprint: Option<Fingerprint>,
    /// Whether far ends are of the Mona family, and sessions are to suit them.
    pub mona: bool,
    /// The file of the identity stays locked as long as this lives.
    pub kept: Option<Arc<Kept>>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

/// The part that this end plays.
#[derive(Clone, Copy, Debug)]
pub enum Part<'a> {
    /// Is reached by URI.
    Server {
        /// Whether the user asks for a fingerprint that others pin, password or not.
        lasting: bool,
        /// Where the user says who this end is; `None` for a new identity.
        listen: Option<&'a Listen>,
    },
    /// Reaches out, and is nobody in particular.
    Client,
    /// Reaches out through a server, which relays only for those that prove who they are.
    Guest,
}

impl Identity {
    /// The identity that the command line asks for, made anew.
    ///
    /// # Errors
    /// If the password cannot be read, or the system has no randomness.
    pub fn new(common: &Common, part: Part<'_>) -> Result<Self, Failure> {
        let password = password(common.password_file.as_deref())?;
        let args = &common.profile;
        let own = matches!(part, Part::Server { listen: Some(Listen { identity: Some(_), .. }), .. });
        match profile_of(args, password.is_some())? {
            Profile::Modern => Self::modern(part, hybrid_of(args)),
            Profile::Flash | Profile::Plain if own => Err(Failure::new(
                Code::Usage,
                "identities belong to the modern profile: leave out --identity, or what asks for another profile",
            )),
            Profile::Flash => Self::flash(args, part, password.as_deref()),
            Profile::Plain => {
                let profile = Arc::new(PlainProfile::new(args.name.as_bytes()));
                Ok(Self { profile, fingerprint: None, mona: args.mona, kept: None })
            }
        }
    }

    /// Two identities of a server: under the modern profile, and under the Flash profile. What the command line says of
    /// passwords and old peers is for the second.
    ///
    /// # Errors
    /// As [`new`](Self::new), and if the command line asks for one profile.
    pub fn of_both(common: &Common, listen: &Listen) -> Result<[Self; 2], Failure> {
        let args = &common.profile;
        if args.profile.is_some() {
            let message = "--listen-flash serves the Flash profile beside the modern one: leave out --profile";
            return Err(Failure::new(Code::Usage, message));
        }
        let password = password(common.password_file.as_deref())?;
        let part = Part::Server { lasting: true, listen: Some(listen) };
        Ok([Self::modern(part, hybrid_of(args))?, Self::flash(args, part, password.as_deref())?])
    }

    /// An identity for one transfer by a code.
    ///
    /// # Errors
    /// If the command line asks for what belongs to other profiles, or the system has no randomness.
    pub fn transfer(common: &Common, part: Part<'_>, own: &modern::Identity) -> Result<Self, Failure> {
        if common.password_file.is_some() || profile_of(&common.profile, false)? != Profile::Modern {
            let message = "a code needs the modern profile, and no password: leave out --password-file, and what asks \
                           for another profile; or give an address in the code's place";
            return Err(Failure::new(Code::Usage, message));
        }
        Self::modern_with(part, hybrid_of(&common.profile), Some(own))
    }

    /// An identity under the modern profile: for a server, that of the user, if there is one.
    ///
    /// # Errors
    /// If the identity cannot be read or is in use, the system has no randomness, or this build has no ML-KEM.
    pub fn modern(part: Part<'_>, hybrid: Hybrid) -> Result<Self, Failure> {
        Self::modern_with(part, hybrid, None)
    }

    fn modern_with(part: Part<'_>, hybrid: Hybrid, own: Option<&modern::Identity>) -> Result<Self, Failure> {
        let mut rng = rtmfp_std::system_rng()?;
        let mut builder = with_provider(ModernProfile::builder()).hybrid(hybrid);
        if let Some(log) = key_log()? {
            builder = builder.key_log(log);
        }
        let mut kept = None;
        if let Part::Server { listen, .. } = part {
            builder = builder.accept_ancillary(true);
            kept = listen.map(kept_identity).transpose()?.flatten();
        }
        if let Some(kept) = &kept {
            builder = builder.identity(kept.identity.clone());
        }
        if let Some(own) = own {
            builder = builder.identity(own.clone());
        }
        let profile = builder.build(&mut *rng).map_err(|e| Failure::local("identity", e))?;
        let fingerprint = Some(profile.peer_id());
        Ok(Self { profile: Arc::new(profile), fingerprint, mona: false, kept: kept.map(Arc::new) })
    }

    /// The kind of its profile.
    #[must_use]
    pub fn kind(&self) -> ProfileKind {
        ProfileKind::of(&*self.profile)
    }

    /// An identity under the Flash profile.
    ///
    /// # Errors
    /// If the system has no randomness.
    pub fn flash(args: &ProfileArgs, part: Part<'_>, password: Option<&[u8]>) -> Result<Self, Failure> {
        let mut rng = rtmfp_std::system_rng()?;
        let mut builder = FlashProfile::builder();
        if let Some(log) = key_log()? {
            builder = builder.key_log(log);
        }
        if args.mona {
            return Self::mona(builder, part, password);
        }
        if args.compatible {
            builder = builder.compatible();
        }
        let lasting = matches!(part, Part::Server { lasting: true, .. });
        if let Part::Server { .. } = part {
            builder = builder.accept_ancillary(true);
        }
        if !matches!(part, Part::Client) {
            // Only static keys make the far end's check of the fingerprint a proof; they are as old as the process. With
            // a password they are refused by who does not pin them, and `compatible` peers may know fresh keys only.
            if lasting || !(args.compatible || password.is_some()) {
                builder = builder.static_keys(StaticKeys::generate(static_groups(args, password), &mut *rng));
            }
        }
        if let Some(protect) = args.hmac {
            builder = builder.hmac(protection(protect));
        }
        if let Some(protect) = args.sequence {
            builder = builder.sequence_numbers(protection(protect));
        }
        let builder = with_password(builder, password);
        let profile = builder.build(&mut *rng).map_err(|e| Failure::local("identity", e))?;
        let fingerprint = profile.has_static_keys().then(|| profile.fingerprint());
        Ok(Self { profile: Arc::new(profile), fingerprint, mona: false, kept: None })
    }

    /// An identity for far ends of the Mona family. They know no passwords, and a signature would be too long for them.
    fn mona(builder: Builder, part: Part<'_>, password: Option<&[u8]>) -> Result<Self, Failure> {
        if password.is_some() {
            return Err(Failure::new(
                Code::Usage,
                "--mona knows no passwords: leave out --password-file and RTMFP_PASSWORD",
            ));
        }
        let mut rng = rtmfp_std::system_rng()?;
        let builder = match part {
            Part::Server { .. } => builder.for_mona_clients(),
            Part::Client | Part::Guest => builder.for_mona_server(&mut *rng),
        };
        let profile = builder.build(&mut *rng).map_err(|e| Failure::local("identity", e))?;
        let fingerprint = profile.has_static_keys().then(|| profile.fingerprint());
        Ok(Self { profile: Arc::new(profile), fingerprint, mona: true, kept: None })
    }
}

/// The profile that the command line asks for. There is one, and an end never falls back to another.
fn profile_of(args: &ProfileArgs, password: bool) -> Result<Profile, Failure> {
    let flash = args.compatible || args.mona || args.hmac.is_some() || args.sequence.is_some();
    let chosen = choose_profile(args, flash, password)?;
    if args.hybrid.is_some() && chosen != Profile::Modern {
        return Err(Failure::new(
            Code::Usage,
            "--hybrid belongs to the modern profile: leave it out, or what asks for another profile",
        ));
    }
    Ok(chosen)
}

fn hybrid_of(args: &ProfileArgs) -> Hybrid {
    match args.hybrid {
        None | Some(HybridChoice::Off) => Hybrid::Off,
        Some(HybridChoice::Offer) => Hybrid::Offered,
        Some(HybridChoice::Require) => Hybrid::Required,
    }
}

fn choose_profile(args: &ProfileArgs, flash: bool, password: bool) -> Result<Profile, Failure> {
    match args.profile {
        Some(Profile::Modern) if flash => {
            Err(Failure::new(Code::Usage, "--compatible and --mona belong to the Flash profile: leave out --profile"))
        }
        Some(Profile::Modern) if password => Err(Failure::new(
            Code::Usage,
            "passwords belong to the Flash profile: leave out --profile, or pin a fingerprint instead of the password",
        )),
        Some(profile) => Ok(profile),
        None if flash || password => Ok(Profile::Flash),
        None => Ok(Profile::Modern),
    }
}

/// The identity that the user names, or else the user's own, if there is one.
fn kept_identity(listen: &Listen) -> Result<Option<Kept>, Failure> {
    if let Some(path) = &listen.identity {
        return Kept::open(path).map(Some);
    }
    // Without a home directory there is none.
    let Ok(path) = keyring::identity_path(None) else { return Ok(None) };
    Kept::open_if_there(&path)
}

#[cfg(feature = "accelerated")]
fn with_provider(builder: modern::Builder) -> modern::Builder {
    builder.provider(Arc::new(rtmfp_std::Accelerated))
}

#[cfg(not(feature = "accelerated"))]
const fn with_provider(builder: modern::Builder) -> modern::Builder {
    builder
}

/// Small groups for old peers only, and not with a password, which is checked over the key agreement.
const fn static_groups(args: &ProfileArgs, password: Option<&[u8]>) -> &'static [Group] {
    if args.compatible && password.is_none() {
        &[Group::Modp2048, Group::Modp1536, Group::Modp1024]
    } else {
        &[Group::Modp2048]
    }
}

fn with_password(builder: Builder, password: Option<&[u8]>) -> Builder {
    match password {
        Some(password) => {
            builder.sign_with(PASSWORD_ID, password).accept_password(PASSWORD_ID, password).require_signature()
        }
        None => builder,
    }
}

const fn protection(protect: Protect) -> Protection {
    match protect {
        Protect::Never => Protection::never(),
        Protect::OnRequest => Protection::on_request(),
        Protect::Required => Protection::required(),
    }
}

/// The file for keys. The first error is told at once: a server may run for long after.
#[derive(Debug)]
struct ToldKeyLog {
    file: KeyLogFile,
    told: AtomicBool,
}

impl KeyLog for ToldKeyLog {
    fn log(&self, line: &str) {
        self.file.log(line);
        let Some(error) = self.file.take_error() else { return };
        if !self.told.swap(true, Ordering::Relaxed) {
            output::complain("rtmfp", format_args!("the key log could not be written, and is incomplete: {error}"));
        }
    }
}

/// The file for keys, if the environment names one. Who runs the program is told, and so cannot forget it.
fn key_log() -> Result<Option<Arc<ToldKeyLog>>, Failure> {
    let Some(path) = std::env::var_os(KEY_LOG_VARIABLE).filter(|path| !path.is_empty()) else { return Ok(None) };
    let path = Path::new(&path);
    let log = KeyLogFile::open(path).map_err(|e| Failure::local(format_args!("key log {}", path.display()), e))?;
    let warning = "the keys of all sessions go to";
    output::complain("rtmfp", format_args!("{KEY_LOG_VARIABLE} is set: {warning} {}", path.display()));
    Ok(Some(Arc::new(ToldKeyLog { file: log, told: AtomicBool::new(false) })))
}

/// The password, from a file or the environment. An empty one is none.
fn password(file: Option<&Path>) -> Result<Option<Vec<u8>>, Failure> {
    let password = match file {
        Some(file) => {
            let text = fs::read(file).map_err(|e| Failure::local(file.display(), e))?;
            let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() {
                return Err(Failure::new(
                    Code::Local,
                    format!("{}: the first line is empty: put the password there", file.display()),
                ));
            }
            line.to_vec()
        }
        None => std::env::var_os(PASSWORD_VARIABLE).unwrap_or_default().into_encoded_bytes(),
    };
    Ok(Some(password).filter(|password| !password.is_empty()))
}

/// A far end: its place, and who it must be.
#[derive(Clone, Debug)]
pub struct Destination {
    /// `HOST:PORT`.
    pub place: String,
    /// The endpoint discriminator (RFC 7016 §3.2).
    pub discriminator: Bytes,
    /// Whom nobody else may stand in for.
    pub pinned: Option<Fingerprint>,
}

/// Who the far end must be: of the fingerprint or name that the user gives, or whoever is pinned at this place.
///
/// # Errors
/// If the fingerprint is none, the pinned peers cannot be read, or pins are asked for that the profile cannot keep.
pub fn destination(common: &Common, connect: &Connect, uri: &Uri, near: &Identity) -> Result<Destination, Failure> {
    let port = uri.port.unwrap_or(near.kind().default_port());
    let place = keyring::place(&uri.host, port);
    if near.kind() != ProfileKind::Modern {
        refuse_pins(connect, uri, port)?;
    }
    if common.profile.profile == Some(Profile::Plain) {
        return Ok(Destination { place, discriminator: connect.peer.clone().into_bytes().into(), pinned: None });
    }
    let pinned = match &connect.fingerprint {
        Some(text) => Some(named(text)?),
        None if near.kind() == ProfileKind::Modern => Peers::load()?.at(&uri.host, port),
        None => None,
    };
    let discriminator = near.kind().discriminator(Some(&uri.text), pinned);
    Ok(Destination { place, discriminator, pinned })
}

/// Fingerprints of the Flash profile change with each start: it keeps no pins, and must not pass over those there are.
fn refuse_pins(connect: &Connect, uri: &Uri, port: u16) -> Result<(), Failure> {
    let advice = "leave out what asks for another profile (--profile, --compatible, --mona, --hmac, --sequence, \
                  --password-file, RTMFP_PASSWORD), or give --fingerprint with what the far end shows";
    if connect.pin {
        let message =
            format!("--pin belongs to the modern profile, whose fingerprints last: leave out --pin, or {advice}");
        return Err(Failure::new(Code::Usage, message));
    }
    // Without a home directory nobody is pinned.
    if connect.fingerprint.is_some() || keyring::identity_path(None).is_err() {
        return Ok(());
    }
    let peers = Peers::load()?;
    // Without a port, the user means the server that is pinned at the port of the modern profile.
    let ports = [port, uri.port.unwrap_or(MODERN_PORT)];
    match ports.into_iter().find(|port| peers.at(&uri.host, *port).is_some()) {
        Some(port) => {
            let place = keyring::place(&uri.host, port);
            let message = format!("{place} is pinned in {}, for the modern profile: {advice}", peers.path().display());
            Err(Failure::new(Code::Usage, message))
        }
        None => Ok(()),
    }
}

/// A fingerprint, or that of a pinned peer.
fn named(text: &str) -> Result<Fingerprint, Failure> {
    let known = keyring::fingerprint(text).map(Ok).or_else(|| Peers::load().map(|peers| peers.get(text)).transpose());
    known.unwrap_or_else(|| {
        let message = format!(
            "`{}` is neither a fingerprint (64 hexadecimal digits, as the other end shows it) nor the name of a pinned peer",
            shown(text)
        );
        Err(Failure::new(Code::Usage, message))
    })
}

/// Pins the far end that has answered, if the user asks for that and there was a session. How the work itself has ended
/// is told first.
///
/// # Errors
/// `outcome`, if that is one; if the far end has proved no fingerprint, or the file cannot be written.
pub fn pin(
    outcome: Result<(), Failure>,
    connect: &Connect,
    to: &Destination,
    far: Option<&str>,
    opened: bool,
) -> Result<(), Failure> {
    let pinned = if connect.pin && opened { pin_far(to, far) } else { Ok(()) };
    match (outcome, pinned) {
        (Err(first), Err(second)) => Err(Failure::new(first.code, format!("{first}; besides: {second}"))),
        (outcome, pinned) => outcome.and(pinned),
    }
}

fn pin_far(to: &Destination, far: Option<&str>) -> Result<(), Failure> {
    let Some(far) = far.and_then(keyring::fingerprint) else {
        let message = format!("{} has proved no fingerprint, and cannot be pinned", to.place);
        return Err(Failure::new(Code::Local, message));
    };
    Peers::load()?.pin(&to.place, far)?;
    output::complain("rtmfp", format!("{} is pinned to {far}: compare it with what the far end shows", to.place));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_that_fails_does_not_hide_how_the_work_ended() {
        let connect = Connect { fingerprint: None, pin: true, peer: String::new() };
        let to = Destination { place: "h:1".into(), discriminator: Bytes::new(), pinned: None };
        let lost = Failure::new(Code::Lost, "it went away");
        let told = pin(Err(lost.clone()), &connect, &to, None, true).map_err(|e| (e.code, e.message));
        let all = "it went away; besides: h:1 has proved no fingerprint, and cannot be pinned";
        assert_eq!(told, Err((Code::Lost, all.into())));
        assert_eq!(pin(Err(lost.clone()), &connect, &to, None, false), Err(lost));
        assert_eq!(pin(Ok(()), &connect, &to, None, true).map_err(|e| e.code), Err(Code::Local));
        assert_eq!(pin(Ok(()), &connect, &to, None, false), Ok(()));
    }
}
