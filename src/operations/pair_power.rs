//! A pair that stops and starts (Z4). What is stored comes first: the row says that the server is stopped before any
//! container stops, so nothing that is seen meanwhile is taken for a failure.
//!
//! The primary stops before its standby. An orderly stop of the primary sends all of its log to the standby that is
//! connected, so both end at the same place, and no commit has to wait for a standby that went first. Because the
//! primary's file names the standby all the while, the standby stays complete while both are down (A7): a server that
//! was in sync when it was stopped is in sync when it comes back.
//!
//! After the start nobody is let in until the standby has everything again or no longer counts (C3): what is seen
//! may not vanish with a failover.

use super::context::StepContext;
use super::ha::pair::{Story, apply, begin, change, fresh};
use super::ha::{link, relax};
use super::step::{Outcome, StepError};
use super::{disk, member, pair};
use crate::domain::ha::{Durability, HighAvailability, MemberRole, Move, ReplicationState as S};
use crate::domain::server::Member;
use chrono::Duration;

/// How long clients wait for a standby after the primary came back, before it no longer counts (D5).
const GRACE: Duration = Duration::seconds(10);
const SOON: std::time::Duration = std::time::Duration::from_millis(250);

/// The row says that the server is stopped. `Some` while another operation of the pair is at work.
///
/// # Errors
/// When the pair waits for a person, or the store does not answer.
pub async fn rest(ctx: &StepContext) -> Result<Option<Outcome>, StepError> {
    if ctx.ha.is_none() {
        return Ok(None);
    }
    let row = fresh(ctx).await?;
    match row.state {
        S::Stopped => return Ok(None),
        // Alone the primary would be served after the next start.
        S::Blocked => {
            return Err(StepError::permanent(
                "High availability waits for a decision of a person. Nothing was changed.",
                "Decide on the page High availability first, then try again.",
            ));
        }
        _ if !row.allows(&Move::Stopped) => {
            return Ok(Some(Outcome::Wait(SOON, "the primary is being changed".into())));
        }
        _ => {}
    }
    change(ctx, &Move::Stopped, Story::new("stopping", "The server is being stopped")).await?;
    Ok(None)
}

/// The row says that the server starts: behind the gate where a standby is complete, alone where none is.
///
/// # Errors
/// When the store does not answer.
pub async fn rise(ctx: &StepContext) -> Result<(), StepError> {
    if ctx.ha.is_none() {
        return Ok(());
    }
    let (mut tx, row) = begin(ctx).await?;
    if row.state != S::Stopped {
        return Ok(());
    }
    let started = Story::new("started", "The server is being started");
    apply(ctx, &mut tx, &row, &Move::Started, started).await?;
    ctx.commit(tx).await
}

/// Lets the standby of a primary that runs follow again, and waits for it. Done when it has everything, when it no
/// longer counts, and where there is none.
///
/// # Errors
/// When the store does not answer, or the primary refuses.
pub async fn gate(ctx: &StepContext) -> Result<Outcome, StepError> {
    if ctx.ha.is_none() {
        return Ok(Outcome::done());
    }
    let row = fresh(ctx).await?;
    let standby =
        ctx.in_role(MemberRole::Standby).filter(|member| Some(&member.id) == row.standby.as_ref());
    match (row.state, standby) {
        (S::Restarting, Some(standby)) => behind_gate(ctx, &row, standby).await,
        (S::Restarting, None) => let_go(ctx, "it is not on record").await,
        (S::Disarming, _) => let_go(ctx, "it did not come back in time").await,
        (S::Promoting | S::Switching, _) => {
            Ok(Outcome::Wait(SOON, "the other member is becoming the primary".into()))
        }
        _ => Ok(Outcome::done()),
    }
}

async fn behind_gate(
    ctx: &StepContext,
    row: &HighAvailability,
    standby: &Member,
) -> Result<Outcome, StepError> {
    let why = match wake(&ctx.on(standby), standby).await {
        Err(StepError::LeaseLost) => return Err(StepError::LeaseLost),
        Err(error) => Some(error.to_string()),
        Ok(()) => missing(ctx, standby).await?,
    };
    let Some(why) = why else {
        let line = "The standby has everything: clients may come";
        change(ctx, &Move::Restarted, Story::new("restarted", line)).await?;
        return Ok(Outcome::done());
    };
    let waited = ctx.services.clock.now() - waits_since(ctx).await?.unwrap_or(row.changed_at);
    if row.durability == Durability::Required || waited < GRACE {
        return Ok(Outcome::Wait(SOON, format!("the standby must have everything first: {why}")));
    }
    let_go(ctx, &why).await
}

async fn let_go(ctx: &StepContext, why: &str) -> Result<Outcome, StepError> {
    Ok(match relax::all(ctx, why).await? {
        Ok(()) => Outcome::done(),
        Err(wait) => wait,
    })
}

/// When the step that waits was begun: the primary answers since then.
async fn waits_since(
    ctx: &StepContext,
) -> Result<Option<chrono::DateTime<chrono::Utc>>, StepError> {
    let steps = ctx.services.store.operation_steps(&ctx.operation.id).await?;
    let mine = steps.into_iter().find(|step| step.name == ctx.step);
    Ok(mine.and_then(|step| step.started_at))
}

/// Starts the standby's container, with files that name its primary's address of now.
///
/// # Errors
/// When its engine does not do it.
pub async fn wake(ctx: &StepContext, standby: &Member) -> Result<(), StepError> {
    let engine = ctx.engine(standby)?;
    let name = standby.container();
    let Some(facts) = engine.container(&name).await? else {
        return Err(StepError::Transient(format!("{name} is not on its host")));
    };
    if facts.state == "running" {
        return Ok(());
    }
    disk::ensure(ctx).await?;
    disk::make_room(ctx).await?;
    engine.put_files(&name, &member::files(ctx).await?).await?;
    Ok(engine.start_container(&name).await?)
}

/// What the standby lacks of what its primary has written so far; `None` when it has everything.
async fn missing(ctx: &StepContext, standby: &Member) -> Result<Option<String>, StepError> {
    let standing = match link::standing(ctx, ctx.member()?).await? {
        Ok(standing) => standing,
        Err(why) => return Ok(Some(format!("the primary does not answer: {why}"))),
    };
    let name = HighAvailability::standby_name(&standby.id);
    let Some(sender) = standing.senders.iter().find(|sender| sender.application_name == name)
    else {
        return Ok(Some("it is not connected".into()));
    };
    // Counted again only where commits wait for it (C2), as everywhere.
    let has_all = sender.state == "streaming"
        && sender.sync_state == "sync"
        && sender.flushed >= standing.written;
    Ok((!has_all).then(|| format!("it is at {}, {}", sender.state, sender.sync_state)))
}

/// Stops every member: the primary first, then the others, whose hosts may be away. One of those that goes on for a
/// while takes no commit, because nothing sends it any.
///
/// # Errors
/// When the primary's engine does not do it.
pub async fn stop_all(ctx: &StepContext, grace: std::time::Duration) -> Result<(), StepError> {
    for member in &ctx.members {
        let stopped = stop_one(ctx, member, grace).await;
        match stopped {
            Err(StepError::LeaseLost) => return Err(StepError::LeaseLost),
            Err(error) if member.role != MemberRole::Primary => {
                let whom = pair::of_whom(ctx, member);
                ctx.log(format!("The container{whom} was not stopped: {error}")).await;
            }
            other => other?,
        }
    }
    Ok(())
}

async fn stop_one(
    ctx: &StepContext,
    member: &Member,
    grace: std::time::Duration,
) -> Result<(), StepError> {
    let engine = ctx.engine(member)?;
    if engine.container(&member.container()).await?.is_some() {
        engine.stop_container(&member.container(), grace).await?;
    }
    Ok(())
}
