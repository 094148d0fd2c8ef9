//! What changes of the configuration have in common: they wait until PostgreSQL has read its files, see that
//! it took them, and restart it when that was asked for. A change without a restart passes the steps of the
//! restart by.
//!
//! When PostgreSQL does not start with the new files, the way back is: stop what keeps failing, put the old
//! files back, start, wait until it accepts connections, let people in.

use super::configure;
use super::context::StepContext;
use super::create;
use super::disk;
use super::in_place;
use super::look;
use super::restart;
use super::step::{Outcome, Step, StepError, Undo};
use crate::postgres::parameters::SettingsLook;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::time::Duration;

type StepResult<'a> = BoxFuture<'a, Result<Outcome, StepError>>;

/// Name of the step that checks, whose output is [`Checked`].
pub const CHECK: &str = "check_values";

/// What is known before anything is written.
#[derive(Debug, Serialize, Deserialize)]
pub struct Checked {
    /// When PostgreSQL had last read its file: a later time means that it has read the new one.
    pub loaded_at: i64,
}

pub const REMEMBER: Step = Step {
    name: configure::REMEMBER,
    title: "Remember the settings of before",
    run: remember,
    undo: Undo::None("it only looks"),
    deadline: Duration::from_secs(60),
    point_of_no_return: false,
};

pub const HOLD: Step = Step {
    name: "hold_route",
    title: "Hold new connections",
    run: hold,
    undo: Undo::Run(let_in_again),
    deadline: Duration::from_secs(60),
    point_of_no_return: false,
};

pub const STOP: Step = Step {
    name: "stop_member",
    title: "Stop PostgreSQL",
    run: stop,
    undo: Undo::Run(start_as_before),
    deadline: Duration::from_secs(180),
    point_of_no_return: false,
};

pub const START: Step = Step {
    name: "start_member",
    title: "Start PostgreSQL",
    run: start,
    undo: Undo::Run(stop_and_restore),
    deadline: Duration::from_secs(120),
    point_of_no_return: false,
};

pub const WAIT: Step = Step {
    name: "wait_accepting",
    title: "Wait until it accepts connections",
    run: wait,
    undo: Undo::None("it only looks"),
    deadline: Duration::from_secs(480),
    point_of_no_return: false,
};

pub const OPEN: Step = Step {
    name: "open_route",
    title: "Let connections in",
    run: open,
    undo: Undo::None("open is what is wanted"),
    deadline: Duration::from_secs(60),
    point_of_no_return: true,
};

fn remember(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(configure::remember(ctx))
}

/// The way back of the step that installs the files.
pub fn restore(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(configure::restore(ctx))
}

/// Whether the change was asked for together with a restart.
fn wants_restart(ctx: &StepContext) -> bool {
    ctx.operation.input.get("restart").and_then(serde_json::Value::as_bool).unwrap_or(false)
}

/// A step of the restart, passed by when none was asked for.
async fn when_asked(ctx: &StepContext, step: StepResult<'_>) -> Result<Outcome, StepError> {
    if wants_restart(ctx) {
        return step.await;
    }
    ctx.log("Passed by: no restart was asked for.").await;
    Ok(Outcome::done())
}

fn hold(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(when_asked(ctx, restart::hold_route(ctx)))
}

fn stop(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(when_asked(ctx, restart::stop_member(ctx)))
}

fn start(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(when_asked(ctx, restart::start_member(ctx)))
}

fn wait(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(when_asked(ctx, restart::wait_accepting(ctx)))
}

fn open(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(when_asked(ctx, restart::open_route(ctx)))
}

fn stop_and_restore(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        if wants_restart(ctx) {
            restart::stop_member(ctx).await?;
            disk::ensure(ctx).await?;
            configure::restore_stopped(ctx).await?;
        }
        Ok(Outcome::done())
    })
}

fn start_as_before(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        if wants_restart(ctx) {
            // A restart of the host may lie between: into a volume that is not attached nothing can be put.
            disk::ensure(ctx).await?;
            configure::restore_stopped(ctx).await?;
            create::start_member(ctx).await?;
        }
        Ok(Outcome::done())
    })
}

fn let_in_again(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        if !wants_restart(ctx) {
            return Ok(Outcome::done());
        }
        start_if_exited(ctx).await?;
        in_place::let_in_again(ctx, "hold_route").await
    })
}

/// A restart of the host stops what this operation did not.
async fn start_if_exited(ctx: &StepContext) -> Result<(), StepError> {
    let member = ctx.member()?;
    let facts = ctx.engine(member)?.container(&member.container()).await?;
    if facts.is_some_and(|facts| facts.state == "exited") {
        restart::start_member(ctx).await?;
    }
    Ok(())
}

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Looks within one call of a step.
const LOOKS: u32 = 20;

/// Looks until PostgreSQL has read its file after [`CHECK`] and `is_taken` is satisfied; `None` when that may
/// still come.
///
/// # Errors
/// When it found a fault in the file, with its words; and what `is_taken` says.
pub async fn seen_taken(
    ctx: &StepContext,
    is_taken: impl Fn(&SettingsLook) -> bool,
) -> Result<Outcome, StepError> {
    let checked: Checked = ctx.output(CHECK)?;
    let target = look::target(ctx).await?;
    for _ in 0..LOOKS {
        let seen = ctx.services.postgres.settings(&target).await?;
        if seen.loaded_at > checked.loaded_at {
            if let Some((name, why)) = seen.faults.first() {
                return Err(refused(ctx, name, why).await);
            }
            if is_taken(&seen) {
                return Ok(Outcome::done());
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(Outcome::Wait(Duration::from_millis(500), "PostgreSQL reads its configuration".into()))
}

/// The log of the server says more than its view.
async fn refused(ctx: &StepContext, name: &str, why: &str) -> StepError {
    let lines = match ctx.member().and_then(|member| Ok((ctx.engine(member)?, member))) {
        Ok((engine, member)) => engine.tail(&member.container(), 40).await.unwrap_or_default(),
        Err(_) => vec![],
    };
    let quoted = format!("\"{name}\"");
    let said = lines.iter().rev().find(|line| line.contains(&quoted));
    let words = said.and_then(|line| line.split_once("LOG:")).map_or(why, |(_, rest)| rest.trim());
    StepError::permanent(
        format!("PostgreSQL does not take the new value of {name}: {words}"),
        "All parameters have the values they had before. Choose another value.",
    )
}
