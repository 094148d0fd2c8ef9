//! Second factor: codes of six digits that change every 30 seconds (RFC 6238 over SHA-1, what every
//! authenticator speaks), and recovery codes for the day when the telephone is lost.

use super::{Secret, sha256_hex};
use crate::clock::random_bytes;
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use subtle::ConstantTimeEq;

/// How long one code is the current one.
pub const STEP_SECONDS: i64 = 30;
/// Codes of so many steps before and after are taken as well: clocks differ and people type slowly.
const SKEW: i64 = 1;
/// Recovery codes made at a time.
pub const RECOVERY_CODES: usize = 10;
/// Characters of a recovery code without its hyphens: 120 random bits.
const RECOVERY_LENGTH: usize = 24;

/// 160 random bits, as long as the hash, for an authenticator to keep.
pub fn new_key() -> [u8; 20] {
    random_bytes()
}

/// The code of one step of 30 seconds since 1970 (RFC 4226 with the step as counter).
fn code(key: &[u8], step: i64) -> Option<u32> {
    let mut mac = Hmac::<Sha1>::new_from_slice(key).ok()?;
    mac.update(&step.to_be_bytes());
    let hash = mac.finalize().into_bytes();
    let offset = usize::from(hash.last()? & 0x0f);
    let four: [u8; 4] = hash.get(offset..offset + 4)?.try_into().ok()?;
    Some((u32::from_be_bytes(four) & 0x7fff_ffff) % 1_000_000)
}

/// The step whose code was typed, if it is the current one or a neighbour and later than `last`:
/// a code counts once.
pub fn matching_step(key: &[u8], typed: &str, now: DateTime<Utc>, last: i64) -> Option<i64> {
    let typed: String = typed.chars().filter(|c| !c.is_whitespace()).collect();
    let current = now.timestamp().div_euclid(STEP_SECONDS);
    let fits = |step: &i64| {
        let expected = code(key, *step).map(|code| format!("{code:06}")).unwrap_or_default();
        !expected.is_empty() && bool::from(expected.as_bytes().ct_eq(typed.as_bytes()))
    };
    (current - SKEW..=current + SKEW).filter(|step| *step > last).find(fits)
}

/// The code that an authenticator shows now. For tests: people have a telephone for it.
#[cfg(feature = "test-util")]
pub fn current_code(key: &[u8], now: DateTime<Utc>) -> String {
    let step = now.timestamp().div_euclid(STEP_SECONDS);
    code(key, step).map(|code| format!("{code:06}")).unwrap_or_default()
}

/// RFC 4648 base 32 without padding: how authenticators take keys.
pub fn base32(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let (mut text, mut buffer, mut bits) = (String::new(), 0u32, 0);
    for byte in bytes {
        buffer = (buffer << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(char::from(LETTERS[(buffer >> bits) as usize & 31]));
        }
        buffer &= (1 << bits) - 1;
    }
    if bits > 0 {
        text.push(char::from(LETTERS[(buffer << (5 - bits)) as usize & 31]));
    }
    text
}

/// What the square of dots says: the key and whose it is.
pub fn uri(key: &[u8], login: &str, portal: &str) -> Secret {
    let encoded = |text: &str| {
        text.bytes().fold(String::new(), |mut out, byte| {
            use std::fmt::Write;
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                out.push(char::from(byte));
            } else {
                let _ = write!(out, "%{byte:02X}");
            }
            out
        })
    };
    let issuer = encoded(&format!("pgflex {portal}"));
    Secret::new(format!(
        "otpauth://totp/{issuer}:{}?secret={}&issuer={issuer}",
        encoded(login),
        base32(key)
    ))
}

/// New recovery codes, as they are shown this once.
pub fn recovery_codes() -> Vec<Secret> {
    let one = |_| {
        let text = base32(&random_bytes::<15>());
        let groups: Vec<&str> =
            (0..RECOVERY_LENGTH).step_by(6).map(|at| &text[at..at + 6]).collect();
        Secret::new(groups.join("-"))
    };
    (0..RECOVERY_CODES).map(one).collect()
}

/// How a recovery code of `owner` is stored; `None` when what was typed is none. A plain hash is enough for 120
/// random bits.
pub fn recovery_hash(owner: &str, typed: &str) -> Option<String> {
    let code: String = typed.chars().filter(char::is_ascii_alphanumeric).collect();
    let code = code.to_ascii_uppercase();
    (code.len() == RECOVERY_LENGTH).then(|| sha256_hex(&format!("recovery/{owner}/{code}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"12345678901234567890";

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    /// RFC 6238 appendix B, SHA-1, the last six of its eight digits; RFC 4226 appendix D.
    #[test]
    fn codes_are_those_of_the_standards() {
        for (time, expected) in [
            (59, 287_082),
            (1_111_111_109, 81_804),
            (1_111_111_111, 50_471),
            (1_234_567_890, 5_924),
            (2_000_000_000, 279_037),
            (20_000_000_000i64, 353_130),
        ] {
            assert_eq!(code(KEY, time / STEP_SECONDS), Some(expected), "{time}");
        }
        let counted = [755_224, 287_082, 359_152, 969_429, 338_314, 254_676, 287_922, 162_583];
        for (step, expected) in counted.into_iter().enumerate() {
            assert_eq!(code(KEY, step as i64), Some(expected), "{step}");
        }
    }

    #[test]
    fn a_code_counts_one_step_early_or_late_and_once() {
        let now = at(1_111_111_109);
        let step = 1_111_111_109 / STEP_SECONDS;
        assert_eq!(matching_step(KEY, "081804", now, 0), Some(step));
        assert_eq!(matching_step(KEY, " 081 804", now, 0), Some(step));
        for late in [-30, 30] {
            assert_eq!(matching_step(KEY, "081804", at(1_111_111_109 + late), 0), Some(step));
        }
        for far in [-60, 61] {
            assert_eq!(matching_step(KEY, "081804", at(1_111_111_109 + far), 0), None);
        }
        assert_eq!(matching_step(KEY, "081804", now, step), None, "used");
        for wrong in ["", "81804", "0818040", "08180a", "०८१८०४"] {
            assert_eq!(matching_step(KEY, wrong, now, 0), None, "{wrong}");
        }
    }

    /// RFC 4648 section 10.
    #[test]
    fn base32_is_that_of_the_standard() {
        for (plain, text) in [
            ("", ""),
            ("f", "MY"),
            ("fo", "MZXQ"),
            ("foo", "MZXW6"),
            ("foob", "MZXW6YQ"),
            ("fooba", "MZXW6YTB"),
            ("foobar", "MZXW6YTBOI"),
        ] {
            assert_eq!(base32(plain.as_bytes()), text);
        }
        let uri = uri(KEY, "ann+x@db.example", "db.example:8080");
        assert_eq!(
            uri.reveal(),
            "otpauth://totp/pgflex%20db.example%3A8080:ann%2Bx%40db.example?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=pgflex%20db.example%3A8080"
        );
    }

    #[test]
    fn recovery_codes_differ_and_belong_to_one_person() {
        let codes = recovery_codes();
        let hashes: std::collections::HashSet<_> =
            codes.iter().map(|code| recovery_hash("ann", code.reveal()).unwrap()).collect();
        assert_eq!((codes.len(), hashes.len()), (RECOVERY_CODES, RECOVERY_CODES));
        let code = codes[0].reveal();
        let typed = code.to_lowercase().replace('-', " ");
        assert_eq!(recovery_hash("ann", &typed), recovery_hash("ann", code));
        assert_ne!(recovery_hash("bob", code), recovery_hash("ann", code));
        assert_eq!(recovery_hash("ann", "123456"), None);
    }
}
