//! One managed PostgreSQL, seen from outside: configuration as text, and the few statements the
//! portal's operations need. What comes back from a user's server is hostile.

pub mod archive;
pub mod checkpoint;
pub mod client;
pub mod conf;
pub mod databases;
pub mod drill;
pub mod extensions;
#[cfg(feature = "test-util")]
pub mod fake;
pub mod networking;
pub mod parameters;
pub mod passwords;
pub mod pgbackrest;
pub mod pgbouncer;
pub mod pooler;
pub mod replication;
pub mod restore_drill;

use crate::domain::names::AdminLogin;
use crate::secrets::Secret;
use async_trait::async_trait;
use databases::Databases;
use passwords::Passwords;
use pooler::PoolerAccess;
use replication::Replication;
use std::net::SocketAddr;

/// The role that `initdb` makes and only the portal uses, by client certificate.
pub const CONTROL_ROLE: &str = "pgflex_control";
/// Role that carries what an administrator may do.
pub const ADMIN_GROUP: &str = "pgflex_admin";
/// The role by which the built-in PgBouncer asks for verifiers, by client certificate.
pub const POOLER_ROLE: &str = "pgflex_pooler";

/// Where a member is reached and how the portal proves who it is.
#[derive(Clone)]
pub struct Target {
    pub address: SocketAddr,
    /// Name that the server's certificate must carry.
    pub server_name: String,
    /// Root certificate of the installation, PEM.
    pub root_certificate: String,
    /// The portal's client certificate and key for this server, PEM.
    pub client_certificate: String,
    pub client_key: Secret,
}

/// Why a member did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PostgresError {
    /// No connection, no answer in time, or it is starting up: may pass by itself.
    #[error("PostgreSQL does not answer: {0}")]
    Silent(String),
    /// PostgreSQL said no to a statement.
    #[error("PostgreSQL refused: {0}")]
    Refused(String),
}

/// What a member told in a probe.
#[derive(Debug, Clone, PartialEq)]
pub struct Probe {
    /// Such as `17.11`.
    pub version: String,
    pub in_recovery: bool,
}

/// Access to members. Every call has a deadline of seconds.
#[async_trait]
pub trait Postgres:
    Send
    + Sync
    + networking::Networking
    + checkpoint::Checkpoint
    + parameters::ServerParameters
    + extensions::ServerExtensions
    + Databases
    + drill::DrillProbe
    + Passwords
    + PoolerAccess
    + Replication
    + archive::Archiving
{
    /// Connects over TLS with the client certificate and asks one question.
    async fn probe(&self, target: &Target) -> Result<Probe, PostgresError>;

    /// Makes or corrects the administrator: a role without superuser rights, in [`ADMIN_GROUP`], with the
    /// given SCRAM verifier; gives it the `postgres` database's schema. Safe to repeat.
    async fn ensure_admin(
        &self,
        target: &Target,
        login: &AdminLogin,
        verifier: &Secret,
    ) -> Result<(), PostgresError>;
}
