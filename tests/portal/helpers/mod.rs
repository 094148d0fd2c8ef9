//! What stories are told with: [`each_database`] gives a fresh [`TestApp`], whose [`Browser`]s do
//! what people do.

mod app;
mod browser;
mod plant;

pub use app::{TestApp, each_database, each_database_with};
pub use browser::{Answer, Browser};
pub use plant::{Plant, actor, facts};

/// A password that passes the rules.
pub const PASSWORD: &str = "correct horse battery";
