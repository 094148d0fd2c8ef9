//! Reads of the pages that show what happened: what stands before and after a page of a list, and
//! which operation tried another one again.
//!
//! Lists are paged by key: a page is "older than this id". The page before it is found by counting
//! one page upward from its first line, so that no page number ever points at the wrong lines.

use super::activity::{ACTIVITY_PAGE, ActivityFilter, seen_line};
use super::codec::{micros, parsed};
use super::operations::{OPERATION_PAGE, OperationFilter};
use super::scope::seen_by;
use super::{Store, StoreError};
use crate::domain::activity::ActivityOutcome;
use crate::domain::ids::{ActivityId, OperationId, ServerId};
use crate::domain::operation::{OperationKind, OperationStatus};
use chrono::{DateTime, Utc};

/// Narrow lists have texts of their own, so that each is found by its index.
macro_rules! operations {
    ($which:literal, $side:literal) => {
        concat!(
            "SELECT id FROM operations WHERE ",
            $which,
            " AND ($3 = '' OR kind = $3) AND ",
            seen_by!("$6", "operations.group_id"),
            " AND ",
            $side,
            " LIMIT 1 OFFSET $5"
        )
    };
}

macro_rules! lines {
    ($server:literal, $side:literal) => {
        concat!(
            "SELECT id FROM activity WHERE ",
            $server,
            " AND ($2 = '' OR actor_name = $2) AND ($3 = '' OR action LIKE $3 ESCAPE '!')
               AND ($4 = '' OR lower(subject) LIKE $4 ESCAPE '!') AND ($5 = '' OR outcome = $5) AND ",
            seen_line!("$8"),
            " AND ",
            $side,
            " LIMIT 1 OFFSET $7"
        )
    };
}

/// What stands on either side of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbours<Id> {
    /// Whether there are older lines.
    pub older: bool,
    /// The `before` of the newer page; `None` when that is the first page.
    pub newer_before: Option<Id>,
}

impl Store {
    /// How many operations of a kind somebody asked for on a server since a time.
    pub async fn count_requests(
        &self,
        server: &ServerId,
        kind: OperationKind,
        by: &str,
        since: DateTime<Utc>,
    ) -> Result<usize, StoreError> {
        let (count,): (i64,) = sqlx::query_as(
            "SELECT COUNT(*) FROM operations WHERE server_id = $1 AND kind = $2 AND requested_by = $3 AND created_at > $4",
        )
        .bind(server.as_str())
        .bind(kind.key())
        .bind(by.to_owned())
        .bind(micros(since))
        .fetch_one(self.read())
        .await?;
        Ok(usize::try_from(count).unwrap_or(0))
    }

    /// Whether a server was in service at any time: a creation of it succeeded.
    pub async fn was_in_service(&self, server: &ServerId) -> Result<bool, StoreError> {
        let (count,): (i64,) = sqlx::query_as(
            "SELECT COUNT(*) FROM operations WHERE server_id = $1 AND kind IN ('create', 'restore') AND status = 'succeeded'",
        )
        .bind(server.as_str())
        .fetch_one(self.read())
        .await?;
        Ok(count > 0)
    }

    /// What stands around a page of operations that begins with `first` and ends with `last`.
    pub async fn operation_neighbours(
        &self,
        filter: &OperationFilter,
        first: &OperationId,
        last: &OperationId,
    ) -> Result<Neighbours<OperationId>, StoreError> {
        let older = self.operation_at(filter, Side::Older(last.as_str())).await?;
        // A page that was not asked for by a key is the first one.
        let newer = match filter.before {
            Some(_) => {
                self.operation_at(filter, Side::Newer(first.as_str(), OPERATION_PAGE)).await?
            }
            None => None,
        };
        let newer_before =
            newer.map(|id| parsed(&id, OperationId::parse, "operation id")).transpose()?;
        Ok(Neighbours { older: older.is_some(), newer_before })
    }

    async fn operation_at(
        &self,
        filter: &OperationFilter,
        side: Side<'_>,
    ) -> Result<Option<String>, StoreError> {
        let sql = match (side, filter.status, &filter.server_id) {
            (Side::Older(_), Some(_), None) => {
                operations!("$1 = '' AND status = $2", "id < $4 ORDER BY id DESC")
            }
            (Side::Newer(..), Some(_), None) => {
                operations!("$1 = '' AND status = $2", "id > $4 ORDER BY id")
            }
            (Side::Older(_), ..) => operations!(
                "($1 = '' OR server_id = $1) AND ($2 = '' OR status = $2)",
                "id < $4 ORDER BY id DESC"
            ),
            (Side::Newer(..), ..) => operations!(
                "($1 = '' OR server_id = $1) AND ($2 = '' OR status = $2)",
                "id > $4 ORDER BY id"
            ),
        };
        let row: Option<(String,)> = sqlx::query_as(sql)
            .bind(filter.server_id.as_ref().map_or("", |id| id.as_str()).to_owned())
            .bind(filter.status.map_or("", OperationStatus::key))
            .bind(filter.kind.map_or("", OperationKind::key))
            .bind(side.from().to_owned())
            .bind(side.offset())
            .bind(filter.viewer.bind())
            .fetch_optional(self.read())
            .await?;
        Ok(row.map(|(id,)| id))
    }

    /// What stands around a page of the activity log that begins with `first` and ends with `last`.
    pub async fn activity_neighbours(
        &self,
        filter: &ActivityFilter,
        first: &ActivityId,
        last: &ActivityId,
    ) -> Result<Neighbours<ActivityId>, StoreError> {
        let older = self.activity_at(filter, Side::Older(last.as_str())).await?;
        let newer = match filter.before {
            Some(_) => self.activity_at(filter, Side::Newer(first.as_str(), ACTIVITY_PAGE)).await?,
            None => None,
        };
        let newer_before =
            newer.map(|id| parsed(&id, ActivityId::parse, "activity id")).transpose()?;
        Ok(Neighbours { older: older.is_some(), newer_before })
    }

    async fn activity_at(
        &self,
        filter: &ActivityFilter,
        side: Side<'_>,
    ) -> Result<Option<String>, StoreError> {
        let sql = match (side, &filter.server_id) {
            (Side::Older(_), Some(_)) => lines!("server_id = $1", "id < $6 ORDER BY id DESC"),
            (Side::Newer(..), Some(_)) => lines!("server_id = $1", "id > $6 ORDER BY id"),
            (Side::Older(_), None) => lines!("$1 = ''", "id < $6 ORDER BY id DESC"),
            (Side::Newer(..), None) => lines!("$1 = ''", "id > $6 ORDER BY id"),
        };
        let row: Option<(String,)> = sqlx::query_as(sql)
            .bind(filter.server_id.as_ref().map_or("", |id| id.as_str()).to_owned())
            .bind(filter.actor.clone())
            .bind(filter.action_pattern())
            .bind(filter.subject_pattern())
            .bind(filter.outcome.map_or("", ActivityOutcome::key))
            .bind(side.from().to_owned())
            .bind(side.offset())
            .bind(filter.viewer.bind())
            .fetch_optional(self.read())
            .await?;
        Ok(row.map(|(id,)| id))
    }

    /// The last operation that tried this one again.
    pub async fn operation_successor(
        &self,
        server: &ServerId,
        id: &OperationId,
    ) -> Result<Option<OperationId>, StoreError> {
        let row: Option<(String,)> = sqlx::query_as(
            "SELECT id FROM operations WHERE server_id = $1 AND retry_of = $2 ORDER BY id DESC LIMIT 1",
        )
        .bind(server.as_str())
        .bind(id.as_str())
        .fetch_optional(self.read())
        .await?;
        row.map(|(id,)| parsed(&id, OperationId::parse, "operation id")).transpose()
    }
}

/// One step to a side of a page.
#[derive(Clone, Copy)]
enum Side<'a> {
    Older(&'a str),
    /// One page above this id.
    Newer(&'a str, i64),
}

impl Side<'_> {
    fn from(&self) -> &str {
        match self {
            Side::Older(id) | Side::Newer(id, _) => id,
        }
    }

    fn offset(&self) -> i64 {
        match self {
            Side::Older(_) => 0,
            Side::Newer(_, page) => *page,
        }
    }
}
