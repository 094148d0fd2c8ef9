//! pgflex: managed PostgreSQL servers on your own Docker hosts.

pub mod clock;
pub mod domain;
pub mod poke;
pub mod store;
