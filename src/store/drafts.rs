//! Create forms that are being filled in. The form's text is kept without its password; the password
//! becomes a SCRAM verifier on arrival and is kept sealed until the server is created.

use super::codec::micros;
use super::{Record, Store, StoreError, WriteTx};
use crate::domain::ids::{DraftId, OperationId, UserId};
use chrono::{DateTime, Utc};

/// A form as typed.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    pub id: DraftId,
    /// Fields as JSON, without secrets.
    pub form: String,
    pub sealed_password: Option<Vec<u8>>,
    /// The operation that was made of it; a second submit leads there.
    pub operation_id: Option<OperationId>,
}

/// Drafts not touched for this long are forgotten.
pub const DRAFT_LIFE: chrono::Duration = chrono::Duration::hours(24);
/// Unfinished drafts of one user; beyond, the oldest are forgotten.
const DRAFTS_PER_USER: i64 = 20;

impl Store {
    /// A draft of this user.
    pub async fn draft(&self, id: &DraftId, user: &UserId) -> Result<Option<Draft>, StoreError> {
        let row: Option<(String, Option<Vec<u8>>, Option<String>)> = sqlx::query_as(
            "SELECT form, sealed_password, operation_id FROM drafts WHERE id = $1 AND user_id = $2",
        )
        .bind(id.as_str())
        .bind(user.as_str())
        .fetch_optional(self.read())
        .await?;
        Ok(row.map(|(form, sealed_password, operation)| Draft {
            id: id.clone(),
            form,
            sealed_password,
            operation_id: operation.as_deref().and_then(OperationId::parse),
        }))
    }

    /// Keeps a draft. A password already kept stays unless a new one is given.
    pub async fn put_draft(
        &self,
        now: DateTime<Utc>,
        user: &UserId,
        id: &DraftId,
        form: &str,
        password: Option<Vec<u8>>,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin_write(now).await?;
        let done = sqlx::query(
            "INSERT INTO drafts (id, user_id, form, sealed_password, updated_at) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (id) DO UPDATE SET form = excluded.form, updated_at = excluded.updated_at,
               sealed_password = COALESCE(excluded.sealed_password, drafts.sealed_password)
             WHERE drafts.user_id = excluded.user_id AND drafts.operation_id IS NULL",
        )
        .bind(id.as_str())
        .bind(user.as_str())
        .bind(form)
        .bind(password)
        .bind(micros(now))
        .execute(&mut *tx.tx)
        .await?;
        if done.rows_affected() == 0 {
            return Err(StoreError::Stale);
        }
        sqlx::query(
            "DELETE FROM drafts WHERE user_id = $1 AND operation_id IS NULL AND id NOT IN
               (SELECT id FROM drafts WHERE user_id = $1 AND operation_id IS NULL ORDER BY updated_at DESC, id DESC LIMIT $2)",
        )
        .bind(user.as_str())
        .bind(DRAFTS_PER_USER)
        .execute(&mut *tx.tx)
        .await?;
        tx.commit(Record::Nothing("a draft changes nothing yet")).await
    }

    /// Forgets drafts that nobody touched for a day.
    pub async fn prune_drafts(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        let mut tx = self.begin_write(now).await?;
        sqlx::query("DELETE FROM drafts WHERE updated_at < $1")
            .bind(micros(now - DRAFT_LIFE))
            .execute(&mut *tx.tx)
            .await?;
        tx.commit(Record::Nothing("forgetting unused forms")).await
    }
}

impl WriteTx {
    /// Marks a draft as used and wipes its password. `false` when it was used already.
    pub async fn use_draft(
        &mut self,
        id: &DraftId,
        operation: &OperationId,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query("UPDATE drafts SET operation_id = $2, sealed_password = NULL, updated_at = $3 WHERE id = $1 AND operation_id IS NULL")
            .bind(id.as_str())
            .bind(operation.as_str())
            .bind(micros(self.now))
            .execute(&mut *self.tx)
            .await?;
        Ok(done.rows_affected() == 1)
    }
}
