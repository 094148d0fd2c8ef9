//! pgflex: managed PostgreSQL servers on your own Docker hosts.

pub mod app;
pub mod certificates;
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod engine;
pub mod gateway;
pub mod monitor;
pub mod operations;
pub mod poke;
pub mod postgres;
pub mod recover;
pub mod secrets;
pub mod store;
pub mod web;
