//! Start: the container with its limits and files (made anew around its volume where somebody removed
//! it), PostgreSQL, then the way in. The compute meter runs again from the transaction that makes the server Ready.

use super::create;
use super::disk;
use super::pair_power;
use super::sized;
use super::step::{Step, Undo};
use super::{context::StepContext, step::Outcome, step::StepError, stop};
use futures_util::future::BoxFuture;
use std::time::Duration;

pub const STEPS: &[Step] = &[
    Step {
        name: "ensure_member",
        title: "Have the container ready",
        run: ensure_member,
        undo: Undo::None("a container that does not run is what a stopped server has"),
        deadline: Duration::from_secs(3000),
        point_of_no_return: false,
    },
    Step {
        name: "start_member",
        title: "Start PostgreSQL",
        run: start_member,
        undo: Undo::Run(stop::stop_member),
        deadline: Duration::from_secs(120),
        point_of_no_return: false,
    },
    Step {
        name: "wait_accepting",
        title: "Wait until it accepts connections",
        run: stop::wait_accepting,
        undo: Undo::None("it only looks"),
        deadline: Duration::from_secs(480),
        point_of_no_return: false,
    },
    Step {
        name: "open_route",
        title: "Let connections in",
        run: create::publish_route,
        undo: Undo::Run(stop::close_route),
        deadline: Duration::from_secs(60),
        point_of_no_return: true,
    },
];

fn ensure_member(ctx: &StepContext) -> BoxFuture<'_, Result<Outcome, StepError>> {
    Box::pin(sized::ensure(ctx))
}

fn start_member(ctx: &StepContext) -> BoxFuture<'_, Result<Outcome, StepError>> {
    Box::pin(async move {
        pair_power::rise(ctx).await?;
        // A restart of the host may lie between.
        disk::ensure(ctx).await?;
        create::start_member(ctx).await
    })
}
