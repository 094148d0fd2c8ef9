//! Pages of managed servers.

pub mod connect;
pub mod connect_programs;
pub mod connect_strings;
pub mod delete;
pub mod nav;
pub mod networking;
pub mod networking_everyone;
pub mod networking_rules;
pub mod networking_view;
pub mod overview;
pub mod overview_view;
pub mod restart;
