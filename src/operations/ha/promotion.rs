//! A standby becomes the primary: the row first (F3), then PostgreSQL, then the way in. From the change of the row on
//! there is only forward, also for an undo: an epoch that began is finished, whoever asked for something else.

use super::pair::{self, Story};
use super::{SOON, StepResult, gate, link};
use crate::clock::new_uuid;
use crate::domain::ha::{Cause, HighAvailability, Lsn, Move, ReplicationState as S};
use crate::domain::ids::MemberId;
use crate::domain::server::Member;
use crate::operations::context::StepContext;
use crate::operations::step::{Outcome, StepError};
use crate::operations::{disk, sized};
use crate::postgres::PostgresError;
use crate::postgres::replication::{Promoted, Standing};
use crate::store::ha::Promotion;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::Duration;

/// F10: the primary is watched by nobody who may act on it while this is waited for.
const CHECKPOINT_WITHIN: chrono::Duration = chrono::Duration::seconds(20);

/// What PostgreSQL says when it cannot write a file.
const FULL: &str = "No space left on device";

/// Why a primary is changed.
#[derive(Debug, Clone)]
pub struct Why {
    pub cause: Cause,
    /// One sentence: what was seen.
    pub reason: String,
    /// When the first sign of it was seen, or when a person asked.
    pub seen_at: DateTime<Utc>,
}

/// The change of primary that this operation made; `None` before it did.
///
/// # Errors
/// When the store does not answer.
pub async fn mine(ctx: &StepContext) -> Result<Option<Promotion>, StepError> {
    let last = ctx.services.store.promotions(&ctx.server.id, 3).await?;
    Ok(last.into_iter().find(|one| one.operation_id.as_ref() == Some(&ctx.operation.id)))
}

/// The change of primary that this operation works on: its own, or one that another began and did not finish.
///
/// # Errors
/// When the store does not answer.
pub async fn at_work(ctx: &StepContext) -> Result<Option<Promotion>, StepError> {
    let row = pair::fresh(ctx).await?;
    let last = ctx.services.store.promotions(&ctx.server.id, 5).await?;
    let noted = DECIDERS.iter().find_map(|step| ctx.output::<Noted>(step).ok());
    Ok(last.into_iter().find(|one| match &noted {
        Some(noted) => one.id == noted.promotion,
        None => {
            one.operation_id.as_ref() == Some(&ctx.operation.id)
                || row.state == S::Promoting && one.epoch == row.epoch
        }
    }))
}

/// The steps that decide on a promotion and note which it is.
const DECIDERS: [&str; 2] = ["decide_again", "decide"];

#[derive(Serialize, Deserialize)]
struct Noted {
    promotion: String,
}

/// The end of a step that decided: which promotion it is.
///
/// # Errors
/// When there is none, or the store does not answer.
pub async fn noted(ctx: &StepContext) -> Result<Outcome, StepError> {
    Ok(Outcome::Done(json!(Noted { promotion: must_be_at_work(ctx).await?.id })))
}

async fn must_be_at_work(ctx: &StepContext) -> Result<Promotion, StepError> {
    at_work(ctx).await?.ok_or_else(|| {
        StepError::permanent("There is no change of primary on record.", "Submit it again.")
    })
}

/// Whether a standby that was asked just now may be promoted by a row (F1, F7); the reason when not.
pub fn may_take_over(row: &HighAvailability, seen: &Standing) -> Result<(), String> {
    if !row.is_promotable {
        Err(format!(
            "the pair is {}: the standby is not known to have every commit",
            row.state.key()
        ))
    } else if !seen.in_recovery {
        Err("the standby is no standby any more".into())
    } else if seen.timeline != row.timeline {
        Err(format!("the standby is on timeline {}, the pair on {}", seen.timeline, row.timeline))
    } else if seen.written < row.armed_lsn {
        Err("the standby has less than it had when it began to count".into())
    } else {
        Ok(())
    }
}

/// F3: the row names the standby as the primary of the next epoch, with the promotion and the route held, in one
/// transaction in which `allows` judges the row once more.
///
/// # Errors
/// Permanent when the row does not allow it any more: then nothing was changed.
pub async fn begin(
    ctx: &StepContext,
    why: &Why,
    received: Option<Lsn>,
    is_forced: bool,
    allows: impl Fn(&HighAvailability) -> Result<(), String>,
) -> Result<(), StepError> {
    if mine(ctx).await?.is_some() {
        return Ok(());
    }
    let (mut tx, row) = pair::begin(ctx).await?;
    allows(&row).map_err(|why| refused(&why))?;
    let (Some(from), Some(to)) = (row.primary.clone(), row.standby.clone()) else {
        return Err(refused("there is no standby on record"));
    };
    let standby_zone = zone_of(ctx, &from, &row);
    let change = match is_forced {
        true => Move::PromotionForced { standby_zone },
        false => Move::PromotionBegins { standby_zone },
    };
    let story = Story::new("promoting", format!("{} Member {} takes over", why.reason, to.short()));
    let next = pair::apply(ctx, &mut tx, &row, &change, story).await?;
    let promotion = Promotion {
        id: new_uuid(),
        server_id: ctx.server.id.clone(),
        epoch: next.epoch,
        cause: why.cause,
        reason: why.reason.clone(),
        from_member: from,
        to_member: to,
        parent_timeline: row.timeline,
        timeline: None,
        stopped_lsn: None,
        received_lsn: received,
        fork_lsn: None,
        operation_id: Some(ctx.operation.id.clone()),
        seen_at: why.seen_at,
        decided_at: ctx.services.clock.now(),
        opened_at: None,
    };
    tx.put_promotion(&promotion).await?;
    gate::hold(ctx, &mut tx).await?;
    ctx.commit(tx).await?;
    ctx.services.poke.routes();
    Ok(())
}

fn refused(why: &str) -> StepError {
    StepError::permanent(
        format!("The standby does not take over: {why}. Nothing was changed."),
        "The portal goes on looking, and does what follows from what it sees. The page High availability says what that is.",
    )
}

/// The standby of the next epoch shall be where the primary of this one is.
fn zone_of(ctx: &StepContext, from: &MemberId, row: &HighAvailability) -> String {
    let member = ctx.members.iter().find(|member| member.id == *from);
    member.map_or_else(|| row.standby_zone.clone(), |member| pair::zone_of(ctx, member))
}

/// What begins goes on: for the undo of the step that may have begun it.
pub fn finish(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let Some(promotion) = at_work(ctx).await? else { return Ok(Outcome::done()) };
        if promotion.opened_at.is_none() {
            ctx.log("The new epoch has begun and cannot be taken back: it is finished").await;
            if let wait @ Outcome::Wait(..) = take_over(ctx, &promotion).await? {
                return Ok(wait);
            }
        }
        Ok(Outcome::done())
    })
}

/// F4, F6, F8, F11 as a step.
pub fn promote(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let promotion = must_be_at_work(ctx).await?;
        if promotion.opened_at.is_some() {
            return Ok(Outcome::done());
        }
        take_over(ctx, &promotion).await
    })
}

/// Gateways let go of the old primary while the standby is promoted. Neither waits for the other: with the receiver
/// stopped the old primary acknowledges nothing more, and nobody is let in before both are done.
async fn take_over(ctx: &StepContext, promotion: &Promotion) -> Result<Outcome, StepError> {
    let store = &ctx.services.store;
    let generation = store.route_generation().await?;
    let former = ctx.members.iter().find(|member| member.id == promotion.from_member);
    let primary = ctx.members.iter().find(|member| member.id == promotion.to_member);
    let primary = primary.ok_or_else(|| {
        StepError::permanent("The new primary is not on record.", "Look at the Hosts page.")
    })?;
    let (promoted, held) =
        tokio::join!(make_primary(ctx, primary), gate::wait_applied(ctx, generation, former));
    let promoted = match promoted? {
        Ok(promoted) => promoted,
        Err(wait) => return Ok(wait),
    };
    if let Err(wait) = held? {
        return Ok(wait);
    }
    let_in(ctx, promotion, primary, promoted).await
}

/// F8. A new primary that is down is started: no other has every commit.
async fn make_primary(
    ctx: &StepContext,
    primary: &Member,
) -> Result<Result<Promoted, Outcome>, StepError> {
    let wait = |why: String| Ok(Err(Outcome::Wait(SOON, why)));
    let target = match link::target(ctx, primary).await {
        Ok(Some(target)) => target,
        Ok(None) => {
            let (on, engine) = (ctx.on(primary), ctx.engine(primary)?);
            if engine.container(&primary.container()).await?.is_some() {
                disk::ensure(&on).await?;
            } else if let making @ Outcome::Wait(..) = sized::ensure(&on).await? {
                // A change that renewed the standby's container may have removed it when the epoch began: without
                // another one around its volume nobody would ever be the primary.
                return Ok(Err(making));
            }
            engine.start_container(&primary.container()).await?;
            return wait("the new primary is being started".into());
        }
        Err(StepError::Transient(why)) => return wait(why),
        Err(other) => return Err(other),
    };
    match ctx.services.postgres.promote(&target).await {
        Ok(promoted) => Ok(Ok(promoted)),
        Err(PostgresError::Silent(why)) => wait(why),
        // It is the only one with every commit: what was set aside for such a day is given up. With that it is
        // protected as the primary, and grows.
        Err(PostgresError::Refused(why)) if why.contains(FULL) => {
            disk::give_up_reserve(&ctx.on(primary)).await?;
            ctx.log("The new primary's storage is full: what was set aside in it is given up")
                .await;
            wait(why)
        }
        Err(refused) => Err(refused.into()),
    }
}

/// F11: the row, the promotion and the way in change in one transaction.
async fn let_in(
    ctx: &StepContext,
    promotion: &Promotion,
    primary: &Member,
    promoted: Promoted,
) -> Result<Outcome, StepError> {
    let address = gate::address(ctx, primary).await?;
    let (mut tx, row) = pair::begin(ctx).await?;
    let now = ctx.services.clock.now();
    if row.epoch == promotion.epoch && row.state == S::Promoting {
        let took = (now - promotion.seen_at).num_milliseconds();
        let detail = format!(
            "Member {} is the primary on timeline {}; clients are let in, {took} ms after the first sign",
            primary.id.short(),
            promoted.timeline
        );
        let change = Move::Promoted { timeline: promoted.timeline };
        pair::apply(ctx, &mut tx, &row, &change, Story::new("promoted", detail)).await?;
        gate::open(ctx, &mut tx, address).await?;
    }
    let done = Promotion {
        timeline: Some(promoted.timeline),
        fork_lsn: promoted.fork,
        opened_at: Some(now),
        ..promotion.clone()
    };
    tx.put_promotion(&done).await?;
    ctx.commit(tx).await?;
    ctx.services.poke.routes();
    ctx.services.poke.monitor();
    Ok(Outcome::Done(json!({ "timeline": promoted.timeline })))
}

/// F10: until the new primary has written a checkpoint, its control file still names the old timeline.
pub fn checkpoint(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        // A new primary that died is another rescue's to start, and that one waits for the end of this.
        let target = match link::target(ctx, ctx.member()?).await {
            Ok(Some(target)) => target,
            Err(StepError::LeaseLost) => return Err(StepError::LeaseLost),
            // Once more, in case only a reply was lost.
            Err(error) if ctx.operation.attempt == 0 => return Err(error),
            Ok(None) => return no_checkpoint(ctx, "it does not run").await,
            Err(error) => return no_checkpoint(ctx, &error.to_string()).await,
        };
        match ctx.services.postgres.checkpoint(&target).await {
            Ok(()) => Ok(Outcome::done()),
            Err(PostgresError::Silent(why)) if is_late(ctx).await? => {
                no_checkpoint(ctx, &why).await
            }
            Err(PostgresError::Silent(why)) => Ok(Outcome::Wait(Duration::from_secs(1), why)),
            Err(refused) => Err(refused.into()),
        }
    })
}

/// A copy for a standby begins with a checkpoint of its own, so one that is missing costs time and nothing else.
async fn no_checkpoint(ctx: &StepContext, why: &str) -> Result<Outcome, StepError> {
    ctx.log(format!("The new primary wrote no checkpoint: {why}")).await;
    Ok(Outcome::done())
}

async fn is_late(ctx: &StepContext) -> Result<bool, StepError> {
    let steps = ctx.services.store.operation_steps(&ctx.operation.id).await?;
    let begun = steps.iter().find(|one| one.name == ctx.step).and_then(|one| one.started_at);
    Ok(begun.is_some_and(|begun| ctx.services.clock.now() - begun > CHECKPOINT_WITHIN))
}
