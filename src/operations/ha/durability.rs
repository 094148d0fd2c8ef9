//! Change durability: what becomes of writes without a standby, chosen anew on a pair that is there.
//!
//! The stricter choice is in the standby's file, and read, before the row promises it: a failover writes no file (F9). The
//! laxer one is in the row first, so that commits that wait for a lost standby are let go without asking that one. Where
//! no standby counts, the row is Disarming from the transaction of the choice on: no arming begins before the primary has
//! said what it waits for now, and a portal that ends half way leaves a pair that is put right by itself (D2).

use super::pair::{self, Story};
use super::{SOON, StepResult, files, link, relax, step};
use crate::domain::ha::{
    Durability, HighAvailability, MemberRole, Move, ReplicationState as S, WaitsFor,
};
use crate::domain::operation::OperationKind;
use crate::domain::server::Member;
use crate::operations::context::StepContext;
use crate::operations::step::{Outcome, Step, StepError, Undo};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::Duration;

const LOOK: &str = "look";
/// A standby that does not answer holds up nothing that is safe without it.
const STANDBY_PATIENCE: chrono::Duration = chrono::Duration::seconds(20);
const KEPT: Undo = Undo::None("the choice is on record, and what follows from it is put right");

pub const STEPS: &[Step] = &[
    step(LOOK, "Look how the pair stands", look, Undo::None("it only looks"), 60),
    Step {
        point_of_no_return: true,
        ..step("choose", "Put the choice on record", choose, Undo::Run(as_before), 300)
    },
    step("put_right", "Have commits wait as chosen", put_right, KEPT, 600),
    step("tell_standby", "Write it into the standby's configuration", tell_standby, KEPT, 120),
];

#[derive(Debug, Deserialize)]
struct Input {
    durability: Durability,
}

/// What was chosen before; for the undo.
#[derive(Debug, Serialize, Deserialize)]
struct Before {
    durability: Durability,
}

/// What becomes of a step: done, or what it waits for.
type Tried = Result<Result<(), Outcome>, StepError>;

fn look(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        ctx.input::<Input>()?;
        let row = pair::fresh(ctx).await?;
        may_choose(&row).map_or(Ok(()), |no| no.map(|_| ()))?;
        Ok(Outcome::Done(json!(Before { durability: row.durability })))
    })
}

fn choose(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let Input { durability } = ctx.input()?;
        ended(settle(ctx, durability).await)
    })
}

fn put_right(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move { ended(right(ctx).await) })
}

fn tell_standby(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move { ended(tell(ctx).await) })
}

/// The choice of before, by the same way. A disarming that began is ended first: it is by the row as it is.
fn as_before(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let Before { durability } = ctx.output(LOOK)?;
        let Some(row) = ctx.services.store.ha(&ctx.server.id).await? else {
            return Ok(Outcome::done());
        };
        if row.state == S::Disarming
            && let Err(wait) = right(ctx).await?
        {
            return Ok(wait);
        }
        if let Err(wait) = settle(ctx, durability).await? {
            return Ok(wait);
        }
        if let Err(wait) = right(ctx).await? {
            return Ok(wait);
        }
        ended(tell(ctx).await)
    })
}

fn ended(tried: Tried) -> Result<Outcome, StepError> {
    Ok(tried?.err().unwrap_or(Outcome::done()))
}

/// Whether durability can be chosen in the state of the row: not now, or not at all.
fn may_choose(row: &HighAvailability) -> Option<Result<Outcome, StepError>> {
    let (what, advice) = match row.state {
        S::Single | S::Building | S::CatchUp | S::Sync => return None,
        S::Stopped => ("The server is stopped", "Start it first, then choose again."),
        S::Blocked => (
            "No member of the pair is provably complete",
            "Decide first which member goes on, on the page High availability; then choose again.",
        ),
        S::Arming => return Some(Ok(wait("the standby is just being made to count"))),
        S::Disarming => return Some(Ok(wait("what commits wait for is being put right"))),
        S::Restarting | S::Switching | S::Promoting => {
            return Some(Ok(wait("the primary is being started or changed")));
        }
    };
    Some(Err(StepError::permanent(
        format!("{what}: durability cannot be changed now. Nothing was changed."),
        advice,
    )))
}

fn wait(why: impl Into<String>) -> Outcome {
    Outcome::Wait(SOON, why.into())
}

/// The choice in the row, in the standby's file first where that must be.
async fn settle(ctx: &StepContext, durability: Durability) -> Tried {
    let row = pair::fresh(ctx).await?;
    if row.durability == durability {
        return Ok(Ok(()));
    }
    if let Some(no) = may_choose(&row) {
        return no.map(Err);
    }
    if row.is_promotable && durability == Durability::Required {
        let told = HighAvailability { durability, ..row.clone() };
        let Some(standby) = standby_of(ctx, &row) else { return Ok(Err(wait(MOVED))) };
        // Should it be lost, the portal goes on without it within seconds, and this goes on from there.
        if let Err(why) = reached(files::tell_ahead(ctx, standby, &row, &told).await)? {
            let why = format!("the standby's configuration is not written yet: {why}");
            return Ok(Err(Outcome::Wait(Duration::from_secs(1), why)));
        }
    }
    record(ctx, &row, durability).await
}

const MOVED: &str = "the pair was changed at the same moment";

fn standby_of<'a>(ctx: &'a StepContext, row: &HighAvailability) -> Option<&'a Member> {
    ctx.members.iter().find(|one| pair::role(row, one) == MemberRole::Standby)
}

/// What a standby did not do, in words; what stops this operation stays an error.
fn reached(tried: Tried) -> Result<Result<(), String>, StepError> {
    match tried {
        Ok(Ok(())) => Ok(Ok(())),
        Ok(Err(Outcome::Wait(_, why))) => Ok(Err(why)),
        Ok(Err(Outcome::Done(_))) => Ok(Ok(())),
        Err(StepError::LeaseLost) => Err(StepError::LeaseLost),
        Err(other) => Ok(Err(other.to_string())),
    }
}

/// By compare-and-swap with the row that was acted upon: the standby that was told is the one that counts.
async fn record(ctx: &StepContext, seen: &HighAvailability, durability: Durability) -> Tried {
    let (mut tx, row) = pair::begin(ctx).await?;
    if row.version != seen.version {
        return Ok(Err(wait(MOVED)));
    }
    let detail = format!(
        "Durability is {} from now on; before it was {}. {}",
        durability.key(),
        row.durability.key(),
        meaning(durability)
    );
    let line = detail.clone();
    let change =
        Move::Chosen { mode: row.mode, durability, standby_zone: row.standby_zone.clone() };
    let next = pair::apply(ctx, &mut tx, &row, &change, Story::new("durability", detail)).await?;
    if !next.is_promotable && next.had_standby() {
        pair::apply(ctx, &mut tx, &next, &Move::DisarmBegins, disarming()).await?;
    }
    ctx.commit(tx).await?;
    ctx.log(line).await;
    ctx.services.poke.monitor();
    Ok(Ok(()))
}

fn disarming() -> Story {
    Story::new("disarming", "What commits wait for is being put right: durability was changed")
}

/// Only of the row that was looked at: a standby that is made to count meanwhile is not disarmed for this.
async fn begin(
    ctx: &StepContext,
    seen: &HighAvailability,
) -> Result<Result<HighAvailability, Outcome>, StepError> {
    let (mut tx, row) = pair::begin(ctx).await?;
    if row.version != seen.version {
        return Ok(Err(wait(MOVED)));
    }
    let row = pair::apply(ctx, &mut tx, &row, &Move::DisarmBegins, disarming()).await?;
    ctx.commit(tx).await?;
    Ok(Ok(row))
}

fn meaning(durability: Durability) -> &'static str {
    match durability {
        Durability::Preferred => "Without a standby, writes go on on one host after a short wait",
        Durability::Required => "Without a standby, writes wait until there is one again",
    }
}

/// What the primary waits for without a standby, as the row says: confirmed by what is in force.
async fn right(ctx: &StepContext) -> Tried {
    let row = pair::fresh(ctx).await?;
    // A standby that counts is what it waits for under either choice; before the first one it waits for nobody.
    if row.is_promotable || !row.had_standby() {
        return Ok(Ok(()));
    }
    match row.state {
        S::Disarming => release(ctx, &row).await,
        S::Single | S::Building | S::CatchUp => match is_in_force(ctx, &row).await? {
            Ok(true) => Ok(Ok(())),
            Ok(false) => match begin(ctx, &row).await? {
                Ok(row) => release(ctx, &row).await,
                Err(wait) => Ok(Err(wait)),
            },
            Err(why) => Ok(Err(wait(format!("the primary does not answer: {why}")))),
        },
        other => Ok(Err(wait(format!("the pair is {}", other.key())))),
    }
}

async fn is_in_force(
    ctx: &StepContext,
    row: &HighAvailability,
) -> Result<Result<bool, String>, StepError> {
    let wanted = files::commits(row.waits_for()).waits_for();
    let standing = link::standing(ctx, ctx.member()?).await?;
    Ok(standing.map(|standing| standing.waits_for == wanted))
}

async fn release(ctx: &StepContext, row: &HighAvailability) -> Tried {
    if let Err(wait) = relax::let_go(ctx).await? {
        return Ok(Err(wait));
    }
    if row.waits_for() == WaitsFor::Never {
        tell_sessions(ctx).await?;
    }
    finish(ctx).await
}

/// Sessions hear from the checkpointer that they have to wait (A3): after a checkpoint all of them know.
async fn tell_sessions(ctx: &StepContext) -> Result<(), StepError> {
    let target = link::running(ctx, ctx.member()?).await?;
    if let Err(error) = ctx.services.postgres.checkpoint(&target).await {
        ctx.log(format!(
            "Whether every session waits already was not confirmed by a checkpoint: {error}. PostgreSQL tells them by itself"
        ))
        .await;
    }
    Ok(())
}

/// The end of it in the row. A build that is under way goes on where it was: hours of copying are not thrown away for it.
async fn finish(ctx: &StepContext) -> Tried {
    let (mut tx, row) = pair::begin(ctx).await?;
    if row.state != S::Disarming {
        return Ok(Err(wait(MOVED)));
    }
    let line = relax::outcome(row.durability);
    let story = Story::new("disarmed", line);
    let next = pair::apply(ctx, &mut tx, &row, &Move::Disarmed, story).await?;
    let is_building = tx.active_kinds(&ctx.server.id).await?.contains(&OperationKind::BuildStandby);
    if let Some(standby) = next.standby.clone().filter(|_| is_building) {
        let story =
            Story::new("building", format!("Standby {} goes on being made", standby.short()));
        pair::apply(ctx, &mut tx, &next, &Move::BuildBegins { standby }, story).await?;
    }
    ctx.commit(tx).await?;
    ctx.log(line).await;
    Ok(Ok(()))
}

/// What the standby has when it is promoted (F9). With the stricter choice it has it already; with the laxer one a file
/// of before only makes commits wait some seconds after a failover, until the portal puts that right.
async fn tell(ctx: &StepContext) -> Tried {
    let row = pair::fresh(ctx).await?;
    let Some(standby) = standby_of(ctx, &row).filter(|_| row.is_promotable) else {
        return Ok(Ok(()));
    };
    let Err(why) = reached(files::tell(ctx, standby, &row).await)? else { return Ok(Ok(())) };
    if !is_late(ctx).await? {
        let why = format!("the standby's configuration is not written yet: {why}");
        return Ok(Err(Outcome::Wait(Duration::from_secs(1), why)));
    }
    ctx.log(format!(
        "The standby's configuration is still that of before ({why}). It is written when the standby is made to count again; after a failover before that, writes may wait some seconds until the portal puts it right"
    ))
    .await;
    Ok(Ok(()))
}

async fn is_late(ctx: &StepContext) -> Result<bool, StepError> {
    let steps = ctx.services.store.operation_steps(&ctx.operation.id).await?;
    let begun = steps.iter().find(|one| one.name == ctx.step).and_then(|one| one.started_at);
    Ok(begun.is_some_and(|begun| ctx.services.clock.now() - begun > STANDBY_PATIENCE))
}
