//! The options that a flow starts with (RFC 7016 §2.3.11.1, §3.6.3.1).

use bytes::Bytes;

use crate::params::{METADATA_MAX, OPTION_CRITICAL_BELOW};
use crate::wire::option::{RETURN_FLOW_ASSOCIATION, USER_METADATA};
use crate::wire::{Cursor, Options, RawOption};

/// What opening a receiving flow needs to know (RFC 7016 §3.6.3.1), read from the first chunk's options.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct StartupOptions {
    pub(crate) metadata: Option<Bytes>,
    pub(crate) association: Option<u64>,
    /// A critical option that is not understood, metadata that is too long, a repeated association, or broken syntax.
    pub(crate) unacceptable: bool,
}

/// Reads an option list. If the metadata comes twice, the first counts.
pub(crate) fn parse_startup_options(options: Option<&[u8]>) -> StartupOptions {
    let mut startup = StartupOptions::default();
    for option in Options::new(options.unwrap_or_default()) {
        match option {
            Ok(RawOption::Marker) => break,
            // §2.3.11.1.1: more than 512 bytes SHOULD NOT be sent, and are not kept for a stranger.
            Ok(RawOption::Option { kind: USER_METADATA, value }) if value.len() > METADATA_MAX => {
                startup.unacceptable = true;
            }
            Ok(RawOption::Option { kind: USER_METADATA, value }) => {
                startup.metadata.get_or_insert_with(|| Bytes::copy_from_slice(value));
            }
            Ok(RawOption::Option { kind: RETURN_FLOW_ASSOCIATION, value }) => match parse_association(value) {
                // §2.3.11.1.2: a flow MUST NOT indicate more than one return association.
                Some(flow) if startup.association.is_none() => startup.association = Some(flow),
                _ => startup.unacceptable = true,
            },
            // §2.3.11.1: MUST reject if below 8192, MUST ignore from there on.
            Ok(RawOption::Option { kind, .. }) => startup.unacceptable |= kind < OPTION_CRITICAL_BELOW,
            Err(_) => startup.unacceptable = true,
        }
    }
    startup
}

/// Whether a list on a later chunk obliges the receiver to reject the flow (RFC 7016 §3.6.3.2, step 4).
pub(crate) fn is_unacceptable(options: Option<&[u8]>) -> bool {
    Options::new(options.unwrap_or_default()).any(|option| match option {
        Ok(RawOption::Option { kind, .. }) => {
            kind < OPTION_CRITICAL_BELOW && kind != USER_METADATA && kind != RETURN_FLOW_ASSOCIATION
        }
        Ok(RawOption::Marker) => false,
        Err(_) => true,
    })
}

fn parse_association(value: &[u8]) -> Option<u64> {
    let mut cursor = Cursor::new(value);
    let flow = cursor.vlu().ok()?;
    cursor.is_empty().then_some(flow)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::option::encode_option;
    use alloc::vec::Vec;

    fn list(options: &[(u64, &[u8])]) -> Vec<u8> {
        let mut list = Vec::new();
        options.iter().for_each(|&(kind, value)| encode_option(kind, value, &mut list));
        list
    }

    #[test]
    fn metadata_and_association_are_read() {
        let startup = parse_startup_options(Some(&list(&[(0, b"name"), (10, &[0x81, 0x00])])));
        assert_eq!(startup.metadata.as_deref(), Some(b"name".as_slice()));
        assert_eq!((startup.association, startup.unacceptable), (Some(128), false));
        assert_eq!(parse_startup_options(Some(&list(&[(0, b"")]))).metadata, Some(Bytes::new()));
        assert_eq!(parse_startup_options(None), StartupOptions::default());
    }

    /// RFC 7016 §2.3.11.1, §2.3.11.1.2.
    #[test]
    fn what_obliges_to_reject() {
        for (options, unacceptable) in [
            (list(&[(0x1fff, b"x")]), true),
            (list(&[(0x2000, b"x")]), false),
            (list(&[(1, b"")]), true),
            (list(&[(10, &[5]), (10, &[5])]), true),
            (list(&[(10, &[5, 6])]), true),
            (list(&[(10, &[])]), true),
            (Vec::from([9, 0]), true),
            (list(&[(0, b"a"), (0, b"b")]), false),
            (list(&[(0, &[0; METADATA_MAX])]), false),
            (list(&[(0, &[0; METADATA_MAX + 1])]), true),
        ] {
            assert_eq!(parse_startup_options(Some(&options)).unacceptable, unacceptable, "{options:?}");
        }
        assert!(is_unacceptable(Some(&list(&[(0x1fff, b"")]))) && is_unacceptable(Some(&[9, 0])));
        assert!(!is_unacceptable(Some(&list(&[(0, b""), (10, &[1]), (0x2000, b"")]))) && !is_unacceptable(None));
    }
}
