//! Servers: the list, the create form and its review.

pub mod create;
pub mod create_cards;
pub mod create_check;
pub mod create_draft;
pub mod create_form;
pub mod create_password;
pub mod create_view;
pub mod create_world;
pub mod list;
pub mod review;
pub mod review_view;
