//! After any start of a primary clients wait (C3): what it shows must not be lost by a later failover. So its standby has
//! all of its log first, or does not count any more.

use super::{SOON, files, link, pair, relax};
use crate::domain::ha::{Durability, HighAvailability, Lsn, MemberRole, ReplicationState as S};
use crate::domain::server::Member;
use crate::operations::context::StepContext;
use crate::operations::disk;
use crate::operations::step::{Outcome, StepError};

/// D5: clients wait this long for a standby that is lost, then commits go on without it.
const GRACE: chrono::Duration = chrono::Duration::seconds(10);

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
        let Some(target) = link::target(ctx, standby).await? else {
            return start(ctx, standby, &row).await;
        };
        files::put(ctx, standby, &row).await?;
        ctx.services.postgres.reload(&target).await?;
        Ok::<_, StepError>(true)
    };
    match tokio::time::timeout(std::time::Duration::from_secs(5), told).await {
        Ok(Ok(true)) => {}
        Ok(Err(StepError::LeaseLost)) => return Err(StepError::LeaseLost),
        Ok(Err(error)) => ctx.log(format!("The standby could not be told: {error}")).await,
        Ok(Ok(false)) => ctx.log("The standby has no container that could be started").await,
        Err(_) => ctx.log("The standby could not be told: its host does not answer").await,
    }
    Ok(())
}

/// One whose container is there and does not run starts with files that lead to the primary.
async fn start(
    ctx: &StepContext,
    standby: &Member,
    row: &HighAvailability,
) -> Result<bool, StepError> {
    let (engine, name) = (ctx.engine(standby)?, standby.container());
    let state = engine.container(&name).await?.map(|facts| facts.state);
    if !state.is_some_and(|state| ["exited", "created"].contains(&state.as_str())) {
        return Ok(false);
    }
    disk::ensure(&ctx.on(standby)).await?;
    files::put(ctx, standby, row).await?;
    engine.start_container(&name).await?;
    Ok(true)
}

/// Done when the standby streams again and has all that the primary has.
pub(in crate::operations) async fn standby_has_all(
    ctx: &StepContext,
) -> Result<Result<(), Outcome>, StepError> {
    let row = pair::fresh(ctx).await?;
    let Some(standby) = standby(ctx, &row) else { return Ok(Ok(())) };
    let name = HighAvailability::standby_name(&standby.id);
    let primary = match link::standing(ctx, ctx.member()?).await? {
        Ok(primary) => primary,
        Err(why) => return Ok(Err(Outcome::Wait(SOON, why))),
    };
    let end = primary.written;
    link::until(|| Box::pin(has_all(ctx, &name, end))).await
}

/// By the primary's own view of what its standby has flushed.
async fn has_all(ctx: &StepContext, name: &str, end: Option<Lsn>) -> link::Look<()> {
    let Ok(primary) = link::standing(ctx, ctx.member()?).await? else {
        return Ok(Err("the primary does not answer".into()));
    };
    let has_all = primary.senders.iter().any(|sender| {
        sender.application_name == name && sender.sync_state == "sync" && sender.flushed >= end
    });
    Ok(if has_all { Ok(()) } else { Err("the standby does not have all of the log yet".into()) })
}

/// C3, C4: waits at the gate after a start. `step` is the one at whose begin the waiting began.
pub(in crate::operations) async fn pass(
    ctx: &StepContext,
    step: &str,
) -> Result<Outcome, StepError> {
    tell_standby(ctx).await?;
    match pair::fresh(ctx).await?.state {
        S::Restarting | S::Sync => wait_or_go_on(ctx, step).await,
        S::Disarming => go_on(ctx, "the primary was started again").await,
        _ => Ok(Outcome::done()),
    }
}

async fn wait_or_go_on(ctx: &StepContext, step: &str) -> Result<Outcome, StepError> {
    let is_behind = match is_in_force(ctx).await? {
        Ok(()) => standby_has_all(ctx).await?,
        no => no,
    };
    let Err(wait) = is_behind else { return Ok(Outcome::done()) };
    let row = pair::fresh(ctx).await?;
    // D4: never disarmed while it is the primary that does not answer.
    let serves = link::standing(ctx, ctx.member()?).await?.is_ok_and(|seen| !seen.in_recovery);
    let is_over = serves && is_late(ctx, step).await? && row.durability == Durability::Preferred;
    if !is_over {
        return Ok(wait);
    }
    go_on(ctx, "it did not come back after the primary was started again").await
}

/// What the primary runs with is asked, not what was written for it: a file of an operation that has lost its lease may
/// have arrived between the writing and the start (N3). Found by the model.
async fn is_in_force(ctx: &StepContext) -> Result<Result<(), Outcome>, StepError> {
    let row = pair::fresh(ctx).await?;
    let wanted = files::commits(row.waits_for()).waits_for();
    match link::standing(ctx, ctx.member()?).await? {
        Ok(seen) if seen.waits_for != wanted => files::enforce(ctx, &row).await,
        // One that does not answer is waited for below.
        _ => Ok(Ok(())),
    }
}

/// The pair is disarmed first, then clients are let in.
async fn go_on(ctx: &StepContext, why: &str) -> Result<Outcome, StepError> {
    Ok(relax::all(ctx, why).await?.err().unwrap_or(Outcome::done()))
}

async fn is_late(ctx: &StepContext, step: &str) -> Result<bool, StepError> {
    let steps = ctx.services.store.operation_steps(&ctx.operation.id).await?;
    let begun = steps.iter().find(|one| one.name == step).and_then(|one| one.started_at);
    Ok(begun.is_some_and(|begun| ctx.services.clock.now() - begun > GRACE))
}
