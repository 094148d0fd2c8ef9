//! How often somebody may try a password.
//!
//! Three counters: the account (five tries, then a doubling delay), the address and the whole portal.
//! A stranger who fails on purpose would keep the owner of an account out, so a browser that has
//! signed in before carries a sealed cookie for that account and is counted on its own.

use crate::domain::account::{SIGN_INS_PER_ADDRESS_MINUTE, SIGN_INS_PER_MINUTE};
use crate::domain::ids::UserId;
use crate::domain::refusal::Refusal;
use crate::secrets::{Sealer, random_token, sha256_hex};
use crate::store::Record;
use crate::store::throttle::Guess;
use crate::web::error::PageError;
use crate::web::time::duration_text;
use crate::web::visit::Visit;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::Duration;

/// Name of the cookie of a browser that has signed in before.
pub const DEVICE_COOKIE: &str = "device";
/// How long a browser is remembered.
pub const DEVICE_DAYS: i64 = 90;

/// Key of the counter of an account, whether it exists or not.
pub fn account_key(login: &str) -> String {
    format!("account/{}", sha256_hex(login))
}

/// Beginning of the keys of codes.
const CODE: &str = "code/";

/// Key of the counter of a person's second factor.
pub fn code_key(user: &UserId) -> String {
    format!("{CODE}{user}")
}

/// Key of the counter of a known browser, when the cookie was sealed for this user.
pub fn device_key(sealer: &Sealer, cookie: &str, user: &UserId) -> Option<String> {
    let sealed = URL_SAFE_NO_PAD.decode(cookie).ok()?;
    sealer.open(&device_place(user), &sealed).ok()?;
    Some(format!("device/{}", sha256_hex(cookie)))
}

/// A cookie that makes this browser known for a user.
pub fn device_cookie(sealer: &Sealer, user: &UserId) -> Option<String> {
    let sealed = sealer.seal(&device_place(user), random_token().as_bytes()).ok()?;
    Some(URL_SAFE_NO_PAD.encode(sealed))
}

fn device_place(user: &UserId) -> String {
    format!("cookie/device/{user}")
}

/// Books one try under `key`. A refusal is for the form.
///
/// # Errors
/// When the address or the whole portal has had its share of this minute.
pub async fn admit(visit: &Visit, key: &str) -> Result<Result<(), Refusal>, PageError> {
    let minute = Duration::minutes(1);
    let mut tx = visit.state.store.begin_write(visit.now).await?;
    let address = tx.count_attempt(&format!("address/{}", visit.address), minute).await?;
    // One address that has had its share must not use up everybody's.
    let is_too_many = address > i64::from(SIGN_INS_PER_ADDRESS_MINUTE)
        || tx.count_attempt(share_of(key), minute).await? > i64::from(SIGN_INS_PER_MINUTE);
    let guess = if is_too_many { Guess::Admitted } else { tx.admit_guess(key).await? };
    tx.commit(Record::Nothing("the outcome of the try has its own line")).await?;
    if is_too_many {
        let text = "Too many passwords or codes were tried in the last minute.".to_owned();
        return Err(PageError::TooMany { text, retry_seconds: 60 });
    }
    Ok(match guess {
        Guess::Admitted => Ok(()),
        Guess::Wait(until) => {
            let wait = Duration::seconds((until - visit.now).num_seconds() + 1);
            let what = if key.starts_with(CODE) { "codes" } else { "passwords" };
            Err(Refusal::whole(format!(
                "Too many wrong {what}. Try again in {}.",
                duration_text(wait.max(Duration::seconds(10)))
            )))
        }
    })
}

/// People and browsers that are known have a share of their own: strangers cannot use it up.
fn share_of(key: &str) -> &'static str {
    if key.starts_with("account/") { "all" } else { "all/known" }
}

/// Takes the booked failures of `key` back after a right password.
///
/// # Errors
/// When the store does not answer.
pub async fn forgive(visit: &Visit, key: &str) -> Result<(), PageError> {
    let mut tx = visit.state.store.begin_write(visit.now).await?;
    tx.forgive_guesses(key).await?;
    Ok(tx.commit(Record::Nothing("the sign-in has its own line")).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_cookie_counts_only_for_its_user() {
        let sealer = Sealer::from_key([3; 32]);
        let user =
            |n: u8| UserId::parse(&format!("01890a5d-ac96-774b-bcce-b302099a80{n:02}")).unwrap();
        let cookie = device_cookie(&sealer, &user(1)).unwrap();
        assert!(device_key(&sealer, &cookie, &user(1)).is_some());
        assert!(device_key(&sealer, &cookie, &user(2)).is_none());
        assert!(device_key(&sealer, "junk", &user(1)).is_none());
    }
}
