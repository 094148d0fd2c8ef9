//! Sweeps: each walks over everything of a sort and fails when something new is not covered.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the report")]

mod drills;
mod layers;
mod migrations;
mod operations;
mod partners;
mod recovery;
mod templates;
mod watch;
#[path = "../common/world.rs"]
mod world;
