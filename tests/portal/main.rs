//! Stories of people using the portal: the whole application in process, a hand-wound clock, on
//! SQLite always and on PostgreSQL when `PGFLEX_TEST_DATABASE_URL` is set.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a story that cannot go on fails here"
)]

mod access;
mod access_world;
mod account;
mod activity;
mod backup_seed;
mod backups;
mod backups_stored;
mod backups_zones;
mod costs;
mod create;
mod data_pages;
mod drift;
mod durability;
mod extensions;
mod ha_seed;
mod helpers;
mod high_availability;
mod hosts;
mod largest;
mod locks;
mod networking;
mod networks;
mod operations;
mod parameters;
mod power;
mod recovery;
mod restores;
mod safety;
mod second_factor;
mod server_pages;
mod server_seed;
mod sign_in;
mod storage;
mod tags;
mod together;
