//! What pgflex is about, as types and pure rules.
//!
//! Nothing here waits, reads a clock, talks to a network or knows a framework: only `std`, `serde`
//! and `chrono`. Every decision takes facts and `now` as arguments and gives a value that says why.

pub mod account;
pub mod activity;
pub mod catalog;
pub mod configuration;
pub mod cost;
pub mod drift;
pub mod host;
pub mod ids;
pub mod meter;
pub mod names;
pub mod network;
pub mod operation;
pub mod placement;
pub mod refusal;
pub mod region;
pub mod route;
pub mod server;
pub mod version;
