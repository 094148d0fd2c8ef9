//! A server's storage on record: its size, and whether it grows by itself.

use super::{StoreError, WriteTx};
use crate::domain::ids::ServerId;

impl WriteTx {
    /// Writes the size of a server's storage: from now on the host has promised it.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn set_storage_gib(&mut self, server: &ServerId, gib: u32) -> Result<(), StoreError> {
        sqlx::query("UPDATE servers SET storage_gib = $2, version = version + 1 WHERE id = $1")
            .bind(server.as_str())
            .bind(i64::from(gib))
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }
}
