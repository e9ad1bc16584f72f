//! How the profile reads a sequence of options.

use crate::wire::Malformed;
use crate::wire::option::{Options, RawOption};

/// Hands every option to `take`, which says whether it knows the type.
///
/// # Errors
/// `take` refuses an option, or the bytes are not a sequence of options. A marker is an error too, and so is an unknown
/// option with an odd type, because that is critical.
pub(super) fn read<'a>(
    bytes: &'a [u8],
    mut take: impl FnMut(u64, &'a [u8]) -> Result<bool, Malformed>,
) -> Result<(), Malformed> {
    for option in Options::new(bytes) {
        let RawOption::Option { kind, value } = option? else { return Err(Malformed) };
        if !take(kind, value)? && kind % 2 == 1 {
            return Err(Malformed);
        }
    }
    Ok(())
}

/// Takes the value of a known option, which must not occur twice.
pub(super) fn once<T>(slot: &mut Option<T>, value: T) -> Result<bool, Malformed> {
    if slot.replace(value).is_some() { Err(Malformed) } else { Ok(true) }
}
