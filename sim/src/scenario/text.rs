//! Quantities that stand as text in a file.

use datagram_sim::{Duration, Ppb, Rate};
use serde::{Deserialize, Serialize};

use super::expect::Expect;
use super::fault::FaultText;
use super::stage::StageText;
use super::units;

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident, $inner:ty, $read:path, $show:path) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(pub $inner);

        impl TryFrom<String> for $name {
            type Error = String;
            fn try_from(text: String) -> Result<Self, String> {
                $read(&text).map(Self)
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                $show(value.0)
            }
        }
    };
}

quantity! {
    /// A length of time: `"25ms"`.
    Dur, Duration, units::span, units::show_span
}
quantity! {
    /// A number of bytes: `"64kB"`.
    Size, u64, units::bytes, units::show_bytes
}
quantity! {
    /// A rate: `"10Mbit"`.
    Bits, Rate, units::rate, units::show_rate
}
quantity! {
    /// A probability or share: `"1%"`.
    Share, Ppb, units::ppb, units::show_ppb
}

macro_rules! as_text {
    ($($name:ty),*) => {
        $(
            impl TryFrom<String> for $name {
                type Error = String;
                fn try_from(text: String) -> Result<Self, String> {
                    text.parse()
                }
            }
            impl From<$name> for String {
                fn from(value: $name) -> Self {
                    value.to_string()
                }
            }
            impl Serialize for $name {
                fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    serializer.collect_str(self)
                }
            }
            impl<'de> Deserialize<'de> for $name {
                fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    let text = String::deserialize(deserializer)?;
                    text.parse().map_err(serde::de::Error::custom)
                }
            }
        )*
    };
}

as_text!(StageText, FaultText, Expect);
