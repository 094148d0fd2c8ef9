//! Values of the whole installation, one row each, and what the header of every page tells.

use super::{Record, Store, StoreError};
use chrono::{DateTime, Utc};

impl Store {
    /// A value of the installation.
    pub async fn setting(&self, key: &str) -> Result<Option<String>, StoreError> {
        let row: Option<(String,)> = sqlx::query_as("SELECT value FROM settings WHERE key = $1")
            .bind(key)
            .fetch_optional(self.read())
            .await?;
        Ok(row.map(|(value,)| value))
    }

    /// Keeps `value` unless there is one already, and gives the one that is kept: of two processes
    /// that start together, both get the same.
    pub async fn setting_or_insert(
        &self,
        now: DateTime<Utc>,
        key: &str,
        value: &str,
    ) -> Result<String, StoreError> {
        if let Some(kept) = self.setting(key).await? {
            return Ok(kept);
        }
        let mut tx = self.begin_write(now).await?;
        sqlx::query(
            "INSERT INTO settings (key, value) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING",
        )
        .bind(key)
        .bind(value)
        .execute(&mut *tx.tx)
        .await?;
        tx.commit(Record::Nothing("made by the first start, asked by nobody")).await?;
        self.setting(key).await?.ok_or_else(|| StoreError::Value(format!("setting {key} vanished")))
    }

    /// Keeps `value`, replacing the one before.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn set_setting(
        &self,
        now: DateTime<Utc>,
        key: &str,
        value: &str,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin_write(now).await?;
        sqlx::query(
            "INSERT INTO settings (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        )
        .bind(key)
        .bind(value)
        .execute(&mut *tx.tx)
        .await?;
        tx.commit(Record::Nothing("the portal's own bookkeeping, asked by nobody")).await
    }

    /// Why no engine can be reached, when the last look at every host failed; `None` while one
    /// answers or nobody has looked yet.
    pub async fn engine_silence(&self) -> Result<Option<String>, StoreError> {
        let (seen, answering): (i64, i64) = sqlx::query_as(
            "SELECT COUNT(*), CAST(COALESCE(SUM(CASE WHEN error IS NULL THEN 1 ELSE 0 END), 0) AS BIGINT)
             FROM host_observations o JOIN hosts h ON h.id = o.host_id WHERE h.is_configured = 1",
        )
        .fetch_one(self.read())
        .await?;
        if seen == 0 || answering > 0 {
            return Ok(None);
        }
        let row: Option<(String,)> = sqlx::query_as(
            "SELECT o.error FROM host_observations o JOIN hosts h ON h.id = o.host_id
             WHERE o.error IS NOT NULL AND h.is_configured = 1 ORDER BY o.observed_at DESC LIMIT 1",
        )
        .fetch_optional(self.read())
        .await?;
        Ok(row.map(|(error,)| error))
    }
}
