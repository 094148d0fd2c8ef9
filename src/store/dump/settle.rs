//! After a recovery: nothing that was under way before may act again by itself.

use super::super::codec::micros;
use super::super::{Record, Store, StoreError, WriteTx};
use crate::domain::activity::{ActivityOutcome, Actor, NewActivity};
use chrono::{DateTime, Utc};

/// Setting that is there from the first recovered row until the end of the recovery: without the end nothing runs.
const UNFINISHED: &str = "recovery/unfinished";
/// What gateways that outlived the portal have applied is below this.
const GENERATIONS_AHEAD: i64 = 1_000_000;
/// The same of the epochs of routes.
const EPOCHS_AHEAD: i64 = 1_000;

/// What was ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settled {
    /// Changes of servers that wait for a person's decision now.
    pub parked: u64,
    /// Other work, which the monitor asks for anew where it is needed.
    pub ended: u64,
}

/// Says that the store is not to be used yet.
pub(super) async fn unfinished(tx: &mut WriteTx) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO settings (key, value) VALUES ($1, 'yes') ON CONFLICT (key) DO NOTHING",
    )
    .bind(UNFINISHED)
    .execute(&mut *tx.tx)
    .await?;
    Ok(())
}

impl Store {
    /// Whether a recovery began to fill this store and did not end.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn is_recovery_unfinished(&self) -> Result<bool, StoreError> {
        Ok(self.setting(UNFINISHED).await?.is_some())
    }

    /// Marks an empty store as one that a recovery is filling.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn begin_recovery(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        let mut tx = self.begin_write(now).await?;
        unfinished(&mut tx).await?;
        tx.commit(Record::Nothing("nobody sees the store yet")).await
    }

    /// The last act of a recovery: ends what was under way, puts every count ahead of what anybody may still hold, and lets
    /// the store be used. `source` is told to people: from what it was recovered.
    ///
    /// Changes are parked and not ended: what they left half done is only known to their steps, and these find what is there
    /// when a person retries them. Rescues, standbys and backups are ended, because the monitor decides them from what it sees.
    ///
    /// # Errors
    /// When the store does not answer; then it stays marked as unfinished.
    pub async fn settle_recovery(
        &self,
        now: DateTime<Utc>,
        source: &str,
    ) -> Result<Settled, StoreError> {
        let mut tx = self.begin_write(now).await?;
        let parked = park_changes(&mut tx, source).await?;
        let ended = end_others(&mut tx, source).await?;
        for statement in [
            "UPDATE restores SET ended_at = $1 WHERE ended_at IS NULL".to_owned(),
            format!("UPDATE route_generation SET generation = generation + {GENERATIONS_AHEAD} WHERE $1 > 0"),
            format!("UPDATE routes SET epoch = epoch + {EPOCHS_AHEAD} WHERE $1 > 0"),
            format!("UPDATE pooler_routes SET epoch = epoch + {EPOCHS_AHEAD} WHERE $1 > 0"),
            "INSERT INTO settings (key, value) SELECT 'recovery/at', CAST($1 AS TEXT) WHERE $1 > 0 ON CONFLICT (key) DO UPDATE SET value = excluded.value".to_owned(),
        ] {
            let statement = sqlx::AssertSqlSafe(statement);
            sqlx::query(statement).bind(micros(now)).execute(&mut *tx.tx).await?;
        }
        sqlx::query("DELETE FROM settings WHERE key = $1")
            .bind(UNFINISHED)
            .execute(&mut *tx.tx)
            .await?;
        tx.commit(Record::activity(line(source))).await?;
        Ok(Settled { parked, ended })
    }
}

fn line(source: &str) -> NewActivity {
    NewActivity {
        actor: Actor::system(),
        action: "portal.recover",
        subject: String::new(),
        server_id: None,
        operation_id: None,
        outcome: ActivityOutcome::Succeeded,
        detail: format!("From {source}"),
    }
}

async fn park_changes(tx: &mut WriteTx, source: &str) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "UPDATE operations SET status = 'needs_attention', lease_owner = NULL, lease_until = 0, fence = fence + 1, error = $1, advice = $2
         WHERE is_active = 1 AND lane = 'change' AND status IN ('queued', 'running', 'undoing')",
    )
    .bind(format!("The portal was recovered from {source}. What became of this afterwards is not known."))
    .bind("Look at the server first. Retry goes on where it was: its steps find what is there. Or abandon it.")
    .execute(&mut *tx.tx)
    .await?;
    Ok(done.rows_affected())
}

async fn end_others(tx: &mut WriteTx, source: &str) -> Result<u64, StoreError> {
    for statement in [
        "UPDATE operation_steps SET status = 'failed', ended_at = $1 WHERE status IN ('running', 'waiting', 'undoing') AND operation_id IN (SELECT id FROM operations WHERE is_active = 1 AND lane <> 'change')",
        "UPDATE operation_steps SET status = 'skipped', ended_at = $1 WHERE status = 'pending' AND operation_id IN (SELECT id FROM operations WHERE is_active = 1 AND lane <> 'change')",
        "UPDATE activity SET outcome = 'Failed', ended_at = $1 WHERE outcome = 'Started' AND operation_id IN (SELECT id FROM operations WHERE is_active = 1 AND lane <> 'change')",
    ] {
        sqlx::query(statement).bind(micros(tx.now)).execute(&mut *tx.tx).await?;
    }
    let done = sqlx::query(
        "UPDATE operations SET status = 'failed', is_active = 0, ended_at = $1, lease_owner = NULL, lease_until = 0, fence = fence + 1, error = $2, advice = $3
         WHERE is_active = 1 AND lane <> 'change'",
    )
    .bind(micros(tx.now))
    .bind(format!("The portal was recovered from {source} while this was under way."))
    .bind("Nothing needs to be done: what is needed is asked for again.")
    .execute(&mut *tx.tx)
    .await?;
    Ok(done.rows_affected())
}
