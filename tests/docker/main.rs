//! Tests on a real Docker Engine. `make test` starts one and sets `PGFLEX_TEST_ENGINE`; without it they say
//! that they were skipped. Everything they make carries `pgflex.test=1` and an install id of the test's own,
//! and is removed at its end, also when it failed.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the report")]

#[path = "../common/tail.rs"]
mod tail;

mod admin;
mod archives;
mod axe;
mod axe_pages;
mod axe_world;
mod backups;
mod browser;
mod connect_strings;
mod data;
mod drift;
mod engine;
mod faults;
mod gateway;
mod ha;
mod kills;
mod object_storage;
mod object_storage_server;
mod parameters;
mod pooler;
mod portal;
mod power;
mod private;
mod recover;
mod recovery;
mod replication;
mod restore_targets;
mod restores;
mod second_factor;
mod standby_backups;
mod storage;
mod story;
mod story_day_two;
mod story_parameters;
mod story_plain;
mod story_terminal;
mod support;
