//! Changes that restart PostgreSQL, member by member: the standby is taken out of the count in order (D6), renewed,
//! counted again, and takes over as in a planned failover. What it does not start with is found on the standby,
//! while clients go on; everything is taken back then. The primary of before is left stopped: it comes back as the
//! standby by the one way in which every standby comes back, with the files and the size of now.

use super::context::StepContext;
use super::ha::pair::{Story, change, fresh, role};
use super::ha::{arm, link, promotion, recover_gate, relax, switchover};
use super::step::{Outcome, Step, StepError, StepFn, Undo};
use super::stop::STOP_GRACE;
use super::{allow_extensions, change_parameters, configure, disk, member, networks, scale, sized};
use crate::domain::ha::{Durability, HighAvailability, MemberRole, Move, ReplicationState as S};
use crate::domain::operation::OperationKind;
use crate::domain::server::{Member, Server};
use futures_util::future::BoxFuture;
use std::time::Duration;

type StepResult<'a> = BoxFuture<'a, Result<Outcome, StepError>>;

const fn step(
    name: &'static str,
    title: &'static str,
    run: StepFn,
    undo: Undo,
    seconds: u64,
) -> Step {
    let deadline = Duration::from_secs(seconds);
    Step { name, title, run, undo, deadline, point_of_no_return: false }
}

const CHECK: Step = step(
    "check_pair",
    "Check that the pair is in sync",
    check_pair,
    Undo::None("it only looks"),
    60,
);
const RELEASE: Step = step(
    "release_standby",
    "Let commits go on without the standby",
    release,
    Undo::Run(finish_release),
    120,
);
const STOP: Step =
    step("stop_standby", "Stop the standby", stop_standby, Undo::Run(start_as_before), 180);
const START: Step = step(
    "start_standby",
    "Start the standby with what is new",
    start_standby,
    Undo::Run(restore_standby),
    300,
);
const FOLLOW: Step = step(
    "wait_streaming",
    "Wait until it follows the primary again",
    wait_streaming,
    Undo::None("it only looks"),
    600,
);
const ARM: Step =
    step("arm", "Make commits wait for the standby", arm_standby, Undo::Run(give_up), 300);
const RENEW_FORMER: Step = step(
    "renew_former",
    "Give the primary of before a container of the new size",
    renew_former,
    Undo::None("it is past the point of no return"),
    240,
);
const SWITCH: &[Step] = switchover::STEPS;
const SET: &[Step] = change_parameters::STEPS;
const ALLOW: &[Step] = allow_extensions::STEPS;

pub const RESTART: &[Step] = &[
    CHECK, RELEASE, STOP, START, FOLLOW, ARM, SWITCH[0], SWITCH[1], SWITCH[2], SWITCH[3],
    SWITCH[4], SWITCH[5], SWITCH[6],
];

pub const PARAMETERS: &[Step] = &[
    CHECK, SET[0], SET[1], SET[2], SET[3], RELEASE, STOP, START, FOLLOW, ARM, SWITCH[0], SWITCH[1],
    SWITCH[2], SWITCH[3], SWITCH[4], SWITCH[5], SWITCH[6],
];

pub const EXTENSIONS: &[Step] = &[
    CHECK, ALLOW[0], ALLOW[1], ALLOW[2], ALLOW[3], RELEASE, STOP, START, FOLLOW, ARM, SWITCH[0],
    SWITCH[1], SWITCH[2], SWITCH[3], SWITCH[4], SWITCH[5], SWITCH[6],
];

pub const SCALE: &[Step] = &[
    CHECK,
    scale::NOTE,
    scale::RESERVE,
    RELEASE,
    STOP,
    START,
    FOLLOW,
    ARM,
    SWITCH[0],
    SWITCH[1],
    SWITCH[2],
    SWITCH[3],
    SWITCH[4],
    SWITCH[5],
    SWITCH[6],
    RENEW_FORMER,
];

/// The standby that the row names now; permanent when somebody changed that meanwhile.
fn standby<'a>(ctx: &'a StepContext, row: &HighAvailability) -> Result<&'a Member, StepError> {
    let found = ctx.members.iter().find(|member| role(row, member) == MemberRole::Standby);
    found.ok_or_else(|| not_now("there is no standby any more"))
}

fn not_now(why: &str) -> StepError {
    StepError::permanent(
        format!("The pair cannot be gone through member by member now: {why}."),
        "Nothing is to be done: the portal brings the pair in order by itself. Ask again; while the pair is not in sync the primary is restarted in place.",
    )
}

fn check_pair(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let row = fresh(ctx).await?;
        if row.state != S::Sync {
            return Err(not_now(&format!("it is {}", row.state.key())));
        }
        let standby = standby(ctx, &row)?;
        match (link::standing(ctx, ctx.member()?).await?, link::standing(ctx, standby).await?) {
            (Ok(first), Ok(second)) => {
                arm::follows(&first, &second).map_err(|why| not_now(&why))?;
            }
            (Err(why), _) | (_, Err(why)) => return Err(StepError::Transient(why)),
        }
        Ok(Outcome::done())
    })
}

/// D6. Where commits must never be on one member alone they wait for the standby all the while instead: it stays
/// complete, because nothing is acknowledged without it (A7).
fn release(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let row = fresh(ctx).await?;
        if row.durability == Durability::Required {
            ctx.log("Commits wait while the standby is away: durability is required").await;
            return Ok(Outcome::done());
        }
        if !matches!(row.state, S::Sync | S::Disarming | S::Single) {
            return Err(not_now(&format!("it is {}", row.state.key())));
        }
        let done = relax::all(ctx, "it is renewed before it takes over").await?;
        Ok(done.err().unwrap_or(Outcome::done()))
    })
}

/// What began is ended; whether the standby counts again is the pair's own matter.
fn finish_release(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        if fresh(ctx).await?.state != S::Disarming {
            return Ok(Outcome::done());
        }
        let done = relax::all(ctx, "what renewed it is taken back").await?;
        Ok(done.err().unwrap_or(Outcome::done()))
    })
}

fn stop_standby(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let row = fresh(ctx).await?;
        let standby = standby(ctx, &row)?;
        ctx.engine(standby)?.stop_container(&standby.container(), STOP_GRACE).await?;
        Ok(Outcome::done())
    })
}

fn start_standby(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let row = fresh(ctx).await?;
        let standby = standby(ctx, &row)?;
        if let Some(wait) = bring(ctx, &ctx.server, standby).await? {
            return Ok(wait);
        }
        Ok(Outcome::done())
    })
}

/// A standby's container with the size and the files of a server, running.
async fn bring(
    ctx: &StepContext,
    server: &Server,
    standby: &Member,
) -> Result<Option<Outcome>, StepError> {
    if let wait @ Some(_) = renew(ctx, server, standby).await? {
        return Ok(wait);
    }
    let (on, engine) = (ctx.on(standby), ctx.engine(standby)?);
    disk::ensure(&on).await?;
    engine.put_files(&standby.container(), &member::files_of(&on, server).await?).await?;
    engine.start_container(&standby.container()).await?;
    Ok(None)
}

/// Has the container of a member that is no primary made for a server's size: shared memory has the size of its
/// container's making. `Some` when the next call goes on with it.
async fn renew(
    ctx: &StepContext,
    server: &Server,
    member: &Member,
) -> Result<Option<Outcome>, StepError> {
    let (on, engine, name) = (ctx.on(member), ctx.engine(member)?, member.container());
    match engine.container(&name).await? {
        Some(facts) if facts.memory_limit_bytes == server.spec.sku().memory_bytes() => Ok(None),
        Some(_) => {
            engine.stop_container(&name, STOP_GRACE).await?;
            engine.remove_container(&name).await?;
            let mut tx = ctx.begin_write().await?;
            tx.raise_generation(&member.id, member.generation + 1).await?;
            ctx.commit(tx).await?;
            let why = "its container is made anew".to_owned();
            Ok(Some(Outcome::Wait(Duration::ZERO, why)))
        }
        None => {
            networks::ensure(&on).await?;
            disk::ensure(&on).await?;
            engine.ensure_container(&sized::container(&on, server, member).await?).await?;
            Ok(None)
        }
    }
}

/// Behind [`restore_standby`] in the undoing: what was before is there, or nothing was changed yet.
fn start_as_before(ctx: &StepContext) -> StepResult<'_> {
    restore_standby(ctx)
}

/// Size and files of before, then the standby runs again. A member that has become the primary meanwhile is left
/// alone, and one whose host does not answer: the pair brings it back with what is right then.
fn restore_standby(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let row = fresh(ctx).await?;
        let found = ctx.members.iter().find(|member| role(&row, member) == MemberRole::Standby);
        let Some(standby) = found.filter(|_| row.state != S::Promoting) else {
            return Ok(Outcome::done());
        };
        let server = as_before(ctx)?;
        let engine = ctx.engine(standby)?;
        if is_other(ctx, &server) {
            engine.stop_container(&standby.container(), STOP_GRACE).await.or_else(gone)?;
        }
        match bring(ctx, &server, standby).await {
            Ok(Some(wait)) => Ok(wait),
            Ok(None) => Ok(Outcome::done()),
            Err(StepError::LeaseLost) => Err(StepError::LeaseLost),
            Err(error) if ctx.operation.attempt > 0 => {
                ctx.log(format!("The standby was not started: {error}. The pair brings it back"))
                    .await;
                Ok(Outcome::done())
            }
            Err(error) => Err(error),
        }
    })
}

fn gone(error: crate::engine::EngineError) -> Result<(), crate::engine::EngineError> {
    match error {
        crate::engine::EngineError::Missing(_) => Ok(()),
        other => Err(other),
    }
}

fn is_other(ctx: &StepContext, before: &Server) -> bool {
    before.spec.sku != ctx.server.spec.sku || before.configuration != ctx.server.configuration
}

/// The server as it was before this operation.
fn as_before(ctx: &StepContext) -> Result<Server, StepError> {
    let mut server = ctx.server.clone();
    match ctx.operation.kind {
        OperationKind::Scale => scale::sku_before(ctx)?.clone_into(&mut server.spec.sku),
        OperationKind::ChangeParameters | OperationKind::AllowExtensions
            if ctx.outputs.contains_key(configure::REMEMBER) =>
        {
            server.configuration = ctx.output(configure::REMEMBER)?;
        }
        _ => {}
    }
    Ok(server)
}

/// One that ends right after its start fails at once, with its last words.
fn wait_streaming(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let row = fresh(ctx).await?;
        let standby = standby(ctx, &row)?;
        if let wait @ Outcome::Wait(..) = member::wait_accepting(&ctx.on(standby)).await? {
            return Ok(wait);
        }
        if row.state == S::Sync {
            return Ok(recover_gate::standby_has_all(ctx).await?.err().unwrap_or(Outcome::done()));
        }
        match link::until(|| Box::pin(look(ctx, standby))).await? {
            Ok(timeline) => follows(ctx, &row, standby, timeline).await,
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

async fn follows(
    ctx: &StepContext,
    row: &HighAvailability,
    standby: &Member,
    timeline: i64,
) -> Result<Outcome, StepError> {
    if row.state == S::Single {
        let detail = format!("Standby {} is brought back, renewed", standby.id.short());
        let begins = Move::BuildBegins { standby: standby.id.clone() };
        change(ctx, &begins, Story::new("building", detail)).await?;
    }
    if fresh(ctx).await?.state == S::Building {
        let detail = "The standby follows; commits do not wait for it yet";
        change(ctx, &Move::Follows { timeline }, Story::new("follows", detail)).await?;
    }
    Ok(Outcome::done())
}

fn arm_standby(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let row = fresh(ctx).await?;
        arm::arm(ctx, standby(ctx, &row)?).await
    })
}

/// Commits do not wait for somebody who is not counted; one that counts goes on counting.
fn give_up(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let done = arm::give_up(ctx, "the operation that counts it is taken back").await?;
        Ok(done.err().unwrap_or(Outcome::done()))
    })
}

/// Its container does not run any more. One whose host is away keeps its container: its limits are put right when it
/// is back.
fn renew_former(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let Some(promotion) = promotion::mine(ctx).await? else { return Ok(Outcome::done()) };
        let row = fresh(ctx).await?;
        let former = ctx.members.iter().find(|member| member.id == promotion.from_member);
        let Some(former) = former.filter(|one| role(&row, one) == MemberRole::Former) else {
            return Ok(Outcome::done());
        };
        match renew(ctx, &ctx.server, former).await {
            Ok(wait) => Ok(wait.unwrap_or(Outcome::done())),
            Err(StepError::LeaseLost) => Err(StepError::LeaseLost),
            Err(error) if ctx.operation.attempt > 0 => {
                ctx.log(format!("The container of the primary of before was left: {error}")).await;
                Ok(Outcome::done())
            }
            Err(error) => Err(error),
        }
    })
}

/// After the primary got another size in place: its standby gets it as well, taken out of the count in order before.
/// It is counted again by the pair itself.
pub(super) async fn size_standby(ctx: &StepContext) -> Result<Outcome, StepError> {
    let Some(standby) = ctx.in_role(MemberRole::Standby) else { return Ok(Outcome::done()) };
    let row = fresh(ctx).await?;
    let engine = ctx.engine(standby)?;
    let wanted = ctx.server.spec.sku().memory_bytes();
    let facts = engine.container(&standby.container()).await?;
    if facts.is_some_and(|facts| facts.memory_limit_bytes == wanted && facts.state == "running") {
        return Ok(Outcome::done());
    }
    let is_released =
        row.durability == Durability::Preferred && matches!(row.state, S::Sync | S::Disarming);
    if is_released
        && let Err(wait) = relax::all(ctx, "its container is made anew for the new size").await?
    {
        return Ok(wait);
    }
    Ok(bring(ctx, &ctx.server, standby).await?.unwrap_or(Outcome::done()))
}
