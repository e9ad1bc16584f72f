//! The cryptography of the dissector, by published vectors and against ours.

use core::fmt::Write as _;

use rtmfp_core::profile::modern::{Cipher, NONCE_LEN, PacketText, Provider as _, PureRust};

use super::capture::Capture;
use super::tshark::{Scratch, dissector, run};

/// What the script has to begin with: `crypto`, and functions from and to hexadecimal digits.
fn beginning() -> String {
    format!(
        r#"
        local folder = "{}/"
        local function part(name, ...) return assert(loadfile(folder .. name .. ".lua"))(...) end
        local crypto = part("crypto", part)
        local aes, gcm, chacha, bits = crypto.aes, crypto.gcm, crypto.chacha, crypto.bits
        local function raw(hex) return (hex:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end)) end
        local function hex(raw) return raw and (raw:gsub(".", function(c) return ("%02x"):format(c:byte()) end)) or "-" end
        "#,
        dissector("crypto.lua").parent().unwrap().display()
    )
}

/// The columns that a script prints.
fn printed(script: &str) -> Option<Vec<Vec<String>>> {
    let file = Scratch::new(format!("{}{script}", beginning()).as_bytes());
    let out = run(&file.0, &Capture::new(), &[])?;
    Some(out.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect())
}

/// FIPS 197 §C.1 and §C.3, and NIST SP 800-38A §F.2.2 (its first block is under another IV).
#[test]
fn aes_agrees_with_published_vectors() {
    let script = r#"
        local function cbc(key, sealed) return hex(aes.cbc_decrypt(aes.decryption_key(raw(key)), raw(sealed))) end
        local function encrypt(key, text)
            return hex(bits.unwords(aes.encrypt(aes.encryption_key(raw(key)), bits.words(raw(text), 1))))
        end
        local key, text = "000102030405060708090a0b0c0d0e0f", "00112233445566778899aabbccddeeff"
        print(cbc(key, "69c4e0d86a7b0430d8cdb78070b4c55a"))
        print(encrypt(key, text))
        print(encrypt(key .. "101112131415161718191a1b1c1d1e1f", text))
        print(cbc("2b7e151628aed2a6abf7158809cf4f3c",
            "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2"):sub(33))
    "#;
    let Some(lines) = printed(script) else { return };
    assert_eq!(
        lines.concat(),
        [
            "00112233445566778899aabbccddeeff",
            "69c4e0d86a7b0430d8cdb78070b4c55a",
            "8ea2b7ca516745bfeafc49904b496089",
            "ae2d8a571e03ac9c9eb76fac45af8e51",
        ]
    );
}

/// FIPS 180-4, RFC 4231 and RFC 5869; and the checksum of RFC 1071.
#[test]
fn hashes_agree_with_published_vectors() {
    let script = r#"
        print(hex(crypto.sha256("abc")))
        print(hex(crypto.sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")))
        print(hex(crypto.hmac("Jefe", "what do ya want for nothing?")))
        print(hex(crypto.expand(raw("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5"),
            raw("f0f1f2f3f4f5f6f7f8f9"), 32)))
        local flash = part("flash_keys", crypto)
        print(flash.checksum(raw("0001f203f4f5f6f7")), flash.checksum(raw("010203")))
    "#;
    let Some(lines) = printed(script) else { return };
    assert_eq!(
        lines.concat(),
        [
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf",
            "8717",
            "65274",
        ]
    );
}

/// Of Poly1305 those at the edges of its numbers (RFC 8439 §A.3).
#[test]
fn chacha_and_poly1305_agree_with_published_vectors() {
    let script = r#"
        local key = {}
        for at = 0, 31 do key[#key + 1] = string.char(at) end
        print(hex(chacha.block(table.concat(key), raw("000000090000004a00000000"), 1)))
        local function mac(r, s, message) print(hex(chacha.poly1305(raw(r) .. raw(s), raw(message)))) end
        local zeros = ("00"):rep(16)
        local one, two = "01" .. ("00"):rep(15), "02" .. ("00"):rep(15)
        local four = "0100000000000000" .. "0400000000000000"
        print(hex(chacha.poly1305(raw("85d6be7857556d337f4452fe42d506a80103808afb0db2fd4abff6af4149f51b"),
            "Cryptographic Forum Research Group")))
        mac(zeros, zeros, ("00"):rep(64))
        mac(two, zeros, ("ff"):rep(16))
        mac(two, ("ff"):rep(16), two)
        mac(one, zeros, ("ff"):rep(16) .. "f0" .. ("ff"):rep(15) .. "11" .. ("00"):rep(15))
        mac(one, zeros, ("ff"):rep(16) .. "fb" .. ("fe"):rep(15) .. ("01"):rep(16))
        mac(two, zeros, "fd" .. ("ff"):rep(15))
        local long = "e33594d7505e43b900000000000000003394d7505e4379cd01000000000000000000000000000000000000000000000001000000000000000000000000000000"
        mac(four, zeros, long)
        mac(four, zeros, long:sub(1, 96))
    "#;
    let Some(lines) = printed(script) else { return };
    let zeros = |count: usize| "00".repeat(count);
    assert_eq!(
        lines.concat(),
        [
            "10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4e\
         d2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e"
                .to_owned(),
            "a8061dc1305136c6c22b8baf0c0127a9".to_owned(),
            zeros(16),
            format!("03{}", zeros(15)),
            format!("03{}", zeros(15)),
            format!("05{}", zeros(15)),
            zeros(16),
            format!("fa{}", "ff".repeat(15)),
            format!("14{}55{}", zeros(7), zeros(7)),
            format!("13{}", zeros(15)),
        ]
    );
}

/// Texts of every length up to five blocks and a little, by the ciphers of core. Each comes with a wrong tag, a wrong text
/// and a wrong nonce too.
#[test]
fn what_core_seals_opens_and_nothing_else() {
    let mut script = r#"
        local function try(make, open, key, nonce, sealed)
            local opened = {}
            for at, bytes in ipairs({ sealed, sealed:sub(1, -2) .. "\0", "\0" .. sealed:sub(2), sealed }) do
                opened[at] = hex(open(make(key), at == 4 and "another one." or nonce, bytes))
            end
            print(table.unpack(opened))
        end
        local function same(key) return key end
    "#
    .to_owned();
    let mut expected = Vec::new();
    for cipher in Cipher::ALL {
        for length in 0..84_u8 {
            let key: [u8; 32] = core::array::from_fn(|at| length.wrapping_mul(31) ^ (at as u8).wrapping_mul(73));
            let nonce: [u8; NONCE_LEN] = core::array::from_fn(|at| length.wrapping_mul(7) ^ at as u8 ^ 0x80);
            let plain: Vec<u8> = (0..length).map(|at| at.wrapping_mul(37) ^ 0xa5).collect();
            let mut text = [&plain[..], &[0; 16]].concat();
            PureRust.cipher(cipher, &key).seal(&mut [PacketText { nonce, text: &mut text }]);
            // So that the altered ones differ.
            let differs = text[0] != 0 && text[text.len() - 1] != 0;
            if !differs {
                continue;
            }
            let (make, open) = match cipher {
                Cipher::ChaCha20Poly1305 => ("same", "chacha.open"),
                _ => ("gcm.key", "gcm.open"),
            };
            let [key, nonce, text] = [&key[..cipher.key_len()], &nonce, &text].map(hex);
            writeln!(script, r#"try({make}, {open}, raw("{key}"), raw("{nonce}"), raw("{text}"))"#).unwrap();
            expected.push([hex(&plain), "-".to_owned(), "-".to_owned(), "-".to_owned()]);
        }
    }
    let Some(lines) = printed(&script) else { return };
    assert!(lines.len() > 240, "{}", lines.len());
    assert_eq!(lines, expected);
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
