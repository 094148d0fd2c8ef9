//! What runs where: every member with its server's size and state and the last look at it, in one read.

use super::codec::{from_json, parsed, time};
use super::members::{role, role_of};
use super::{Store, StoreError};
use crate::domain::ids::{HostId, MemberId, ServerId};
use crate::domain::operation::{OperationKind, OperationStatus};
use crate::domain::server::{Member, MemberFacts, ServerState, SettledState};
use chrono::{DateTime, Utc};
use sqlx::FromRow;

/// A member as the Hosts page lists it.
#[derive(Debug, Clone, PartialEq)]
pub struct MemberOnHost {
    pub member: Member,
    pub server_name: String,
    pub state: ServerState,
    /// Whether an operation changes the server now; one that is parked does not.
    pub is_at_work: bool,
    /// Name of the server's SKU and gibibytes of storage, as promised.
    pub sku: String,
    pub storage_gib: i64,
    /// The last look at the container, with its time; `None` before the first.
    pub seen: Option<(DateTime<Utc>, MemberFacts)>,
}

#[derive(FromRow)]
struct Row {
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
    name: String,
    settled: String,
    active: Option<String>,
    active_status: Option<String>,
    sku: String,
    storage_gib: i64,
    observed_at: Option<i64>,
    facts: Option<String>,
}

impl Row {
    fn into_member(self) -> Result<MemberOnHost, StoreError> {
        let facts: Option<MemberFacts> =
            self.facts.as_deref().map(|text| from_json(text, "member facts")).transpose()?;
        let active = self.active.as_deref().and_then(OperationKind::parse);
        let status = self.active_status.as_deref().and_then(OperationStatus::parse);
        let settled = parsed(&self.settled, SettledState::parse, "settled state")?;
        Ok(MemberOnHost {
            member: Member {
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
            },
            server_name: self.name,
            state: ServerState::shown(settled, active),
            is_at_work: status.is_some_and(|status| status != OperationStatus::NeedsAttention),
            sku: self.sku,
            storage_gib: self.storage_gib,
            seen: self.observed_at.map(time).zip(facts),
        })
    }
}

impl Store {
    /// The first `limit` members on a host, by server name.
    pub async fn members_on_host(
        &self,
        host: &HostId,
        limit: i64,
    ) -> Result<Vec<MemberOnHost>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(
            concat!("SELECT m.id, m.server_id, m.host_id, m.generation, m.image, m.postgres_version, m.disk, m.zone, m.port, ", role_of!(), ",
               s.name, s.settled, o.kind AS active, o.status AS active_status, s.sku, s.storage_gib, v.observed_at, v.facts
             FROM members m JOIN servers s ON s.id = m.server_id
             LEFT JOIN high_availability h ON h.server_id = m.server_id
             LEFT JOIN operations o ON o.server_id = s.id AND o.lane = 'change' AND o.is_active = 1
             LEFT JOIN member_observations v ON v.member_id = m.id
             WHERE m.host_id = $1 ORDER BY s.name, m.id LIMIT $2"),
        )
        .bind(host.as_str())
        .bind(limit)
        .fetch_all(self.read())
        .await?;
        rows.into_iter().map(Row::into_member).collect()
    }
}
