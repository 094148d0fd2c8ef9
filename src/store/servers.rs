//! Servers and their members: spec, settled state, placement, observations, sealed secrets.

use super::codec::{from_json, json, micros, parsed, time};
use super::{Store, StoreError, WriteTx};
use crate::domain::ids::{HostId, MemberId, ServerId, UserId};
use crate::domain::names::{AdminLogin, ServerName};
use crate::domain::network::Access;
use crate::domain::operation::OperationKind;
use crate::domain::server::{
    Member, MemberFacts, MemberObservation, Server, ServerSpec, SettledState,
};
use crate::domain::version::Major;
use chrono::{DateTime, Utc};
use sqlx::FromRow;

#[derive(FromRow)]
struct Row {
    id: String,
    name: String,
    region: String,
    zone: String,
    major: String,
    sku: String,
    storage_gib: i64,
    admin_login: String,
    access: String,
    tags: String,
    settled: String,
    active: Option<String>,
    port: i64,
    created_at: i64,
    created_by: Option<String>,
    version: i64,
}

impl Row {
    fn into_server(self) -> Result<Server, StoreError> {
        let spec = ServerSpec {
            name: ServerName::parse(&self.name)
                .map_err(|_| StoreError::Value(format!("server name {}", self.name)))?,
            region: self.region,
            zone: self.zone,
            major: parsed(&self.major, Major::parse, "major")?,
            sku: self.sku,
            storage_gib: u32::try_from(self.storage_gib).unwrap_or(0),
            admin_login: AdminLogin::parse(&self.admin_login)
                .map_err(|_| StoreError::Value("admin login".into()))?,
            access: parsed(&self.access, Access::parse, "access")?,
            tags: from_json(&self.tags, "tags")?,
        };
        Ok(Server {
            id: parsed(&self.id, ServerId::parse, "server id")?,
            spec,
            settled: parsed(&self.settled, SettledState::parse, "settled state")?,
            active: self
                .active
                .as_deref()
                .map(|kind| parsed(kind, OperationKind::parse, "operation kind"))
                .transpose()?,
            port: u16::try_from(self.port).unwrap_or(0),
            created_at: time(self.created_at),
            created_by: self.created_by.as_deref().and_then(UserId::parse),
            version: self.version,
        })
    }
}

/// What the list of servers shows; empty texts do not filter.
#[derive(Debug, Clone, Default)]
pub struct ServerFilter {
    /// Part of the name.
    pub name: String,
    /// A shown state's label.
    pub state: String,
    pub region: String,
    /// `name` or `name=value` of a tag.
    pub tag: String,
    /// Only names after this one: the last name of the page before.
    pub after: String,
}

/// Servers on one page of the list.
pub const SERVER_PAGE: i64 = 50;

/// The `WHERE` of the list, shared with its count. `$1` name pattern, `$2` state, `$3` region, `$4` tag pattern.
/// The CASE is `ServerState::shown` in SQL; a test holds the two together.
macro_rules! filtered {
    ($select:literal, $tail:literal) => {
        concat!(
            "SELECT ",
            $select,
            " FROM servers s LEFT JOIN operations o ON o.server_id = s.id AND o.lane = 'change' AND o.is_active = 1
             WHERE ($1 = '' OR s.name LIKE $1 ESCAPE '!') AND ($3 = '' OR s.region = $3) AND ($4 = '' OR s.tags LIKE $4 ESCAPE '!')
               AND ($2 = '' OR $2 = CASE o.kind WHEN 'create' THEN 'Provisioning' WHEN 'delete' THEN 'Dropping' WHEN 'restart' THEN 'Restarting'
                 WHEN 'renew_certificate' THEN 'Updating' ELSE CASE s.settled WHEN 'New' THEN 'Provisioning' ELSE s.settled END END)",
            $tail
        )
    };
}

const COLUMNS_BY_ID: &str = "SELECT s.id, s.name, s.region, s.zone, s.major, s.sku, s.storage_gib, s.admin_login, s.access, s.tags, s.settled,
    o.kind AS active, s.port, s.created_at, s.created_by, s.version
  FROM servers s LEFT JOIN operations o ON o.server_id = s.id AND o.lane = 'change' AND o.is_active = 1 WHERE s.id = $1";

impl ServerFilter {
    fn binds(&self) -> [String; 4] {
        let contains = |text: &str| {
            if text.is_empty() {
                String::new()
            } else {
                format!("%{}%", escape_like(&text.to_lowercase()))
            }
        };
        [
            contains(self.name.trim()),
            self.state.clone(),
            self.region.clone(),
            tag_pattern(self.tag.trim()),
        ]
    }
}

fn escape_like(text: &str) -> String {
    text.replace('!', "!!").replace('%', "!%").replace('_', "!_")
}

/// The pattern that finds a tag in the stored JSON: the same serialisation, wildcards made harmless.
fn tag_pattern(typed: &str) -> String {
    if typed.is_empty() {
        return String::new();
    }
    let (name, value) = typed
        .split_once('=')
        .map_or((typed, None), |(name, value)| (name.trim(), Some(value.trim())));
    let name = escape_like(&json(&name));
    match value {
        Some(value) => format!("%{{\"name\":{name},\"value\":{}}}%", escape_like(&json(&value))),
        None => format!("%{{\"name\":{name},%"),
    }
}

impl Store {
    /// One page of servers by name.
    pub async fn servers(&self, filter: &ServerFilter) -> Result<Vec<Server>, StoreError> {
        let [name, state, region, tag] = filter.binds();
        let rows: Vec<Row> = sqlx::query_as(filtered!(
            "s.id, s.name, s.region, s.zone, s.major, s.sku, s.storage_gib, s.admin_login, s.access, s.tags, s.settled,
             o.kind AS active, s.port, s.created_at, s.created_by, s.version",
            " AND s.name > $5 ORDER BY s.name LIMIT $6"
        ))
        .bind(name)
        .bind(state)
        .bind(region)
        .bind(tag)
        .bind(filter.after.clone())
        .bind(SERVER_PAGE)
        .fetch_all(self.read())
        .await?;
        rows.into_iter().map(Row::into_server).collect()
    }

    /// How many servers the filter finds, whatever the page.
    pub async fn count_servers(&self, filter: &ServerFilter) -> Result<i64, StoreError> {
        let [name, state, region, tag] = filter.binds();
        let count: (i64,) = sqlx::query_as(filtered!("COUNT(*)", ""))
            .bind(name)
            .bind(state)
            .bind(region)
            .bind(tag)
            .fetch_one(self.read())
            .await?;
        Ok(count.0)
    }

    pub async fn server(&self, id: &ServerId) -> Result<Option<Server>, StoreError> {
        let row: Option<Row> =
            sqlx::query_as(COLUMNS_BY_ID).bind(id.as_str()).fetch_optional(self.read()).await?;
        row.map(Row::into_server).transpose()
    }

    /// Whether a name is taken.
    pub async fn server_name_taken(&self, name: &ServerName) -> Result<bool, StoreError> {
        let count: (i64,) = sqlx::query_as("SELECT COUNT(*) FROM servers WHERE name = $1")
            .bind(name.as_str())
            .fetch_one(self.read())
            .await?;
        Ok(count.0 > 0)
    }

    /// Every member of every server, with the name of its server.
    pub async fn members_all(&self) -> Result<Vec<(Member, String, SettledState)>, StoreError> {
        let rows: Vec<MemberRow> = sqlx::query_as(
            "SELECT m.id, m.server_id, m.host_id, m.generation, m.image, m.postgres_version, s.name AS server_name, s.settled
             FROM members m JOIN servers s ON s.id = m.server_id ORDER BY s.name",
        )
        .fetch_all(self.read())
        .await?;
        rows.into_iter().map(MemberRow::into_parts).collect()
    }

    pub async fn members(&self, server: &ServerId) -> Result<Vec<Member>, StoreError> {
        let rows: Vec<MemberRow> = sqlx::query_as(
            "SELECT m.id, m.server_id, m.host_id, m.generation, m.image, m.postgres_version, s.name AS server_name, s.settled
             FROM members m JOIN servers s ON s.id = m.server_id WHERE m.server_id = $1 ORDER BY m.id",
        )
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

    /// A sealed secret of a server.
    pub async fn server_secret(
        &self,
        server: &ServerId,
        name: &str,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let row: Option<(Vec<u8>,)> =
            sqlx::query_as("SELECT sealed FROM server_secrets WHERE server_id = $1 AND name = $2")
                .bind(server.as_str())
                .bind(name)
                .fetch_optional(self.read())
                .await?;
        Ok(row.map(|(sealed,)| sealed))
    }

    /// Ready servers whose secret `name` expires before `limit`.
    pub async fn expiring_secrets(
        &self,
        name: &str,
        limit: DateTime<Utc>,
    ) -> Result<Vec<ServerId>, StoreError> {
        let rows: Vec<(String,)> = sqlx::query_as(
            "SELECT k.server_id FROM server_secrets k JOIN servers s ON s.id = k.server_id
             WHERE k.name = $1 AND k.expires_at < $2 AND s.settled = 'Ready' ORDER BY k.expires_at",
        )
        .bind(name)
        .bind(micros(limit))
        .fetch_all(self.read())
        .await?;
        rows.iter().map(|(id,)| parsed(id, ServerId::parse, "server id")).collect()
    }

    /// When a secret of a server expires, if it does.
    pub async fn secret_expiry(
        &self,
        server: &ServerId,
        name: &str,
    ) -> Result<Option<DateTime<Utc>>, StoreError> {
        let row: Option<(Option<i64>,)> = sqlx::query_as(
            "SELECT expires_at FROM server_secrets WHERE server_id = $1 AND name = $2",
        )
        .bind(server.as_str())
        .bind(name)
        .fetch_optional(self.read())
        .await?;
        Ok(row.and_then(|(at,)| at).map(time))
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
        tx.commit(super::Record::Nothing("an observation is no change that anybody asked for"))
            .await
    }

    /// Ids of every server on record.
    pub async fn server_ids(&self) -> Result<std::collections::HashSet<String>, StoreError> {
        let rows: Vec<(String,)> =
            sqlx::query_as("SELECT id FROM servers").fetch_all(self.read()).await?;
        Ok(rows.into_iter().map(|(id,)| id).collect())
    }
}

#[derive(FromRow)]
struct MemberRow {
    id: String,
    server_id: String,
    host_id: String,
    generation: i64,
    image: String,
    postgres_version: String,
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
        };
        Ok((member, self.server_name, parsed(&self.settled, SettledState::parse, "settled state")?))
    }
}

impl WriteTx {
    /// Writes a new server. A taken name or port is a unique violation.
    pub async fn insert_server(
        &mut self,
        id: &ServerId,
        spec: &ServerSpec,
        port: u16,
        by: Option<&UserId>,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO servers (id, name, region, zone, major, sku, tier, storage_gib, admin_login, access, tags, settled, port, created_at, created_by)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 'New', $12, $13, $14)",
        )
        .bind(id.as_str())
        .bind(spec.name.as_str())
        .bind(spec.region.clone())
        .bind(spec.zone.clone())
        .bind(spec.major.number().to_string())
        .bind(spec.sku.clone())
        .bind(spec.sku().tier.key())
        .bind(i64::from(spec.storage_gib))
        .bind(spec.admin_login.as_str())
        .bind(spec.access.key())
        .bind(json(&spec.tags))
        .bind(i64::from(port))
        .bind(micros(self.now))
        .bind(by.map(|id| id.as_str().to_owned()))
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Whether a name is taken, seen inside the transaction.
    pub async fn name_taken(&mut self, name: &ServerName) -> Result<bool, StoreError> {
        let count: (i64,) = sqlx::query_as("SELECT COUNT(*) FROM servers WHERE name = $1")
            .bind(name.as_str())
            .fetch_one(&mut *self.tx)
            .await?;
        Ok(count.0 > 0)
    }

    /// Settled state of a server and the kind that is active on it, with the row locked against other requests.
    pub async fn lock_server(&mut self, id: &ServerId) -> Result<Option<Server>, StoreError> {
        sqlx::query("UPDATE servers SET version = version + 1 WHERE id = $1")
            .bind(id.as_str())
            .execute(&mut *self.tx)
            .await?;
        let row: Option<Row> =
            sqlx::query_as(COLUMNS_BY_ID).bind(id.as_str()).fetch_optional(&mut *self.tx).await?;
        row.map(Row::into_server).transpose()
    }

    /// Gives the next gateway port in the range: the first free one after the last that was given, so
    /// that the port of a deleted server does not at once lead to another server.
    pub async fn take_port(&mut self, range: (u16, u16)) -> Result<Option<u16>, StoreError> {
        self.lock_placement().await?;
        let used: Vec<(i64,)> =
            sqlx::query_as("SELECT port FROM servers").fetch_all(&mut *self.tx).await?;
        let used: std::collections::HashSet<i64> = used.into_iter().map(|(port,)| port).collect();
        let last: Option<(String,)> =
            sqlx::query_as("SELECT value FROM settings WHERE key = 'last_port'")
                .fetch_optional(&mut *self.tx)
                .await?;
        let last = last
            .and_then(|(text,)| text.parse::<u16>().ok())
            .filter(|port| (range.0..=range.1).contains(port));
        let start = last.map_or(range.0, |port| if port == range.1 { range.0 } else { port + 1 });
        let free =
            (start..=range.1).chain(range.0..start).find(|port| !used.contains(&i64::from(*port)));
        if let Some(port) = free {
            sqlx::query("INSERT INTO settings (key, value) VALUES ('last_port', $1) ON CONFLICT (key) DO UPDATE SET value = excluded.value")
                .bind(port.to_string())
                .execute(&mut *self.tx)
                .await?;
        }
        Ok(free)
    }

    /// Makes placements take turns, on PostgreSQL too.
    pub async fn lock_placement(&mut self) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO settings (key, value) VALUES ('placement', '0') ON CONFLICT (key) DO UPDATE SET value = excluded.value")
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }

    pub async fn insert_member(&mut self, member: &Member) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO members (id, server_id, host_id, generation, image) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (id) DO NOTHING")
            .bind(member.id.as_str())
            .bind(member.server_id.as_str())
            .bind(member.host_id.as_str())
            .bind(member.generation)
            .bind(member.image.clone())
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

    /// Keeps a sealed secret, replacing the one before.
    pub async fn put_server_secret(
        &mut self,
        server: &ServerId,
        name: &str,
        sealed: Vec<u8>,
        expires_at: Option<DateTime<Utc>>,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO server_secrets (server_id, name, sealed, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (server_id, name) DO UPDATE SET sealed = excluded.sealed, created_at = excluded.created_at, expires_at = excluded.expires_at",
        )
        .bind(server.as_str())
        .bind(name)
        .bind(sealed)
        .bind(micros(self.now))
        .bind(expires_at.map(micros))
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    pub async fn set_settled(
        &mut self,
        server: &ServerId,
        settled: SettledState,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE servers SET settled = $2, version = version + 1 WHERE id = $1")
            .bind(server.as_str())
            .bind(settled.key())
            .execute(&mut *self.tx)
            .await?;
        Ok(())
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

    /// Forgets a server and everything that hangs on it but its operations and its activity.
    pub async fn delete_server(&mut self, server: &ServerId) -> Result<(), StoreError> {
        self.delete_members(server).await?;
        for statement in [
            "DELETE FROM server_secrets WHERE server_id = $1",
            "DELETE FROM firewall_rules WHERE server_id = $1",
            "DELETE FROM routes WHERE server_id = $1",
            "DELETE FROM servers WHERE id = $1",
        ] {
            sqlx::query(statement).bind(server.as_str()).execute(&mut *self.tx).await?;
        }
        sqlx::query("UPDATE route_generation SET generation = generation + 1 WHERE id = 1")
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tag_patterns_are_the_stored_text_with_harmless_wildcards() {
        assert_eq!(tag_pattern("env=prod"), r#"%{"name":"env","value":"prod"}%"#);
        assert_eq!(tag_pattern("a_b"), r#"%{"name":"a!_b",%"#);
        assert_eq!(tag_pattern("x=%\""), r#"%{"name":"x","value":"!%\""}%"#);
    }
}
