//! Durable work.

pub mod context;
pub mod step;
