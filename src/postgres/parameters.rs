//! Server parameters as a running member tells and takes them.

use super::{PostgresError, Target};
use crate::domain::parameters::Parameter;
use async_trait::async_trait;

/// Everything that a member tells of its settings in one look.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SettingsLook {
    /// Values and defaults as PostgreSQL's own; the default that is rendered for the size is not known here.
    pub parameters: Vec<Parameter>,
    /// When the configuration file was last read, in microseconds: grows with every reading.
    pub loaded_at: i64,
    /// Names in the file that could not be applied, with PostgreSQL's words.
    pub faults: Vec<(String, String)>,
}

/// Looking at and trying of settings.
#[async_trait]
pub trait ServerParameters: Send + Sync {
    /// Reads every setting.
    async fn settings(&self, target: &Target) -> Result<SettingsLook, PostgresError>;

    /// Sets values in a transaction that is rolled back: PostgreSQL says no with its own words to one that it
    /// would not take. Only for settings that a session may set.
    async fn try_settings(
        &self,
        target: &Target,
        values: &[(String, String)],
    ) -> Result<(), PostgresError>;
}
