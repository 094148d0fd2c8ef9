//! Backups: the repository of a host, and taking, verifying and deleting what lies in it.

pub mod delete;
pub mod keys;
pub mod repository;
pub mod take;
pub mod tool;
