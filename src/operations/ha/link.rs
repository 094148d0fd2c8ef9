//! Talking to the members of a pair.

use super::{LOOK_EVERY, LOOK_FOR, SOON};
use crate::domain::server::Member;
use crate::operations::access;
use crate::operations::context::StepContext;
use crate::operations::step::{Outcome, StepError};
use crate::postgres::replication::Standing;
use crate::postgres::{PostgresError, Target};
use futures_util::future::BoxFuture;

/// How to reach a member; `None` while its container does not run.
///
/// # Errors
/// When its engine or the store does not answer.
pub async fn target(ctx: &StepContext, member: &Member) -> Result<Option<Target>, StepError> {
    let Some(address) = access::address_of(ctx.engine(member)?, member).await? else {
        return Ok(None);
    };
    Ok(Some(access::target(&ctx.services, &ctx.server, address).await?))
}

/// The same for a member that must run.
///
/// # Errors
/// Transient when it does not.
pub async fn running(ctx: &StepContext, member: &Member) -> Result<Target, StepError> {
    let silent = || StepError::Transient(format!("{} does not run.", member.container()));
    target(ctx, member).await?.ok_or_else(silent)
}

/// How a member stands; the reason when it does not tell.
///
/// # Errors
/// When the store does not answer.
pub async fn standing(
    ctx: &StepContext,
    member: &Member,
) -> Result<Result<Standing, String>, StepError> {
    let target = match target(ctx, member).await {
        Ok(Some(target)) => target,
        Ok(None) => return Ok(Err("its container does not run".into())),
        Err(StepError::LeaseLost) => return Err(StepError::LeaseLost),
        Err(other) => return Ok(Err(other.to_string())),
    };
    Ok(ctx.services.postgres.standing(&target).await.map_err(|error| error.to_string()))
}

/// What one look gave: found, or what it waits for.
pub type Look<T> = Result<Result<T, String>, StepError>;

/// Looks again and again for some seconds; what it waits for becomes the step's waiting.
///
/// # Errors
/// Those of the look.
pub async fn until<'a, T>(
    look: impl Fn() -> BoxFuture<'a, Look<T>> + Send,
) -> Result<Result<T, Outcome>, StepError> {
    let begun = tokio::time::Instant::now();
    loop {
        match look().await? {
            Ok(found) => return Ok(Ok(found)),
            Err(why) if begun.elapsed() >= LOOK_FOR => return Ok(Err(Outcome::Wait(SOON, why))),
            Err(_) => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}

/// Silence as a reason to look again, everything else as an error.
///
/// # Errors
/// What PostgreSQL refused.
pub fn unless_silent<T>(answer: Result<T, PostgresError>) -> Result<Result<T, String>, StepError> {
    match answer {
        Ok(value) => Ok(Ok(value)),
        Err(PostgresError::Silent(why)) => Ok(Err(why)),
        Err(refused) => Err(refused.into()),
    }
}
