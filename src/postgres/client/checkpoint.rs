//! The checkpoint before a stop.

use super::{TlsPostgres, with_session};
use crate::postgres::checkpoint::Checkpoint;
use crate::postgres::{PostgresError, Target};
use async_trait::async_trait;

#[async_trait]
impl Checkpoint for TlsPostgres {
    async fn checkpoint(&self, target: &Target) -> Result<(), PostgresError> {
        with_session(target, |client| async move { client.batch_execute("CHECKPOINT").await }).await
    }
}
