//! Durable work: what a person asked for, done step by step, right after any kill.
//!
//! - [`submit`] is the one door; it writes the operation with its plan and wakes the runner.
//! - [`runner`] claims operations and runs steps; it knows no kind.
//! - [`kinds`] is the list of kinds: one file each, a table of steps (name, do, undo).
//! - [`step`] has the rules that every step keeps.

pub mod access;
pub mod allow_extensions;
pub mod ask_backup;
pub mod ask_ha;
pub mod ask_restore;
pub mod backup;
pub mod change_extension;
pub mod change_networking;
pub mod change_parameters;
pub mod change_pooler;
pub mod configure;
pub mod context;
pub mod create;
pub mod create_database;
pub mod delete;
pub mod disk;
pub mod drop_database;
pub mod engines;
pub mod grow_storage;
pub mod guard;
pub mod ha;
pub mod host_entry;
pub mod image;
pub mod in_place;
pub mod kinds;
pub mod last_piece;
pub mod look;
pub mod member;
pub mod networks;
pub mod owner;
pub mod pair;
pub mod pair_power;
pub mod placement;
pub mod pooler;
pub mod protect_storage;
pub mod reconfigure;
mod refusals;
pub mod renew_certificate;
pub mod repair;
pub mod reset_password;
pub mod restart;
pub mod restore;
pub mod restore_data;
pub mod restore_drill;
pub mod restore_recovery;
pub mod rolling;
pub mod rolling_plan;
pub mod runner;
pub mod scale;
pub mod scale_plan;
pub mod sized;
pub mod start;
pub mod step;
pub mod stop;
pub mod submit;
