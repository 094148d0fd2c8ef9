//! Routes, firewall rules and the gateways that follow them.
//!
//! Every change of a route or a rule raises one counter, the generation. Gateways poll the counter,
//! load the snapshot when it grew, and write down which generation they have applied.

use super::codec::{micros, parsed, time};
use super::{Store, StoreError, WriteTx};
use crate::domain::catalog::Sku;
use crate::domain::configuration::Configuration;
use crate::domain::ids::{RuleId, ServerId};
use crate::domain::network::{Access, AddressRange, FirewallRule, RULES_MAX};
use crate::domain::route::{Route, RouteSnapshot, RouteState, Service};
use chrono::{DateTime, Duration, Utc};
use sqlx::FromRow;
use std::collections::HashMap;
use std::net::SocketAddr;

/// A gateway that was silent for this long is no longer listed: its process is gone for good.
const GATEWAY_FORGOTTEN_AFTER: Duration = Duration::days(1);

#[derive(FromRow)]
struct RouteRow {
    server_id: String,
    name: String,
    port: i64,
    sku: String,
    access: String,
    configuration: String,
    target: Option<String>,
    epoch: i64,
    state: String,
    /// `None` follows the size.
    connections_max: Option<i64>,
}

impl RouteRow {
    /// `None` when the row makes no sense: such a server is shut, the others go on.
    fn into_route(
        self,
        service: Service,
        domain: &str,
        ranges: Vec<AddressRange>,
    ) -> Option<Route> {
        let open = Access::parse(&self.access) == Some(Access::Public);
        let stored = RouteState::parse(&self.state)?;
        Some(Route {
            server_id: ServerId::parse(&self.server_id)?,
            service,
            endpoint: (service == Service::Postgres)
                .then(|| format!("{}.{domain}", self.name).to_ascii_lowercase()),
            server_name: self.name,
            port: u16::try_from(self.port).ok()?,
            target: self.target.map(|target| target.parse()).transpose().ok()?,
            epoch: self.epoch,
            state: if open { stored } else { RouteState::Closed },
            ranges,
            tls_required: tls_required(&self.configuration),
            connections_max: match self.connections_max {
                Some(most) => u32::try_from(most).ok()?,
                None => Sku::by_name(&self.sku)?.max_connections,
            },
        })
    }
}

/// TLS is required unless a configuration that makes sense says otherwise.
fn tls_required(configuration: &str) -> bool {
    let found = serde_json::from_str::<Configuration>(configuration);
    found.map_or(true, |configuration| configuration.require_secure_transport)
}

#[derive(FromRow)]
struct RuleRow {
    id: String,
    name: String,
    range_start: String,
    range_end: String,
}

impl RuleRow {
    fn into_rule(self) -> Result<FirewallRule, StoreError> {
        Ok(FirewallRule {
            id: parsed(&self.id, RuleId::parse, "rule id")?,
            range: stored_range(&self.range_start, &self.range_end)
                .ok_or_else(|| StoreError::Value(format!("range of rule {:?}", self.name)))?,
            name: self.name,
        })
    }
}

fn stored_range(start: &str, end: &str) -> Option<AddressRange> {
    Some(AddressRange { start: start.parse().ok()?, end: end.parse().ok()? })
}

/// A gateway process as it last reported itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewaySeen {
    pub id: String,
    pub seen_at: DateTime<Utc>,
    /// The generation of routes and rules it has applied: older connections that no longer match are closed.
    pub generation: i64,
    /// What it could not do, such as a port that is taken; empty when all is well.
    pub notes: String,
}

/// What became of a rule that was to be saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleSaved {
    Added,
    /// A rule of that name was there and has the new range now.
    Updated,
    /// The server has [`RULES_MAX`] rules already; nothing was written.
    Full,
}

impl Store {
    /// Counter of changes of routes and rules. Cheap: gateways ask several times a second.
    pub async fn route_generation(&self) -> Result<i64, StoreError> {
        let row: (i64,) = sqlx::query_as("SELECT generation FROM route_generation WHERE id = 1")
            .fetch_one(self.read())
            .await?;
        Ok(row.0)
    }

    /// All routes with their rules. Names below `domain` are the endpoints. A row that makes no
    /// sense is left out and logged: that server is shut, all others stay reachable.
    pub async fn route_snapshot(&self, domain: &str) -> Result<RouteSnapshot, StoreError> {
        // The counter first: should rows change in between, the snapshot is newer than it says and is loaded again.
        let generation = self.route_generation().await?;
        let rows: Vec<RouteRow> = sqlx::query_as(
            "SELECT r.server_id, s.name, s.port, s.sku, s.access, s.configuration, r.target, r.epoch, r.state, CAST(NULL AS BIGINT) AS connections_max
             FROM routes r JOIN servers s ON s.id = r.server_id ORDER BY s.port",
        )
        .fetch_all(self.read())
        .await?;
        // State and rules are the server's; a change of either route cuts what goes through the pooler.
        let pooled: Vec<RouteRow> = sqlx::query_as(
            "SELECT r.server_id, s.name, s.pooler_port AS port, s.sku, s.access, s.configuration, p.target, r.epoch + p.epoch AS epoch, r.state, p.connections_max
             FROM pooler_routes p JOIN routes r ON r.server_id = p.server_id JOIN servers s ON s.id = r.server_id
             WHERE s.pooler_port IS NOT NULL ORDER BY s.pooler_port",
        )
        .fetch_all(self.read())
        .await?;
        let ranges = self.ranges_by_server().await?;
        let direct = rows.into_iter().map(|row| (Service::Postgres, row));
        let routes = direct
            .chain(pooled.into_iter().map(|row| (Service::Pooler, row)))
            .filter_map(|(service, row)| {
                let own = ranges.get(&row.server_id).cloned().unwrap_or_default();
                let name = row.name.clone();
                let route = row.into_route(service, domain, own);
                if route.is_none() {
                    tracing::error!(server = %name, "the stored route makes no sense; the server is shut");
                }
                route
            })
            .collect();
        Ok(RouteSnapshot { generation, routes })
    }

    async fn ranges_by_server(&self) -> Result<HashMap<String, Vec<AddressRange>>, StoreError> {
        let rows: Vec<(String, String, String)> = sqlx::query_as(
            "SELECT f.server_id, f.range_start, f.range_end
             FROM firewall_rules f JOIN routes r ON r.server_id = f.server_id",
        )
        .fetch_all(self.read())
        .await?;
        let mut ranges: HashMap<String, Vec<AddressRange>> = HashMap::new();
        for (server_id, start, end) in rows {
            match stored_range(&start, &end) {
                Some(range) => ranges.entry(server_id).or_default().push(range),
                None => {
                    tracing::error!(%server_id, "a stored firewall rule makes no sense; it admits nobody");
                }
            }
        }
        Ok(ranges)
    }

    /// Rules of one server by name.
    pub async fn firewall_rules(&self, server: &ServerId) -> Result<Vec<FirewallRule>, StoreError> {
        let rows: Vec<RuleRow> = sqlx::query_as(
            "SELECT id, name, range_start, range_end FROM firewall_rules WHERE server_id = $1 ORDER BY name",
        )
        .bind(server.as_str())
        .fetch_all(self.read())
        .await?;
        rows.into_iter().map(RuleRow::into_rule).collect()
    }

    /// Where the way through a server's PgBouncer leads.
    pub async fn pooler_target(&self, server: &ServerId) -> Result<Option<SocketAddr>, StoreError> {
        let row: Option<(Option<String>,)> =
            sqlx::query_as("SELECT target FROM pooler_routes WHERE server_id = $1")
                .bind(server.as_str())
                .fetch_optional(self.read())
                .await?;
        Ok(row.and_then(|(target,)| target).and_then(|target| target.parse().ok()))
    }

    /// A gateway says that it lives and which generation it has applied.
    pub async fn record_gateway(
        &self,
        now: DateTime<Utc>,
        id: &str,
        generation: i64,
        notes: &str,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin_write(now).await?;
        sqlx::query("DELETE FROM gateways WHERE seen_at < $1")
            .bind(micros(now - GATEWAY_FORGOTTEN_AFTER))
            .execute(&mut *tx.tx)
            .await?;
        sqlx::query(
            "INSERT INTO gateways (id, seen_at, generation, notes) VALUES ($1, $2, $3, $4)
             ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at, generation = excluded.generation, notes = excluded.notes",
        )
        .bind(id.to_owned())
        .bind(micros(now))
        .bind(generation)
        .bind(notes.to_owned())
        .execute(&mut *tx.tx)
        .await?;
        tx.commit(super::Record::Nothing("a heart-beat")).await
    }

    /// A gateway that ends in good order takes itself off the list.
    pub async fn forget_gateway(&self, now: DateTime<Utc>, id: &str) -> Result<(), StoreError> {
        let mut tx = self.begin_write(now).await?;
        sqlx::query("DELETE FROM gateways WHERE id = $1")
            .bind(id.to_owned())
            .execute(&mut *tx.tx)
            .await?;
        tx.commit(super::Record::Nothing("the last heart-beat")).await
    }

    /// Gateways that reported within the last day.
    pub async fn gateways(&self) -> Result<Vec<GatewaySeen>, StoreError> {
        let rows: Vec<(String, i64, i64, String)> =
            sqlx::query_as("SELECT id, seen_at, generation, notes FROM gateways ORDER BY id")
                .fetch_all(self.read())
                .await?;
        Ok(rows
            .into_iter()
            .map(|(id, seen_at, generation, notes)| GatewaySeen {
                id,
                seen_at: time(seen_at),
                generation,
                notes,
            })
            .collect())
    }
}

impl WriteTx {
    /// Tells the gateways that something changed, and returns the new generation.
    pub async fn bump_route_generation(&mut self) -> Result<i64, StoreError> {
        let row: (i64,) = sqlx::query_as(
            "UPDATE route_generation SET generation = generation + 1 WHERE id = 1 RETURNING generation",
        )
        .fetch_one(&mut *self.tx)
        .await?;
        Ok(row.0)
    }

    /// Writes where a server is and whether clients may pass; returns the epoch. The epoch grows
    /// only when something differs, so that a step that runs twice cuts nobody's connection.
    pub async fn set_route(
        &mut self,
        server: &ServerId,
        target: Option<SocketAddr>,
        state: RouteState,
    ) -> Result<i64, StoreError> {
        let done = sqlx::query(
            "INSERT INTO routes (server_id, target, epoch, state) VALUES ($1, $2, 1, $3)
             ON CONFLICT (server_id) DO UPDATE SET target = excluded.target, state = excluded.state, epoch = routes.epoch + 1
             WHERE COALESCE(routes.target, '') <> COALESCE(excluded.target, '') OR routes.state <> excluded.state",
        )
        .bind(server.as_str().to_owned())
        .bind(target.map(|target| target.to_string()))
        .bind(state.key())
        .execute(&mut *self.tx)
        .await?;
        if done.rows_affected() > 0 {
            self.bump_route_generation().await?;
        }
        let row: (i64,) = sqlx::query_as("SELECT epoch FROM routes WHERE server_id = $1")
            .bind(server.as_str().to_owned())
            .fetch_one(&mut *self.tx)
            .await?;
        Ok(row.0)
    }

    /// Writes where a server's PgBouncer is and how many clients it takes. As with [`WriteTx::set_route`]
    /// nothing happens when nothing differs.
    pub async fn set_pooler_route(
        &mut self,
        server: &ServerId,
        target: SocketAddr,
        connections_max: u32,
    ) -> Result<(), StoreError> {
        let done = sqlx::query(
            "INSERT INTO pooler_routes (server_id, target, epoch, connections_max) VALUES ($1, $2, 1, $3)
             ON CONFLICT (server_id) DO UPDATE SET target = excluded.target, connections_max = excluded.connections_max,
               epoch = pooler_routes.epoch + CASE WHEN COALESCE(pooler_routes.target, '') <> excluded.target THEN 1 ELSE 0 END
             WHERE COALESCE(pooler_routes.target, '') <> excluded.target OR pooler_routes.connections_max <> excluded.connections_max",
        )
        .bind(server.as_str().to_owned())
        .bind(target.to_string())
        .bind(i64::from(connections_max))
        .execute(&mut *self.tx)
        .await?;
        self.bump_if(done.rows_affected()).await
    }

    /// Takes the way through a server's PgBouncer away; the port stays the server's.
    pub async fn delete_pooler_route(&mut self, server: &ServerId) -> Result<(), StoreError> {
        let done = sqlx::query("DELETE FROM pooler_routes WHERE server_id = $1")
            .bind(server.as_str().to_owned())
            .execute(&mut *self.tx)
            .await?;
        self.bump_if(done.rows_affected()).await
    }

    /// Shuts a server's route and keeps its target. Nothing happens when there is none or it is shut.
    pub async fn close_route(&mut self, server: &ServerId) -> Result<(), StoreError> {
        let done = sqlx::query(
            "UPDATE routes SET state = $2, epoch = epoch + 1 WHERE server_id = $1 AND state <> $2",
        )
        .bind(server.as_str().to_owned())
        .bind(RouteState::Closed.key())
        .execute(&mut *self.tx)
        .await?;
        self.bump_if(done.rows_affected()).await
    }

    /// Takes a server's route away; its rules stay, see [`WriteTx::delete_firewall_rules`].
    pub async fn delete_route(&mut self, server: &ServerId) -> Result<(), StoreError> {
        let done = sqlx::query("DELETE FROM routes WHERE server_id = $1")
            .bind(server.as_str().to_owned())
            .execute(&mut *self.tx)
            .await?;
        self.bump_if(done.rows_affected()).await
    }

    /// Adds a rule, or gives the rule of the same name the new range.
    pub async fn save_firewall_rule(
        &mut self,
        server: &ServerId,
        rule: &FirewallRule,
    ) -> Result<RuleSaved, StoreError> {
        let done = sqlx::query(
            "UPDATE firewall_rules SET range_start = $3, range_end = $4 WHERE server_id = $1 AND name = $2",
        )
        .bind(server.as_str().to_owned())
        .bind(rule.name.clone())
        .bind(rule.range.start.to_string())
        .bind(rule.range.end.to_string())
        .execute(&mut *self.tx)
        .await?;
        if done.rows_affected() > 0 {
            self.bump_route_generation().await?;
            return Ok(RuleSaved::Updated);
        }
        self.insert_firewall_rule(server, rule).await
    }

    async fn insert_firewall_rule(
        &mut self,
        server: &ServerId,
        rule: &FirewallRule,
    ) -> Result<RuleSaved, StoreError> {
        let done = sqlx::query(
            "INSERT INTO firewall_rules (id, server_id, name, range_start, range_end, created_at)
             SELECT $1, $2, $3, $4, $5, $6 WHERE (SELECT COUNT(*) FROM firewall_rules WHERE server_id = $2) < $7",
        )
        .bind(rule.id.as_str().to_owned())
        .bind(server.as_str().to_owned())
        .bind(rule.name.clone())
        .bind(rule.range.start.to_string())
        .bind(rule.range.end.to_string())
        .bind(micros(self.now))
        .bind(i64::try_from(RULES_MAX).unwrap_or(i64::MAX))
        .execute(&mut *self.tx)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(RuleSaved::Full);
        }
        self.bump_route_generation().await?;
        Ok(RuleSaved::Added)
    }

    /// Gives a rule another name or range; false when the server has no such rule. A name that
    /// another rule of the server has is a unique violation.
    pub async fn update_firewall_rule(
        &mut self,
        server: &ServerId,
        rule: &FirewallRule,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE firewall_rules SET name = $3, range_start = $4, range_end = $5 WHERE server_id = $1 AND id = $2",
        )
        .bind(server.as_str().to_owned())
        .bind(rule.id.as_str().to_owned())
        .bind(rule.name.clone())
        .bind(rule.range.start.to_string())
        .bind(rule.range.end.to_string())
        .execute(&mut *self.tx)
        .await?;
        self.bump_if(done.rows_affected()).await?;
        Ok(done.rows_affected() > 0)
    }

    /// Deletes a rule and returns what it was; `None` when the server has no such rule.
    pub async fn delete_firewall_rule(
        &mut self,
        server: &ServerId,
        rule: &RuleId,
    ) -> Result<Option<FirewallRule>, StoreError> {
        let row: Option<RuleRow> = sqlx::query_as(
            "DELETE FROM firewall_rules WHERE server_id = $1 AND id = $2 RETURNING id, name, range_start, range_end",
        )
        .bind(server.as_str().to_owned())
        .bind(rule.as_str().to_owned())
        .fetch_optional(&mut *self.tx)
        .await?;
        self.bump_if(u64::from(row.is_some())).await?;
        row.map(RuleRow::into_rule).transpose()
    }

    /// Deletes every rule of a server, when the server itself goes.
    pub async fn delete_firewall_rules(&mut self, server: &ServerId) -> Result<(), StoreError> {
        let done = sqlx::query("DELETE FROM firewall_rules WHERE server_id = $1")
            .bind(server.as_str().to_owned())
            .execute(&mut *self.tx)
            .await?;
        self.bump_if(done.rows_affected()).await
    }

    async fn bump_if(&mut self, rows_changed: u64) -> Result<(), StoreError> {
        if rows_changed > 0 {
            self.bump_route_generation().await?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[cfg(feature = "test-util")]
mod tests;
