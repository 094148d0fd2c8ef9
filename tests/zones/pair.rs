//! A server with high availability over the zones, and how it stands.

use super::checker::Endpoint;
use super::engines::Zones;
use super::portal::{ADMIN, PASSWORD, Portal};
use pgflex::domain::activity::Actor;
use pgflex::domain::ha::{
    Cause, Durability, HaMode, HighAvailability, MemberRole, ReplicationState,
};
use pgflex::domain::ids::{OperationId, ServerId};
use pgflex::domain::operation::OperationKind;
use pgflex::operations::submit::{Change, SubmitError};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest time from the end of a fault until the pair is healthy again.
const HEALTHY_WITHIN: Duration = Duration::from_secs(180);
/// How long it must stay so.
const CALM: Duration = Duration::from_millis(1_500);
/// Longest wait for a failover that must come.
const FAILOVER_WITHIN: Duration = Duration::from_secs(60);

/// A commit of something, refused while new transactions are read-only.
const COMMIT: &str = "DO $$ BEGIN PERFORM pg_logical_emit_message(true, 'checked', ''); \
    IF current_setting('transaction_read_only') = 'on' THEN RAISE 'read-only'; END IF; END $$";

/// A member's container, and the zone it is in.
#[derive(Debug, Clone)]
pub struct Place {
    pub zone: u8,
    pub container: String,
}

pub struct Pair {
    pub portal: Portal,
    pub server: ServerId,
}

impl Pair {
    /// A zone-redundant server: primary in zone 1, standby in zone 2, healthy.
    pub async fn create(portal: Portal, name: &str) -> Self {
        Self::create_with(portal, name, Durability::Preferred).await
    }

    /// The same with a durability.
    pub async fn create_with(portal: Portal, name: &str, durability: Durability) -> Self {
        hosts_are_seen(&portal).await;
        let server = portal.create_pair(name, HaMode::ZoneRedundant, durability).await;
        let pair = Self { portal, server };
        pair.healthy("the pair that was just created").await;
        pair
    }

    pub fn zones(&self) -> &Arc<Zones> {
        &self.portal.zones
    }

    pub async fn row(&self) -> HighAvailability {
        self.portal.app.store.ha(&self.server).await.unwrap().unwrap()
    }

    /// The member in a role, which must be there.
    pub async fn place(&self, role: MemberRole) -> Place {
        self.find(role).await.unwrap_or_else(|| panic!("there is no {role:?}"))
    }

    async fn find(&self, role: MemberRole) -> Option<Place> {
        let members = self.portal.members(&self.server).await;
        let member = members.iter().find(|member| member.role == role)?;
        Some(Place { zone: member.zone.parse().unwrap(), container: member.container() })
    }

    pub async fn endpoint(&self) -> Endpoint {
        Endpoint {
            port: self.portal.server(&self.server).await.port,
            login: ADMIN.into(),
            password: PASSWORD.into(),
            root: self.portal.app.authority.certificate.clone(),
        }
    }

    /// Waits until commits are on two hosts again, and stay so; gives how long that took.
    pub async fn healthy(&self, after: &str) -> Duration {
        let begun = Instant::now();
        let mut since: Option<(Instant, i64)> = None;
        loop {
            let row = self.row().await;
            let is_fine = row.state == ReplicationState::Sync && row.is_promotable;
            since = match since {
                _ if !is_fine => None,
                Some((since, version)) if version == row.version => Some((since, version)),
                _ => Some((Instant::now(), row.version)),
            };
            if let Some((since, version)) = since
                && since.elapsed() > CALM
                // The row may not know yet: both must run, and a commit must come back.
                && self.works().await
                && self.row().await.version == version
            {
                return since - begun;
            }
            if begun.elapsed() > HEALTHY_WITHIN {
                panic!("not healthy after {after}: {row:?}\n{}", self.story().await);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn works(&self) -> bool {
        for role in [MemberRole::Primary, MemberRole::Standby] {
            let Some(place) = self.find(role).await else { return false };
            let format = "--format={{.State.Status}}";
            let state = self.zones().try_docker(place.zone, &["inspect", format, &place.container]);
            if state.as_deref() != Some("running") {
                return false;
            }
        }
        self.portal.psql(&self.server, COMMIT).await.is_ok()
    }

    /// Waits until the primary has changed.
    pub async fn changes(&self, epoch: i64, after: &str) {
        self.until("failed over", after, async || self.row().await.epoch != epoch).await;
    }

    /// Waits until the pair is in a state.
    pub async fn reaches(&self, state: ReplicationState, after: &str) {
        self.until(&format!("{state:?}"), after, async || self.row().await.state == state).await;
    }

    /// Waits until it is in another.
    pub async fn leaves(&self, state: ReplicationState, after: &str) {
        let what = format!("anything but {state:?}");
        self.until(&what, after, async || self.row().await.state != state).await;
    }

    /// Waits until a commit comes back.
    pub async fn serves(&self, after: &str) {
        let is_so = async || self.portal.psql(&self.server, COMMIT).await.is_ok();
        self.until("a commit", after, is_so).await;
    }

    /// Waits until new transactions are read-only.
    pub async fn refuses_writes(&self, after: &str) {
        self.until("read-only", after, async || self.is_read_only().await).await;
    }

    /// Waits until new transactions are read-only, or the standby does not count any more.
    pub async fn refuses_writes_or_leaves_sync(&self, after: &str) {
        let is_so =
            async || self.row().await.state != ReplicationState::Sync || self.is_read_only().await;
        self.until("read-only", after, is_so).await;
    }

    async fn is_read_only(&self) -> bool {
        let sql = "SHOW default_transaction_read_only";
        self.portal.psql(&self.server, sql).await.is_ok_and(|on| on == "on")
    }

    async fn until(&self, what: &str, after: &str, mut is_so: impl AsyncFnMut() -> bool) {
        let begun = Instant::now();
        while !is_so().await {
            if begun.elapsed() > FAILOVER_WITHIN {
                panic!("never {what} after {after}\n{}", self.story().await);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// F14 lets no fourth automatic failover happen within an hour: the earlier ones become old.
    pub async fn forget_failovers(&self) {
        use sqlx::Connection;
        sqlx::any::install_default_drivers();
        let url = self.portal.app.config.database_url();
        let mut store = sqlx::AnyConnection::connect(&url).await.unwrap();
        let older =
            "UPDATE promotions SET decided_at = decided_at - 7200000000 WHERE cause = 'Automatic'";
        sqlx::query(older).execute(&mut store).await.unwrap();
        store.close().await.unwrap();
    }

    /// Submits a change as soon as nothing hinders it: the making of a standby goes on for a moment when the pair is
    /// healthy already.
    async fn submit_when_free(&self, change: &Change) -> OperationId {
        let begun = Instant::now();
        loop {
            let door = self.portal.door();
            let actor = Actor::system();
            match door.submit_change(change.clone(), &self.server, &actor, None).await {
                Ok(id) => return id,
                Err(SubmitError::Refused(why)) if begun.elapsed() > FAILOVER_WITHIN => {
                    panic!("{:?} is refused: {why}\n{}", change.kind, self.story().await)
                }
                Err(SubmitError::Refused(_)) => {}
                Err(error) => panic!("{error}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Submits a kind that needs nothing but its server.
    pub async fn submit(&self, kind: OperationKind) -> OperationId {
        self.submit_when_free(&Change::plain(kind)).await
    }

    /// A planned change of primary, to its end.
    pub async fn switch_over(&self) {
        self.switch_over_as(Cause::Planned).await;
    }

    /// The same for another cause, such as a drill.
    pub async fn switch_over_as(&self, cause: Cause) {
        let input = serde_json::json!({ "cause": cause });
        let change = Change::new(OperationKind::Switchover, "", &input);
        let id = self.submit_when_free(&change).await;
        self.portal.succeed(&id).await;
    }

    /// What the portal says that it saw and did, oldest first, and the end of its log.
    pub async fn story(&self) -> String {
        let events = self.portal.app.store.ha_events(&self.server, 60).await.unwrap();
        let mut text = String::new();
        for event in events.iter().rev() {
            let (at, kind) = (event.at.format("%H:%M:%S%.3f"), &event.kind);
            let _ = writeln!(text, "{at} epoch {} {kind}: {}", event.epoch, event.detail);
        }
        let filter = pgflex::store::operations::OperationFilter {
            server_id: Some(self.server.clone()),
            ..Default::default()
        };
        for operation in self.portal.app.store.operations(&filter).await.unwrap().iter().take(12) {
            let _ = writeln!(
                text,
                "{} {} step {} attempt {} {:?}",
                operation.kind.key(),
                operation.status.key(),
                operation.cursor,
                operation.attempt,
                operation.error
            );
        }
        let log = self.portal.log();
        let tail: Vec<&str> = log.lines().rev().take(30).collect();
        tail.iter().rev().for_each(|line| {
            let _ = writeln!(text, "{line}");
        });
        text
    }
}

/// A portal that has just started places nothing on hosts that it has not seen yet.
async fn hosts_are_seen(portal: &Portal) {
    let begun = Instant::now();
    loop {
        let loads = portal.app.store.host_loads().await.unwrap();
        if loads.iter().filter(|load| load.facts.is_some()).count() == 3 {
            return;
        }
        assert!(begun.elapsed() < FAILOVER_WITHIN, "hosts are not seen\n{}", portal.tail());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
