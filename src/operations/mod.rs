//! Durable work: what a person asked for, done step by step, right after any kill.
//!
//! - [`submit`] is the one door; it writes the operation with its plan and wakes the runner.
//! - [`runner`] claims operations and runs steps; it knows no kind.
//! - [`kinds`] is the list of kinds: one file each, a table of steps (name, do, undo).
//! - [`step`] has the rules that every step keeps.

pub mod access;
pub mod context;
pub mod create;
pub mod delete;
pub mod kinds;
pub mod member;
pub mod owner;
pub mod renew_certificate;
pub mod restart;
pub mod runner;
pub mod step;
pub mod submit;
