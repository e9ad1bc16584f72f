//! Shares and confirmations of a stranger, who knows no secret: whatever they are, nothing is proved.

use rtmfp_files::{Secret, pake};

use crate::duo::TestRng;

/// Bytes of a share and of a confirmation, if they are cut as they should be.
const SHARE: usize = 32;

pub(super) fn run(data: &[u8]) {
    let Some((cut, rest)) = data.split_first() else { return };
    let at = if *cut == 0 { SHARE } else { usize::from(*cut) }.min(rest.len());
    let (share, confirmation) = rest.split_at(at);
    let secret = Secret::password(b"nobody guesses this");
    if let Ok((_, answered)) = pake::answer(&secret, b"binding", share, &mut TestRng(1)) {
        assert!(answered.on_confirmation(confirmation).is_err(), "a stranger has proved a secret");
    }
    let Ok((_, claimed)) = pake::claim(&secret, b"binding", &mut TestRng(2)) else { return };
    if let Ok((_, confirmed)) = claimed.on_share(share) {
        assert!(confirmed.on_confirmation(confirmation).is_err(), "a stranger has proved a secret");
    }
}
