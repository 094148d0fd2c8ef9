//! A code of the second factor, checked: from the authenticator or one of the recovery codes. Each counts
//! once, and tries are counted as those of passwords are.

use crate::domain::account::User;
use crate::domain::activity::{ActivityOutcome, NewActivity};
use crate::domain::refusal::Refusal;
use crate::secrets::totp;
use crate::store::Record;
use crate::store::second_factors::SecondFactor;
use crate::web::error::PageError;
use crate::web::form::Posted;
use crate::web::handlers::account::throttle;
use crate::web::visit::Visit;
use zeroize::Zeroizing;

/// Name of the field of every form that asks for a code.
pub const FIELD: &str = "code";

/// Where the sealed key of a person belongs.
pub fn place(user: &User) -> String {
    format!("second_factors/{}", user.id)
}

/// The authenticator's key of a person.
///
/// # Errors
/// When the master key is not the one it was sealed under.
pub fn key(
    visit: &Visit,
    user: &User,
    factor: &SecondFactor,
) -> Result<Zeroizing<Vec<u8>>, PageError> {
    visit.state.sealer.open(&place(user), &factor.sealed).map_err(PageError::internal)
}

/// Whether the person typed a code that counts; it is used up.
///
/// # Errors
/// When the store does not answer or too many were tried.
pub async fn check(
    visit: &Visit,
    user: &User,
    posted: &Posted,
) -> Result<Result<(), Refusal>, PageError> {
    let guesses = throttle::code_key(&user.id);
    if let Err(refusal) = throttle::admit(visit, &guesses).await? {
        return Ok(Err(refusal));
    }
    let typed = posted.text(FIELD);
    let recovery = totp::recovery_hash(user.id.as_str(), typed);
    let step = step(visit, user, typed).await?;
    let mut tx = visit.state.store.begin_write(visit.now).await?;
    let is_right = match (&recovery, step) {
        (Some(hash), _) => tx.use_recovery_code(&user.id, hash).await?,
        (None, Some(step)) => tx.use_step(&user.id, step).await?,
        (None, None) => false,
    };
    if is_right {
        tx.forgive_guesses(&guesses).await?;
    }
    tx.commit(record(visit, user, is_right, recovery.is_some())).await?;
    Ok(if is_right { Ok(()) } else { Err(wrong()) })
}

/// The same text for a wrong code and for a used one, so that nobody learns which it was.
pub fn wrong() -> Refusal {
    Refusal::at(
        FIELD,
        "This code does not count. It may be mistyped, too old, or used already: wait for the next one.",
    )
}

async fn step(visit: &Visit, user: &User, typed: &str) -> Result<Option<i64>, PageError> {
    let factor = visit.state.store.second_factor(&user.id).await?;
    let Some(factor) = factor.filter(|factor| factor.is_confirmed) else { return Ok(None) };
    let key = key(visit, user, &factor)?;
    Ok(totp::matching_step(&key, typed, visit.now, factor.last_step))
}

fn record(visit: &Visit, user: &User, is_right: bool, is_recovery: bool) -> Record {
    match (is_right, is_recovery) {
        (true, false) => Record::Nothing("what the code opens has its own line"),
        (true, true) => Record::activity(line(visit, user, "user.recovery_code")),
        (false, _) => {
            let mut line = line(visit, user, "user.second_factor");
            line.outcome = ActivityOutcome::Refused;
            Record::activity(line)
        }
    }
}

fn line(visit: &Visit, user: &User, action: &'static str) -> NewActivity {
    let mut line = visit.anonymous_activity(action, &user.login);
    line.actor.user_id = Some(user.id.clone());
    line
}
