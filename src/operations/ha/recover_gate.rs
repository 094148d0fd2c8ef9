//! After any start of a primary clients wait (C3): what it shows must not be lost by a later failover. So its standby has
//! all of its log first, or does not count any more.

use super::{SOON, files, link, pair};
use crate::domain::ha::{HighAvailability, MemberRole};
use crate::domain::server::Member;
use crate::operations::context::StepContext;
use crate::operations::step::{Outcome, StepError};

/// The standby of a row.
pub(super) fn standby<'a>(ctx: &'a StepContext, row: &HighAvailability) -> Option<&'a Member> {
    ctx.members.iter().find(|member| pair::role(row, member) == MemberRole::Standby)
}

/// A primary that was started again may have another address: the standby is told. One that does not answer reads it
/// when it is brought back.
pub(super) async fn tell_standby(ctx: &StepContext) -> Result<(), StepError> {
    let row = pair::fresh(ctx).await?;
    let Some(standby) = standby(ctx, &row) else { return Ok(()) };
    let told = async {
        let Some(target) = link::target(ctx, standby).await? else { return Ok(false) };
        files::put(ctx, standby, &row).await?;
        ctx.services.postgres.reload(&target).await?;
        Ok::<_, StepError>(true)
    };
    match tokio::time::timeout(std::time::Duration::from_secs(5), told).await {
        Ok(Ok(true)) => {}
        Ok(Err(StepError::LeaseLost)) => return Err(StepError::LeaseLost),
        Ok(Err(error)) => ctx.log(format!("The standby could not be told: {error}")).await,
        Ok(Ok(false)) => ctx.log("The standby does not run").await,
        Err(_) => ctx.log("The standby could not be told: its host does not answer").await,
    }
    Ok(())
}

/// Done when the standby streams again and has all that the primary has.
pub(super) async fn standby_has_all(ctx: &StepContext) -> Result<Result<(), Outcome>, StepError> {
    let row = pair::fresh(ctx).await?;
    let Some(standby) = standby(ctx, &row) else { return Ok(Ok(())) };
    let name = HighAvailability::standby_name(&standby.id);
    let primary = match link::standing(ctx, ctx.member()?).await? {
        Ok(primary) => primary,
        Err(why) => return Ok(Err(Outcome::Wait(SOON, why))),
    };
    let end = primary.written;
    link::until(async || {
        let Ok(primary) = link::standing(ctx, ctx.member()?).await? else {
            return Ok(Err("the primary does not answer".into()));
        };
        let has_all = primary.senders.iter().any(|sender| {
            sender.application_name == name && sender.sync_state == "sync" && sender.flushed >= end
        });
        Ok(if has_all { Ok(()) } else { Err("the standby does not have all of the log yet".into()) })
    })
    .await
}

pub(super) async fn tell_standby_then_wait(ctx: &StepContext) -> Result<Outcome, StepError> {
    tell_standby(ctx).await?;
    Ok(standby_has_all(ctx).await?.err().unwrap_or(Outcome::done()))
}
