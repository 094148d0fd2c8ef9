//! Writing out what PostgreSQL has changed in memory, before it is stopped.

use super::{PostgresError, Target};
use async_trait::async_trait;

/// A checkpoint on demand.
#[async_trait]
pub trait Checkpoint: Send + Sync {
    /// Asks for a checkpoint and waits for its end, for seconds. One that takes longer is silence: PostgreSQL
    /// goes on with it.
    async fn checkpoint(&self, target: &Target) -> Result<(), PostgresError>;
}
