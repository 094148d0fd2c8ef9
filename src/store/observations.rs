//! What was last seen of a server beyond its containers: its databases, its settings, its storage. One
//! row for each kind of look, with the time of the look; the facts are the looker's own type as JSON.

use super::codec::{from_json, json, micros, time};
use super::{Record, Store, StoreError};
use crate::domain::ids::ServerId;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::HashMap;

/// Facts with the time they were observed.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed<T> {
    pub at: DateTime<Utc>,
    pub facts: T,
}

impl Store {
    /// The last look of a kind at a server; `None` when nobody looked.
    ///
    /// # Errors
    /// When the store does not answer, or the facts are of another shape.
    pub async fn server_observation<T: DeserializeOwned>(
        &self,
        server: &ServerId,
        kind: &'static str,
    ) -> Result<Option<Observed<T>>, StoreError> {
        let row: Option<(i64, String)> = sqlx::query_as(
            "SELECT observed_at, facts FROM server_observations WHERE server_id = $1 AND kind = $2",
        )
        .bind(server.as_str())
        .bind(kind)
        .fetch_optional(self.read())
        .await?;
        row.map(|(at, facts)| Ok(Observed { at: time(at), facts: from_json(&facts, kind)? }))
            .transpose()
    }

    /// The last look of a kind at every server, by server id.
    ///
    /// # Errors
    /// When the store does not answer, or facts are of another shape.
    pub async fn server_observations<T: DeserializeOwned>(
        &self,
        kind: &'static str,
    ) -> Result<HashMap<String, Observed<T>>, StoreError> {
        let rows: Vec<(String, i64, String)> = sqlx::query_as(
            "SELECT server_id, observed_at, facts FROM server_observations WHERE kind = $1",
        )
        .bind(kind)
        .fetch_all(self.read())
        .await?;
        rows.into_iter()
            .map(|(id, at, facts)| {
                Ok((id, Observed { at: time(at), facts: from_json(&facts, kind)? }))
            })
            .collect()
    }

    /// Keeps a look of one kind at several servers, in one transaction: a tick costs one sync of the disk.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn observe_servers<T: Serialize>(
        &self,
        now: DateTime<Utc>,
        kind: &'static str,
        seen: &[(ServerId, T)],
    ) -> Result<(), StoreError> {
        if seen.is_empty() {
            return Ok(());
        }
        let mut tx = self.begin_write(now).await?;
        for (server, facts) in seen {
            sqlx::query(
                "INSERT INTO server_observations (server_id, kind, observed_at, facts) SELECT id, $2, $3, $4 FROM servers WHERE id = $1
                 ON CONFLICT (server_id, kind) DO UPDATE SET observed_at = excluded.observed_at, facts = excluded.facts",
            )
            .bind(server.as_str())
            .bind(kind)
            .bind(micros(now))
            .bind(json(facts))
            .execute(&mut *tx.tx)
            .await?;
        }
        tx.commit(Record::Nothing("an observation is no change that anybody asked for")).await
    }
}
