//! Commits no longer wait for a standby (rules D). The row first: emptying the list acknowledges all that waits, so
//! the standby must not be promotable any more when that happens (D1).

use super::files;
use super::pair::{self, Story};
use crate::domain::ha::{Durability, HighAvailability, Move, ReplicationState as S};
use crate::operations::context::StepContext;
use crate::operations::step::{Outcome, StepError};

/// The standby no longer counts, from this moment on. A pair without one that counts goes the same way: what its primary
/// waits for is put right.
///
/// # Errors
/// When the state does not allow it.
pub async fn begin(ctx: &StepContext, why: &str) -> Result<HighAvailability, StepError> {
    let row = pair::fresh(ctx).await?;
    match row.state {
        S::Disarming => Ok(row),
        state => {
            let detail = match state {
                S::Single | S::Building | S::CatchUp => {
                    format!("What commits wait for is being put right: {why}")
                }
                _ => format!("The standby no longer counts: {why}"),
            };
            pair::change(ctx, &Move::DisarmBegins, Story::new("disarming", detail)).await
        }
    }
}

/// Has the primary wait for it no longer, confirmed. A primary that does not say so leaves the pair where it is, which is
/// safe (D2).
///
/// # Errors
/// When engine or PostgreSQL refuse.
pub async fn let_go(ctx: &StepContext) -> Result<Result<(), Outcome>, StepError> {
    let row = pair::fresh(ctx).await?;
    match row.state {
        S::Disarming => files::enforce(ctx, &row).await,
        _ => Ok(Ok(())),
    }
}

/// The end of it in the row.
///
/// # Errors
/// When the state does not allow it.
pub async fn finish(ctx: &StepContext) -> Result<HighAvailability, StepError> {
    let row = pair::fresh(ctx).await?;
    if row.state == S::Single {
        return Ok(row);
    }
    pair::change(ctx, &Move::Disarmed, Story::new("disarmed", outcome(row.durability))).await
}

/// What is so when nothing waits for a standby any more.
pub fn outcome(durability: Durability) -> &'static str {
    match durability {
        Durability::Preferred => "Commits are on one host from now on",
        Durability::Required => "Commits wait until there is a standby again",
    }
}

/// All of it, for undos and for other kinds. Nothing where no standby counts.
///
/// # Errors
/// Those of its parts.
pub async fn all(ctx: &StepContext, why: &str) -> Result<Result<(), Outcome>, StepError> {
    if pair::fresh(ctx).await?.state == S::Single {
        return Ok(Ok(()));
    }
    begin(ctx, why).await?;
    if let Err(wait) = let_go(ctx).await? {
        return Ok(Err(wait));
    }
    finish(ctx).await?;
    Ok(Ok(()))
}
