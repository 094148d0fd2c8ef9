//! Form tokens. A signed-in page carries its session's random token (synchroniser token). A page
//! before sign-in has no session and must not make one, so its token is sealed under the master key
//! and bound to a random cookie: whoever cannot read the cookie cannot make the token, and nothing
//! is stored.

use crate::secrets::{Sealer, random_token};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Duration, Utc};
use subtle::ConstantTimeEq;

/// Name of the hidden field.
pub const FIELD: &str = "csrf";
/// Name of the cookie before sign-in, before the prefix for TLS.
pub const COOKIE: &str = "form";
/// A form before sign-in may lie open this long.
const LIFE: Duration = Duration::hours(4);

/// A new random cookie value.
pub fn new_cookie() -> String {
    random_token()
}

/// The token that belongs to a cookie.
pub fn make(sealer: &Sealer, cookie: &str, now: DateTime<Utc>) -> String {
    let made_at = now.timestamp().to_be_bytes();
    sealer
        .seal(&place(cookie), &made_at)
        .map(|sealed| URL_SAFE_NO_PAD.encode(sealed))
        .unwrap_or_default()
}

/// Whether a token belongs to the cookie and is not too old.
pub fn belongs(sealer: &Sealer, cookie: &str, token: &str, now: DateTime<Utc>) -> bool {
    let opened = URL_SAFE_NO_PAD
        .decode(token)
        .ok()
        .and_then(|sealed| sealer.open(&place(cookie), &sealed).ok());
    let made_at = opened
        .and_then(|bytes| <[u8; 8]>::try_from(bytes.as_slice()).ok())
        .and_then(|bytes| DateTime::from_timestamp(i64::from_be_bytes(bytes), 0));
    made_at.is_some_and(|made_at| now - made_at < LIFE)
}

/// Whether two tokens are equal, in a time that tells nothing.
pub fn equal(expected: &str, given: &str) -> bool {
    !expected.is_empty() && bool::from(expected.as_bytes().ct_eq(given.as_bytes()))
}

fn place(cookie: &str) -> String {
    format!("cookie/form/{cookie}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_fits_only_its_cookie_and_grows_old() {
        let (sealer, now) =
            (Sealer::from_key([1; 32]), DateTime::from_timestamp(1_790_000_000, 0).unwrap());
        let token = make(&sealer, "a", now);
        assert!(belongs(&sealer, "a", &token, now + Duration::hours(3)));
        assert!(!belongs(&sealer, "b", &token, now));
        assert!(!belongs(&sealer, "a", &token, now + Duration::hours(5)));
        assert!(!belongs(&sealer, "a", "", now) && !equal("", "") && equal("x", "x"));
    }
}
