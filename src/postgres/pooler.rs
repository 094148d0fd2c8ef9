//! What the built-in PgBouncer needs of a member, and whether it answers.

use super::{PostgresError, Target};
use async_trait::async_trait;

/// PgBouncer learns a role's verifier from a function that only its own role may call, and only in a session
/// that this role itself opened, by certificate. Superusers and the portal's roles are not told.
#[async_trait]
pub trait PoolerAccess: Send + Sync {
    /// Makes or corrects role and function: in `postgres`, and with `everywhere` in every database that can
    /// be connected to, for a PgBouncer that asks in the client's own database.
    async fn ensure_pooler_access(
        &self,
        target: &Target,
        everywhere: bool,
    ) -> Result<(), PostgresError>;

    /// The same in one database.
    async fn ensure_pooler_access_in(
        &self,
        target: &Target,
        database: &str,
    ) -> Result<(), PostgresError>;

    /// Whether a PgBouncer at the target takes clients and reaches its PostgreSQL: a login as somebody who
    /// does not exist comes back as a wrong password.
    async fn probe_pooler(&self, target: &Target) -> Result<(), PostgresError>;
}
