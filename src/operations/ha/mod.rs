//! High availability done: what [`crate::domain::ha`] decides, as operations.

pub mod build;
pub mod disarm;
pub mod drill;
pub mod failover;
pub mod recover;
pub mod remove;
pub mod switchover;
