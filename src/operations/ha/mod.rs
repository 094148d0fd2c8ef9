//! High availability done: what [`crate::domain::ha`] decides, as operations.
//!
//! One file for each kind. What they share: [`pair`] changes the row with its line of the story, [`files`] says what
//! a member's files say by the row, [`link`] talks to members, [`gate`] deals with the gateways, [`arm`] and [`relax`]
//! make commits wait for a standby or not, [`promotion`] makes a standby the primary, [`pieces`] removes what a
//! member is made of.

pub mod arm;
pub mod build;
mod build_data;
mod build_plan;
pub mod disarm;
pub mod drill;
pub mod durability;
pub mod failover;
pub mod files;
pub mod gate;
pub mod link;
pub mod pair;
pub mod pieces;
pub mod promotion;
pub mod recover;
pub(in crate::operations) mod recover_gate;
pub mod relax;
pub mod remove;
pub mod switchover;

use super::step::{Outcome, Step, StepError, StepFn, Undo};
use futures_util::future::BoxFuture;
use std::time::Duration;

type StepResult<'a> = BoxFuture<'a, Result<Outcome, StepError>>;

/// A line of a table; the point of no return is marked in the table itself.
const fn step(
    name: &'static str,
    title: &'static str,
    run: StepFn,
    undo: Undo,
    seconds: u64,
) -> Step {
    Step {
        name,
        title,
        run,
        undo,
        deadline: Duration::from_secs(seconds),
        point_of_no_return: false,
    }
}

/// One look again and again within a call: how long, and the time between two looks.
const LOOK_FOR: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Before a step that waits for somebody else is called again.
const SOON: Duration = Duration::from_millis(250);
