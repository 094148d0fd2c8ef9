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
    /// Creations and restores: whether their servers are in service by now, nobody knows.
    pub made: u64,
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
    /// when a person retries them. A creation is ended all the same, and as one that succeeded: it may have, and then its undo
    /// would delete the volume of a server in use. Its server is Failed, so that a person has it repaired or deleted. Rescues, standbys and
    /// backups are ended, because the monitor decides them from what it sees.
    ///
    /// # Errors
    /// When the store does not answer; then it stays marked as unfinished.
    pub async fn settle_recovery(
        &self,
        now: DateTime<Utc>,
        source: &str,
    ) -> Result<Settled, StoreError> {
        let mut tx = self.begin_write(now).await?;
        let settled = Settled {
            made: end_creations(&mut tx, source).await?,
            parked: park_changes(&mut tx, source).await?,
            ended: end_others(&mut tx, source).await?,
        };
        end_drills(&mut tx).await?;
        for statement in [
            "UPDATE restores SET ended_at = $1 WHERE ended_at IS NULL".to_owned(),
            // Who was let in by one after the backup would be let in by it again.
            "UPDATE invites SET expires_at = $1 WHERE used_at IS NULL AND expires_at > $1".to_owned(),
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
        Ok(settled)
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

/// Creations that may have ended since the backup: never again undone nor tried again.
const CREATIONS: &str =
    "SELECT id FROM operations WHERE is_active = 1 AND kind IN ('create', 'restore')";

async fn end_creations(tx: &mut WriteTx, source: &str) -> Result<u64, StoreError> {
    let why = format!(
        "The portal was recovered from {source} while this was under way; what became of it is not known. Repair puts the server in service if its data are there."
    );
    for statement in [
        format!(
            "UPDATE operation_steps SET status = 'skipped', ended_at = $1, note = $2 WHERE status NOT IN ('done', 'skipped') AND operation_id IN ({CREATIONS})"
        ),
        format!(
            "UPDATE activity SET outcome = 'Succeeded', ended_at = $1, detail = $2 WHERE outcome = 'Started' AND operation_id IN ({CREATIONS})"
        ),
        format!(
            "UPDATE servers SET settled = 'Failed', version = version + 1 WHERE $1 > 0 AND $2 <> '' AND id IN (SELECT server_id FROM operations WHERE id IN ({CREATIONS}))"
        ),
    ] {
        let statement = sqlx::AssertSqlSafe(statement);
        sqlx::query(statement).bind(micros(tx.now)).bind(&why).execute(&mut *tx.tx).await?;
    }
    let done = sqlx::query(
        "UPDATE operations SET status = 'succeeded', is_active = 0, is_undoing = 0, cancel_requested = 0, ended_at = $1, lease_owner = NULL, lease_until = 0,
           fence = fence + 1, error = NULL, advice = NULL, failed_step = NULL
         WHERE is_active = 1 AND kind IN ('create', 'restore')",
    )
    .bind(micros(tx.now))
    .execute(&mut *tx.tx)
    .await?;
    Ok(done.rows_affected())
}

/// A drill that nobody carries out any more is not under way for good.
async fn end_drills(tx: &mut WriteTx) -> Result<(), StoreError> {
    for table in ["restore_drills", "ha_drills"] {
        let sql = format!(
            "UPDATE {table} SET ended_at = $1, outcome = 'The portal was recovered meanwhile.' WHERE ended_at IS NULL"
        );
        let statement = sqlx::AssertSqlSafe(sql);
        sqlx::query(statement).bind(micros(tx.now)).execute(&mut *tx.tx).await?;
    }
    Ok(())
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
