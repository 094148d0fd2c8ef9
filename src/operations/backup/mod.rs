//! Backups: taken, deleted, given back.

pub mod delete;
pub mod take;
