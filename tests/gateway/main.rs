//! The gateway with real sockets: a scripted server behind it, and a real PostgreSQL where the machine has one.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod lab;
mod openings;
mod postgres;
mod routes;
