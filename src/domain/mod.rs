//! What pgflex is about, as types and pure rules.
//!
//! Nothing here waits, reads a clock, talks to a network or knows a framework: only `std`, `serde`,
//! `chrono` and `ipnet`. Every decision takes facts and `now` as arguments and gives a value that says why.

pub mod account;
pub mod activity;
pub mod backup;
pub mod bill;
pub mod catalog;
pub mod configuration;
pub mod cost;
pub mod credits;
pub mod database;
pub mod drift;
pub mod extensions;
pub mod group;
pub mod ha;
pub mod host;
pub mod ids;
pub mod lock;
pub mod meter;
pub mod names;
pub mod network;
pub mod networking;
pub mod operation;
pub mod parameters;
pub mod partner;
pub mod placement;
pub mod power;
pub mod refusal;
pub mod region;
pub mod route;
pub mod server;
pub mod sharing;
pub mod starts;
pub mod storage;
pub mod version;
pub mod virtual_network;
