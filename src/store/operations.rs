//! Operations as rows: submitted, claimed under a lease, moved step by step, ended.
//!
//! Every write of a running operation carries its [`Lease`] into the `WHERE`: a runner that lost the
//! lease writes nothing and gets [`StoreError::Stale`].

use super::codec::{from_json, micros, parsed, time, time_option};
use super::scope::{Viewer, seen_by};
use super::{Record, Store, StoreError};
use crate::domain::ids::{OperationId, ServerId};
use crate::domain::operation::{
    Lane, Lease, LogLine, Operation, OperationKind, OperationStatus, StepRecord, StepStatus,
};
use chrono::{DateTime, Utc};
use sqlx::FromRow;

#[derive(FromRow)]
struct Row {
    id: String,
    kind: String,
    server_id: String,
    server_name: String,
    status: String,
    input: String,
    cursor: i64,
    attempt: i64,
    run_at: i64,
    error: Option<String>,
    advice: Option<String>,
    failed_step: Option<String>,
    cancel_requested: i64,
    requested_by: String,
    requested_from: String,
    created_at: i64,
    started_at: Option<i64>,
    ended_at: Option<i64>,
    deadline_at: i64,
    retry_of: Option<String>,
}

impl Row {
    fn into_operation(self) -> Result<Operation, StoreError> {
        Ok(Operation {
            id: parsed(&self.id, OperationId::parse, "operation id")?,
            kind: parsed(&self.kind, OperationKind::parse, "operation kind")?,
            server_id: parsed(&self.server_id, ServerId::parse, "server id")?,
            server_name: self.server_name,
            status: parsed(&self.status, OperationStatus::parse, "operation status")?,
            input: from_json(&self.input, "operation input")?,
            cursor: self.cursor,
            attempt: self.attempt,
            run_at: time(self.run_at),
            error: self.error,
            advice: self.advice,
            failed_step: self.failed_step,
            cancel_requested: self.cancel_requested != 0,
            requested_by: self.requested_by,
            requested_from: self.requested_from,
            created_at: time(self.created_at),
            started_at: time_option(self.started_at),
            ended_at: time_option(self.ended_at),
            deadline_at: time(self.deadline_at),
            retry_of: self.retry_of.as_deref().and_then(OperationId::parse),
        })
    }
}

#[derive(FromRow)]
struct StepRow {
    ordinal: i64,
    name: String,
    title: String,
    status: String,
    output: String,
    note: Option<String>,
    attempts: i64,
    started_at: Option<i64>,
    ended_at: Option<i64>,
}

impl StepRow {
    fn into_step(self) -> Result<StepRecord, StoreError> {
        Ok(StepRecord {
            ordinal: self.ordinal,
            name: self.name,
            title: self.title,
            status: parsed(&self.status, StepStatus::parse, "step status")?,
            output: from_json(&self.output, "step output")?,
            note: self.note,
            attempts: self.attempts,
            started_at: time_option(self.started_at),
            ended_at: time_option(self.ended_at),
        })
    }
}

macro_rules! select {
    ($($tail:expr),+) => {
        concat!(
            "SELECT id, kind, server_id, server_name, status, input, cursor, attempt, run_at, error, advice, failed_step, cancel_requested,
               requested_by, requested_from, created_at, started_at, ended_at, deadline_at, retry_of FROM operations ",
            $($tail),+
        )
    };
}

/// An operation about to be written, with its plan: name and title of every step.
#[derive(Debug)]
pub struct NewOperation<'a> {
    pub id: OperationId,
    pub kind: OperationKind,
    pub server_id: &'a ServerId,
    pub server_name: &'a str,
    pub input: serde_json::Value,
    pub requested_by: &'a str,
    pub requested_from: &'a str,
    pub idempotency_key: Option<&'a str>,
    pub retry_of: Option<&'a OperationId>,
    pub plan: Vec<(&'static str, &'static str)>,
}

/// What the list of operations shows; empty does not filter.
#[derive(Debug, Clone, Default)]
pub struct OperationFilter {
    pub server_id: Option<ServerId>,
    pub status: Option<OperationStatus>,
    pub kind: Option<OperationKind>,
    pub viewer: Viewer,
    /// Only operations older than this one.
    pub before: Option<OperationId>,
}

/// Operations on one page of the list.
pub const OPERATION_PAGE: i64 = 50;

impl Store {
    pub async fn operation(&self, id: &OperationId) -> Result<Option<Operation>, StoreError> {
        let row: Option<Row> = sqlx::query_as(select!("WHERE id = $1"))
            .bind(id.as_str())
            .fetch_optional(self.read())
            .await?;
        row.map(Row::into_operation).transpose()
    }

    /// An operation, if the viewer may see it.
    pub async fn operation_seen_by(
        &self,
        id: &OperationId,
        viewer: &Viewer,
    ) -> Result<Option<Operation>, StoreError> {
        let row: Option<Row> =
            sqlx::query_as(select!("WHERE id = $1 AND ", seen_by!("$2", "operations.group_id")))
                .bind(id.as_str())
                .bind(viewer.bind())
                .fetch_optional(self.read())
                .await?;
        row.map(Row::into_operation).transpose()
    }

    /// The operation that an earlier submit with the same key made.
    pub async fn operation_by_key(&self, key: &str) -> Result<Option<Operation>, StoreError> {
        let row: Option<Row> = sqlx::query_as(select!("WHERE idempotency_key = $1"))
            .bind(key)
            .fetch_optional(self.read())
            .await?;
        row.map(Row::into_operation).transpose()
    }

    /// The operation that holds the change lane of a server.
    pub async fn active_operation(
        &self,
        server: &ServerId,
    ) -> Result<Option<Operation>, StoreError> {
        let row: Option<Row> =
            sqlx::query_as(select!("WHERE server_id = $1 AND lane = 'change' AND is_active = 1"))
                .bind(server.as_str())
                .fetch_optional(self.read())
                .await?;
        row.map(Row::into_operation).transpose()
    }

    /// The operation that holds the lane of backups of a server.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn active_backup(&self, server: &ServerId) -> Result<Option<Operation>, StoreError> {
        let row: Option<Row> =
            sqlx::query_as(select!("WHERE server_id = $1 AND lane = 'backup' AND is_active = 1"))
                .bind(server.as_str())
                .fetch_optional(self.read())
                .await?;
        row.map(Row::into_operation).transpose()
    }

    /// One page of operations, newest first.
    pub async fn operations(&self, filter: &OperationFilter) -> Result<Vec<Operation>, StoreError> {
        // Three texts, so that each narrow list is found by its index.
        let sql = match (&filter.server_id, filter.status) {
            (Some(_), _) => select!(
                "WHERE server_id = $1 AND ($2 = '' OR status = $2) AND ($3 = '' OR kind = $3) AND ($4 = '' OR id < $4) AND ",
                seen_by!("$5", "operations.group_id"),
                " ORDER BY id DESC LIMIT $6"
            ),
            (None, Some(_)) => select!(
                "WHERE $1 = '' AND status = $2 AND ($3 = '' OR kind = $3) AND ($4 = '' OR id < $4) AND ",
                seen_by!("$5", "operations.group_id"),
                " ORDER BY id DESC LIMIT $6"
            ),
            (None, None) => select!(
                "WHERE $1 = '' AND $2 = '' AND ($3 = '' OR kind = $3) AND ($4 = '' OR id < $4) AND ",
                seen_by!("$5", "operations.group_id"),
                " ORDER BY id DESC LIMIT $6"
            ),
        };
        let rows: Vec<Row> = sqlx::query_as(sql)
            .bind(filter.server_id.as_ref().map_or("", |id| id.as_str()).to_owned())
            .bind(filter.status.map_or("", OperationStatus::key))
            .bind(filter.kind.map_or("", OperationKind::key))
            .bind(filter.before.as_ref().map_or("", |id| id.as_str()).to_owned())
            .bind(filter.viewer.bind())
            .bind(OPERATION_PAGE)
            .fetch_all(self.read())
            .await?;
        rows.into_iter().map(Row::into_operation).collect()
    }

    pub async fn operation_steps(&self, id: &OperationId) -> Result<Vec<StepRecord>, StoreError> {
        let rows: Vec<StepRow> = sqlx::query_as(
            "SELECT ordinal, name, title, status, output, note, attempts, started_at, ended_at FROM operation_steps WHERE operation_id = $1 ORDER BY ordinal",
        )
        .bind(id.as_str())
        .fetch_all(self.read())
        .await?;
        rows.into_iter().map(StepRow::into_step).collect()
    }

    /// The last `limit` lines of an operation's log, oldest first.
    pub async fn operation_log(
        &self,
        id: &OperationId,
        limit: i64,
    ) -> Result<Vec<LogLine>, StoreError> {
        let rows: Vec<(i64, i64, String, String)> =
            sqlx::query_as("SELECT seq, at, step, line FROM operation_log WHERE operation_id = $1 ORDER BY seq DESC LIMIT $2")
                .bind(id.as_str())
                .bind(limit)
                .fetch_all(self.read())
                .await?;
        Ok(rows
            .into_iter()
            .rev()
            .map(|(seq, at, step, text)| LogLine { seq, at: time(at), step, text })
            .collect())
    }

    /// Median seconds that each step took in the last twenty successful operations of a kind.
    pub async fn step_seconds(
        &self,
        kind: OperationKind,
    ) -> Result<std::collections::HashMap<String, f64>, StoreError> {
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "SELECT t.name, t.ended_at - t.started_at FROM operation_steps t
             WHERE t.status = 'done' AND t.started_at IS NOT NULL AND t.ended_at IS NOT NULL AND t.operation_id IN
               (SELECT id FROM operations WHERE kind = $1 AND status = 'succeeded' ORDER BY id DESC LIMIT 20)",
        )
        .bind(kind.key())
        .fetch_all(self.read())
        .await?;
        let mut by_name: std::collections::HashMap<String, Vec<i64>> =
            std::collections::HashMap::new();
        for (name, micros) in rows {
            by_name.entry(name).or_default().push(micros);
        }
        Ok(by_name
            .into_iter()
            .map(|(name, mut times)| (name, median_seconds(&mut times)))
            .collect())
    }

    /// Takes the next due operation, if any: exactly one of all runners gets it.
    pub async fn claim_operation(
        &self,
        owner: &str,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Option<Lease>, StoreError> {
        self.claim(owner, (now, until), "").await
    }

    /// The same of the lane of rescue alone: for a runner that has no place left for others.
    pub async fn claim_rescue(
        &self,
        owner: &str,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Option<Lease>, StoreError> {
        self.claim(owner, (now, until), Lane::Rescue.key()).await
    }

    /// An empty `lane` is any.
    async fn claim(
        &self,
        owner: &str,
        (now, until): (DateTime<Utc>, DateTime<Utc>),
        lane: &'static str,
    ) -> Result<Option<Lease>, StoreError> {
        let mut tx = self.begin_write(now).await?;
        let row: Option<(String, i64)> = sqlx::query_as(
            "UPDATE operations SET lease_owner = $1, lease_until = $3, fence = fence + 1, started_at = COALESCE(started_at, $2),
               status = CASE status WHEN 'queued' THEN 'running' ELSE status END
             WHERE id = (SELECT id FROM operations WHERE is_active = 1 AND status IN ('queued', 'running', 'undoing') AND run_at <= $2 AND lease_until <= $2
                           AND ($4 = '' OR lane = $4)
                         ORDER BY run_at LIMIT 1)
               AND is_active = 1 AND run_at <= $2 AND lease_until <= $2
             RETURNING id, fence",
        )
        .bind(owner)
        .bind(micros(now))
        .bind(micros(until))
        .bind(lane)
        .fetch_optional(&mut *tx.tx)
        .await?;
        tx.commit(Record::Nothing("a claim is no change that anybody asked for")).await?;
        row.map(|(id, fence)| {
            Ok(Lease {
                operation_id: parsed(&id, OperationId::parse, "operation id")?,
                owner: owner.into(),
                fence,
            })
        })
        .transpose()
    }

    /// When the next operation is due that nobody holds.
    pub async fn next_operation_due(&self) -> Result<Option<DateTime<Utc>>, StoreError> {
        let row: (Option<i64>,) = sqlx::query_as(
            "SELECT MIN(CASE WHEN run_at > lease_until THEN run_at ELSE lease_until END) FROM operations
             WHERE is_active = 1 AND status IN ('queued', 'running', 'undoing')",
        )
        .fetch_one(self.read())
        .await?;
        Ok(row.0.map(time))
    }

    /// Owners that hold a lease now.
    pub async fn lease_owners(&self, now: DateTime<Utc>) -> Result<Vec<String>, StoreError> {
        let rows: Vec<(String,)> =
            sqlx::query_as("SELECT DISTINCT lease_owner FROM operations WHERE is_active = 1 AND lease_until > $1 AND lease_owner IS NOT NULL")
                .bind(micros(now))
                .fetch_all(self.read())
                .await?;
        Ok(rows.into_iter().map(|(owner,)| owner).collect())
    }

    /// Ends the leases of an owner that is known to be dead. Its fence stays behind, so it could write nothing anyhow.
    pub async fn end_leases_of(&self, owner: &str, now: DateTime<Utc>) -> Result<(), StoreError> {
        let mut tx = self.begin_write(now).await?;
        sqlx::query("UPDATE operations SET lease_until = 0, run_at = $2 WHERE lease_owner = $1 AND is_active = 1")
            .bind(owner)
            .bind(micros(now))
            .execute(&mut *tx.tx)
            .await?;
        tx.commit(Record::Nothing("a dead process lost its leases")).await
    }

    /// Extends a lease. [`StoreError::Stale`] when it was lost.
    pub async fn renew_lease(
        &self,
        lease: &Lease,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin_write(now).await?;
        tx.guard(lease, Some(until)).await?;
        tx.commit(Record::Nothing("a longer lease is no change that anybody asked for")).await
    }

    /// Appends lines to an operation's log, if the lease still holds.
    pub async fn append_operation_log(
        &self,
        lease: &Lease,
        now: DateTime<Utc>,
        step: &str,
        lines: &[String],
    ) -> Result<(), StoreError> {
        let mut tx = self.begin_write(now).await?;
        tx.guard(lease, None).await?;
        for line in lines {
            sqlx::query(
                "INSERT INTO operation_log (operation_id, seq, at, step, line)
                 SELECT $1, COALESCE(MAX(seq), 0) + 1, $2, $3, $4 FROM operation_log WHERE operation_id = $1",
            )
            .bind(lease.operation_id.as_str())
            .bind(micros(now))
            .bind(step)
            .bind(line.replace('\0', ""))
            .execute(&mut *tx.tx)
            .await?;
        }
        tx.commit(Record::Nothing("progress of an operation; its own line is written at its end"))
            .await
    }

    /// Lines that a step has written so far.
    pub async fn count_log_lines(&self, id: &OperationId, step: &str) -> Result<usize, StoreError> {
        let row: (i64,) = sqlx::query_as(
            "SELECT COUNT(*) FROM operation_log WHERE operation_id = $1 AND step = $2",
        )
        .bind(id.as_str())
        .bind(step)
        .fetch_one(self.read())
        .await?;
        Ok(usize::try_from(row.0).unwrap_or(0))
    }

    /// Asks a running operation to stop at its next step. `false` when it has ended or its cursor is
    /// beyond `last_return`: then nobody was promised anything.
    pub async fn request_cancel(
        &self,
        id: &OperationId,
        last_return: i64,
        now: DateTime<Utc>,
        record: Record,
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin_write(now).await?;
        let done = sqlx::query("UPDATE operations SET cancel_requested = 1, run_at = $2 WHERE id = $1 AND status IN ('queued', 'running') AND cursor <= $3")
            .bind(id.as_str())
            .bind(micros(now))
            .bind(last_return)
            .execute(&mut *tx.tx)
            .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        tx.commit(record).await?;
        Ok(true)
    }

    /// Lets a parked operation go on from where it stands. `false` when it is not parked.
    pub async fn resume_operation(
        &self,
        id: &OperationId,
        now: DateTime<Utc>,
        deadline: DateTime<Utc>,
        record: Record,
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin_write(now).await?;
        let done = sqlx::query(
            "UPDATE operations SET status = CASE is_undoing WHEN 1 THEN 'undoing' ELSE 'running' END, run_at = $2, lease_until = 0, attempt = 0,
               deadline_at = $3 WHERE id = $1 AND status = 'needs_attention'",
        )
        .bind(id.as_str())
        .bind(micros(now))
        .bind(micros(deadline))
        .execute(&mut *tx.tx)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        // The step's own deadline counts from now on.
        sqlx::query("UPDATE operation_steps SET started_at = $2, note = NULL WHERE operation_id = $1 AND status IN ('running', 'waiting', 'failed', 'undoing')")
            .bind(id.as_str())
            .bind(micros(now))
            .execute(&mut *tx.tx)
            .await?;
        tx.commit(record).await?;
        Ok(true)
    }
}

fn median_seconds(times: &mut [i64]) -> f64 {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or(0) as f64 / 1e6
}
