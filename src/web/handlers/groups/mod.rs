//! Resource groups: the list, and the page of one with its servers, roles and locks.

pub mod access;
pub mod list;
pub mod show;
