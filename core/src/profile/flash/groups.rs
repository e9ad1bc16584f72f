//! The Diffie-Hellman groups (RFC 7425 §4.2): their names and sizes.

/// A Diffie-Hellman MODP group with generator 2.
///
/// RFC 7425 §4.2 asks for group 2, advises 5 and 14, and allows others. 1024 bits (group 2) are within reach of
/// well-funded attackers, so that groups 2 and 5 are off unless asked for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Group {
    /// Group 2, 1024 bits (RFC 2409 §6.2).
    Modp1024,
    /// Group 5, 1536 bits (RFC 3526 §2).
    Modp1536,
    /// Group 14, 2048 bits (RFC 3526 §3).
    Modp2048,
    /// Group 16, 4096 bits (RFC 3526 §5). Each handshake costs several milliseconds.
    Modp4096,
}

impl Group {
    /// Every group that is known here.
    pub const ALL: [Self; 4] = [Self::Modp1024, Self::Modp1536, Self::Modp2048, Self::Modp4096];

    /// The group's number in certificates and keying components.
    #[must_use]
    pub const fn id(self) -> u64 {
        match self {
            Self::Modp1024 => 2,
            Self::Modp1536 => 5,
            Self::Modp2048 => 14,
            Self::Modp4096 => 16,
        }
    }

    /// The group with this number, if it is known here.
    #[must_use]
    pub const fn from_id(id: u64) -> Option<Self> {
        match id {
            2 => Some(Self::Modp1024),
            5 => Some(Self::Modp1536),
            14 => Some(Self::Modp2048),
            16 => Some(Self::Modp4096),
            _ => None,
        }
    }

    /// Length of the prime modulus in bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        match self {
            Self::Modp1024 => 1024,
            Self::Modp1536 => 1536,
            Self::Modp2048 => 2048,
            Self::Modp4096 => 4096,
        }
    }

    /// What a key agreement costs, in units of [`respond_cost`](crate::profile::CryptoProfile::respond_cost).
    pub(super) const fn cost(self) -> u32 {
        match self {
            Self::Modp1024 | Self::Modp1536 | Self::Modp2048 => 1,
            Self::Modp4096 => 5,
        }
    }

    /// Length of private exponents in bits. RFC 7425 sets none. RFC 3526 §8 has two estimates of each group's strength,
    /// and exponents of twice that: 220 or 320 bits for group 14, 300 or 480 for group 16. These are the lower ones,
    /// rounded up; groups 5 and, by the same measure, 2, which are weaker, have the higher. Longer exponents cost more.
    pub(super) const fn exponent_bits(self) -> u32 {
        match self {
            Self::Modp1024 => 224,
            Self::Modp1536 => 240,
            Self::Modp2048 => 256,
            Self::Modp4096 => 352,
        }
    }

    /// Length of private exponents in bytes.
    pub(super) const fn exponent_len(self) -> usize {
        match self {
            Self::Modp1024 => 28,
            Self::Modp1536 => 30,
            Self::Modp2048 => 32,
            Self::Modp4096 => 44,
        }
    }

    /// The prime modulus in hexadecimal, as the RFCs print it.
    pub(super) const fn prime_hex(self) -> &'static str {
        match self {
            Self::Modp1024 => MODP_1024,
            Self::Modp1536 => MODP_1536,
            Self::Modp2048 => MODP_2048,
            Self::Modp4096 => MODP_4096,
        }
    }
}

/// RFC 2409 §6.2.
pub(super) const MODP_1024: &str = "\
    FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD\
    EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED\
    EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE65381FFFFFFFFFFFFFFFF";

/// RFC 3526 §2.
pub(super) const MODP_1536: &str = "\
    FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD\
    EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED\
    EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F\
    83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA237327FFFFFFFFFFFFFFFF";

/// RFC 3526 §3.
pub(super) const MODP_2048: &str = "\
    FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD\
    EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED\
    EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F\
    83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B\
    E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA0510\
    15728E5A8AACAA68FFFFFFFFFFFFFFFF";

/// RFC 3526 §5.
pub(super) const MODP_4096: &str = "\
    FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD\
    EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED\
    EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F\
    83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B\
    E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA0510\
    15728E5A8AAAC42DAD33170D04507A33A85521ABDF1CBA64ECFB850458DBEF0A8AEA71575D060C7DB3970F85A6E1E4C7\
    ABF5AE8CDB0933D71E8C94E04A25619DCEE3D2261AD2EE6BF12FFA06D98A0864D87602733EC86A64521F2B18177B200C\
    BBE117577A615D6C770988C0BAD946E208E24FA074E5AB3143DB5BFCE0FD108E4B82D120A92108011A723C12A787E6D7\
    88719A10BDBA5B2699C327186AF4E23C1A946834B6150BDA2583E9CA2AD44CE8DBBBC2DB04DE8EF92E8EFC141FBECAA6\
    287C59474E6BC05D99B2964FA090C3A2233BA186515BE7ED1F612970CEE2D7AFB81BDD762170481CD0069127D5B05AA9\
    93B4EA988D8FDDC186FFB7DC90A6C08F4DF435C934063199FFFFFFFFFFFFFFFF";
