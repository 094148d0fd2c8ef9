//! Hosts, what was last seen of them, and what is promised of them.

use super::codec::{from_json, json, micros, parsed, time};
use super::{Record, Store, StoreError, WriteTx};
use crate::clock::new_id;
use crate::domain::catalog::{Sku, StorageSize};
use crate::domain::host::{EngineFacts, Host, HostObservation, Orphan};
use crate::domain::ids::HostId;
use crate::domain::placement::{HostLoad, Promise};
use chrono::{DateTime, Utc};
use sqlx::{AnyConnection, FromRow};
use std::collections::HashMap;

#[derive(FromRow)]
struct Row {
    id: String,
    name: String,
    address: String,
    places: String,
}

impl Row {
    fn into_host(self) -> Result<Host, StoreError> {
        Ok(Host {
            id: parsed(&self.id, HostId::parse, "host id")?,
            name: self.name,
            address: self.address,
            places: from_json(&self.places, "places")?,
        })
    }
}

#[derive(FromRow)]
struct ObservationRow {
    host_id: String,
    observed_at: i64,
    facts_at: Option<i64>,
    facts: Option<String>,
    error: Option<String>,
    orphans: String,
}

impl ObservationRow {
    fn into_observation(self) -> Result<HostObservation, StoreError> {
        let facts: Option<EngineFacts> =
            self.facts.as_deref().map(|text| from_json(text, "engine facts")).transpose()?;
        Ok(HostObservation {
            host_id: parsed(&self.host_id, HostId::parse, "host id")?,
            observed_at: time(self.observed_at),
            facts: self.facts_at.map(time).zip(facts),
            error: self.error,
            orphans: from_json(&self.orphans, "orphans")?,
        })
    }
}

impl Store {
    /// Makes the hosts of the configuration known, by name; gives them with their ids.
    /// A host that left the configuration stays on record, because servers may be on it, but takes no new one.
    pub async fn register_hosts(
        &self,
        now: DateTime<Utc>,
        wanted: &[(String, String, Vec<crate::domain::host::Place>)],
    ) -> Result<Vec<Host>, StoreError> {
        let mut tx = self.begin_write(now).await?;
        sqlx::query("UPDATE hosts SET is_configured = 0").execute(&mut *tx.tx).await?;
        for (name, address, places) in wanted {
            let id: HostId = new_id(HostId::parse);
            sqlx::query(
                "INSERT INTO hosts (id, name, address, places, created_at) VALUES ($1, $2, $3, $4, $5)
                 ON CONFLICT (name) DO UPDATE SET address = excluded.address, places = excluded.places, is_configured = 1",
            )
            .bind(id.as_str())
            .bind(name.clone())
            .bind(address.clone())
            .bind(json(places))
            .bind(micros(now))
            .execute(&mut *tx.tx)
            .await?;
        }
        tx.commit(Record::Nothing("the configuration file is the record of what hosts there are"))
            .await?;
        self.hosts().await
    }

    pub async fn hosts(&self) -> Result<Vec<Host>, StoreError> {
        let rows: Vec<Row> =
            sqlx::query_as("SELECT id, name, address, places FROM hosts ORDER BY name")
                .fetch_all(self.read())
                .await?;
        rows.into_iter().map(Row::into_host).collect()
    }

    pub async fn host_observations(&self) -> Result<Vec<HostObservation>, StoreError> {
        let mut connection = self.read().acquire().await?;
        observations(&mut connection).await
    }

    /// Keeps what an engine answered.
    pub async fn observe_host(
        &self,
        host: &HostId,
        now: DateTime<Utc>,
        facts: &EngineFacts,
        orphans: &[Orphan],
    ) -> Result<(), StoreError> {
        let mut tx = self.begin_write(now).await?;
        sqlx::query(
            "INSERT INTO host_observations (host_id, observed_at, facts_at, facts, error, orphans) VALUES ($1, $2, $2, $3, NULL, $4)
             ON CONFLICT (host_id) DO UPDATE SET observed_at = excluded.observed_at, facts_at = excluded.facts_at, facts = excluded.facts,
               error = NULL, orphans = excluded.orphans",
        )
        .bind(host.as_str())
        .bind(micros(now))
        .bind(json(facts))
        .bind(json(&orphans))
        .execute(&mut *tx.tx)
        .await?;
        tx.commit(Record::Nothing("an observation is no change that anybody asked for")).await
    }

    /// Keeps that an engine did not answer; facts of the last answer stay.
    pub async fn observe_host_silent(
        &self,
        host: &HostId,
        now: DateTime<Utc>,
        error: &str,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin_write(now).await?;
        sqlx::query(
            "INSERT INTO host_observations (host_id, observed_at, error) VALUES ($1, $2, $3)
             ON CONFLICT (host_id) DO UPDATE SET observed_at = excluded.observed_at, error = excluded.error",
        )
        .bind(host.as_str())
        .bind(micros(now))
        .bind(error)
        .execute(&mut *tx.tx)
        .await?;
        tx.commit(Record::Nothing("an observation is no change that anybody asked for")).await
    }

    /// Every host of the configuration with its facts and promises, for choosing one and for saying
    /// why none fits.
    pub async fn host_loads(&self) -> Result<Vec<HostLoad>, StoreError> {
        let mut connection = self.read().acquire().await?;
        loads(&mut connection, CONFIGURED).await
    }

    /// The same with hosts that left the configuration: servers may still be on them.
    pub async fn host_loads_all(&self) -> Result<Vec<HostLoad>, StoreError> {
        let mut connection = self.read().acquire().await?;
        loads(&mut connection, ALL).await
    }
}

impl WriteTx {
    /// The same, seen inside the transaction that places a member.
    pub async fn host_loads(&mut self) -> Result<Vec<HostLoad>, StoreError> {
        loads(&mut self.tx, CONFIGURED).await
    }
}

async fn observations(connection: &mut AnyConnection) -> Result<Vec<HostObservation>, StoreError> {
    let rows: Vec<ObservationRow> = sqlx::query_as(
        "SELECT host_id, observed_at, facts_at, facts, error, orphans FROM host_observations",
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(ObservationRow::into_observation).collect()
}

const CONFIGURED: &str =
    "SELECT id, name, address, places FROM hosts WHERE is_configured = 1 ORDER BY name";
const ALL: &str = "SELECT id, name, address, places FROM hosts ORDER BY name";

async fn loads(
    connection: &mut AnyConnection,
    hosts: &'static str,
) -> Result<Vec<HostLoad>, StoreError> {
    let hosts: Vec<Row> = sqlx::query_as(hosts).fetch_all(&mut *connection).await?;
    let promises = promises(connection).await?;
    let mut seen: HashMap<HostId, HostObservation> = observations(connection)
        .await?
        .into_iter()
        .map(|observation| (observation.host_id.clone(), observation))
        .collect();
    hosts
        .into_iter()
        .map(|row| {
            let host = row.into_host()?;
            let facts = seen
                .remove(&host.id)
                .filter(|seen| seen.error.is_none())
                .and_then(|seen| seen.facts)
                .map(|(_, facts)| facts);
            let promised = promises.get(&host.id).copied().unwrap_or_default();
            Ok(HostLoad { host, facts, promised })
        })
        .collect()
}

async fn promises(connection: &mut AnyConnection) -> Result<HashMap<HostId, Promise>, StoreError> {
    let rows: Vec<(String, String, i64, i64)> = sqlx::query_as(
        "SELECT m.host_id, s.sku, s.storage_gib, COUNT(*) FROM members m JOIN servers s ON s.id = m.server_id
         GROUP BY m.host_id, s.sku, s.storage_gib",
    )
    .fetch_all(connection)
    .await?;
    let mut promises: HashMap<HostId, Promise> = HashMap::new();
    for (host, sku, gib, count) in rows {
        let sizes = Sku::by_name(&sku).zip(u32::try_from(gib).ok().and_then(StorageSize::by_gib));
        let (Some(host), Some((sku, storage))) = (HostId::parse(&host), sizes) else { continue };
        let promise = promises.entry(host).or_default();
        for _ in 0..count {
            *promise = promise.plus(sku, storage);
        }
    }
    Ok(promises)
}
