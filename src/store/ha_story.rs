//! What pages show of a pair beside its row: its story in pages, its drills, the zones of its primary.

use super::codec::{micros, parsed, time, time_option};
use super::ha::HaEvent;
use super::{Store, StoreError, WriteTx};
use crate::domain::ids::{MemberId, OperationId, ServerId};
use crate::domain::operation::OperationKind;
use chrono::{DateTime, Utc};
use std::collections::HashMap;

/// A failover drill, as it was measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HaDrill {
    pub operation_id: Option<OperationId>,
    pub started_at: DateTime<Utc>,
    pub ended_at: Option<DateTime<Utc>>,
    /// Writes of the probe that were acknowledged.
    pub writes: i64,
    /// Of them those that were not found afterwards.
    pub lost: i64,
    /// Longest time between two acknowledged writes, in microseconds; `None` when not measured.
    pub gap_micros: Option<i64>,
    /// A word, such as `running`, `passed`.
    pub outcome: String,
}

/// Word of a drill that was asked for and is not measured yet.
pub const DRILL_RUNNING: &str = "running";

/// A page of the story.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPage {
    /// Newest first.
    pub events: Vec<HaEvent>,
    /// What leads to the next page; `None` on the last.
    pub older: Option<String>,
}

/// Lines on a page of the story.
const EVENT_PAGE: i64 = 25;

impl Store {
    /// A page of a pair's story: the lines before a place, or the newest ones.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn ha_event_page(
        &self,
        server: &ServerId,
        before: &str,
    ) -> Result<EventPage, StoreError> {
        let rows: Vec<(String, i64, i64, String, String, Option<String>)> = sqlx::query_as(
            "SELECT id, at, epoch, kind, detail, operation_id FROM ha_events
             WHERE server_id = $1 AND ($2 = '' OR id < $2) ORDER BY id DESC LIMIT $3",
        )
        .bind(server.as_str())
        .bind(before.to_owned())
        .bind(EVENT_PAGE + 1)
        .fetch_all(self.read())
        .await?;
        let has_more = rows.len() as i64 > EVENT_PAGE;
        let shown = rows.into_iter().take(EVENT_PAGE as usize);
        let mut last = None;
        let events = shown
            .map(|(id, at, epoch, kind, detail, operation)| {
                last = Some(id);
                let operation_id = operation.as_deref().and_then(OperationId::parse);
                HaEvent { at: time(at), epoch, kind, detail, operation_id }
            })
            .collect();
        Ok(EventPage { events, older: last.filter(|_| has_more) })
    }

    /// Failover drills of a server, newest first.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn ha_drills(
        &self,
        server: &ServerId,
        limit: i64,
    ) -> Result<Vec<HaDrill>, StoreError> {
        type Row = (Option<String>, i64, Option<i64>, i64, i64, Option<i64>, String);
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT operation_id, started_at, ended_at, writes, lost, gap_micros, outcome FROM ha_drills
             WHERE server_id = $1 ORDER BY started_at DESC, id DESC LIMIT $2",
        )
        .bind(server.as_str())
        .bind(limit)
        .fetch_all(self.read())
        .await?;
        let drill = |(operation, started, ended, writes, lost, gap_micros, outcome): Row| HaDrill {
            operation_id: operation.as_deref().and_then(OperationId::parse),
            started_at: time(started),
            ended_at: time_option(ended),
            writes,
            lost,
            gap_micros,
            outcome,
        };
        Ok(rows.into_iter().map(drill).collect())
    }

    /// The zone in which the primary of each pair is, by server id.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn ha_primary_zones(&self) -> Result<HashMap<String, String>, StoreError> {
        let rows: Vec<(String, String)> = sqlx::query_as(
            "SELECT h.server_id, m.zone FROM high_availability h JOIN members m ON m.id = h.primary_member WHERE m.zone <> ''",
        )
        .fetch_all(self.read())
        .await?;
        Ok(rows.into_iter().collect())
    }

    /// Kinds of operation that are under way on a server, in every lane.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn kinds_under_way(
        &self,
        server: &ServerId,
    ) -> Result<Vec<OperationKind>, StoreError> {
        let rows: Vec<(String,)> =
            sqlx::query_as("SELECT kind FROM operations WHERE server_id = $1 AND is_active = 1 AND lane <> 'backup'")
                .bind(server.as_str())
                .fetch_all(self.read())
                .await?;
        rows.iter().map(|(kind,)| parsed(kind, OperationKind::parse, "operation kind")).collect()
    }
}

impl WriteTx {
    /// Writes that a drill was asked for. Its id is that of its operation: one operation is one drill.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn open_drill(
        &mut self,
        server: &ServerId,
        operation: &OperationId,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO ha_drills (id, server_id, operation_id, started_at, outcome) VALUES ($1, $2, $1, $3, $4) ON CONFLICT (id) DO NOTHING",
        )
        .bind(operation.as_str())
        .bind(server.as_str())
        .bind(micros(self.now))
        .bind(DRILL_RUNNING)
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// The member of a server that has one, with its zone as it was placed.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn only_member(
        &mut self,
        server: &ServerId,
    ) -> Result<Option<(MemberId, String)>, StoreError> {
        let rows: Vec<(String, String)> =
            sqlx::query_as("SELECT id, zone FROM members WHERE server_id = $1")
                .bind(server.as_str())
                .fetch_all(&mut *self.tx)
                .await?;
        let [(id, zone)] = rows.as_slice() else { return Ok(None) };
        Ok(Some((parsed(id, MemberId::parse, "member id")?, zone.clone())))
    }
}
