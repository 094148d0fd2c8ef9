//! Protect storage: new transactions become read-only while the storage is nearly full, and may write again
//! when there is room. A session may set itself read-write, to delete what fills the storage.
//!
//! Where nothing at all is free, PostgreSQL cannot even start. So the space that is set aside is given up first;
//! then the configuration is written, and a PostgreSQL that the full disk brought down is started.

use super::access;
use super::configure;
use super::context::StepContext;
use super::disk;
use super::member;
use super::pair;
use super::step::{Outcome, Step, StepError, Undo};
use crate::domain::configuration::Configuration;
use crate::domain::ha::MemberRole;
use crate::domain::server::Member;
use crate::domain::storage::Protection;
use crate::engine::Reserve;
use futures_util::future::BoxFuture;
use std::time::Duration;

/// Time that a PostgreSQL on a full disk has to stop before it is killed: it cannot write its checkpoint.
const STOP_GRACE: Duration = Duration::from_secs(10);

pub const STEPS: &[Step] = &[
    Step {
        name: configure::REMEMBER,
        title: "Remember the setting of before",
        run: remember,
        undo: Undo::None("it only looks"),
        deadline: Duration::from_secs(60),
        point_of_no_return: false,
    },
    Step {
        name: "tend_reserve",
        title: "Use or renew the space set aside",
        run: tend_reserve,
        undo: Undo::None("it is set aside again when the protection ends"),
        deadline: Duration::from_secs(120),
        point_of_no_return: false,
    },
    Step {
        name: "install_configuration",
        title: "Tell PostgreSQL",
        run: install,
        undo: Undo::Run(restore),
        deadline: Duration::from_secs(120),
        point_of_no_return: false,
    },
    Step {
        name: "wake_member",
        title: "Start PostgreSQL if the full disk stopped it",
        run: wake_member,
        undo: Undo::None("a running server is what is wanted"),
        deadline: Duration::from_secs(180),
        point_of_no_return: false,
    },
    Step {
        name: "wait_answer",
        title: "Wait until it answers",
        run: wait_answer,
        undo: Undo::None("it only looks"),
        deadline: Duration::from_secs(480),
        point_of_no_return: true,
    },
];

type StepResult<'a> = BoxFuture<'a, Result<Outcome, StepError>>;

fn is_on(ctx: &StepContext) -> Result<bool, StepError> {
    let input: Option<Protection> = serde_json::from_value(ctx.operation.input.clone()).ok();
    input.map(|input| input.on).ok_or_else(|| {
        StepError::permanent("The setting is missing.", "Wait: the monitor asks again by itself.")
    })
}

fn remember(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(configure::remember(ctx))
}

/// The standby's as well: it would need its own when it has to take over. One that is away is no reason to wait.
fn tend_reserve(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        for member in pair::primary_first(ctx) {
            let tended = tend_one(&ctx.on(member), member).await;
            match tended {
                Err(error) if member.role == MemberRole::Standby => {
                    ctx.log(format!("The disk of the standby was left as it is: {error}")).await;
                }
                other => other?,
            }
        }
        Ok(Outcome::done())
    })
}

async fn tend_one(ctx: &StepContext, member: &Member) -> Result<(), StepError> {
    let Some(spec) = member::disk(ctx, member) else { return Ok(()) };
    let what = if is_on(ctx)? { Reserve::ReleaseWhenFull } else { Reserve::Restore };
    disk::ensure(ctx).await?;
    let usage = ctx.engine(member)?.tend_disk(&spec, what).await?;
    let whom = match pair::of_whom(ctx, member) {
        "" => String::new(),
        whom => format!(" on the disk{whom}"),
    };
    ctx.log(format!("{} MiB are free{whom}", usage.free >> 20)).await;
    Ok(())
}

fn install(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let wanted =
            Configuration { write_protected: is_on(ctx)?, ..ctx.server.configuration.clone() };
        configure::install(ctx, &wanted).await?;
        Ok(Outcome::done())
    })
}

fn restore(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(configure::restore(ctx))
}

/// One that runs and answers is left alone; one that its engine starts again and again is started anew at once,
/// instead of after the engine's growing pauses.
fn wake_member(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let member = ctx.member()?;
        let engine = ctx.engine(member)?;
        let state = engine.container(&member.container()).await?.map(|facts| facts.state);
        if state.as_deref() == Some("running") {
            return Ok(Outcome::done());
        }
        if ctx.ha.is_some() {
            ctx.log("Passed by: High availability starts the members of a pair").await;
            return Ok(Outcome::done());
        }
        engine.stop_container(&member.container(), STOP_GRACE).await?;
        disk::ensure(ctx).await?;
        engine.start_container(&member.container()).await?;
        Ok(Outcome::done())
    })
}

fn wait_answer(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let wait = |why: &str| Ok(Outcome::Wait(Duration::from_millis(250), why.to_owned()));
        let member = ctx.member()?;
        let Some(address) = access::address_of(ctx.engine(member)?, member).await? else {
            return wait("the container is starting");
        };
        let target = access::target(&ctx.services, &ctx.server, address).await?;
        match ctx.services.postgres.probe(&target).await {
            Ok(_) => Ok(Outcome::done()),
            Err(error) => wait(&error.to_string()),
        }
    })
}
