//! Restart: new clients are held at the gateway, PostgreSQL stops in an orderly way and starts again on
//! the same volume, then the held clients are let in.

use super::context::StepContext;
use super::create;
use super::step::{Outcome, Step, StepError, Undo};
use super::{disk, ha, in_place, member};
use crate::domain::network::Access;
use crate::domain::route::RouteState;
use futures_util::future::BoxFuture;
use std::time::Duration;

/// Time that PostgreSQL has for its shutdown checkpoint before it is killed; recovery then takes longer.
const STOP_GRACE: Duration = Duration::from_secs(60);

pub const STEPS: &[Step] = &[
    // Before anybody has to wait: usually the disk is attached and this only looks.
    Step {
        name: "attach_disk",
        title: "Check the disk",
        run: attach_disk,
        undo: Undo::None("an attached disk is what is wanted"),
        deadline: Duration::from_secs(180),
        point_of_no_return: false,
    },
    Step {
        name: "hold_route",
        title: "Hold new connections",
        run: hold_route,
        undo: Undo::Run(open_route_again),
        deadline: Duration::from_secs(60),
        point_of_no_return: false,
    },
    Step {
        name: "stop_member",
        title: "Stop PostgreSQL",
        run: stop_member,
        undo: Undo::Run(start_member),
        deadline: Duration::from_secs(180),
        point_of_no_return: false,
    },
    Step {
        name: "start_member",
        title: "Start PostgreSQL",
        run: start_member,
        undo: Undo::None("a running server is what is wanted"),
        deadline: Duration::from_secs(120),
        point_of_no_return: false,
    },
    Step {
        name: "wait_accepting",
        title: "Wait until it accepts connections",
        run: wait_accepting,
        undo: Undo::None("it only looks"),
        deadline: Duration::from_secs(480),
        point_of_no_return: false,
    },
    Step {
        name: "open_route",
        title: "Let connections in",
        run: open_route,
        undo: Undo::None("open is what is wanted"),
        deadline: Duration::from_secs(60),
        point_of_no_return: true,
    },
];

type StepResult<'a> = BoxFuture<'a, Result<Outcome, StepError>>;

pub(super) fn attach_disk(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        disk::ensure(ctx).await?;
        Ok(Outcome::done())
    })
}

pub(super) fn hold_route(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        if ctx.ha.is_some() {
            return ha::recover::begin_restart(ctx).await;
        }
        if ctx.server.spec.access == Access::Public {
            member::set_route(ctx, None, RouteState::Held).await?;
        }
        Ok(Outcome::done())
    })
}

fn open_route_again(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        match ctx.ha {
            Some(_) => in_place::let_in_again(ctx, "hold_route").await,
            None => member::open_route(ctx).await,
        }
    })
}

/// Done when PostgreSQL answers and the gate of a pair is passed.
pub(super) fn wait_accepting(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(in_place::wait_accepting(ctx))
}

pub(super) fn open_route(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(in_place::open_route(ctx))
}

pub(super) fn stop_member(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let member = ctx.member()?;
        in_place::before_stop(ctx, &ctx.server).await?;
        ctx.engine(member)?.stop_container(&member.container(), STOP_GRACE).await?;
        Ok(Outcome::done())
    })
}

/// A restart of the host may lie between the stop and this.
pub(super) fn start_member(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        disk::ensure(ctx).await?;
        create::start_member(ctx).await
    })
}
