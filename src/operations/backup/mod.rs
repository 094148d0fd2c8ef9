//! Backups: the repository of a host, and taking, verifying and deleting what lies in it.

pub mod delete;
pub mod door;
pub mod erase;
pub mod files;
pub mod keys;
pub mod list;
pub mod object_storage;
pub mod remove;
pub mod repository;
mod source;
mod subject;
pub mod suspend;
pub mod take;
pub mod take_ready;
pub mod tool;
mod verdict;
