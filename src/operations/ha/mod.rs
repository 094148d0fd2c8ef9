//! High availability done: what [`crate::domain::ha`] decides, as operations.

pub mod build;
pub mod disarm;
pub mod failover;
pub mod files;
pub mod link;
pub mod pair;
pub mod recover;
pub mod relax;
pub mod remove;
pub mod switchover;


use std::time::Duration;

/// One look again and again within a call: how long, and the time between two looks.
const LOOK_FOR: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Before a step that waits for somebody else is called again.
const SOON: Duration = Duration::from_millis(250);
