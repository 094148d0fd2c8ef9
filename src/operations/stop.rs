//! Stop: the way in is closed and PostgreSQL stops in an orderly way. The container stays where it is,
//! stopped: its engine does not start it again, also not after a restart of the host. Volume and network stay.
//! A pair stops as [`pair_power`] says. The compute meter ends in the transaction that makes the server Stopped.

use super::context::StepContext;
use super::step::{Outcome, Step, StepError, Undo};
use super::{create, member, pair_power, pooler, sized};
use futures_util::future::BoxFuture;
use std::time::Duration;

/// Time that PostgreSQL has for its shutdown checkpoint before it is killed; recovery then takes longer.
pub(super) const STOP_GRACE: Duration = Duration::from_secs(60);

pub const STEPS: &[Step] = &[
    Step {
        name: "close_route",
        title: "Close the way in",
        run: close_route,
        undo: Undo::Run(open_again),
        deadline: Duration::from_secs(60),
        point_of_no_return: false,
    },
    Step {
        name: "stop_member",
        title: "Stop PostgreSQL",
        run: stop_member,
        undo: Undo::Run(start_again),
        deadline: Duration::from_secs(180),
        point_of_no_return: true,
    },
];

type StepResult<'a> = BoxFuture<'a, Result<Outcome, StepError>>;

pub(super) fn close_route(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let mut tx = ctx.begin_write().await?;
        tx.close_route(&ctx.server.id).await?;
        ctx.commit(tx).await?;
        ctx.services.poke.routes();
        Ok(Outcome::done())
    })
}

fn open_again(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(member::open_route(ctx))
}

/// Where somebody removed the container there is nothing to stop; the start makes it anew.
pub(super) fn stop_member(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        pooler::stop(ctx).await?;
        if let Some(wait) = pair_power::rest(ctx).await? {
            return Ok(wait);
        }
        pair_power::stop_all(ctx, STOP_GRACE).await?;
        Ok(Outcome::done())
    })
}

fn start_again(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        pair_power::rise(ctx).await?;
        if let wait @ Outcome::Wait(..) = sized::ensure(ctx).await? {
            return Ok(wait);
        }
        if let wait @ Outcome::Wait(..) = create::start_member(ctx).await? {
            return Ok(wait);
        }
        wait_accepting(ctx).await
    })
}

/// Done when PostgreSQL answers, and when the standby of a pair has everything that it will show.
pub(super) fn wait_accepting(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        match member::wait_accepting(ctx).await? {
            wait @ Outcome::Wait(..) => Ok(wait),
            done @ Outcome::Done(_) => match pair_power::gate(ctx).await? {
                wait @ Outcome::Wait(..) => Ok(wait),
                Outcome::Done(_) => Ok(done),
            },
        }
    })
}
