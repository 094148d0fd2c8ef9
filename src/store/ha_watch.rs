//! What the monitor's watch over pairs reads once a second: few statements for all pairs together.

use super::codec::{micros, parsed, time};
use super::{Store, StoreError};
use crate::domain::ids::{OperationId, ServerId};
use crate::domain::operation::{OperationKind, OperationStatus};
use crate::domain::route::RouteState;
use chrono::{DateTime, Duration, Utc};
use std::collections::{HashMap, HashSet};

/// Automatic failovers of a server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FailoverCount {
    /// When the last one was decided; `None` when there was none.
    pub last: Option<DateTime<Utc>>,
    pub within_hour: u32,
}

/// How far back operations are asked for that ended badly: longer than any distance between two tries.
const FAILED_WITHIN: Duration = Duration::hours(3);

/// An operation of a pair that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    pub kind: OperationKind,
    pub succeeded: bool,
    pub at: DateTime<Utc>,
}

/// One that waits for a person is at work on nothing: a pair that waited for it would wait as long. What is being made or
/// deleted is left alone all the same.
fn is_at_work(kind: OperationKind, status: &str) -> bool {
    status != OperationStatus::NeedsAttention.key()
        || matches!(kind, OperationKind::Create | OperationKind::Restore | OperationKind::Delete)
}

impl Store {
    /// Operations of the lanes of standby and rescue that ended lately, by server id, newest first.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn pair_operations_ended(
        &self,
        now: DateTime<Utc>,
    ) -> Result<HashMap<String, Vec<Ended>>, StoreError> {
        let rows: Vec<(String, String, String, i64)> = sqlx::query_as(
            "SELECT o.server_id, o.kind, o.status, o.ended_at FROM operations o JOIN high_availability h ON h.server_id = o.server_id
             WHERE o.lane IN ('standby', 'rescue') AND o.is_active = 0 AND o.ended_at > $1 ORDER BY o.id DESC",
        )
        .bind(micros(now - FAILED_WITHIN))
        .fetch_all(self.read())
        .await?;
        let mut found: HashMap<String, Vec<Ended>> = HashMap::new();
        for (server, kind, status, at) in rows {
            let kind = parsed(&kind, OperationKind::parse, "operation kind")?;
            let succeeded = status == OperationStatus::Succeeded.key();
            found.entry(server).or_default().push(Ended { kind, succeeded, at: time(at) });
        }
        Ok(found)
    }

    /// Kinds that are under way, of every lane, by server id.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn active_kinds_all(
        &self,
    ) -> Result<HashMap<String, Vec<OperationKind>>, StoreError> {
        let rows: Vec<(String, String, String)> =
            sqlx::query_as("SELECT server_id, kind, status FROM operations WHERE is_active = 1 AND lane <> 'backup'")
                .fetch_all(self.read())
                .await?;
        let mut found: HashMap<String, Vec<OperationKind>> = HashMap::new();
        for (server, kind, status) in rows {
            let kind = parsed(&kind, OperationKind::parse, "operation kind")?;
            if is_at_work(kind, &status) {
                found.entry(server).or_default().push(kind);
            }
        }
        Ok(found)
    }

    /// Ids of servers whose way in is held: their clients wait.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn held_servers(&self) -> Result<HashSet<String>, StoreError> {
        let rows: Vec<(String,)> = sqlx::query_as("SELECT server_id FROM routes WHERE state = $1")
            .bind(RouteState::Held.key())
            .fetch_all(self.read())
            .await?;
        Ok(rows.into_iter().map(|(server,)| server).collect())
    }

    /// Kinds that are under way on one server, of every lane.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn active_kinds_of(
        &self,
        server: &ServerId,
    ) -> Result<Vec<OperationKind>, StoreError> {
        let rows: Vec<(String, String)> = sqlx::query_as(
            "SELECT kind, status FROM operations WHERE server_id = $1 AND is_active = 1 AND lane <> 'backup'",
        )
        .bind(server.as_str())
        .fetch_all(self.read())
        .await?;
        let mut found = vec![];
        for (kind, status) in rows {
            let kind = parsed(&kind, OperationKind::parse, "operation kind")?;
            if is_at_work(kind, &status) {
                found.push(kind);
            }
        }
        Ok(found)
    }

    /// Operations in the lanes of a pair that wait for a person, oldest first.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn parked_of_a_pair(
        &self,
        server: &ServerId,
    ) -> Result<Vec<OperationId>, StoreError> {
        let rows: Vec<(String,)> = sqlx::query_as(
            "SELECT id FROM operations WHERE server_id = $1 AND is_active = 1 AND status = $2 AND lane IN ('standby', 'rescue') ORDER BY id",
        )
        .bind(server.as_str())
        .bind(OperationStatus::NeedsAttention.key())
        .fetch_all(self.read())
        .await?;
        rows.iter().map(|(id,)| parsed(id, OperationId::parse, "operation id")).collect()
    }

    /// Automatic failovers by server id; servers without any are left out.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn failover_counts(
        &self,
        now: DateTime<Utc>,
    ) -> Result<HashMap<String, FailoverCount>, StoreError> {
        let rows: Vec<(String, i64, i64)> = sqlx::query_as(
            "SELECT server_id, MAX(decided_at), COUNT(CASE WHEN decided_at > $1 THEN 1 END) FROM promotions
             WHERE cause = 'Automatic' GROUP BY server_id",
        )
        .bind(micros(now - Duration::hours(1)))
        .fetch_all(self.read())
        .await?;
        Ok(rows
            .into_iter()
            .map(|(server, last, within_hour)| {
                let within_hour = u32::try_from(within_hour).unwrap_or(u32::MAX);
                (server, FailoverCount { last: Some(time(last)), within_hour })
            })
            .collect())
    }
}
