//! Sealed secrets of servers. The store sees only what the sealer made of them.

use super::codec::{micros, parsed, time};
use super::{Record, Store, StoreError, WriteTx};
use crate::domain::ids::ServerId;
use chrono::{DateTime, Utc};

impl Store {
    /// A sealed secret of a server.
    pub async fn server_secret(
        &self,
        server: &ServerId,
        name: &str,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let row: Option<(Vec<u8>,)> =
            sqlx::query_as("SELECT sealed FROM server_secrets WHERE server_id = $1 AND name = $2")
                .bind(server.as_str())
                .bind(name)
                .fetch_optional(self.read())
                .await?;
        Ok(row.map(|(sealed,)| sealed))
    }

    /// Ready servers whose secret `name` expires before `limit`.
    pub async fn expiring_secrets(
        &self,
        name: &str,
        limit: DateTime<Utc>,
    ) -> Result<Vec<ServerId>, StoreError> {
        let rows: Vec<(String,)> = sqlx::query_as(
            "SELECT k.server_id FROM server_secrets k JOIN servers s ON s.id = k.server_id
             WHERE k.name = $1 AND k.expires_at < $2 AND s.settled = 'Ready' ORDER BY k.expires_at",
        )
        .bind(name)
        .bind(micros(limit))
        .fetch_all(self.read())
        .await?;
        rows.iter().map(|(id,)| parsed(id, ServerId::parse, "server id")).collect()
    }

    /// When a secret of a server expires, if it does.
    pub async fn secret_expiry(
        &self,
        server: &ServerId,
        name: &str,
    ) -> Result<Option<DateTime<Utc>>, StoreError> {
        let row: Option<(Option<i64>,)> = sqlx::query_as(
            "SELECT expires_at FROM server_secrets WHERE server_id = $1 AND name = $2",
        )
        .bind(server.as_str())
        .bind(name)
        .fetch_optional(self.read())
        .await?;
        Ok(row.and_then(|(at,)| at).map(time))
    }
}

impl Store {
    /// Calls every secret of a name expired, and keeps under a setting why, in one transaction.
    pub async fn expire_secrets(
        &self,
        now: DateTime<Utc>,
        name: &str,
        (setting, value): (&str, &str),
    ) -> Result<(), StoreError> {
        let mut tx = self.begin_write(now).await?;
        sqlx::query("UPDATE server_secrets SET expires_at = $2 WHERE name = $1")
            .bind(name)
            .bind(micros(now))
            .execute(&mut *tx.tx)
            .await?;
        sqlx::query("UPDATE settings SET value = $2 WHERE key = $1")
            .bind(setting)
            .bind(value)
            .execute(&mut *tx.tx)
            .await?;
        tx.commit(Record::Nothing("the renewals that follow are logged one by one")).await
    }
}

impl Store {
    /// Forgets the verifiers that were kept for operations and have expired; nothing that counts now.
    pub async fn purge_verifiers(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        let mut tx = self.begin_write(now).await?;
        sqlx::query(
            "DELETE FROM server_secrets WHERE expires_at < $1
             AND (name LIKE 'pending_verifier/%' OR name LIKE 'previous_verifier/%')",
        )
        .bind(micros(now))
        .execute(&mut *tx.tx)
        .await?;
        tx.commit(Record::Nothing("what was kept for a day is over")).await
    }
}

impl WriteTx {
    /// Keeps a sealed secret unless there is one of that name already; whether it was kept.
    pub async fn put_server_secret_once(
        &mut self,
        server: &ServerId,
        name: &str,
        sealed: Vec<u8>,
        expires_at: Option<DateTime<Utc>>,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "INSERT INTO server_secrets (server_id, name, sealed, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (server_id, name) DO NOTHING",
        )
        .bind(server.as_str())
        .bind(name)
        .bind(sealed)
        .bind(micros(self.now))
        .bind(expires_at.map(micros))
        .execute(&mut *self.tx)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Keeps a sealed secret, replacing the one before.
    pub async fn put_server_secret(
        &mut self,
        server: &ServerId,
        name: &str,
        sealed: Vec<u8>,
        expires_at: Option<DateTime<Utc>>,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO server_secrets (server_id, name, sealed, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (server_id, name) DO UPDATE SET sealed = excluded.sealed, created_at = excluded.created_at, expires_at = excluded.expires_at",
        )
        .bind(server.as_str())
        .bind(name)
        .bind(sealed)
        .bind(micros(self.now))
        .bind(expires_at.map(micros))
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }
}
