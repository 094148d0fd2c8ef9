//! Signing in and out, the own account, users and invitations.

pub mod confirm;
pub mod join;
pub mod own;
pub mod sign_in;
pub mod throttle;
pub mod users;

pub use join::setup_link;
