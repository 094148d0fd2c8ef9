//! Sweeps: each walks over everything of a sort and fails when something new is not covered.

mod layers;
mod migrations;
mod operations;
mod templates;
#[path = "../common/world.rs"]
mod world;
