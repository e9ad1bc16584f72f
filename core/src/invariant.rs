//! What to do where something cannot happen.

/// For what cannot happen: a debug build stops there, others go on with what is given.
macro_rules! cannot_happen {
    ($fallback:expr, $why:literal) => {{
        debug_assert!(false, $why);
        $fallback
    }};
}
pub(crate) use cannot_happen;
