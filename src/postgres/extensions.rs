//! Extensions as a running member tells and changes them.

use super::{PostgresError, Target};
pub use crate::domain::extensions::ExtensionAction;
use crate::domain::extensions::{Available, Installed};
use async_trait::async_trait;

/// What the whole server tells of extensions.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ServerExtensionsLook {
    pub available: Vec<Available>,
    /// Databases that accept connections, templates left out.
    pub databases: Vec<String>,
    pub loaded: Vec<String>,
}

/// Looking at and changing of extensions.
#[async_trait]
pub trait ServerExtensions: Send + Sync {
    /// What the image has, which databases there are, which libraries are loaded.
    async fn extensions(&self, target: &Target) -> Result<ServerExtensionsLook, PostgresError>;

    /// What is installed in a database.
    async fn installed(
        &self,
        target: &Target,
        database: &str,
    ) -> Result<Vec<Installed>, PostgresError>;

    /// Creates, updates or drops an extension. Safe to repeat: what is there already, at its newest version or
    /// gone already is success. Nothing that depends on a dropped one goes with it.
    async fn change_extension(
        &self,
        target: &Target,
        database: &str,
        name: &str,
        action: ExtensionAction,
    ) -> Result<(), PostgresError>;
}
