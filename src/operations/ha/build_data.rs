//! The standby itself: its data copied from the primary, its container, and its first steps behind it.

use super::build_plan::{Made, find, made, streams};
use super::pair::{self, Story};
use super::{StepResult, arm, files, gate, link, pieces};
use crate::domain::ha::{HighAvailability, MemberRole, Move, ReplicationState as S};
use crate::domain::server::{Member, internal_name, network_name};
use crate::engine::{ContainerSpec, FileSpec};
use crate::operations::context::StepContext;
use crate::operations::step::{Outcome, StepError};
use crate::operations::{disk, member, networks, sized};
use crate::postgres::conf::{self, Source};
use std::time::Duration;

/// Time in which one that was brought back must stream: what it lacks must still be there.
const ADOPTED_WITHIN: chrono::Duration = chrono::Duration::seconds(60);

pub(super) fn create_volume(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let made = made(ctx)?;
        let on = ctx.on(&made.member);
        if made.is_adopted {
            disk::ensure(&on).await?;
        } else {
            disk::make(&on).await?;
        }
        Ok(Outcome::done())
    })
}

pub(super) fn remove_volume(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        if let Some(standby) = made_here(ctx).await? {
            let removed = async {
                pieces::remove_containers(ctx, &standby).await?;
                pieces::remove_volumes(ctx, &standby).await
            };
            pieces::or_leave(ctx, removed.await).await?;
        }
        Ok(Outcome::done())
    })
}

/// The standby when this operation made its data and it is no primary meanwhile: what an undo may remove.
async fn made_here(ctx: &StepContext) -> Result<Option<Member>, StepError> {
    let Some(made) = find(ctx) else { return Ok(None) };
    let row = pair::fresh(ctx).await?;
    let is_free = pair::role(&row, &made.member) != MemberRole::Primary && !row.is_promotable;
    Ok((is_free && !made.is_adopted).then_some(made.member))
}

/// The copy is made by PostgreSQL's own tool in a helper, which connects as the standby will.
pub(super) fn copy_data(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let Made { member: standby, is_adopted } = made(ctx)?;
        if is_adopted {
            return Ok(Outcome::done());
        }
        let engine = ctx.engine(&standby)?;
        let name = standby.copy_container();
        if engine.container(&name).await?.is_none() {
            engine.ensure_container(&copy_container(ctx, &standby).await?).await?;
        }
        if engine.container(&name).await?.is_some_and(|facts| facts.state == "created") {
            engine.put_files(&name, &files::certificates(ctx).await?).await?;
            engine.start_container(&name).await?;
        }
        let ended = engine.wait_exit(&name, Duration::from_secs(2)).await?;
        let lines = engine.tail(&name, 40).await?;
        ctx.log_new(&told(&lines, ended.is_some())).await;
        match ended {
            None => Ok(Outcome::Wait(super::SOON, progress(&lines))),
            Some(0) => {
                engine.remove_container(&name).await?;
                Ok(Outcome::done())
            }
            Some(code) => Err(copy_failed(code, &lines)),
        }
    })
}

async fn copy_container(ctx: &StepContext, standby: &Member) -> Result<ContainerSpec, StepError> {
    let address = gate::address(ctx, ctx.member()?).await?;
    let slot = HighAvailability::standby_name(&standby.id);
    let source = Source { name: internal_name(&ctx.server.id), address };
    // Another name than the standby's: nobody may take the copying session for it.
    let conninfo = source.conninfo(&format!("{slot}_copy"));
    let blueprint = member::blueprint_of(ctx, &ctx.server, standby);
    Ok(blueprint.copy_container(&standby.image, &conninfo, &slot))
}

/// Lines for people; those that count bytes come several times a second and are the step's waiting.
fn told(lines: &[String], has_ended: bool) -> Vec<String> {
    let useful = lines.iter().filter(|line| !line.contains("kB (") && !line.trim().is_empty());
    if has_ended { useful.cloned().collect() } else { vec![] }
}

fn progress(lines: &[String]) -> String {
    let last = lines.iter().rev().find(|line| line.contains("kB ("));
    last.map_or_else(|| "the copy is being made".into(), |line| line.trim().to_owned())
}

fn copy_failed(code: i64, lines: &[String]) -> StepError {
    let last = lines.iter().rev().find(|line| !line.trim().is_empty());
    let last = last.map_or("it wrote nothing", String::as_str);
    StepError::permanent(
        format!("The copy of the primary ended with code {code}: {last}"),
        "The log below has all it wrote. Mend what it names (often the network between the hosts, or their disks). It is tried again by itself.",
    )
}

async fn remove_one(ctx: &StepContext, member: &Member, name: &str) -> Result<(), StepError> {
    Ok(pieces::ours(ctx.engine(member)?.remove_container(name).await)?)
}

pub(super) fn remove_copy(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        if let Some(Made { member: standby, .. }) = find(ctx) {
            pieces::or_leave(ctx, remove_one(ctx, &standby, &standby.copy_container()).await)
                .await?;
        }
        Ok(Outcome::done())
    })
}

/// The container and its files. One that streams is left running: its files say the same or are read again.
pub(super) fn create_standby(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let Made { member: standby, is_adopted } = made(ctx)?;
        let row = pair::fresh(ctx).await?;
        // Never into the data of a primary: it would start as a standby of itself.
        if pair::role(&row, &standby) != MemberRole::Standby {
            return Err(StepError::permanent(
                "The member is not the standby any more.",
                "Nothing is to be done: the portal looks at the pair again.",
            ));
        }
        let engine = ctx.engine(&standby)?;
        if is_adopted && !streams(ctx, &standby).await? {
            // What it runs with is of another time, and one that runs as a primary must stop before it can follow.
            pieces::stop(engine, &standby).await?;
        }
        networks::ensure(&ctx.on(&standby)).await?;
        let mut spec = sized::container(&ctx.on(&standby), &ctx.server, &standby).await?;
        // Only the primary has the server's names in its network.
        spec.network = Some((network_name(&ctx.server.id), vec![]));
        engine.ensure_container(&spec).await?;
        engine.set_restart(&standby.container(), false).await?;
        files::put(ctx, &standby, &row).await?;
        let is_still = pair::role(&pair::fresh(ctx).await?, &standby) == MemberRole::Standby;
        if is_adopted && is_still && !is_running(ctx, &standby).await? {
            let signal = conf::standby_signal();
            let signal = FileSpec { path: signal.path, mode: signal.mode, content: signal.content };
            engine.put_files(&standby.container(), &[signal]).await?;
        }
        Ok(Outcome::done())
    })
}

async fn is_running(ctx: &StepContext, member: &Member) -> Result<bool, StepError> {
    let facts = ctx.engine(member)?.container(&member.container()).await?;
    Ok(facts.is_some_and(|facts| facts.state == "running"))
}

pub(super) fn remove_standby(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        if let Some(standby) = made_here(ctx).await? {
            pieces::or_leave(ctx, remove_one(ctx, &standby, &standby.container()).await).await?;
        }
        Ok(Outcome::done())
    })
}

pub(super) fn start_standby(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let standby = made(ctx)?.member;
        ctx.engine(&standby)?.start_container(&standby.container()).await?;
        Ok(Outcome::done())
    })
}

/// Until it follows closely. One that ends right after its start fails at once, with its last words.
pub(super) fn wait_streaming(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let Made { member: standby, is_adopted } = made(ctx)?;
        if let wait @ Outcome::Wait(..) = member::wait_accepting(&ctx.on(&standby)).await? {
            return Ok(wait);
        }
        let looked = link::until(|| Box::pin(look(ctx, &standby)));
        match looked.await? {
            Ok(timeline) => follows(ctx, timeline).await,
            Err(_) if is_adopted && is_late(ctx).await? => Err(StepError::permanent(
                "The member does not get on with the data it has.",
                "Nothing is to be done: the next standby is made from a new copy.",
            )),
            Err(wait) => Ok(wait),
        }
    })
}

/// The timeline of both when the standby follows closely.
async fn look(ctx: &StepContext, standby: &Member) -> link::Look<i64> {
    let primary = link::standing(ctx, ctx.member()?).await?;
    let seen = link::standing(ctx, standby).await?;
    Ok(match (primary, seen) {
        (Ok(primary), Ok(seen)) => arm::follows(&primary, &seen).map(|()| primary.timeline),
        (Err(why), _) => Err(format!("the primary does not answer: {why}")),
        (_, Err(why)) => Err(why),
    })
}

async fn follows(ctx: &StepContext, timeline: i64) -> Result<Outcome, StepError> {
    let detail = "The standby follows; commits do not wait for it yet";
    let (mut tx, row) = pair::begin(ctx).await?;
    // By a change of durability, which gives the row back: the copy is not thrown away for that moment.
    if row.state == S::Disarming {
        return Ok(pair::settling());
    }
    let story = Story::new("follows", detail);
    pair::apply(ctx, &mut tx, &row, &Move::Follows { timeline }, story).await?;
    ctx.commit(tx).await?;
    ctx.log(detail).await;
    Ok(Outcome::done())
}

async fn is_late(ctx: &StepContext) -> Result<bool, StepError> {
    let steps = ctx.services.store.operation_steps(&ctx.operation.id).await?;
    let step = steps.iter().find(|step| step.name == "wait_streaming");
    let begun = step.and_then(|step| step.started_at);
    Ok(begun.is_some_and(|begun| ctx.services.clock.now() - begun > ADOPTED_WITHIN))
}
