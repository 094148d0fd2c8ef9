//! One file for each page or group of pages: template struct, form, handlers, view, in that order.

pub mod account;
pub mod activity;
pub mod costs;
pub mod errors;
pub mod groups;
pub mod health;
pub mod hosts;
pub mod locks;
pub mod networks;
pub mod operation_events;
pub mod operations;
pub mod recovery;
pub mod servers;
