//! ChangeNetworking: to be built in its slice.

use super::context::StepContext;
use super::step::{Outcome, Step, StepError, Undo};
use futures_util::future::BoxFuture;
use std::time::Duration;

pub const STEPS: &[Step] = &[Step {
    name: "not_built",
    title: "Not built yet",
    run: not_built,
    undo: Undo::None("it does nothing"),
    deadline: Duration::from_secs(60),
    point_of_no_return: true,
}];

fn not_built(_: &StepContext) -> BoxFuture<'_, Result<Outcome, StepError>> {
    Box::pin(async move { Err(StepError::permanent("Not built yet.", "Wait for the slice.")) })
}
