//! What keeps a standby behind a primary, and makes one the other.

use super::{PostgresError, Target};
use crate::domain::ha::Lsn;
use async_trait::async_trait;

/// The role by which a standby reads the primary's log, by client certificate and nothing else.
pub const REPLICATION_ROLE: &str = "pgflex_replicator";

/// How a member stands: one answer, taken at one moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Standing {
    pub in_recovery: bool,
    pub timeline: i64,
    pub system_identifier: String,
    /// Of a primary: the end of its log, flushed. Of a standby: what it has received and flushed.
    pub written: Option<Lsn>,
    /// Of a standby.
    pub replayed: Option<Lsn>,
    /// Of a standby: state of its receiver, such as "streaming"; `None` without one.
    pub receiver: Option<String>,
    /// Of a primary: those that read its log.
    pub senders: Vec<Sender>,
    /// `synchronous_standby_names` as in force.
    pub waits_for: String,
    /// When the configuration was last read, in microseconds UTC.
    pub loaded_at: i64,
}

/// A reader of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    pub pid: i32,
    pub application_name: String,
    /// "startup", "catchup", "streaming", …
    pub state: String,
    /// "async", "potential", "sync", "quorum".
    pub sync_state: String,
    pub flushed: Option<Lsn>,
    pub replayed: Option<Lsn>,
    /// Microseconds UTC.
    pub started_at: i64,
}

/// A promotion that is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promoted {
    pub timeline: i64,
    /// Where the new timeline begins, as far as the member tells.
    pub fork: Option<Lsn>,
}

/// A session that stays open for looks in short distance.
#[async_trait]
pub trait Watch: Send {
    /// One look. An error ends the session: make another one.
    async fn look(&mut self) -> Result<Standing, PostgresError>;
    /// A look that writes too: a disk that hangs is found. Of a standby the same as [`Watch::look`].
    async fn look_writing(&mut self) -> Result<Standing, PostgresError>;
}

/// Replication.
#[async_trait]
pub trait Replication: Send + Sync {
    async fn standing(&self, target: &Target) -> Result<Standing, PostgresError>;
    /// Opens a session for looks.
    async fn watch(&self, target: &Target) -> Result<Box<dyn Watch>, PostgresError>;
    /// The role of standbys is there: may log in by certificate and read the log, nothing else.
    async fn ensure_replication_role(&self, target: &Target) -> Result<(), PostgresError>;
    /// A physical slot of that name is there.
    async fn ensure_slot(&self, target: &Target, name: &str) -> Result<(), PostgresError>;
    /// No slot of that name is there. One in use is silence: its reader must go first.
    async fn drop_slot(&self, target: &Target, name: &str) -> Result<(), PostgresError>;
    /// Names of our slots (`pgflex_…`) that are there.
    async fn slots(&self, target: &Target) -> Result<Vec<String>, PostgresError>;
    /// Reads the configuration files again.
    async fn reload(&self, target: &Target) -> Result<(), PostgresError>;
    /// Writes a record of its own and gives the place behind it (A4).
    async fn mark(&self, target: &Target) -> Result<Lsn, PostgresError>;
    /// Makes a standby a primary and waits for it; one that is a primary already is success.
    async fn promote(&self, target: &Target) -> Result<Promoted, PostgresError>;
    /// Ends the sessions of a role of standbys, so that what it reads by is closed.
    async fn end_senders(&self, target: &Target, name: &str) -> Result<(), PostgresError>;
}
