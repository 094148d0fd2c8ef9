//! Stop: the way in is closed and PostgreSQL stops in an orderly way. The container stays where it is,
//! stopped: its engine does not start it again, also not after a restart of the host. Volume and network stay.
//! The compute meter ends in the transaction that makes the server Stopped.

use super::context::StepContext;
use super::step::{Outcome, Step, StepError, Undo};
use super::{member, pooler, sized};
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
        let member = ctx.member()?;
        let engine = ctx.engine(member)?;
        if engine.container(&member.container()).await?.is_some() {
            engine.stop_container(&member.container(), STOP_GRACE).await?;
        }
        Ok(Outcome::done())
    })
}

fn start_again(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        if let wait @ Outcome::Wait(..) = sized::ensure(ctx).await? {
            return Ok(wait);
        }
        let member = ctx.member()?;
        ctx.engine(member)?.start_container(&member.container()).await?;
        member::wait_accepting(ctx).await
    })
}
