//! Operations as rows.

use super::codec::micros;
use super::{Store, StoreError};
use crate::domain::operation::Lease;
use chrono::{DateTime, Utc};

impl Store {
    /// Appends lines to an operation's log, if the lease still holds.
    pub async fn append_operation_log(
        &self,
        lease: &Lease,
        now: DateTime<Utc>,
        step: &str,
        lines: &[String],
    ) -> Result<(), StoreError> {
        let mut tx = self.begin_write(now).await?;
        for line in lines {
            let done = sqlx::query(
                "INSERT INTO operation_log (operation_id, seq, at, step, line)
                 SELECT id, (SELECT COALESCE(MAX(seq), 0) + 1 FROM operation_log WHERE operation_id = $1), $2, $3, $4
                 FROM operations WHERE id = $1 AND lease_owner = $5 AND fence = $6",
            )
            .bind(lease.operation_id.as_str())
            .bind(micros(now))
            .bind(step)
            .bind(line.clone())
            .bind(lease.owner.clone())
            .bind(lease.fence)
            .execute(&mut *tx.tx)
            .await?;
            if done.rows_affected() == 0 {
                return Err(StoreError::Stale);
            }
        }
        tx.commit(super::Record::Nothing(
            "progress of an operation; its own line is written at its end",
        ))
        .await
    }
}
