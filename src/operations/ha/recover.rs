//! Bring the primary back in place, in the same epoch (rules C). Nothing is taken back: a primary that does not come
//! back leaves the pair as the row says, and the portal decides again.

use super::pair::{self, Story};
use super::{SOON, StepResult, files, gate, link, recover_gate};
use crate::domain::ha::{Move, ReplicationState as S};
use crate::domain::server::Member;
use crate::operations::context::StepContext;
use crate::operations::step::{Outcome, Step, StepError, Undo};
use crate::operations::{create, disk, networks, sized};
use crate::store::StoreError;
use serde::{Deserialize, Serialize};
use serde_json::json;

const STAYS: Undo =
    Undo::None("what was put right stays so; the portal decides again by what it sees");

pub const STEPS: &[Step] = &[
    step(LOOK, "Look at what is there", look, 60),
    step("begin_restart", "Hold new connections", begin_restart, 60),
    step("ensure_container", "Have the container around the volume", ensure_container, 240),
    step("start_member", "Start PostgreSQL", start_member, 120),
    step("wait_accepting", "Wait until it accepts connections", create::wait_accepting, 480),
    step("wait_standby", "Wait until the standby has everything", wait_standby, 3600),
    Step { point_of_no_return: true, ..step("open_route", "Let connections in", open_route, 60) },
];

const fn step(
    name: &'static str,
    title: &'static str,
    run: crate::operations::step::StepFn,
    seconds: u64,
) -> Step {
    super::step(name, title, run, STAYS, seconds)
}

const LOOK: &str = "look";

/// What was found: a rerun must not find its own work and decide otherwise.
#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    /// Generation that is right in the end.
    generation: i64,
    replaces: bool,
}

fn look(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let member = ctx.member()?;
        let engine = ctx.engine(member)?;
        let facts = engine.container(&member.container()).await?;
        let runs = facts.as_ref().is_some_and(|facts| facts.state == "running");
        // Z2: an empty volume in the place of a lost one would look as if all were well.
        if !engine.has_volume(&member.data_volume()).await? {
            return Err(disk::lost(member, runs));
        }
        if facts.as_ref().is_some_and(|facts| facts.state == "paused") {
            return Err(StepError::permanent(
                format!("The container {} is paused.", member.container()),
                format!("On the host: docker unpause {}.", member.container()),
            ));
        }
        let replaces = facts.is_none();
        let generation = member.generation + i64::from(replaces);
        Ok(Outcome::Done(json!(Plan { generation, replaces })))
    })
}

/// C1: through the row, which excludes a failover at the same time. What clients see next is behind the gate.
pub(in crate::operations) fn begin_restart(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let (mut tx, row) = pair::begin(ctx).await?;
        if matches!(row.state, S::Promoting | S::Stopped) {
            return Err(StepError::permanent(
                format!("The pair is {}: the primary is not started now.", row.state.key()),
                "Nothing is to be done: the portal looks at the pair again.",
            ));
        }
        let change = match row.state {
            S::Sync | S::Switching => Some(Move::RestartBegins),
            // Or its commits would wait for a standby that nobody goes on counting.
            S::Arming => Some(Move::ArmGaveUp),
            _ => None,
        };
        if let Some(change) = change {
            let story = Story::new("restarting", "The primary is started again in place");
            pair::apply(ctx, &mut tx, &row, &change, story).await?;
        }
        gate::hold(ctx, &mut tx).await?;
        ctx.commit(tx).await?;
        ctx.services.poke.routes();
        Ok(Outcome::done())
    })
}

/// C2: the files name the standby before the start when it still counts.
fn ensure_container(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let plan: Plan = ctx.output(LOOK)?;
        must_be_primary(ctx).await?;
        disk::ensure(ctx).await?;
        disk::make_room(ctx).await?;
        let member = ctx.member()?;
        let member = Member { generation: plan.generation, ..member.clone() };
        let on = ctx.on(&member);
        let engine = ctx.engine(&member)?;
        if plan.replaces {
            networks::ensure(ctx).await?;
            let mut tx = ctx.begin_write().await?;
            tx.raise_generation(&member.id, plan.generation).await?;
            ctx.commit(tx).await?;
            engine.ensure_container(&sized::container(&on, &ctx.server, &member).await?).await?;
            ctx.log(format!("Container {} is made around its volume", member.container())).await;
        }
        engine.set_restart(&member.container(), false).await?;
        // By the row of now: a standby that is being made may begin to count meanwhile.
        files::put(&on, &member, &pair::fresh(ctx).await?).await?;
        Ok(Outcome::done())
    })
}

/// I9: only the primary of the row is started as one.
async fn must_be_primary(ctx: &StepContext) -> Result<(), StepError> {
    let row = pair::fresh(ctx).await?;
    let is_primary = row.primary.as_ref() == Some(&ctx.member()?.id);
    if is_primary && !matches!(row.state, S::Promoting | S::Stopped) {
        return Ok(());
    }
    Err(StepError::permanent(
        "Another member is the primary now, or the server was stopped. This one was not started.",
        "Nothing is to be done: the portal looks at the pair again.",
    ))
}

fn start_member(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        must_be_primary(ctx).await?;
        create::start_member(ctx).await
    })
}

fn wait_standby(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(recover_gate::pass(ctx, "wait_standby"))
}

pub(in crate::operations) fn open_route(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let Some(target) = link::target(ctx, ctx.member()?).await? else {
            return Ok(Outcome::Wait(SOON, "the primary does not run".into()));
        };
        let (mut tx, row) = pair::begin(ctx).await?;
        let is_held = matches!(row.state, S::Promoting | S::Stopped);
        if row.primary.as_ref() != Some(&ctx.member()?.id) || is_held {
            return Err(
                StoreError::Value("another member is the primary now, or it stops".into()).into()
            );
        }
        if row.state == S::Restarting {
            let story = Story::new("restarted", "The primary is back; the standby has everything");
            pair::apply(ctx, &mut tx, &row, &Move::Restarted, story).await?;
        }
        gate::open(ctx, &mut tx, target.address).await?;
        ctx.commit(tx).await?;
        ctx.services.poke.routes();
        ctx.services.poke.monitor();
        Ok(Outcome::done())
    })
}
