//! What stories are told with: [`each_database`] gives a fresh [`TestApp`], whose [`Browser`]s do
//! what people do.

mod app;
mod browser;
#[path = "../../common/kit.rs"]
mod kit;
mod plant;

pub use app::{TestApp, each_database, each_database_with};
pub use browser::{Answer, Browser};
pub use kit::big_host as facts;
pub use plant::{Plant, actor};

/// A password that passes the rules.
pub const PASSWORD: &str = "correct horse battery";
