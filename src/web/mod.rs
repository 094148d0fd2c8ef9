//! The portal: server-rendered pages over HTTP. It reads the store and submits operations; it never
//! touches a Docker Engine or a managed server.
//!
//! A request passes, from the outside in: [`headers`] (security headers, error pages, reference ids),
//! the session middleware over [`session`], [`gate`] (who is it, does the route table let them in, is
//! the posted form ours), then the handler of [`routes`]. What the gate found is the [`visit::Visit`];
//! a handler that needs a person takes [`visit::Signed`], which cannot be made without one.

pub mod assets;
pub mod authorise;
pub mod body;
pub mod code;
pub mod csv;
pub mod error;
pub mod flash;
pub mod form;
pub mod gate;
pub mod handlers;
pub mod headers;
pub mod label;
pub mod pace;
pub mod page;
pub mod paths;
pub mod query;
pub mod routes;
pub mod serve;
pub mod session;
pub mod state;
pub mod time;
pub mod token;
pub mod visit;

pub use routes::{Access, ROUTES, RouteInfo};
pub use serve::{app, serve};
pub use state::AppState;
