//! Planned failover: the primary stops in order, its standby has all of its log, and takes over. Until that is certain
//! everything is taken back: the primary starts again in the same epoch. Never is the new primary chosen before the
//! old one has stopped (P4).

use super::pair::{self, Story};
use super::promotion::{self, Why};
use super::{SOON, StepResult, arm, gate, link, recover_gate, step};
use crate::domain::ha::{Cause, HighAvailability, Lsn, MemberRole, Move, ReplicationState as S};
use crate::domain::operation::OperationKind;
use crate::domain::server::Member;
use crate::engine::ContainerSpec;
use crate::operations::context::StepContext;
use crate::operations::step::{Outcome, Step, StepError, Undo};
use crate::operations::{disk, member};
use crate::store::ha::Promotion;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::Duration;

/// N4: time for the shutdown checkpoint, which the one before has made short.
const STOP_GRACE: Duration = Duration::from_secs(60);

pub const STEPS: &[Step] = &[
    step(
        "checkpoint_first",
        "Check the pair and write a checkpoint",
        checkpoint_first,
        Undo::None("it changes nothing"),
        120,
    ),
    step("hold_route", "Hold new connections", hold_route, Undo::Run(open_again), 60),
    step("stop_primary", "Stop the primary", stop_primary, Undo::Run(start_again), 180),
    Step {
        point_of_no_return: true,
        ..step(
            "decide",
            "Check that the standby has everything, and let it take over",
            decide,
            Undo::Run(promotion::finish),
            60,
        )
    },
    step(
        "promote",
        "Make the standby the primary and let connections in",
        promotion::promote,
        FORWARD,
        600,
    ),
    step("note_stop", "Note where the old primary stopped", note_stop, FORWARD, 120),
    step(
        "checkpoint",
        "Write a checkpoint on the new primary",
        promotion::checkpoint,
        FORWARD,
        600,
    ),
];

const FORWARD: Undo = Undo::None("it is past the point of no return");

/// What a switchover is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SwitchoverInput {
    pub cause: Cause,
    /// One sentence: who asked, or what it is part of.
    #[serde(default)]
    pub reason: Option<String>,
}

/// P1, P2: the more is written before, the shorter the stop is.
fn checkpoint_first(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        if let Some(wait) = super::drill::wait_for_probe(ctx).await? {
            return Ok(wait);
        }
        let row = pair::fresh(ctx).await?;
        let (primary, standby) = both(ctx, &row)?;
        if row.state != S::Sync {
            return Err(not_now(&format!("the pair is {}", row.state.key())));
        }
        let target = link::running(ctx, primary).await?;
        for _ in 0..3 {
            let begun = tokio::time::Instant::now();
            ctx.services.postgres.checkpoint(&target).await?;
            if begun.elapsed() < Duration::from_millis(500) {
                break;
            }
        }
        match (link::standing(ctx, primary).await?, link::standing(ctx, standby).await?) {
            (Ok(first), Ok(second)) => {
                arm::follows(&first, &second).map_err(|why| not_now(&why))?;
            }
            (Err(why), _) | (_, Err(why)) => return Err(StepError::Transient(why)),
        }
        Ok(Outcome::Done(json!({ "primary": primary.id, "standby": standby.id })))
    })
}

fn not_now(why: &str) -> StepError {
    StepError::permanent(
        format!("There is no planned failover now: {why}. Nothing was changed."),
        "Wait until the page High availability says Healthy, then ask again.",
    )
}

fn both<'a>(
    ctx: &'a StepContext,
    row: &HighAvailability,
) -> Result<(&'a Member, &'a Member), StepError> {
    let by = |role| ctx.members.iter().find(|member| pair::role(row, member) == role);
    match (by(MemberRole::Primary), by(MemberRole::Standby)) {
        (Some(primary), Some(standby)) => Ok((primary, standby)),
        _ => Err(not_now("there is no standby")),
    }
}

/// P3. Row and route in one transaction; the primary is stopped when no gateway leads to it any more.
fn hold_route(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let (mut tx, row) = pair::begin(ctx).await?;
        if row.state != S::Switching {
            let story = Story::new("switching", "The primary is being changed in order");
            pair::apply(ctx, &mut tx, &row, &Move::SwitchBegins, story).await?;
        }
        gate::hold(ctx, &mut tx).await?;
        ctx.commit(tx).await?;
        ctx.services.poke.routes();
        let generation = ctx.services.store.route_generation().await?;
        let held = gate::wait_applied(ctx, generation, None).await?;
        Ok(held.err().unwrap_or(Outcome::done()))
    })
}

/// The primary runs by then. With a new epoch there is nothing to open here: it opened the way itself.
fn open_again(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let opens = |state| matches!(state, S::Switching | S::Restarting | S::Single);
        if promotion::mine(ctx).await?.is_some() || !opens(pair::fresh(ctx).await?.state) {
            return Ok(Outcome::done());
        }
        let Some(target) = link::target(ctx, ctx.member()?).await? else {
            return Ok(Outcome::Wait(SOON, "the primary does not run".into()));
        };
        let (mut tx, row) = pair::begin(ctx).await?;
        if !opens(row.state) {
            return Ok(Outcome::done());
        }
        let change = match row.state {
            S::Switching => Some(Move::SwitchGaveUp),
            S::Restarting => Some(Move::Restarted),
            _ => None,
        };
        if let Some(change) = change {
            let story = Story::new("not_switched", "The primary stays what it is");
            pair::apply(ctx, &mut tx, &row, &change, story).await?;
        }
        gate::open(ctx, &mut tx, target.address).await?;
        ctx.commit(tx).await?;
        ctx.services.poke.routes();
        Ok(Outcome::done())
    })
}

fn stop_primary(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        if pair::fresh(ctx).await?.state != S::Switching {
            return Err(not_now("something else was decided meanwhile"));
        }
        let primary = ctx.member()?;
        ctx.engine(primary)?.stop_container(&primary.container(), STOP_GRACE).await?;
        Ok(Outcome::done())
    })
}

/// The same primary, in the same epoch, and only when the row still says so. From its start on clients wait until the
/// standby has all that they could see (C3), or does not count any more.
fn start_again(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let state = pair::fresh(ctx).await?.state;
        if promotion::mine(ctx).await?.is_some() || !matches!(state, S::Switching | S::Restarting) {
            return Ok(Outcome::done());
        }
        if state == S::Switching {
            let story =
                Story::new("restarting", "The primary is started again: it stays what it is");
            pair::change(ctx, &Move::RestartBegins, story).await?;
        }
        disk::ensure(ctx).await?;
        let primary = ctx.member()?;
        ctx.engine(primary)?.start_container(&primary.container()).await?;
        match member::wait_accepting(ctx).await? {
            Outcome::Done(_) => recover_gate::pass(ctx, "stop_primary").await,
            wait @ Outcome::Wait(..) => Ok(wait),
        }
    })
}

/// P4. A standby that counts has every acknowledged commit whatever became of the stop; whether the old primary can
/// follow it without a copy is another question, which [`note_stop`] answers when clients are served again.
fn decide(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        if promotion::mine(ctx).await?.is_some() {
            return promotion::noted(ctx).await;
        }
        let row = pair::fresh(ctx).await?;
        let (primary, standby) = both(ctx, &row)?;
        let facts = ctx.engine(primary)?.container(&primary.container()).await?;
        if facts.is_some_and(|facts| facts.state == "running") {
            return Err(not_now("the primary runs again"));
        }
        let seen = match link::standing(ctx, standby).await? {
            Ok(seen) => seen,
            Err(why) => {
                return Err(StepError::Transient(format!("The standby does not answer: {why}")));
            }
        };
        let input = asked(ctx)?;
        let usual = || "A planned failover was asked for.".to_owned();
        let why = Why {
            cause: input.cause,
            reason: input.reason.unwrap_or_else(usual),
            seen_at: ctx.operation.created_at,
        };
        promotion::begin(ctx, &why, seen.written, false, |row| match row.state {
            S::Switching => promotion::may_take_over(row, &seen),
            // A rescue came between: the old primary may be running again.
            other => Err(format!("the pair is {}", other.key())),
        })
        .await?;
        promotion::noted(ctx).await
    })
}

/// A switchover that is part of another change is maintenance.
fn asked(ctx: &StepContext) -> Result<SwitchoverInput, StepError> {
    let kind = ctx.operation.kind;
    if kind == OperationKind::Switchover {
        return ctx.input();
    }
    let reason = Some(format!("It is part of “{}”.", kind.label()));
    Ok(SwitchoverInput { cause: Cause::Maintenance, reason })
}

/// P5: reads the old primary's control file. What cannot be read is unknown, and then its data are not used again.
fn note_stop(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let Some(promotion) = promotion::mine(ctx).await? else { return Ok(Outcome::done()) };
        let former = ctx.members.iter().find(|member| member.id == promotion.from_member);
        let Some(former) = former else { return Ok(Outcome::done()) };
        let read = tokio::time::timeout(Duration::from_secs(30), stopped_at(ctx, former)).await;
        let stopped_lsn = match read {
            Ok(Ok(found)) => found,
            Ok(Err(StepError::LeaseLost)) => return Err(StepError::LeaseLost),
            // Once more, in case only a reply was lost.
            Ok(Err(StepError::Transient(why))) if ctx.operation.attempt == 0 => {
                return Err(StepError::Transient(why));
            }
            Ok(Err(error)) => {
                ctx.log(format!("The old primary's control file cannot be read: {error}")).await;
                None
            }
            Err(_) => None,
        };
        let Some(lsn) = stopped_lsn else {
            ctx.log("The old primary did not stop in order: the next standby is a new copy").await;
            return Ok(Outcome::done());
        };
        let mut tx = ctx.begin_write().await?;
        tx.put_promotion(&Promotion { stopped_lsn, ..promotion }).await?;
        ctx.commit(tx).await?;
        ctx.log(format!("The old primary stopped in order at {lsn}")).await;
        Ok(Outcome::done())
    })
}

/// Where it stopped, by a helper that holds the volume's lock; `None` when it did not stop in order.
async fn stopped_at(ctx: &StepContext, former: &Member) -> Result<Option<Lsn>, StepError> {
    let engine = ctx.engine(former)?;
    let name = former.init_container();
    engine.remove_container(&name).await?;
    engine.ensure_container(&control_container(ctx, former)).await?;
    engine.start_container(&name).await?;
    let ended = engine.wait_exit(&name, Duration::from_secs(20)).await?;
    let lines = engine.tail(&name, 60).await?;
    engine.remove_container(&name).await?;
    Ok(if ended == Some(0) { control_lsn(&lines) } else { None })
}

fn control_container(ctx: &StepContext, former: &Member) -> ContainerSpec {
    let helper = member::init_container(ctx, former);
    // What comes before the shell in the helper's command takes the lock.
    let lock = helper.command.iter().take_while(|word| *word != "sh").cloned();
    let read = ["pg_controldata", "-D", "/var/lib/pgflex/data"].map(str::to_owned);
    ContainerSpec { command: lock.chain(read).collect(), ..helper.clone() }
}

/// Place of the shutdown's checkpoint, of a database that was shut down.
fn control_lsn(lines: &[String]) -> Option<Lsn> {
    let value = |name: &str| {
        let line = lines.iter().find_map(|line| line.strip_prefix(name));
        line.map(str::trim)
    };
    (value("Database cluster state:") == Some("shut down"))
        .then(|| value("Latest checkpoint location:").and_then(Lsn::parse))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_orderly_stop_has_a_place() {
        let of = |state: &str| {
            let lines = [
                format!("Database cluster state:               {state}"),
                "Latest checkpoint location:           0/3000028".to_owned(),
            ];
            control_lsn(&lines)
        };
        assert_eq!(of("shut down"), Lsn::parse("0/3000028"));
        assert_eq!(of("shut down in recovery"), None);
        assert_eq!(of("in production"), None);
        assert_eq!(control_lsn(&[]), None);
    }
}
