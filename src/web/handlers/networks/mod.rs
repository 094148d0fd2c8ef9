//! Virtual networks: the list with its form, and the page of one.

pub mod list;
pub mod show;
