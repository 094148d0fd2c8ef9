//! Signing in and out, the own account, users and invitations.

pub mod confirm;
pub mod factor_code;
pub mod half_open;
pub mod join;
pub mod own;
pub mod qr;
pub mod second_factor;
pub mod sign_in;
pub mod throttle;
pub mod users;
pub mod users_factor;

pub use join::setup_link;
