//! Servers: the list, the create form, and the pages of one server.

pub mod connect;
pub mod connect_programs;
pub mod connect_strings;
pub mod create;
pub mod create_cards;
pub mod create_check;
pub mod create_draft;
pub mod create_form;
pub mod create_password;
pub mod create_view;
pub mod create_world;
pub mod delete;
pub mod drift_notice;
pub mod list;
pub mod nav;
pub mod networking;
pub mod networking_everyone;
pub mod networking_rules;
pub mod networking_view;
pub mod overview;
pub mod overview_view;
pub mod repair;
pub mod restart;
pub mod review;
pub mod review_view;
