//! A managed server: what was asked (spec), what was last finished (settled state), what is shown.

use super::catalog::{Sku, StorageSize};
use super::configuration::Configuration;
use super::ha::MemberRole;
use super::ids::{GroupId, HostId, MemberId, NetworkId, ServerId, UserId};
use super::names::{AdminLogin, ServerName, Tag};
use super::network::Access;
use super::operation::OperationKind;
use super::storage::Disk;
use super::version::Major;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// Everything a person asked for. Written by requests only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerSpec {
    pub name: ServerName,
    pub region: String,
    pub zone: String,
    pub major: Major,
    /// Name of a SKU in the catalogue.
    pub sku: String,
    pub storage_gib: u32,
    pub admin_login: AdminLogin,
    pub access: Access,
    pub tags: Vec<Tag>,
}

impl ServerSpec {
    /// The size. Specs are parsed against the catalogue, which only grows, so the name is always found.
    pub fn sku(&self) -> &'static Sku {
        Sku::by_name(&self.sku).unwrap_or(&super::catalog::SKUS[0])
    }

    pub fn storage(&self) -> &'static StorageSize {
        StorageSize::by_gib(self.storage_gib).unwrap_or(&super::catalog::STORAGE_SIZES[0])
    }
}

/// Where the last finished operation left the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SettledState {
    /// Nothing was finished yet.
    New,
    Ready,
    Stopped,
    /// The creation ended badly and was unwound, or a change could not be undone.
    Failed,
}

impl SettledState {
    pub const ALL: [SettledState; 4] =
        [SettledState::New, SettledState::Ready, SettledState::Stopped, SettledState::Failed];

    pub fn key(self) -> &'static str {
        match self {
            SettledState::New => "New",
            SettledState::Ready => "Ready",
            SettledState::Stopped => "Stopped",
            SettledState::Failed => "Failed",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.key() == text)
    }
}

/// The state people see: the original's words, and our Failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerState {
    Provisioning,
    Ready,
    Starting,
    Stopping,
    Stopped,
    Restarting,
    Updating,
    Dropping,
    Disabled,
    Inaccessible,
    Failed,
}

impl ServerState {
    pub const ALL: [ServerState; 11] = [
        ServerState::Provisioning,
        ServerState::Ready,
        ServerState::Starting,
        ServerState::Stopping,
        ServerState::Stopped,
        ServerState::Restarting,
        ServerState::Updating,
        ServerState::Dropping,
        ServerState::Disabled,
        ServerState::Inaccessible,
        ServerState::Failed,
    ];

    pub fn label(self) -> &'static str {
        match self {
            ServerState::Provisioning => "Provisioning",
            ServerState::Ready => "Ready",
            ServerState::Starting => "Starting",
            ServerState::Stopping => "Stopping",
            ServerState::Stopped => "Stopped",
            ServerState::Restarting => "Restarting",
            ServerState::Updating => "Updating",
            ServerState::Dropping => "Dropping",
            ServerState::Disabled => "Disabled",
            ServerState::Inaccessible => "Inaccessible",
            ServerState::Failed => "Failed",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.label() == text)
    }

    /// The one place where settled state and active operation become a word. Ready means that no
    /// work is under way, not that PostgreSQL answers: that is an observation, shown beside it.
    pub fn shown(settled: SettledState, active: Option<OperationKind>) -> Self {
        match (settled, active) {
            (_, Some(kind)) => kind.facts().state,
            (SettledState::New, None) => ServerState::Provisioning,
            (SettledState::Ready, None) => ServerState::Ready,
            (SettledState::Stopped, None) => ServerState::Stopped,
            (SettledState::Failed, None) => ServerState::Failed,
        }
    }
}

/// A server as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    pub id: ServerId,
    pub spec: ServerSpec,
    pub settled: SettledState,
    /// Kind of the operation that holds the change lane, if any.
    pub active: Option<OperationKind>,
    /// Port on the gateway, given at creation and kept.
    pub port: u16,
    /// Port on the gateway that leads to the built-in PgBouncer, given when it is first switched on and kept.
    pub pooler_port: Option<u16>,
    /// What the files that PostgreSQL starts from are rendered from, beside the spec.
    pub configuration: Configuration,
    /// The resource group it belongs to.
    pub group_id: GroupId,
    /// The virtual network of a server with private access; `None` is its own network only.
    pub network_id: Option<NetworkId>,
    /// Since when it is stopped.
    pub stopped_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub created_by: Option<UserId>,
    /// Grows with every write of the row; writes name the value they read.
    pub version: i64,
}

impl Server {
    pub fn state(&self) -> ServerState {
        ServerState::shown(self.settled, self.active)
    }
}

/// One PostgreSQL container of a server, as placed.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    pub id: MemberId,
    pub server_id: ServerId,
    pub host_id: HostId,
    /// Grows when the container is made anew around the same volume.
    pub generation: i64,
    /// Digest or tag of the image the container was made from; empty before it is known.
    pub image: String,
    /// Minor version text that PostgreSQL told, such as `17.11`; empty before the first answer.
    pub postgres_version: String,
    /// How the size of its storage is kept; `None` for one from before sizes were kept, whose volume is measured.
    pub disk: Option<Disk>,
    /// The zone it was placed in; empty for one from before zones were kept: then it is its server's.
    pub zone: String,
    /// Port on its host's member address that leads to it; `None` where it is reached by its container's address.
    pub port: Option<u16>,
    /// What it is to its server now.
    pub role: MemberRole,
}

impl Member {
    /// Name of the container. Derived from ids, so a second run finds the work of the first.
    pub fn container(&self) -> String {
        format!("pgflex-{}-g{}", self.id.short(), self.generation)
    }

    /// Number of the loop device of a sized disk; `None` for a plain volume.
    pub fn loop_minor(&self) -> Option<u32> {
        self.disk.as_ref().and_then(Disk::minor)
    }

    /// Name of the volume that holds the data: the image of a sized disk, or the plain volume. What is lost
    /// with it is lost; the other one of a sized disk only mounts it.
    pub fn data_volume(&self) -> String {
        match &self.disk {
            Some(disk) if disk.minor().is_some() => self.disk_volume(),
            _ => self.volume(),
        }
    }

    /// Name of the volume that holds the image file of a sized disk, and of the helper container that attaches it.
    pub fn disk_volume(&self) -> String {
        format!("pgflex-{}-disk", self.id.short())
    }

    /// Names of the helper containers that a runner which died may have left on the disk's volumes.
    pub fn disk_helpers(&self) -> [String; 3] {
        ["", "-look", "-tend"].map(|purpose| format!("{}{purpose}", self.disk_volume()))
    }

    /// Name of the volume; the same for every generation.
    pub fn volume(&self) -> String {
        format!("pgflex-{}-data", self.id.short())
    }

    /// Name of the container of the built-in PgBouncer, and of the small volume with its configuration.
    pub fn pooler(&self) -> String {
        format!("pgflex-{}-pooler", self.id.short())
    }

    /// Name of the helper container that copies the primary into the volume.
    pub fn copy_container(&self) -> String {
        format!("pgflex-{}-copy", self.id.short())
    }

    /// Name of the helper container that takes a backup of the volume, or gives one back into it.
    pub fn backup_container(&self) -> String {
        format!("pgflex-{}-backup", self.id.short())
    }

    /// Name of the container through which a helper on another host reads the volume while it takes a backup.
    pub fn door_container(&self) -> String {
        format!("pgflex-{}-door", self.id.short())
    }

    /// Name of the helper container that restores a backup into the volume.
    pub fn restore_container(&self) -> String {
        format!("pgflex-{}-restore", self.id.short())
    }

    /// Name of the helper container that initialises the volume.
    pub fn init_container(&self) -> String {
        format!("pgflex-{}-init", self.id.short())
    }
}

/// Port of PostgreSQL inside its container.
pub const POSTGRES_PORT: u16 = 5432;

impl MemberFacts {
    /// Where its PostgreSQL was reached while it ran.
    pub fn reached_at(&self) -> Option<SocketAddr> {
        let text = self.address.as_deref().filter(|_| self.container_state == "running")?;
        let own = || Some(SocketAddr::new(text.parse().ok()?, POSTGRES_PORT));
        text.parse().ok().or_else(own)
    }
}

/// A name in every server's certificate that no change of the configuration touches. In the server's
/// network it leads to its PostgreSQL.
pub fn internal_name(server: &ServerId) -> String {
    format!("{server}.server.pgflex.internal")
}

/// Name of a server's private network.
pub fn network_name(server: &ServerId) -> String {
    format!("pgflex-{}-net", server.short())
}

/// What was last seen of a member's container and of the PostgreSQL in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemberFacts {
    /// "running", "exited", … as the engine says; "missing" when there is no container.
    pub container_state: String,
    pub container_id: String,
    pub started_at: Option<DateTime<Utc>>,
    pub restarts: i64,
    /// Last exit code while not running.
    pub exit_code: Option<i64>,
    /// Address of its container; with a port where its host publishes it.
    pub address: Option<String>,
    pub memory_limit_bytes: u64,
    pub cpu_limit: f64,
    /// Whether PostgreSQL answered a query; `None` when nobody asked.
    pub accepts_queries: Option<bool>,
    /// Why it did not answer.
    pub probe_error: Option<String>,
}

/// Facts with the time they were observed.
#[derive(Debug, Clone, PartialEq)]
pub struct MemberObservation {
    pub member_id: MemberId,
    pub observed_at: DateTime<Utc>,
    pub facts: MemberFacts,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_active_operation_decides_what_is_shown() {
        assert_eq!(ServerState::shown(SettledState::Ready, None), ServerState::Ready);
        assert_eq!(
            ServerState::shown(SettledState::Failed, Some(OperationKind::Create)),
            ServerState::Provisioning
        );
        for settled in SettledState::ALL {
            assert_eq!(
                ServerState::shown(settled, Some(OperationKind::Delete)),
                ServerState::Dropping
            );
        }
    }
}
