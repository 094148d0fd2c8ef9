//! Members: where they are placed, which image they run, and what was last seen of them.

use super::codec::{from_json, json, micros, parsed, time};
use super::{Record, Store, StoreError, WriteTx};
use crate::domain::ha::MemberRole;
use crate::domain::ids::{HostId, MemberId, ServerId};
use crate::domain::server::{Member, MemberFacts, MemberObservation, SettledState};
use crate::domain::storage::Disk;
use chrono::{DateTime, Utc};
use sqlx::FromRow;
use std::collections::HashSet;

#[derive(FromRow)]
struct MemberRow {
    id: String,
    server_id: String,
    host_id: String,
    generation: i64,
    image: String,
    postgres_version: String,
    disk: String,
    zone: String,
    port: Option<i64>,
    role: String,
    server_name: String,
    settled: String,
}

impl MemberRow {
    fn into_parts(self) -> Result<(Member, String, SettledState), StoreError> {
        let member = Member {
            id: parsed(&self.id, MemberId::parse, "member id")?,
            server_id: parsed(&self.server_id, ServerId::parse, "server id")?,
            host_id: parsed(&self.host_id, HostId::parse, "host id")?,
            generation: self.generation,
            image: self.image,
            postgres_version: self.postgres_version,
            disk: from_json(&self.disk, "disk")?,
            zone: self.zone,
            port: self.port.and_then(|port| u16::try_from(port).ok()),
            role: role(&self.role),
        };
        Ok((member, self.server_name, parsed(&self.settled, SettledState::parse, "settled state")?))
    }
}

/// Letters in the order of the list: a primary before its standby before those of before.
pub(super) fn role(letter: &str) -> MemberRole {
    match letter {
        "a" => MemberRole::Primary,
        "b" => MemberRole::Standby,
        _ => MemberRole::Former,
    }
}

macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT m.id, m.server_id, m.host_id, m.generation, m.image, m.postgres_version, m.disk, m.zone, m.port, ",
            crate::store::members::role_of!(),
            ", s.name AS server_name, s.settled FROM members m JOIN servers s ON s.id = m.server_id
             LEFT JOIN high_availability h ON h.server_id = m.server_id ",
            $tail
        )
    };
}

/// The role of a member `m` by the row `h` of its server.
macro_rules! role_of {
    () => {
        "CASE WHEN h.primary_member IS NULL OR h.primary_member = m.id THEN 'a' ELSE CASE WHEN h.standby_member = m.id THEN 'b' ELSE 'c' END END AS role"
    };
}
pub(super) use role_of;

impl Store {
    /// Every primary, with the name of its server.
    pub async fn primaries_all(&self) -> Result<Vec<(Member, String, SettledState)>, StoreError> {
        let all = self.members_all().await?;
        Ok(all.into_iter().filter(|(member, _, _)| member.role == MemberRole::Primary).collect())
    }

    /// Every member of every server, with the name of its server.
    pub async fn members_all(&self) -> Result<Vec<(Member, String, SettledState)>, StoreError> {
        let rows: Vec<MemberRow> =
            sqlx::query_as(select!("ORDER BY s.name, role, m.id")).fetch_all(self.read()).await?;
        rows.into_iter().map(MemberRow::into_parts).collect()
    }

    /// Members of a server: the primary first, then the standby, then those of before.
    pub async fn members(&self, server: &ServerId) -> Result<Vec<Member>, StoreError> {
        let rows: Vec<MemberRow> =
            sqlx::query_as(select!("WHERE m.server_id = $1 ORDER BY role, m.id"))
                .bind(server.as_str())
                .fetch_all(self.read())
                .await?;
        rows.into_iter().map(|row| row.into_parts().map(|(member, _, _)| member)).collect()
    }

    /// The last look at each member of a server.
    pub async fn member_observations(
        &self,
        server: &ServerId,
    ) -> Result<Vec<MemberObservation>, StoreError> {
        let rows: Vec<(String, i64, String)> = sqlx::query_as(
            "SELECT o.member_id, o.observed_at, o.facts FROM member_observations o JOIN members m ON m.id = o.member_id WHERE m.server_id = $1",
        )
        .bind(server.as_str())
        .fetch_all(self.read())
        .await?;
        rows.into_iter()
            .map(|(id, at, facts)| {
                Ok(MemberObservation {
                    member_id: parsed(&id, MemberId::parse, "member id")?,
                    observed_at: time(at),
                    facts: from_json(&facts, "member facts")?,
                })
            })
            .collect()
    }

    /// Keeps what was seen of members, all in one transaction: a tick costs one sync of the disk.
    pub async fn observe_members(
        &self,
        now: DateTime<Utc>,
        seen: &[(MemberId, MemberFacts)],
    ) -> Result<(), StoreError> {
        let mut tx = self.begin_write(now).await?;
        for (member, facts) in seen {
            sqlx::query(
                "INSERT INTO member_observations (member_id, observed_at, facts) SELECT id, $2, $3 FROM members WHERE id = $1
                 ON CONFLICT (member_id) DO UPDATE SET observed_at = excluded.observed_at, facts = excluded.facts",
            )
            .bind(member.as_str())
            .bind(micros(now))
            .bind(json(facts))
            .execute(&mut *tx.tx)
            .await?;
        }
        tx.commit(Record::Nothing("an observation is no change that anybody asked for")).await
    }
}

impl WriteTx {
    pub async fn insert_member(&mut self, member: &Member) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO members (id, server_id, host_id, generation, image, disk, zone, port) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) DO NOTHING")
            .bind(member.id.as_str())
            .bind(member.server_id.as_str())
            .bind(member.host_id.as_str())
            .bind(member.generation)
            .bind(member.image.clone())
            .bind(json(&member.disk))
            .bind(member.zone.clone())
            .bind(member.port.map(i64::from))
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }

    /// Keeps which image and version a member runs.
    pub async fn set_member_image(
        &mut self,
        member: &MemberId,
        image: &str,
        version: &str,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE members SET image = $2, postgres_version = $3 WHERE id = $1")
            .bind(member.as_str())
            .bind(image)
            .bind(version)
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }

    /// Counts up to the generation of the container that is made next; never back.
    pub async fn raise_generation(
        &mut self,
        member: &MemberId,
        generation: i64,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE members SET generation = $2 WHERE id = $1 AND generation < $2")
            .bind(member.as_str())
            .bind(generation)
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }

    /// Keeps how the size of a member's storage is kept.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn set_member_disk(
        &mut self,
        member: &MemberId,
        disk: &Disk,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE members SET disk = $2 WHERE id = $1")
            .bind(member.as_str())
            .bind(json(&Some(disk)))
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }

    /// Numbers of loop devices that members on a host have. Whoever takes one has locked placement before.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn loop_minors(&mut self, host: &HostId) -> Result<HashSet<u32>, StoreError> {
        let disks: Vec<(String,)> = sqlx::query_as("SELECT disk FROM members WHERE host_id = $1")
            .bind(host.as_str())
            .fetch_all(&mut *self.tx)
            .await?;
        let read = |(text,): (String,)| from_json::<Option<Disk>>(&text, "disk");
        let disks: Vec<Option<Disk>> = disks.into_iter().map(read).collect::<Result<_, _>>()?;
        Ok(disks.iter().flatten().filter_map(Disk::minor).collect())
    }

    /// Forgets one member, after nothing of it is left on its host.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn delete_member(&mut self, member: &MemberId) -> Result<(), StoreError> {
        for statement in [
            "DELETE FROM member_observations WHERE member_id = $1",
            "DELETE FROM members WHERE id = $1",
        ] {
            sqlx::query(statement).bind(member.as_str()).execute(&mut *self.tx).await?;
        }
        Ok(())
    }

    /// Ports that members on a host have. Whoever takes one has locked placement before.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn member_ports(&mut self, host: &HostId) -> Result<HashSet<u16>, StoreError> {
        let ports: Vec<(i64,)> =
            sqlx::query_as("SELECT port FROM members WHERE host_id = $1 AND port IS NOT NULL")
                .bind(host.as_str())
                .fetch_all(&mut *self.tx)
                .await?;
        Ok(ports.into_iter().filter_map(|(port,)| u16::try_from(port).ok()).collect())
    }

    /// Forgets the members of a server, after nothing of them is left on any host.
    pub async fn delete_members(&mut self, server: &ServerId) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM member_observations WHERE member_id IN (SELECT id FROM members WHERE server_id = $1)")
            .bind(server.as_str())
            .execute(&mut *self.tx)
            .await?;
        sqlx::query("DELETE FROM members WHERE server_id = $1")
            .bind(server.as_str())
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }
}
