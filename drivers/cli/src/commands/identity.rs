//! `rtmfp identity`

use rtmfp_core::profile::Fingerprint;

use crate::args::{IdentityArgs, IdentityCommand};
use crate::failure::{Code, Failure};
use crate::keyring::{Kept, Peers, fingerprint, grouped, identity_path};
use crate::output;

pub(super) fn run(args: &IdentityArgs) -> Result<(), Failure> {
    match &args.command {
        IdentityCommand::Show(file) => {
            let path = identity_path(file.file.as_deref())?;
            show(&Kept::look(&path)?);
        }
        IdentityCommand::New(file) => {
            let path = identity_path(file.file.as_deref())?;
            let identity = Kept::create(&path)?;
            output::line(&format!("identity written to {}", path.display()));
            show(&identity.peer_id());
        }
        IdentityCommand::Rotate(file) => {
            let path = identity_path(file.file.as_deref())?;
            let (old, new) = Kept::rotate(&path)?;
            output::line(&format!("the identity in {} was replaced; tell those who have pinned it", path.display()));
            output::line(&format!("old fingerprint {old}"));
            show(&new.peer_id());
        }
        IdentityCommand::Pin(pin) => {
            let wanted = fingerprint(&pin.fingerprint).ok_or_else(|| {
                Failure::new(
                    Code::Usage,
                    "a fingerprint has 64 hexadecimal digits, as `rtmfp identity show` shows them",
                )
            })?;
            let mut peers = Peers::load()?;
            peers.pin(&pin.name, wanted)?;
            output::line(&format!("{} is pinned to {wanted}", pin.name));
        }
    }
    Ok(())
}

/// For programs first, then for people.
fn show(fingerprint: &Fingerprint) {
    output::line(&format!("fingerprint {fingerprint}"));
    output::line("to compare by voice:");
    grouped(fingerprint).lines().for_each(|line| output::line(&format!("  {line}")));
}
