//! A restart of the primary where it is. In a pair it goes through the row (C1), and clients are let in again when the
//! standby has everything or no longer counts (C3).

use super::context::StepContext;
use super::ha::{link, recover, recover_gate};
use super::member;
use super::pair::{self, FLOORS};
use super::step::{Outcome, StepError};
use super::stop::STOP_GRACE;
use crate::domain::ha::MemberRole;
use crate::domain::server::Server;
use crate::postgres::conf::{self, Settings};

/// Done when PostgreSQL answers and the gate of a pair is passed.
///
/// # Errors
/// When PostgreSQL does not run.
pub async fn wait_accepting(ctx: &StepContext) -> Result<Outcome, StepError> {
    behind_gate(ctx, "wait_accepting").await
}

async fn behind_gate(ctx: &StepContext, step: &str) -> Result<Outcome, StepError> {
    match member::wait_accepting(ctx).await? {
        Outcome::Done(_) if ctx.ha.is_some() => {
            wake_standby(ctx).await?;
            recover_gate::pass(ctx, step).await
        }
        other => Ok(other),
    }
}

/// One that was stopped with the primary comes back with files that name the primary's address of now.
async fn wake_standby(ctx: &StepContext) -> Result<(), StepError> {
    let counts = ctx.ha.as_ref().is_some_and(|row| row.is_promotable);
    let Some(standby) = ctx.in_role(MemberRole::Standby).filter(|_| counts) else { return Ok(()) };
    match super::pair_power::wake(&ctx.on(standby), standby).await {
        Err(StepError::LeaseLost) => Err(StepError::LeaseLost),
        Err(error) => {
            ctx.log(format!("The standby was not started: {error}")).await;
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// Lets clients in; in a pair together with the row, which then says that the standby counts again.
///
/// # Errors
/// When the store does not answer.
pub async fn open_route(ctx: &StepContext) -> Result<Outcome, StepError> {
    match ctx.ha {
        Some(_) => recover::open_route(ctx).await,
        None => member::open_route(ctx).await,
    }
}

/// The way back of holding clients: the primary answers again and they are let in. `step` is the one that is undone.
///
/// # Errors
/// When PostgreSQL does not run.
pub async fn let_in_again(ctx: &StepContext, step: &str) -> Result<Outcome, StepError> {
    match behind_gate(ctx, step).await? {
        wait @ Outcome::Wait(..) => Ok(wait),
        Outcome::Done(_) => open_route(ctx).await,
    }
}

/// Before the primary stops: a standby that would not replay what its primary does with larger values is stopped, to
/// start with the same. One that does not count is stopped always: it is brought back with new files.
///
/// # Errors
/// When the store does not answer.
pub async fn before_stop(ctx: &StepContext, becomes: &Server) -> Result<(), StepError> {
    let Some(standby) = ctx.in_role(MemberRole::Standby) else { return Ok(()) };
    let counts = ctx.ha.as_ref().is_some_and(|row| row.is_promotable);
    if counts && !raises(ctx, becomes).await? {
        return Ok(());
    }
    let Ok(engine) = ctx.engine(standby) else { return Ok(()) };
    match engine.container(&standby.container()).await {
        Ok(Some(facts)) if facts.state == "running" => {
            let stopped = engine.stop_container(&standby.container(), STOP_GRACE).await;
            if let Err(error) = stopped {
                ctx.log(format!("The standby was not stopped: {error}")).await;
            }
        }
        _ => {}
    }
    Ok(())
}

/// Whether one of the values that a standby must have as well becomes larger. Not known is taken for yes.
async fn raises(ctx: &StepContext, becomes: &Server) -> Result<bool, StepError> {
    let Ok(Some(target)) = link::target(ctx, ctx.member()?).await else { return Ok(true) };
    let Ok(look) = ctx.services.postgres.settings(&target).await else { return Ok(true) };
    let wanted = conf::values(&Settings::of(becomes));
    let is_raised = |name: &str| {
        let seen = look.parameters.iter().find(|one| one.name == name);
        let (Some(seen), Some(wanted)) = (seen, wanted.get(name)) else { return false };
        pair::number(wanted) > pair::number(&seen.value)
    };
    Ok(FLOORS.iter().any(|name| is_raised(name)))
}
