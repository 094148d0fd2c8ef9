//! Scale compute: another size for a server, up or down, in any tier.
//!
//! Two ways, and the plan of parameters says which: where nothing changes that PostgreSQL reads only at its
//! start, and memory does not shrink, the limits of the running container are changed and the files are read again.
//! Else a container of the new size is made beside the running one, new clients are held, PostgreSQL stops in the
//! old and starts in the new one. Only a new container has shared memory of the new size, and so the
//! memory limit never shrinks under a PostgreSQL that still uses it. The old container stays until the end: the way
//! back is to start it.
//!
//! What a host promised: a size that needs more is written before anything is done, one that needs less at the
//! end. So the larger of the two is promised all the while, and the way back always has its place.

use super::access;
use super::context::StepContext;
use super::scale_plan;
use super::step::{Outcome, Step, StepError, Undo};
use super::stop::STOP_GRACE;
use super::{configure, disk, ha, in_place, member, networks, pair, rolling, sized};
use crate::domain::catalog::Sku;
use crate::domain::ha::MemberRole;
use crate::domain::network::Access;
use crate::domain::placement::{grows, reason_against_scaling_members};
use crate::domain::route::RouteState;
use crate::domain::server::{Member, Server};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::Duration;

/// What scaling needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaleInput {
    /// Name of a SKU.
    pub to: String,
}

const REMEMBER: &str = "remember";
/// Each lasts some seconds at most.
const CHECKPOINT_TRIES: u32 = 10;

const fn step(
    name: &'static str,
    title: &'static str,
    run: super::step::StepFn,
    undo: Undo,
    seconds: u64,
) -> Step {
    let deadline = Duration::from_secs(seconds);
    Step { name, title, run, undo, deadline, point_of_no_return: false }
}

pub(super) const NOTE: Step =
    step(REMEMBER, "Note the size of before", remember, Undo::None("it only notes"), 60);
pub(super) const RESERVE: Step = step(
    "reserve_size",
    "Reserve what the new size needs more",
    reserve_size,
    Undo::Run(restore_size),
    60,
);

pub const STEPS: &[Step] = &[
    NOTE,
    RESERVE,
    step(
        "prepare_member",
        "Prepare a container of the new size, if PostgreSQL must restart",
        prepare_member,
        Undo::Run(discard_member),
        180,
    ),
    step(
        "apply_live",
        "Change limits and parameters, if it need not restart",
        apply_live,
        Undo::Run(apply_former),
        120,
    ),
    step(
        "checkpoint",
        "Write out what is in memory, if PostgreSQL must restart",
        checkpoint,
        Undo::None("a checkpoint harms nothing"),
        180,
    ),
    step("hold_route", "Hold new connections", hold_route, Undo::Run(open_former), 60),
    step("stop_member", "Stop PostgreSQL", stop_former, Undo::Run(start_former), 180),
    step("start_member", "Start PostgreSQL", start_new, Undo::Run(stop_new), 120),
    step(
        "wait_accepting",
        "Wait until it accepts connections",
        wait_accepting,
        Undo::None("it only looks"),
        480,
    ),
    step("open_route", "Let connections in", open_route, Undo::Run(hold_again), 60),
    Step {
        point_of_no_return: true,
        ..step("record_size", "Record the new size", record_size, Undo::Run(restore_size), 60)
    },
    step(
        "remove_former",
        "Remove the container of before",
        remove_former,
        Undo::None("it is past the point of no return"),
        120,
    ),
];

type StepResult<'a> = BoxFuture<'a, Result<Outcome, StepError>>;

/// What [`remember`] notes.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Former {
    sku: String,
    generation: i64,
    restarts: bool,
}

/// `None` when it never came to that.
fn former(ctx: &StepContext) -> Result<Option<Former>, StepError> {
    ctx.outputs.contains_key(REMEMBER).then(|| ctx.output(REMEMBER)).transpose()
}

/// The step's note of before, when PostgreSQL is restarted; `None` when there is nothing to do for it.
fn restarting(ctx: &StepContext) -> Result<Option<Former>, StepError> {
    Ok(former(ctx)?.filter(|former| former.restarts))
}

/// The size before this operation; that of now when it never came to that.
pub(super) fn sku_before(ctx: &StepContext) -> Result<String, StepError> {
    Ok(former(ctx)?.map_or_else(|| ctx.server.spec.sku.clone(), |former| former.sku))
}

fn wanted(ctx: &StepContext) -> Result<&'static Sku, StepError> {
    let input: Option<ScaleInput> = serde_json::from_value(ctx.operation.input.clone()).ok();
    input.and_then(|input| Sku::by_name(&input.to)).ok_or_else(|| {
        StepError::permanent("The size that was asked for is not known.", "Choose a size again.")
    })
}

fn sized_server(ctx: &StepContext, sku: &str) -> Server {
    let mut server = ctx.server.clone();
    sku.clone_into(&mut server.spec.sku);
    server
}

/// The member with the container of before.
fn former_member(ctx: &StepContext, former: &Former) -> Result<Member, StepError> {
    Ok(Member { generation: former.generation, ..ctx.member()?.clone() })
}

/// The member with the container of the new size.
fn new_member(ctx: &StepContext, former: &Former) -> Result<Member, StepError> {
    Ok(Member { generation: former.generation + 1, ..ctx.member()?.clone() })
}

fn remember(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let to = wanted(ctx)?;
        let of_pair = scale_plan::reason_against_pair(ctx.ha.is_some(), to);
        if let Some(why) = of_pair.or_else(|| scale_plan::reason_against(&ctx.server, to)) {
            return Err(StepError::permanent(why, "Change the parameter, then scale again."));
        }
        let plan = scale_plan::plan(&ctx.server, to);
        for change in &plan.changes {
            ctx.log(format!("{}: {} becomes {}", change.name, change.from, change.to)).await;
        }
        Ok(Outcome::Done(json!(Former {
            sku: ctx.server.spec.sku.clone(),
            generation: ctx.member()?.generation,
            restarts: plan.restarts,
        })))
    })
}

/// Looks and writes under one lock: two servers that grow at once cannot both get the last of a host.
fn reserve_size(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let (to, from) = (wanted(ctx)?, ctx.server.spec.sku());
        if !grows(from, to) {
            return Ok(Outcome::done());
        }
        let policy = &ctx.services.settings.overcommit;
        let mut tx = ctx.begin_write().await?;
        tx.lock_placement().await?;
        let loads = tx.host_loads().await?;
        let why = pair::hosts(ctx).into_iter().find_map(|(host, members)| {
            match loads.iter().find(|load| load.host.id == host) {
                None => Some("The server's host is no longer in the configuration.".into()),
                Some(load) => reason_against_scaling_members(load, members, from, to, policy),
            }
        });
        if let Some(why) = why {
            return Err(StepError::permanent(
                format!("The host cannot take this size: {why}"),
                "Choose a smaller size, or free the host, then retry.",
            ));
        }
        tx.set_sku(&ctx.server.id, to).await?;
        ctx.commit(tx).await?;
        Ok(Outcome::done())
    })
}

fn record_size(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let mut tx = ctx.begin_write().await?;
        tx.set_sku(&ctx.server.id, wanted(ctx)?).await?;
        ctx.commit(tx).await?;
        Ok(Outcome::done())
    })
}

fn restore_size(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        if ctx.ha.is_some() && ha::promotion::mine(ctx).await?.is_some() {
            ctx.log("The new primary has the new size already: it keeps it").await;
            return Ok(Outcome::done());
        }
        let before = former(ctx)?.and_then(|former| Sku::by_name(&former.sku));
        if let Some(sku) = before {
            let mut tx = ctx.begin_write().await?;
            tx.set_sku(&ctx.server.id, sku).await?;
            ctx.commit(tx).await?;
        }
        Ok(Outcome::done())
    })
}

/// Made while the old one runs: what takes its time is done before anybody waits.
fn prepare_member(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let Some(former) = restarting(ctx)? else { return Ok(Outcome::done()) };
        let (server, member) = (sized_server(ctx, wanted(ctx)?.name), new_member(ctx, &former)?);
        let engine = ctx.engine(&member)?;
        networks::ensure(ctx).await?;
        engine.ensure_container(&sized::container(ctx, &server, &member).await?).await?;
        engine.put_files(&member.container(), &member::files_of(ctx, &server).await?).await?;
        Ok(Outcome::done())
    })
}

fn discard_member(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let Some(former) = restarting(ctx)? else { return Ok(Outcome::done()) };
        let (old, new) = (former_member(ctx, &former)?, new_member(ctx, &former)?);
        let engine = ctx.engine(&old)?;
        let files = member::files_of(ctx, &sized_server(ctx, &former.sku)).await?;
        disk::ensure(ctx).await?;
        engine.put_files(&old.container(), &files).await?;
        engine.remove_container(&new.container()).await?;
        Ok(Outcome::done())
    })
}

fn apply_live(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        if restarting(ctx)?.is_none() {
            apply(ctx, &sized_server(ctx, wanted(ctx)?.name)).await?;
        }
        Ok(Outcome::done())
    })
}

fn apply_former(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        if let Some(former) = former(ctx)?.filter(|former| !former.restarts) {
            apply(ctx, &sized_server(ctx, &former.sku)).await?;
        }
        Ok(Outcome::done())
    })
}

/// The same order both ways: memory grows or stays, so limits never fall below what is in use.
async fn apply(ctx: &StepContext, server: &Server) -> Result<(), StepError> {
    for member in pair::standby_first(ctx) {
        match (sized::update_limits(&ctx.on(member), server).await, member.role) {
            (Err(error), MemberRole::Standby) => {
                ctx.log(format!("The limits of the standby were left: {error}")).await;
            }
            (done, _) => done?,
        }
    }
    configure::put_files(ctx, server).await
}

/// What is written before needs no time while clients wait. A checkpoint that does not end in this time is no
/// reason to give up: the one at the stop then takes longer.
fn checkpoint(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        if restarting(ctx)?.is_none() {
            return Ok(Outcome::done());
        }
        let member = ctx.member()?;
        let Some(address) = access::address_of(ctx.engine(member)?, member).await? else {
            return Ok(Outcome::done());
        };
        let target = access::target(&ctx.services, &ctx.server, address).await?;
        let mut last = None;
        for _ in 0..CHECKPOINT_TRIES {
            match ctx.services.postgres.checkpoint(&target).await {
                Ok(()) => return Ok(Outcome::done()),
                Err(error) => last = Some(error),
            }
        }
        if let Some(error) = last {
            ctx.log(format!("The checkpoint before the stop did not end in time: {error}")).await;
        }
        Ok(Outcome::done())
    })
}

/// Gives something, so that the history can tell interruptions from live changes.
fn hold_route(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        if restarting(ctx)?.is_none() {
            return Ok(Outcome::done());
        }
        hold(ctx).await?;
        Ok(Outcome::Done(json!({ "restarts": true })))
    })
}

async fn hold(ctx: &StepContext) -> Result<(), StepError> {
    if ctx.ha.is_some() {
        return ha::recover::begin_restart(ctx).await.map(|_| ());
    }
    if ctx.server.spec.access == Access::Public {
        member::set_route(ctx, None, RouteState::Held).await?;
    }
    Ok(())
}

fn hold_again(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        if restarting(ctx)?.is_some() {
            hold(ctx).await?;
        }
        Ok(Outcome::done())
    })
}

fn open_former(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        if restarting(ctx)?.is_none() {
            return Ok(Outcome::done());
        }
        let member = ctx.member()?;
        let facts = ctx.engine(member)?.container(&member.container()).await?;
        // A restart of the host stops what this operation did not.
        if facts.is_some_and(|facts| facts.state == "exited") {
            start_former(ctx).await?;
        }
        in_place::let_in_again(ctx, "hold_route").await
    })
}

fn stop_former(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        if let Some(former) = restarting(ctx)? {
            let old = former_member(ctx, &former)?;
            in_place::before_stop(ctx, &sized_server(ctx, wanted(ctx)?.name)).await?;
            ctx.engine(&old)?.stop_container(&old.container(), STOP_GRACE).await?;
        }
        Ok(Outcome::done())
    })
}

fn start_former(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        if let Some(former) = restarting(ctx)? {
            let old = former_member(ctx, &former)?;
            let engine = ctx.engine(&old)?;
            // The files of before first: PostgreSQL reads them at its start.
            let files = member::files_of(ctx, &sized_server(ctx, &former.sku)).await?;
            // A restart of the host may lie between: into a volume that is not attached nothing can be put.
            disk::ensure(ctx).await?;
            engine.put_files(&old.container(), &files).await?;
            engine.start_container(&old.container()).await?;
        }
        Ok(Outcome::done())
    })
}

fn start_new(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        if let Some(former) = restarting(ctx)? {
            let new = new_member(ctx, &former)?;
            pair::must_be_primary(ctx, &new).await?;
            set_generation(ctx, &new).await?;
            disk::ensure(ctx).await?;
            ctx.engine(&new)?.start_container(&new.container()).await?;
        }
        Ok(Outcome::done())
    })
}

fn stop_new(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let Some(former) = restarting(ctx)? else { return Ok(Outcome::done()) };
        let new = new_member(ctx, &former)?;
        let engine = ctx.engine(&new)?;
        if engine.container(&new.container()).await?.is_some() {
            engine.stop_container(&new.container(), STOP_GRACE).await?;
        }
        set_generation(ctx, &former_member(ctx, &former)?).await?;
        Ok(Outcome::done())
    })
}

async fn set_generation(ctx: &StepContext, member: &Member) -> Result<(), StepError> {
    let mut tx = ctx.begin_write().await?;
    tx.set_member_generation(&member.id, member.generation).await?;
    ctx.commit(tx).await
}

fn remove_former(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        if let Some(former) = restarting(ctx)? {
            let old = former_member(ctx, &former)?;
            ctx.engine(&old)?.remove_container(&old.container()).await?;
            return rolling::size_standby(ctx).await;
        }
        Ok(Outcome::done())
    })
}

/// A change of limits alone has stopped nothing.
fn wait_accepting(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        match restarting(ctx)? {
            Some(_) => in_place::wait_accepting(ctx).await,
            None => member::wait_accepting(ctx).await,
        }
    })
}

fn open_route(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(in_place::open_route(ctx))
}
