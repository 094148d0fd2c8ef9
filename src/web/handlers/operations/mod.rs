//! Operations: the list, and one operation with its plan, progress, log and outcome.

pub mod actions;
pub mod facts;
pub mod list;
pub mod log;
pub mod outcome;
#[cfg(test)]
mod samples;
pub mod show;
pub mod steps;
pub mod view;
mod words;
