//! Repair: a server is put back on its host as the records say, around the volume that is there.
//!
//! The volume is looked at and never touched: a missing one is not made anew, because an empty database in
//! the place of a lost one would look as if all were well. A container is made anew, as the next generation, only when it is
//! missing or cannot be put right. On a server on which nothing is wrong nothing is interrupted.
//!
//! Nothing is taken back: what a step put right is right, whatever becomes of the next one.

use super::context::StepContext;
use super::step::{Outcome, Step, StepError, Undo};
use super::{configure, create, disk, member, networks, pair, pooler, sized};
use crate::domain::drift::{Drift, Seen, What, drifts};
use crate::domain::ha::MemberRole;
use crate::domain::server::Member;
use crate::engine::{ContainerFacts, ImageProgress};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::Duration;

const STAYS: Undo = Undo::None("what was put right stays so");

const fn step(
    name: &'static str,
    title: &'static str,
    run: super::step::StepFn,
    seconds: u64,
) -> Step {
    Step {
        name,
        title,
        run,
        undo: STAYS,
        deadline: Duration::from_secs(seconds),
        point_of_no_return: false,
    }
}

pub const STEPS: &[Step] = &[
    step(LOOK, "Look at what is wrong", look, 60),
    step("ensure_image", "Have the image ready if a container must be made", ensure_image, 3000),
    step("ensure_network", "Have the private network", ensure_network, 120),
    step("ensure_container", "Have the container around the volume", ensure_container, 240),
    step("put_limits", "Put the limits right", put_limits, 60),
    step("put_files", "Write the configuration", put_files, 120),
    step("start_member", "Start PostgreSQL", create::start_member, 120),
    step("wait_accepting", "Wait until it accepts connections", create::wait_accepting, 480),
    Step {
        point_of_no_return: true,
        ..step("open_route", "Let connections in", create::publish_route, 60)
    },
];

type StepResult<'a> = BoxFuture<'a, Result<Outcome, StepError>>;

const LOOK: &str = "look";

/// What `look` found: a rerun of a later step must not find its own work and decide otherwise.
#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    /// Whether the container is made anew.
    replaces: bool,
    /// Name of the container that was there or should have been.
    container: String,
    /// Generation that is right in the end.
    generation: i64,
    found: Vec<Drift>,
}

fn look(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let member = ctx.member()?;
        let engine = ctx.engine(member)?;
        let container = engine.container(&member.container()).await?;
        let runs = container.as_ref().is_some_and(|facts| facts.state == "running");
        if !engine.has_volume(&member.data_volume()).await? {
            return Err(disk::lost(member, runs));
        }
        let seen = Seen {
            container: container.as_ref().map(member::seen),
            has_volume: Some(true),
            images: None,
        };
        let is_held = ctx.services.store.is_held(&ctx.server.id).await?;
        let wanted = member::wanted(&ctx.server, member, is_held, ctx.ha.is_some());
        let found = drifts(&wanted, &seen);
        refuse_paused(container.as_ref())?;
        ctx.log_new(&lines(&found)).await;
        let replaces = found.iter().any(Drift::needs_new_container)
            || lost_its_network(ctx, container.as_ref()).await?;
        refuse_in_pair(ctx, runs && !replaces)?;
        Ok(Outcome::Done(json!(Plan {
            replaces,
            container: member.container(),
            generation: member.generation + i64::from(replaces),
            found,
        })))
    })
}

/// One that does not run may not be able to start again.
async fn lost_its_network(
    ctx: &StepContext,
    container: Option<&ContainerFacts>,
) -> Result<bool, StepError> {
    if container.is_none_or(|facts| facts.state == "running") {
        return Ok(false);
    }
    Ok(!networks::are_there(ctx).await?)
}

/// A container that somebody paused cannot be started, and was paused for a reason.
fn refuse_paused(container: Option<&ContainerFacts>) -> Result<(), StepError> {
    match container {
        Some(facts) if facts.state == "paused" => Err(StepError::permanent(
            format!(
                "The container {} is paused: somebody stopped it in the middle of its work.",
                facts.name
            ),
            format!("On the host: docker unpause {}. Then repair again.", facts.name),
        )),
        _ => Ok(()),
    }
}

/// While a standby may take over, a start of the primary is the pair's own: behind its back the one would be
/// promoted while the other comes up. What works is left at work, so its limits and files can be put right.
fn refuse_in_pair(ctx: &StepContext, stays_at_work: bool) -> Result<(), StepError> {
    use crate::domain::ha::ReplicationState as S;
    let Some(row) = &ctx.ha else { return Ok(()) };
    let is_settled = matches!(row.state, S::Single | S::Building | S::CatchUp | S::Sync);
    if is_settled && (stays_at_work || !row.is_promotable) {
        return Ok(());
    }
    Err(StepError::permanent(
        "The members of this server are High availability’s to start: a repair could make two primaries. Nothing was changed.",
        "The page High availability says what it sees and does. After a planned failover this member is made a standby again, and put right with it.",
    ))
}

fn lines(found: &[Drift]) -> Vec<String> {
    if found.is_empty() {
        return vec!["The container is as it should be.".into()];
    }
    found.iter().map(Drift::sentence).collect()
}

fn ensure_image(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        if !ctx.output::<Plan>(LOOK)?.replaces {
            return Ok(Outcome::done());
        }
        let member = ctx.member()?;
        match ctx.engine(member)?.ensure_image(ctx.server.spec.major).await? {
            ImageProgress::Building { now, lines } => {
                ctx.log_new(&lines).await;
                Ok(Outcome::Wait(Duration::from_secs(1), now))
            }
            ImageProgress::Ready { id, version } => {
                let mut tx = ctx.begin_write().await?;
                tx.set_member_image(&member.id, &id, &version).await?;
                ctx.commit(tx).await?;
                Ok(Outcome::Done(json!({ "id": id, "version": version })))
            }
        }
    })
}

fn ensure_network(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        networks::ensure(ctx).await?;
        Ok(Outcome::done())
    })
}

/// The old container is gone for certain before the new one is made: two never run on one volume.
fn ensure_container(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let plan: Plan = ctx.output(LOOK)?;
        let member = ctx.member()?;
        let engine = ctx.engine(member)?;
        // After a restart of the host nothing is attached, and without it nothing can be put into the volume.
        disk::ensure(ctx).await?;
        if !plan.replaces {
            return Ok(Outcome::done());
        }
        engine.remove_container(&plan.container).await?;
        pooler::discard_stopped(ctx).await?;
        let mut tx = ctx.begin_write().await?;
        tx.raise_generation(&member.id, plan.generation).await?;
        ctx.commit(tx).await?;
        let member = Member { generation: plan.generation, ..member.clone() };
        engine.ensure_container(&sized::container(ctx, &ctx.server, &member).await?).await?;
        ctx.log(format!(
            "Container {} is made around volume {}",
            member.container(),
            member.volume()
        ))
        .await;
        Ok(Outcome::done())
    })
}

fn put_limits(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        for member in pair::primary_first(ctx) {
            put_limits_of(&ctx.on(member), member).await?;
        }
        Ok(Outcome::done())
    })
}

async fn put_limits_of(ctx: &StepContext, member: &Member) -> Result<(), StepError> {
    let engine = match ctx.engine(member) {
        Err(_) if member.role == MemberRole::Standby => return Ok(()),
        engine => engine?,
    };
    let name = member.container();
    let container = match engine.container(&name).await {
        // What becomes of a standby that is away or gone is the pair's own.
        Err(_) | Ok(None) if member.role == MemberRole::Standby => return Ok(()),
        container => container?,
    };
    let Some(container) = container else {
        return Err(StepError::permanent(
            format!("The container {name} was removed while it was repaired."),
            "Its volume is untouched. See that nobody removes it, then repair again.",
        ));
    };
    let is_held = ctx.services.store.is_held(&ctx.server.id).await?;
    let wanted = member::wanted(&ctx.server, member, is_held, ctx.ha.is_some());
    let seen = Seen { container: Some(member::seen(&container)), ..Seen::default() };
    let found = drifts(&wanted, &seen);
    if found.iter().any(|drift| matches!(drift.what, What::Memory | What::Cpu)) {
        sized::update_limits(ctx, &ctx.server).await?;
    }
    if found.iter().any(|drift| drift.what == What::RestartPolicy) {
        engine.set_restart(&name, ctx.ha.is_none()).await?;
    }
    Ok(())
}

fn put_files(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        configure::put_files(ctx, &ctx.server).await?;
        Ok(Outcome::done())
    })
}
