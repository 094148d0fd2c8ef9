//! High availability: the row of a pair, its promotions and its events.

use super::codec::{micros, parsed, time, time_option};
use super::{Store, StoreError, WriteTx};
use crate::clock::new_uuid;
use crate::domain::ha::{Cause, Durability, HaMode, HighAvailability, Lsn, ReplicationState};
use crate::domain::ids::{MemberId, OperationId, ServerId};
use chrono::{DateTime, Utc};
use sqlx::FromRow;

#[derive(FromRow)]
struct Row {
    server_id: String,
    mode: String,
    durability: String,
    standby_zone: String,
    epoch: i64,
    first_epoch: i64,
    primary_member: Option<String>,
    standby_member: Option<String>,
    state: String,
    is_promotable: i64,
    armed_lsn: Option<String>,
    timeline: i64,
    changed_at: i64,
    version: i64,
}

impl Row {
    fn into_row(self) -> Result<HighAvailability, StoreError> {
        Ok(HighAvailability {
            server_id: parsed(&self.server_id, ServerId::parse, "server id")?,
            mode: parsed(&self.mode, HaMode::parse, "mode of high availability")?,
            durability: parsed(&self.durability, Durability::parse, "durability")?,
            standby_zone: self.standby_zone,
            epoch: self.epoch,
            first_epoch: self.first_epoch,
            primary: self.primary_member.as_deref().and_then(MemberId::parse),
            standby: self.standby_member.as_deref().and_then(MemberId::parse),
            state: parsed(&self.state, ReplicationState::parse, "state of replication")?,
            is_promotable: self.is_promotable != 0,
            armed_lsn: self.armed_lsn.as_deref().and_then(Lsn::parse),
            timeline: self.timeline,
            changed_at: time(self.changed_at),
            version: self.version,
        })
    }
}

macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT server_id, mode, durability, standby_zone, epoch, first_epoch, primary_member, standby_member, state, is_promotable, armed_lsn,
               timeline, changed_at, version FROM high_availability ",
            $tail
        )
    };
}

/// A change of primary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promotion {
    /// A UUID of its own: two promotions may come to the same number of timeline.
    pub id: String,
    pub server_id: ServerId,
    /// The epoch that began with it.
    pub epoch: i64,
    pub cause: Cause,
    /// One sentence: what was seen.
    pub reason: String,
    pub from_member: MemberId,
    pub to_member: MemberId,
    pub parent_timeline: i64,
    /// Read after the promotion.
    pub timeline: Option<i64>,
    /// End of the log of a primary that was stopped in order; `None` when it was not.
    pub stopped_lsn: Option<Lsn>,
    /// What the standby had received when it was promoted.
    pub received_lsn: Option<Lsn>,
    /// Where the new timeline begins.
    pub fork_lsn: Option<Lsn>,
    pub operation_id: Option<OperationId>,
    /// When the first sign of it was seen, or when a person asked.
    pub seen_at: DateTime<Utc>,
    pub decided_at: DateTime<Utc>,
    /// When clients were let in to the new primary.
    pub opened_at: Option<DateTime<Utc>>,
}

#[derive(FromRow)]
struct PromotionRow {
    id: String,
    server_id: String,
    epoch: i64,
    cause: String,
    reason: String,
    from_member: String,
    to_member: String,
    parent_timeline: i64,
    timeline: Option<i64>,
    stopped_lsn: Option<String>,
    received_lsn: Option<String>,
    fork_lsn: Option<String>,
    operation_id: Option<String>,
    seen_at: i64,
    decided_at: i64,
    opened_at: Option<i64>,
}

impl PromotionRow {
    fn into_promotion(self) -> Result<Promotion, StoreError> {
        let lsn = |text: Option<String>| text.as_deref().and_then(Lsn::parse);
        Ok(Promotion {
            id: self.id,
            server_id: parsed(&self.server_id, ServerId::parse, "server id")?,
            epoch: self.epoch,
            cause: parsed(&self.cause, Cause::parse, "cause of a promotion")?,
            reason: self.reason,
            from_member: parsed(&self.from_member, MemberId::parse, "member id")?,
            to_member: parsed(&self.to_member, MemberId::parse, "member id")?,
            parent_timeline: self.parent_timeline,
            timeline: self.timeline,
            stopped_lsn: lsn(self.stopped_lsn),
            received_lsn: lsn(self.received_lsn),
            fork_lsn: lsn(self.fork_lsn),
            operation_id: self.operation_id.as_deref().and_then(OperationId::parse),
            seen_at: time(self.seen_at),
            decided_at: time(self.decided_at),
            opened_at: time_option(self.opened_at),
        })
    }
}

/// One line of a pair's story.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HaEvent {
    pub at: DateTime<Utc>,
    pub epoch: i64,
    /// Word of the kind, such as `armed`.
    pub kind: String,
    /// One sentence for people.
    pub detail: String,
    pub operation_id: Option<OperationId>,
}

impl Store {
    /// The row of a server; `None` without high availability.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn ha(&self, server: &ServerId) -> Result<Option<HighAvailability>, StoreError> {
        let row: Option<Row> = sqlx::query_as(select!("WHERE server_id = $1"))
            .bind(server.as_str())
            .fetch_optional(self.read())
            .await?;
        row.map(Row::into_row).transpose()
    }

    /// Every row.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn ha_all(&self) -> Result<Vec<HighAvailability>, StoreError> {
        let rows: Vec<Row> =
            sqlx::query_as(select!("ORDER BY server_id")).fetch_all(self.read()).await?;
        rows.into_iter().map(Row::into_row).collect()
    }

    /// Changes of primary of a server, newest first.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn promotions(
        &self,
        server: &ServerId,
        limit: i64,
    ) -> Result<Vec<Promotion>, StoreError> {
        let rows: Vec<PromotionRow> = sqlx::query_as(
            "SELECT id, server_id, epoch, cause, reason, from_member, to_member, parent_timeline, timeline, stopped_lsn, received_lsn, fork_lsn,
               operation_id, seen_at, decided_at, opened_at FROM promotions WHERE server_id = $1 ORDER BY epoch DESC LIMIT $2",
        )
        .bind(server.as_str())
        .bind(limit)
        .fetch_all(self.read())
        .await?;
        rows.into_iter().map(PromotionRow::into_promotion).collect()
    }

    /// Lines of a pair's story, newest first.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn ha_events(
        &self,
        server: &ServerId,
        limit: i64,
    ) -> Result<Vec<HaEvent>, StoreError> {
        let rows: Vec<(i64, i64, String, String, Option<String>)> = sqlx::query_as(
            "SELECT at, epoch, kind, detail, operation_id FROM ha_events WHERE server_id = $1 ORDER BY id DESC LIMIT $2",
        )
        .bind(server.as_str())
        .bind(limit)
        .fetch_all(self.read())
        .await?;
        Ok(rows
            .into_iter()
            .map(|(at, epoch, kind, detail, operation)| HaEvent {
                at: time(at),
                epoch,
                kind,
                detail,
                operation_id: operation.as_deref().and_then(OperationId::parse),
            })
            .collect())
    }
}

impl WriteTx {
    /// The row, read inside the transaction that decides (F1).
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn ha(&mut self, server: &ServerId) -> Result<Option<HighAvailability>, StoreError> {
        let row: Option<Row> = sqlx::query_as(select!("WHERE server_id = $1"))
            .bind(server.as_str())
            .fetch_optional(&mut *self.tx)
            .await?;
        row.map(Row::into_row).transpose()
    }

    /// The epoch with which a new pair of a server begins: above every one that had a promotion.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn next_first_epoch(&mut self, server: &ServerId) -> Result<i64, StoreError> {
        let (last,): (i64,) =
            sqlx::query_as("SELECT COALESCE(MAX(epoch), 0) FROM promotions WHERE server_id = $1")
                .bind(server.as_str())
                .fetch_one(&mut *self.tx)
                .await?;
        Ok(last + 1)
    }

    /// Writes the row of a server that shall have high availability.
    ///
    /// # Errors
    /// When it has a row already, or the store does not answer.
    pub async fn insert_ha(&mut self, row: &HighAvailability) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO high_availability (server_id, mode, durability, standby_zone, epoch, primary_member, standby_member, state, is_promotable,
               armed_lsn, timeline, changed_at, first_epoch) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        )
        .bind(row.server_id.as_str())
        .bind(row.mode.key())
        .bind(row.durability.key())
        .bind(row.standby_zone.clone())
        .bind(row.epoch)
        .bind(row.primary.as_ref().map(|id| id.as_str().to_owned()))
        .bind(row.standby.as_ref().map(|id| id.as_str().to_owned()))
        .bind(row.state.key())
        .bind(i64::from(row.is_promotable))
        .bind(row.armed_lsn.map(|lsn| lsn.to_string()))
        .bind(row.timeline)
        .bind(micros(row.changed_at))
        .bind(row.first_epoch)
        .execute(&mut *self.tx)
        .await?;
        self.recount_members(&row.server_id).await
    }

    /// Puts `row` in the place of the one that it came from: of two that meet one wins.
    ///
    /// # Errors
    /// [`StoreError::Stale`] when somebody changed the row since it was read.
    pub async fn replace_ha(&mut self, row: &HighAvailability) -> Result<(), StoreError> {
        let done = sqlx::query(
            "UPDATE high_availability SET mode = $3, durability = $4, standby_zone = $5, epoch = $6, primary_member = $7, standby_member = $8,
               state = $9, is_promotable = $10, armed_lsn = $11, timeline = $12, changed_at = $13, version = version + 1
             WHERE server_id = $1 AND version = $2",
        )
        .bind(row.server_id.as_str())
        .bind(row.version)
        .bind(row.mode.key())
        .bind(row.durability.key())
        .bind(row.standby_zone.clone())
        .bind(row.epoch)
        .bind(row.primary.as_ref().map(|id| id.as_str().to_owned()))
        .bind(row.standby.as_ref().map(|id| id.as_str().to_owned()))
        .bind(row.state.key())
        .bind(i64::from(row.is_promotable))
        .bind(row.armed_lsn.map(|lsn| lsn.to_string()))
        .bind(row.timeline)
        .bind(micros(row.changed_at))
        .execute(&mut *self.tx)
        .await?;
        if done.rows_affected() == 1 { Ok(()) } else { Err(StoreError::Stale) }
    }

    /// Forgets the row; what it was stays in promotions and events.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn delete_ha(&mut self, server: &ServerId) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM high_availability WHERE server_id = $1")
            .bind(server.as_str())
            .execute(&mut *self.tx)
            .await?;
        self.recount_members(server).await
    }

    /// Writes a line of the story.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn insert_ha_event(
        &mut self,
        server: &ServerId,
        event: &HaEvent,
    ) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO ha_events (id, server_id, at, epoch, kind, detail, operation_id) VALUES ($1, $2, $3, $4, $5, $6, $7)")
            .bind(new_uuid())
            .bind(server.as_str())
            .bind(micros(event.at))
            .bind(event.epoch)
            .bind(event.kind.clone())
            .bind(event.detail.clone())
            .bind(event.operation_id.as_ref().map(|id| id.as_str().to_owned()))
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }

    /// Writes a promotion or what is newly known of it. An epoch has one promotion for ever.
    ///
    /// # Errors
    /// When the epoch belongs to another promotion.
    pub async fn put_promotion(&mut self, promotion: &Promotion) -> Result<(), StoreError> {
        let lsn = |lsn: Option<Lsn>| lsn.map(|lsn| lsn.to_string());
        let done = sqlx::query(
            "INSERT INTO promotions (id, server_id, epoch, cause, reason, from_member, to_member, parent_timeline, timeline, stopped_lsn, received_lsn,
               fork_lsn, operation_id, seen_at, decided_at, opened_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
             ON CONFLICT (id) DO UPDATE SET timeline = excluded.timeline, stopped_lsn = excluded.stopped_lsn, received_lsn = excluded.received_lsn,
               fork_lsn = excluded.fork_lsn, opened_at = excluded.opened_at WHERE promotions.epoch = excluded.epoch",
        )
        .bind(promotion.id.clone())
        .bind(promotion.server_id.as_str())
        .bind(promotion.epoch)
        .bind(promotion.cause.key())
        .bind(promotion.reason.clone())
        .bind(promotion.from_member.as_str())
        .bind(promotion.to_member.as_str())
        .bind(promotion.parent_timeline)
        .bind(promotion.timeline)
        .bind(lsn(promotion.stopped_lsn))
        .bind(lsn(promotion.received_lsn))
        .bind(lsn(promotion.fork_lsn))
        .bind(promotion.operation_id.as_ref().map(|id| id.as_str().to_owned()))
        .bind(micros(promotion.seen_at))
        .bind(micros(promotion.decided_at))
        .bind(promotion.opened_at.map(micros))
        .execute(&mut *self.tx)
        .await?;
        if done.rows_affected() == 1 { Ok(()) } else { Err(StoreError::Stale) }
    }
}
