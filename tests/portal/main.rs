//! Stories of people using the portal: the whole application in process, a hand-wound clock, on
//! SQLite always and on PostgreSQL when `PGFLEX_TEST_DATABASE_URL` is set.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a story that cannot go on fails here"
)]

mod account;
mod activity;
mod create;
mod drift;
mod helpers;
mod hosts;
mod largest;
mod networking;
mod operations;
mod safety;
mod server_pages;
mod server_seed;
mod sign_in;
mod together;
