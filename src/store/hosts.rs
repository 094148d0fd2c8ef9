//! Hosts, what was last seen of them, and what is promised of them.

use super::codec::{from_json, json, micros, parsed, time};
use super::{Record, Store, StoreError, WriteTx};
use crate::clock::new_id;
use crate::domain::catalog::{Sku, StorageSize};
use crate::domain::host::{EngineFacts, Host, HostObservation, HostOrigin, Orphan, Place};
use crate::domain::ids::HostId;
use crate::domain::placement::{HostLoad, Promise};
use crate::domain::sharing::{SeenHost, Sharing, shared};
use chrono::{DateTime, Utc};
use sqlx::{AnyConnection, FromRow};
use std::collections::HashMap;
use std::net::IpAddr;

#[derive(FromRow)]
struct Row {
    id: String,
    name: String,
    address: String,
    places: String,
    member_address: String,
    origin: String,
    has_tls: i64,
    version: i64,
}

macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT id, name, address, places, member_address, origin,
             CASE WHEN sealed_tls IS NULL THEN 0 ELSE 1 END AS has_tls, version FROM hosts ",
            $tail
        )
    };
}

impl Row {
    fn into_host(self) -> Result<Host, StoreError> {
        Ok(Host {
            id: parsed(&self.id, HostId::parse, "host id")?,
            name: self.name,
            address: self.address,
            places: from_json(&self.places, "places")?,
            member_address: self.member_address.parse().ok(),
            origin: parsed(&self.origin, HostOrigin::parse, "origin of a host")?,
            has_tls: self.has_tls != 0,
            version: self.version,
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

/// A host as the file or a form says it is.
#[derive(Debug, Clone, Default)]
pub struct HostEntry {
    /// Unique; the host is known by it.
    pub name: String,
    pub address: String,
    pub places: Vec<Place>,
    pub member_address: Option<IpAddr>,
    /// Certificates as `operations::host_entry` seals them.
    pub sealed_tls: Option<Vec<u8>>,
}

/// How many members are placed on a host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MembersOn {
    pub all: i64,
    /// Of them those that their pair can do without: standbys, and members of before.
    pub beside: i64,
}

type Statement<'q> = sqlx::query::Query<'q, sqlx::Any, sqlx::any::AnyArguments>;

/// Binds $1 to $7: id, name, address, places, time, member address, certificates.
fn bind<'q>(
    statement: Statement<'q>,
    id: &HostId,
    entry: &HostEntry,
    now: DateTime<Utc>,
) -> Statement<'q> {
    statement
        .bind(id.to_string())
        .bind(entry.name.clone())
        .bind(entry.address.clone())
        .bind(json(&entry.places))
        .bind(micros(now))
        .bind(entry.member_address.map(|ip| ip.to_string()).unwrap_or_default())
        .bind(entry.sealed_tls.clone())
}

impl Store {
    /// Makes the hosts of the configuration known, by name; gives every host with its id.
    /// A host that left the configuration stays on record, because servers may be on it, but takes no new one.
    pub async fn register_hosts(
        &self,
        now: DateTime<Utc>,
        wanted: &[(String, String, Vec<Place>)],
    ) -> Result<Vec<Host>, StoreError> {
        let entry = |(name, address, places): &(String, String, Vec<Place>)| HostEntry {
            name: name.clone(),
            address: address.clone(),
            places: places.clone(),
            ..HostEntry::default()
        };
        let wanted: Vec<HostEntry> = wanted.iter().map(entry).collect();
        self.register_host_entries(now, &wanted).await
    }

    /// The same with everything that the file says of them. Hosts of the Hosts page stay as they are, unless the
    /// file names one: then it is the file's.
    pub async fn register_host_entries(
        &self,
        now: DateTime<Utc>,
        wanted: &[HostEntry],
    ) -> Result<Vec<Host>, StoreError> {
        let mut tx = self.begin_write(now).await?;
        sqlx::query("UPDATE hosts SET is_configured = 0 WHERE origin = 'File'")
            .execute(&mut *tx.tx)
            .await?;
        for entry in wanted {
            let id: HostId = new_id(HostId::parse);
            let statement = sqlx::query(
                "INSERT INTO hosts (id, name, address, places, created_at, member_address, sealed_tls, origin)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, 'File')
                 ON CONFLICT (name) DO UPDATE SET address = excluded.address, places = excluded.places, is_configured = 1,
                   member_address = excluded.member_address, sealed_tls = excluded.sealed_tls, origin = 'File',
                   version = hosts.version + 1",
            );
            bind(statement, &id, entry, now).execute(&mut *tx.tx).await?;
        }
        tx.commit(Record::Nothing("the configuration file is the record of what hosts there are"))
            .await?;
        self.hosts().await
    }

    pub async fn hosts(&self) -> Result<Vec<Host>, StoreError> {
        let rows: Vec<Row> =
            sqlx::query_as(select!("ORDER BY name")).fetch_all(self.read()).await?;
        rows.into_iter().map(Row::into_host).collect()
    }

    /// A host by its id.
    pub async fn host(&self, id: &HostId) -> Result<Option<Host>, StoreError> {
        let row: Option<Row> = sqlx::query_as(select!("WHERE id = $1"))
            .bind(id.as_str())
            .fetch_optional(self.read())
            .await?;
        row.map(Row::into_host).transpose()
    }

    /// Hosts of the file and of the Hosts page, with their sealed certificates: those that are driven.
    pub async fn driven_hosts(&self) -> Result<Vec<(Host, Option<Vec<u8>>)>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(CONFIGURED).fetch_all(self.read()).await?;
        let sealed: Vec<(String, Vec<u8>)> =
            sqlx::query_as("SELECT id, sealed_tls FROM hosts WHERE sealed_tls IS NOT NULL")
                .fetch_all(self.read())
                .await?;
        let mut sealed: HashMap<String, Vec<u8>> = sealed.into_iter().collect();
        let whole = |row: Row| {
            let tls = sealed.remove(&row.id);
            row.into_host().map(|host| (host, tls))
        };
        rows.into_iter().map(whole).collect()
    }

    /// Hosts that serve a zone and take new servers, each with what its engine last told, also when it is silent now.
    pub async fn hosts_of_zone(
        &self,
        region: &str,
        zone: &str,
    ) -> Result<Vec<SeenHost>, StoreError> {
        let mut connection = self.read().acquire().await?;
        let rows: Vec<Row> = sqlx::query_as(CONFIGURED).fetch_all(&mut *connection).await?;
        let seen = observations(&mut connection).await?;
        let engine_id = |host: &Host| {
            let seen = seen.iter().find(|seen| seen.host_id == host.id)?;
            Some(seen.facts.as_ref()?.1.engine_id.clone())
        };
        let mut here = vec![];
        for row in rows {
            let host = row.into_host()?;
            if host.serves(region, zone) {
                here.push(SeenHost { engine_id: engine_id(&host), host });
            }
        }
        Ok(here)
    }

    /// What two zones of a region share, as far as it is known; `None` when nothing is, or one has no host. For the
    /// pages that offer a standby in another zone: [`Sharing::sentence`] says it.
    pub async fn zone_truth(
        &self,
        region: &str,
        zone_a: &str,
        zone_b: &str,
    ) -> Result<Option<Sharing>, StoreError> {
        let a = self.hosts_of_zone(region, zone_a).await?;
        let b = self.hosts_of_zone(region, zone_b).await?;
        Ok(shared(&a, &b))
    }

    /// Sealed certificates of a host.
    pub async fn sealed_tls(&self, id: &HostId) -> Result<Option<Vec<u8>>, StoreError> {
        let row: Option<(Option<Vec<u8>>,)> =
            sqlx::query_as("SELECT sealed_tls FROM hosts WHERE id = $1")
                .bind(id.as_str())
                .fetch_optional(self.read())
                .await?;
        Ok(row.and_then(|(sealed,)| sealed))
    }

    /// How many members are placed on a host.
    pub async fn count_members_on(&self, host: &HostId) -> Result<MembersOn, StoreError> {
        let mut connection = self.read().acquire().await?;
        members_on(&mut connection, host).await
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
    /// Adds a host of the Hosts page. A name that is taken is a unique violation.
    pub async fn insert_host(&mut self, id: &HostId, entry: &HostEntry) -> Result<(), StoreError> {
        let now = self.now;
        let statement = sqlx::query(
            "INSERT INTO hosts (id, name, address, places, created_at, member_address, sealed_tls, origin)
             VALUES ($1, $2, $3, $4, $5, $6, $7, 'Portal')",
        );
        bind(statement, id, entry, now).execute(&mut *self.tx).await?;
        Ok(())
    }

    /// Changes a host of the Hosts page that is still as it was read; its name stays. `false` when somebody was faster.
    pub async fn update_host(
        &mut self,
        read: &Host,
        entry: &HostEntry,
    ) -> Result<bool, StoreError> {
        let now = self.now;
        let statement = sqlx::query(
            "UPDATE hosts SET address = $3, places = $4, member_address = $6, sealed_tls = $7, version = version + 1
             WHERE id = $1 AND name = $2 AND $5 > 0 AND origin = 'Portal' AND version = $8",
        );
        let statement = bind(statement, &read.id, entry, now).bind(read.version);
        Ok(statement.execute(&mut *self.tx).await?.rows_affected() == 1)
    }

    /// How many members are placed on a host. Whoever decides by it has locked placement before.
    pub async fn count_members_on(&mut self, host: &HostId) -> Result<MembersOn, StoreError> {
        members_on(&mut self.tx, host).await
    }

    /// Forgets a host that the file does not name, and what was seen of it. `false` when there is none such.
    pub async fn delete_host(&mut self, host: &HostId) -> Result<bool, StoreError> {
        let removed = sqlx::query(
            "DELETE FROM hosts WHERE id = $1 AND (origin = 'Portal' OR is_configured = 0)",
        )
        .bind(host.as_str())
        .execute(&mut *self.tx)
        .await?;
        sqlx::query("DELETE FROM host_observations WHERE host_id NOT IN (SELECT id FROM hosts)")
            .execute(&mut *self.tx)
            .await?;
        Ok(removed.rows_affected() == 1)
    }

    /// The same, seen inside the transaction that places a member.
    pub async fn host_loads(&mut self) -> Result<Vec<HostLoad>, StoreError> {
        loads(&mut self.tx, CONFIGURED).await
    }
}

async fn members_on(
    connection: &mut AnyConnection,
    host: &HostId,
) -> Result<MembersOn, StoreError> {
    let (all, beside): (i64, i64) = sqlx::query_as(
        "SELECT COUNT(*), COUNT(CASE WHEN h.primary_member <> m.id THEN 1 END) FROM members m
         LEFT JOIN high_availability h ON h.server_id = m.server_id WHERE m.host_id = $1",
    )
    .bind(host.as_str())
    .fetch_one(connection)
    .await?;
    Ok(MembersOn { all, beside })
}

async fn observations(connection: &mut AnyConnection) -> Result<Vec<HostObservation>, StoreError> {
    let rows: Vec<ObservationRow> = sqlx::query_as(
        "SELECT host_id, observed_at, facts_at, facts, error, orphans FROM host_observations",
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(ObservationRow::into_observation).collect()
}

const CONFIGURED: &str = select!("WHERE is_configured = 1 ORDER BY name");
const ALL: &str = select!("ORDER BY name");

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
