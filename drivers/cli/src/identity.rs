//! Who this end is, whom it looks for, and how sessions are protected.

use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use rtmfp_core::Bytes;
use rtmfp_core::profile::CryptoProfile;
use rtmfp_core::profile::flash::{
    Builder, Certificate, Fingerprint, FlashProfile, Group, KeyLog, Protection, StaticKeys,
};
use rtmfp_core::profile::plain::PlainProfile;
use rtmfp_std::{KeyLogFile, Uri};

use crate::args::{Common, Connect, Profile, ProfileArgs, Protect};
use crate::failure::{Code, Failure};
use crate::output;

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
    /// What others can pin; `None` unless static keys prove it.
    pub fingerprint: Option<Fingerprint>,
    /// Whether far ends are of the Mona family, and sessions are to suit them.
    pub mona: bool,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

/// The part that this end plays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// Is reached by URI.
    Server {
        /// Whether the user asks for a fingerprint that others pin, password or not.
        lasting: bool,
    },
    /// Reaches out, and is nobody in particular.
    Client,
}

impl Identity {
    /// The identity that the command line asks for, made anew.
    ///
    /// # Errors
    /// If the password cannot be read, or the system has no randomness.
    pub fn new(common: &Common, part: Part) -> Result<Self, Failure> {
        let password = password(common.password_file.as_deref())?;
        let args = &common.profile;
        if args.profile == Profile::Plain {
            let profile = Arc::new(PlainProfile::new(args.name.as_bytes()));
            return Ok(Self { profile, fingerprint: None, mona: args.mona });
        }
        Self::flash(args, part, password.as_deref())
    }

    /// An identity under the Flash profile.
    ///
    /// # Errors
    /// If the system has no randomness.
    pub fn flash(args: &ProfileArgs, part: Part, password: Option<&[u8]>) -> Result<Self, Failure> {
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
        if let Part::Server { lasting } = part {
            builder = builder.accept_ancillary(true);
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
        Ok(Self { profile: Arc::new(profile), fingerprint, mona: false })
    }

    /// An identity for far ends of the Mona family. They know no passwords, and a signature would be too long for them.
    fn mona(builder: Builder, part: Part, password: Option<&[u8]>) -> Result<Self, Failure> {
        if password.is_some() {
            return Err(Failure::new(
                Code::Usage,
                "--mona knows no passwords: leave out --password-file and RTMFP_PASSWORD",
            ));
        }
        let mut rng = rtmfp_std::system_rng()?;
        let builder = match part {
            Part::Server { .. } => builder.for_mona_clients(),
            Part::Client => builder.for_mona_server(&mut *rng),
        };
        let profile = builder.build(&mut *rng).map_err(|e| Failure::local("identity", e))?;
        let fingerprint = profile.has_static_keys().then(|| profile.fingerprint());
        Ok(Self { profile: Arc::new(profile), fingerprint, mona: true })
    }
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

/// The endpoint discriminator (RFC 7016 §3.2) of the far end.
///
/// # Errors
/// If the fingerprint is none.
pub fn discriminator(args: &ProfileArgs, connect: &Connect, uri: &Uri) -> Result<Bytes, Failure> {
    if args.profile == Profile::Plain {
        return Ok(connect.peer.clone().into_bytes().into());
    }
    let discriminator = uri.discriminator();
    let discriminator = match &connect.fingerprint {
        Some(text) => discriminator.fingerprint(text.parse().map_err(|_| {
            Failure::new(Code::Usage, "--fingerprint takes the 64 hexadecimal digits that the receiver shows")
        })?),
        None => discriminator,
    };
    Ok(discriminator.to_bytes().into())
}

/// Which group two ends agreed on, as the initiator of a session with the owner of `far_certificate` sees it; `None`
/// if it is no Flash certificate.
#[must_use]
pub fn group_with(far_certificate: &[u8]) -> Option<Group> {
    let far = Certificate::parse(far_certificate).ok()?;
    // The initiator takes the first group of the responder's list that it has; the default profile has one.
    far.groups().filter_map(Group::from_id).find(|group| *group == Group::Modp2048)
}
