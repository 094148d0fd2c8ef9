//! How backups of a server are kept, changed by a person who has seen what it was.

use super::{StoreError, WriteTx};
use crate::domain::backup::BackupPolicy;
use crate::domain::ids::ServerId;

impl WriteTx {
    /// Writes how backups are kept, when the settings are still those of this version; 0 is the version of a server
    /// without a row. `false`: somebody else has changed them, and nothing was written.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn change_backup_policy(
        &mut self,
        server: &ServerId,
        policy: &BackupPolicy,
        version: i64,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "INSERT INTO backup_settings (server_id, retention_days, redundancy) VALUES ($1, $2, $3)
             ON CONFLICT (server_id) DO UPDATE SET retention_days = excluded.retention_days, redundancy = excluded.redundancy,
               version = backup_settings.version + 1
             WHERE backup_settings.version = $4",
        )
        .bind(server.as_str())
        .bind(policy.retention.as_days())
        .bind(policy.redundancy.key())
        .bind(version)
        .execute(&mut *self.tx)
        .await?;
        Ok(done.rows_affected() == 1)
    }
}
