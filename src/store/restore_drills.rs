//! Proofs that backups can be restored, and those that failed. A drill counts by its record alone.

use super::codec::{micros, parsed, time, time_option};
use super::{Store, StoreError, WriteTx};
use crate::domain::ids::{OperationId, ServerId};
use chrono::{DateTime, Duration, Utc};
use sqlx::FromRow;

/// Word of a drill that is not over.
pub const RUNNING: &str = "running";
/// Word of a drill that found everything right.
pub const PASSED: &str = "passed";

/// One drill. Its id is that of its operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreDrill {
    pub operation_id: OperationId,
    pub server_id: ServerId,
    pub repository: i64,
    /// Label of the backup that was restored.
    pub label: String,
    pub started_at: DateTime<Utc>,
    pub ended_at: Option<DateTime<Utc>>,
    /// What was found, as far as it came.
    pub found: Found,
    /// [`PASSED`], [`RUNNING`], or a sentence that says what is wrong.
    pub outcome: String,
}

/// What a drill measured; `None` for what it did not come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Found {
    /// Microseconds until the files were there.
    pub restore_micros: Option<i64>,
    /// Microseconds from the start of PostgreSQL until the log was replayed and it took writes.
    pub replay_micros: Option<i64>,
    /// Of the data directory.
    pub bytes: Option<i64>,
    pub databases: Option<i64>,
    /// Tables that were counted row by row.
    pub tables: Option<i64>,
    /// Rows in them.
    pub rows: Option<i64>,
    /// Tables and indexes whose every page was checked.
    pub checked_relations: Option<i64>,
    /// The last commit that was there.
    pub last_commit_at: Option<DateTime<Utc>>,
    /// Microseconds between that commit and the begin of the drill.
    pub data_age_micros: Option<i64>,
}

impl RestoreDrill {
    pub fn has_passed(&self) -> bool {
        self.outcome == PASSED
    }

    pub fn is_over(&self) -> bool {
        self.outcome != RUNNING
    }
}

#[derive(FromRow)]
struct Row {
    operation_id: String,
    server_id: String,
    repository: i64,
    label: String,
    started_at: i64,
    ended_at: Option<i64>,
    restore_micros: Option<i64>,
    replay_micros: Option<i64>,
    bytes: Option<i64>,
    databases: Option<i64>,
    tables: Option<i64>,
    table_rows: Option<i64>,
    checked_relations: Option<i64>,
    last_commit_at: Option<i64>,
    data_age_micros: Option<i64>,
    outcome: String,
}

impl Row {
    fn into_drill(self) -> Result<RestoreDrill, StoreError> {
        Ok(RestoreDrill {
            operation_id: parsed(&self.operation_id, OperationId::parse, "operation id")?,
            server_id: parsed(&self.server_id, ServerId::parse, "server id")?,
            repository: self.repository,
            label: self.label,
            started_at: time(self.started_at),
            ended_at: time_option(self.ended_at),
            found: Found {
                restore_micros: self.restore_micros,
                replay_micros: self.replay_micros,
                bytes: self.bytes,
                databases: self.databases,
                tables: self.tables,
                rows: self.table_rows,
                checked_relations: self.checked_relations,
                last_commit_at: time_option(self.last_commit_at),
                data_age_micros: self.data_age_micros,
            },
            outcome: self.outcome,
        })
    }
}

/// When a server is due for a drill.
#[derive(Debug, Clone, Copy)]
pub struct DrillPace {
    /// Between the begin of one that passed and the next.
    pub every: Duration,
    /// After one that failed.
    pub again: Duration,
    /// Between the first backup of a server and its first drill.
    pub first: Duration,
}

impl Store {
    /// The last drills of a server, the newest first, at most `most`.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn restore_drills(
        &self,
        server: &ServerId,
        most: i64,
    ) -> Result<Vec<RestoreDrill>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT operation_id, server_id, repository, label, started_at, ended_at, restore_micros, replay_micros, bytes, databases, tables,
                    table_rows, checked_relations, last_commit_at, data_age_micros, outcome
             FROM restore_drills WHERE server_id = $1 ORDER BY started_at DESC, operation_id DESC LIMIT $2",
        )
        .bind(server.as_str())
        .bind(most)
        .fetch_all(self.read())
        .await?;
        rows.into_iter().map(Row::into_drill).collect()
    }

    /// Servers that are due for a drill, the one whose backups are longest unproven first.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn drills_due(
        &self,
        now: DateTime<Utc>,
        pace: &DrillPace,
    ) -> Result<Vec<ServerId>, StoreError> {
        let rows: Vec<(String,)> = sqlx::query_as(
            "SELECT s.id FROM servers s
             JOIN (SELECT server_id, MIN(ended_at) AS first_at FROM backups WHERE failure = '' GROUP BY server_id) b ON b.server_id = s.id
             LEFT JOIN (SELECT server_id, MAX(started_at) AS tried_at, MAX(CASE WHEN outcome = 'passed' THEN started_at END) AS passed_at
                        FROM restore_drills GROUP BY server_id) d ON d.server_id = s.id
             WHERE b.first_at <= $1 AND (d.tried_at IS NULL OR (d.tried_at <= $2 AND (d.passed_at IS NULL OR d.passed_at <= $3 OR d.passed_at < d.tried_at)))
               AND NOT EXISTS (SELECT 1 FROM operations o WHERE o.server_id = s.id AND o.kind = 'restore_drill' AND o.is_active = 1)
             ORDER BY COALESCE(d.passed_at, 0), s.id",
        )
        .bind(micros(now - pace.first))
        .bind(micros(now - pace.again))
        .bind(micros(now - pace.every))
        .fetch_all(self.read())
        .await?;
        rows.iter().map(|(id,)| parsed(id, ServerId::parse, "server id")).collect()
    }

    /// How many drills are under way.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn drills_under_way(&self) -> Result<i64, StoreError> {
        let (count,): (i64,) = sqlx::query_as(
            "SELECT COUNT(*) FROM operations WHERE kind = 'restore_drill' AND is_active = 1",
        )
        .fetch_one(self.read())
        .await?;
        Ok(count)
    }
}

impl WriteTx {
    /// Writes that a drill began; one that is on record stays as it is.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn open_restore_drill(
        &mut self,
        operation: &OperationId,
        server: &ServerId,
        repository: i64,
        label: &str,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO restore_drills (operation_id, server_id, repository, label, started_at, outcome) VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (operation_id) DO NOTHING",
        )
        .bind(operation.as_str())
        .bind(server.as_str())
        .bind(repository)
        .bind(label)
        .bind(micros(self.now))
        .bind(RUNNING)
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Writes what came out of a drill that is not over; one that is over stays as it is.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn close_restore_drill(
        &mut self,
        operation: &OperationId,
        found: &Found,
        outcome: &str,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE restore_drills SET ended_at = $2, restore_micros = $3, replay_micros = $4, bytes = $5, databases = $6, tables = $7,
               table_rows = $8, checked_relations = $9, last_commit_at = $10, data_age_micros = $11, outcome = $12
             WHERE operation_id = $1 AND outcome = $13",
        )
        .bind(operation.as_str())
        .bind(micros(self.now))
        .bind(found.restore_micros)
        .bind(found.replay_micros)
        .bind(found.bytes)
        .bind(found.databases)
        .bind(found.tables)
        .bind(found.rows)
        .bind(found.checked_relations)
        .bind(found.last_commit_at.map(micros))
        .bind(found.data_age_micros)
        .bind(outcome)
        .bind(RUNNING)
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }
}
