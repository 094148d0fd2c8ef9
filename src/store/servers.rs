//! Servers and their members: spec, settled state, placement, observations, sealed secrets.

use super::codec::{from_json, json, micros, parsed, time, time_option};
use super::scope::{Viewer, seen_by};
use super::{Store, StoreError, WriteTx};
use crate::domain::configuration::Configuration;
use crate::domain::ids::{GroupId, NetworkId, ServerId, UserId};
use crate::domain::meter::Meter;
use crate::domain::names::{AdminLogin, ServerName, Tag};
use crate::domain::network::Access;
use crate::domain::operation::OperationKind;
use crate::domain::server::{Server, ServerSpec, SettledState};
use crate::domain::version::Major;
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
    configuration: String,
    group_id: String,
    network_id: Option<String>,
    stopped_at: Option<i64>,
    pooler_port: Option<i64>,
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
            pooler_port: self.pooler_port.and_then(|port| u16::try_from(port).ok()),
            configuration: from_json(&self.configuration, "configuration")?,
            group_id: parsed(&self.group_id, GroupId::parse, "group id")?,
            network_id: self.network_id.as_deref().and_then(NetworkId::parse),
            stopped_at: time_option(self.stopped_at),
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
    /// Id of a resource group.
    pub group: String,
    /// [`HA_NONE`], a mode's key, or [`HA_NOT_HEALTHY`].
    pub ha: String,
    pub viewer: Viewer,
    /// Only names after this one: the last name of the page before.
    pub after: String,
}

/// Filter by high availability: servers without it.
pub const HA_NONE: &str = "None";
/// Filter by high availability: pairs whose shown state is another than healthy.
pub const HA_NOT_HEALTHY: &str = "NotHealthy";

/// Servers on one page of the list.
pub const SERVER_PAGE: i64 = 50;

/// The `WHERE` of the list, shared with its count. `$1` name pattern, `$2` state, `$3` region, `$4` tag pattern,
/// `$5` group, `$6` viewer, `$7` high availability.
/// The CASE is `ServerState::shown` in SQL, and what is not healthy is `HaState::shown`; tests hold them together.
macro_rules! filtered {
    ($select:literal, $tail:literal) => {
        concat!(
            "SELECT ",
            $select,
            " FROM servers s LEFT JOIN operations o ON o.server_id = s.id AND o.lane = 'change' AND o.is_active = 1
             LEFT JOIN high_availability h ON h.server_id = s.id
             WHERE ($1 = '' OR s.name LIKE $1 ESCAPE '!') AND ($3 = '' OR s.region = $3) AND ($4 = '' OR s.tags LIKE $4 ESCAPE '!')
               AND ($2 = '' OR $2 = CASE o.kind WHEN 'create' THEN 'Provisioning' WHEN 'restore' THEN 'Provisioning' WHEN 'delete' THEN 'Dropping' WHEN 'restart' THEN 'Restarting'
                 WHEN 'stop' THEN 'Stopping' WHEN 'start' THEN 'Starting' ELSE CASE WHEN o.kind IS NOT NULL THEN 'Updating' ELSE CASE s.settled WHEN 'New' THEN 'Provisioning' ELSE s.settled END END END)
               AND ($7 = '' OR ($7 = 'None' AND h.server_id IS NULL) OR h.mode = $7
                 OR ($7 = 'NotHealthy' AND h.server_id IS NOT NULL AND (o.kind = 'remove_standby'
                   OR NOT (h.state IN ('Sync', 'Restarting') OR (h.state = 'Stopped' AND h.is_promotable = 1)))))
               AND ($5 = '' OR s.group_id = $5) AND ",
            seen_by!("$6", "s.group_id"),
            $tail
        )
    };
}

macro_rules! by_id {
    ($tail:expr) => {
        concat!("SELECT s.id, s.name, s.region, s.zone, s.major, s.sku, s.storage_gib, s.admin_login, s.access, s.tags, s.settled,
    o.kind AS active, s.port, s.configuration, s.group_id, s.network_id, s.stopped_at, s.pooler_port, s.created_at, s.created_by, s.version
  FROM servers s LEFT JOIN operations o ON o.server_id = s.id AND o.lane = 'change' AND o.is_active = 1 WHERE s.id = $1", $tail)
    };
}

impl ServerFilter {
    fn binds(&self) -> [String; 7] {
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
            self.group.clone(),
            self.viewer.bind(),
            self.ha.clone(),
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
    /// One page of servers by name, and one more where the list goes on.
    pub async fn servers(&self, filter: &ServerFilter) -> Result<Vec<Server>, StoreError> {
        let [name, state, region, tag, group, viewer, ha] = filter.binds();
        let rows: Vec<Row> = sqlx::query_as(filtered!(
            "s.id, s.name, s.region, s.zone, s.major, s.sku, s.storage_gib, s.admin_login, s.access, s.tags, s.settled,
             o.kind AS active, s.port, s.configuration, s.group_id, s.network_id, s.stopped_at, s.pooler_port, s.created_at, s.created_by, s.version",
            " AND s.name > $8 ORDER BY s.name LIMIT $9"
        ))
        .bind(name)
        .bind(state)
        .bind(region)
        .bind(tag)
        .bind(group)
        .bind(viewer)
        .bind(ha)
        .bind(filter.after.clone())
        .bind(SERVER_PAGE + 1)
        .fetch_all(self.read())
        .await?;
        rows.into_iter().map(Row::into_server).collect()
    }

    /// How many servers the filter finds, whatever the page.
    pub async fn count_servers(&self, filter: &ServerFilter) -> Result<i64, StoreError> {
        let [name, state, region, tag, group, viewer, ha] = filter.binds();
        let count: (i64,) = sqlx::query_as(filtered!("COUNT(*)", ""))
            .bind(name)
            .bind(state)
            .bind(region)
            .bind(tag)
            .bind(group)
            .bind(viewer)
            .bind(ha)
            .fetch_one(self.read())
            .await?;
        Ok(count.0)
    }

    pub async fn server(&self, id: &ServerId) -> Result<Option<Server>, StoreError> {
        let row: Option<Row> =
            sqlx::query_as(by_id!("")).bind(id.as_str()).fetch_optional(self.read()).await?;
        row.map(Row::into_server).transpose()
    }

    /// A server, if the viewer may see it.
    pub async fn server_seen_by(
        &self,
        id: &ServerId,
        viewer: &Viewer,
    ) -> Result<Option<Server>, StoreError> {
        let sql = by_id!(concat!(" AND ", seen_by!("$2", "s.group_id")));
        let row: Option<Row> = sqlx::query_as(sql)
            .bind(id.as_str())
            .bind(viewer.bind())
            .fetch_optional(self.read())
            .await?;
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

    /// Versions of the servers on which nothing that may give a member another address is under way. What
    /// begins afterwards raises the version.
    pub async fn quiet_servers(
        &self,
    ) -> Result<std::collections::HashMap<String, i64>, StoreError> {
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "SELECT s.id, s.version FROM servers s WHERE s.settled = 'Ready' AND NOT EXISTS
               (SELECT 1 FROM operations o WHERE o.server_id = s.id AND o.lane = 'change' AND o.is_active = 1 AND o.kind NOT IN
                 ('renew_certificate', 'grow_storage', 'protect_storage', 'change_extension', 'create_database', 'drop_database', 'reset_password', 'change_durability'))",
        )
        .fetch_all(self.read())
        .await?;
        Ok(rows.into_iter().collect())
    }

    /// Ids of every server on record.
    pub async fn server_ids(&self) -> Result<std::collections::HashSet<String>, StoreError> {
        let rows: Vec<(String,)> =
            sqlx::query_as("SELECT id FROM servers").fetch_all(self.read()).await?;
        Ok(rows.into_iter().map(|(id,)| id).collect())
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
            sqlx::query_as(by_id!("")).bind(id.as_str()).fetch_optional(&mut *self.tx).await?;
        row.map(Row::into_server).transpose()
    }

    /// Gives the next gateway port in the range: the first free one after the last that was given, so
    /// that the port of a deleted server does not at once lead to another server.
    pub async fn take_port(&mut self, range: (u16, u16)) -> Result<Option<u16>, StoreError> {
        self.lock_placement().await?;
        let used: Vec<(i64,)> =
            sqlx::query_as("SELECT port FROM servers UNION ALL SELECT pooler_port FROM servers WHERE pooler_port IS NOT NULL")
                .fetch_all(&mut *self.tx)
                .await?;
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

    /// Gives a server its port for PgBouncer, unless it has one.
    pub async fn set_pooler_port(
        &mut self,
        server: &ServerId,
        port: u16,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE servers SET pooler_port = $2, version = version + 1 WHERE id = $1 AND pooler_port IS NULL",
        )
        .bind(server.as_str())
        .bind(i64::from(port))
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Makes placements take turns, on PostgreSQL too.
    pub async fn lock_placement(&mut self) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO settings (key, value) VALUES ('placement', '0') ON CONFLICT (key) DO UPDATE SET value = excluded.value")
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }

    /// Writes what the server's files are rendered from.
    pub async fn set_configuration(
        &mut self,
        server: &ServerId,
        configuration: &Configuration,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE servers SET configuration = $2, version = version + 1 WHERE id = $1")
            .bind(server.as_str())
            .bind(json(configuration))
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }

    /// Writes the tags. Call [`WriteTx::lock_server`] first and look at what they were.
    pub async fn set_tags(&mut self, server: &ServerId, tags: &[Tag]) -> Result<(), StoreError> {
        sqlx::query("UPDATE servers SET tags = $2, version = version + 1 WHERE id = $1")
            .bind(server.as_str())
            .bind(json(&tags))
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }

    /// Where an operation left the server; a stop is remembered with its time.
    pub async fn set_settled(
        &mut self,
        server: &ServerId,
        settled: SettledState,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE servers SET settled = $2, stopped_at = $3, version = version + 1 WHERE id = $1",
        )
        .bind(server.as_str())
        .bind(settled.key())
        .bind((settled == SettledState::Stopped).then(|| micros(self.now)))
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Forgets a server and everything that hangs on it but its operations, its activity, and what its backups need
    /// where [`WriteTx::note_deleted`] kept them.
    pub async fn delete_server(&mut self, server: &ServerId) -> Result<(), StoreError> {
        self.delete_members(server).await?;
        self.leave_backups(server).await?;
        for meter in Meter::ALL {
            self.set_meter(server, meter, None).await?;
        }
        for statement in [
            "DELETE FROM locks WHERE scope = 'server' AND scope_id = $1",
            "DELETE FROM server_observations WHERE server_id = $1",
            "DELETE FROM cpu_credits WHERE server_id = $1",
            "DELETE FROM metric_samples WHERE server_id = $1",
            "DELETE FROM start_notices WHERE server_id = $1",
            "DELETE FROM firewall_rules WHERE server_id = $1",
            "DELETE FROM routes WHERE server_id = $1",
            "DELETE FROM high_availability WHERE server_id = $1",
            "DELETE FROM ha_events WHERE server_id = $1",
            "DELETE FROM promotions WHERE server_id = $1",
            "DELETE FROM ha_drills WHERE server_id = $1",
            "DELETE FROM pooler_routes WHERE server_id = $1",
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
