//! What operations and the monitor do with the databases of a member.

use super::{PostgresError, Target};
use crate::domain::database::{DatabaseList, DatabaseName, Provider};
use crate::domain::names::AdminLogin;
use async_trait::async_trait;

/// A database as found by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundDatabase {
    /// PostgreSQL's number of it, which no other database of the server ever gets while it exists.
    pub oid: u32,
    pub allows_connections: bool,
    pub is_template: bool,
    /// What keeps it from being dropped, in words: subscriptions, prepared transactions, slots in use.
    pub blocked_by: Option<String>,
}

/// Databases of a member. Each call finds a database by its number, so that none is ever taken for another.
#[async_trait]
pub trait Databases: Send + Sync {
    /// Every database with owner, size, collation and sessions.
    async fn list_databases(&self, target: &Target) -> Result<DatabaseList, PostgresError>;

    /// Finds a database by its exact name.
    async fn find_database(
        &self,
        target: &Target,
        name: &str,
    ) -> Result<Option<FoundDatabase>, PostgresError>;

    /// Makes an empty database under a name of ours that nobody can connect to yet; gives its number. One
    /// that is there under this name is the one.
    async fn stage_database(
        &self,
        target: &Target,
        staging: &str,
        owner: &AdminLogin,
        provider: Provider,
    ) -> Result<u32, PostgresError>;

    /// Gives a staged database its name and opens it, both at once. Refused when the name is taken.
    async fn publish_database(
        &self,
        target: &Target,
        oid: u32,
        name: &DatabaseName,
    ) -> Result<(), PostgresError>;

    /// Takes the name back; false, and nothing is done, when somebody has connected to it already.
    async fn withdraw_database(
        &self,
        target: &Target,
        oid: u32,
        staging: &str,
    ) -> Result<bool, PostgresError>;

    /// Lets nobody connect any more and ends the sessions in it; how many were told to end.
    async fn close_database(&self, target: &Target, oid: u32) -> Result<i64, PostgresError>;

    /// Lets connections in again. One that is gone is success.
    async fn reopen_database(&self, target: &Target, oid: u32) -> Result<(), PostgresError>;

    /// Drops it with its data. One that is gone is success; system databases and templates are refused.
    async fn drop_database(&self, target: &Target, oid: u32) -> Result<(), PostgresError>;
}
