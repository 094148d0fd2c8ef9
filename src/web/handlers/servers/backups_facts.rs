//! What the pages of backups are made of, read once for a request; and which of their actions are open.

use super::nav::Frame;
use crate::domain::backup::{
    Backup, ON_DEMAND_MAX, Protection, Repository, RepositoryState, Window,
};
use crate::domain::ha::MemberRole;
use crate::domain::ids::HostId;
use crate::domain::lock::{self, Act};
use crate::domain::operation::{Lane, Operation, OperationKind, OperationStatus};
use crate::domain::placement::HostLoad;
use crate::domain::server::{Member, Server, SettledState};
use crate::store::operations::OperationFilter;
use crate::web::error::PageError;
use crate::web::visit::Visit;
use chrono::{DateTime, Utc};

/// Everything on record about the backups of one server that is there.
pub struct BackupFacts {
    pub protection: Protection,
    pub members: Vec<Member>,
    pub loads: Vec<HostLoad>,
    /// Without the hosts that left the configuration: where something new can be.
    pub configured: Vec<HostLoad>,
    /// Kinds under way, but for those on backups.
    pub under_way: Vec<OperationKind>,
    /// Operations on backups, newest first: those under way, or the last one when it failed.
    pub works: Vec<Operation>,
    pub is_stopped: bool,
    pub now: DateTime<Utc>,
}

impl BackupFacts {
    /// Reads them.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn load(visit: &Visit, server: &Server) -> Result<Self, PageError> {
        let store = &visit.state.store;
        let of_server =
            OperationFilter { server_id: Some(server.id.clone()), ..Default::default() };
        let operations = store.operations(&of_server).await?;
        let members = store.members(&server.id).await?;
        let loads = store.host_loads_all().await?;
        let configured = store.host_loads().await?;
        Ok(Self { members, loads, configured, ..Self::in_short(visit, server, operations).await? })
    }

    /// The same without where its backups lie, from the server's operations.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn in_short(
        visit: &Visit,
        server: &Server,
        operations: Vec<Operation>,
    ) -> Result<Self, PageError> {
        let store = &visit.state.store;
        Ok(Self {
            protection: store.protection(&server.id).await?,
            members: vec![],
            loads: vec![],
            configured: vec![],
            under_way: store.kinds_under_way(&server.id).await?,
            works: works(operations),
            is_stopped: server.settled == SettledState::Stopped,
            now: visit.now,
        })
    }

    /// The repository that is restored from unless a person chooses another.
    pub fn repository(&self) -> i64 {
        self.protection.to_restore_from(|host| is_away(&self.loads, host))
    }

    /// Those that backups go into by what is asked for, and whose schedule has prepared them.
    pub fn open_repositories(&self) -> Vec<&Repository> {
        let all = self.protection.repositories.iter();
        all.filter(|one| {
            self.protection.asks_for(one.number) && one.state != RepositoryState::Planned
        })
        .collect()
    }

    /// Where a repository is: "on host NAME", or in which object storage.
    pub fn where_is(&self, one: &Repository) -> String {
        match &one.location {
            Some(location) => format!("in the object storage {location}"),
            None => format!("on host {}", self.host_name(&one.host_id)),
        }
    }

    /// Whether its host did not answer when it was last looked at. Object storage is on none.
    pub fn is_away(&self, one: &Repository) -> bool {
        !one.is_in_object_storage() && is_away(&self.loads, &one.host_id)
    }

    /// Name of a host.
    pub fn host_name(&self, host: &HostId) -> String {
        let load = self.load_of(host);
        load.map_or("not known any more".into(), |load| load.host.name.clone())
    }

    /// What can be restored.
    pub fn window(&self) -> Window {
        self.protection.window_of(self.repository())
    }

    pub fn primary(&self) -> Option<&Member> {
        self.members.iter().find(|member| member.role == MemberRole::Primary)
    }

    pub fn load_of(&self, host: &HostId) -> Option<&HostLoad> {
        self.loads.iter().find(|load| load.host.id == *host)
    }

    /// The newest good backup of the repository that is restored from.
    pub fn newest(&self) -> Option<&Backup> {
        self.protection.good_in(self.repository()).max_by_key(|one| one.ended_at)
    }

    /// Backups that people asked for.
    pub fn on_demand(&self) -> usize {
        self.protection.backups.iter().filter(|one| one.is_on_demand()).count()
    }

    pub fn is_backing_up(&self) -> bool {
        self.works.iter().any(|one| one.kind == OperationKind::Backup && one.status.is_active())
    }

    /// Why an operation on backups cannot be asked for now; `None` when it can.
    pub fn why_closed(&self, frame: &Frame, kind: OperationKind) -> Option<String> {
        let busy = self.works.iter().find(|one| one.status.is_active());
        let busy = busy.filter(|_| kind.lane() == Lane::Backup);
        frame
            .why_closed(kind)
            .or_else(|| {
                busy.map(|other| {
                    format!("“{}” is under way. Wait until it has ended.", other.kind.label())
                })
            })
            .or_else(|| kind.check_beside(&self.under_way).err().map(|refusal| refusal.text))
            .or_else(|| self.why_not(kind))
    }

    fn why_not(&self, kind: OperationKind) -> Option<String> {
        match kind {
            OperationKind::Backup if self.on_demand() >= ON_DEMAND_MAX => Some(format!(
                "There are {ON_DEMAND_MAX} backups on demand, which is the most. Delete one first."
            )),
            OperationKind::RestoreDrill if self.newest().is_none() => {
                Some("There is no backup yet that could be restored.".into())
            }
            _ => None,
        }
    }

    /// Why nothing can be restored; `None` when something can.
    pub fn why_not_restored(&self) -> Option<String> {
        let none = self.window().spans.is_empty();
        none.then(|| "There is no backup yet that could be restored.".into())
    }

    /// Why how long backups are kept cannot be changed.
    pub fn why_kept(frame: &Frame) -> Option<String> {
        lock::check(&frame.locks, Act::Change).err().map(|refusal| refusal.text)
    }
}

/// Whether a host did not answer when it was last looked at. Of one that is not in the list nothing is known.
pub fn is_away(loads: &[HostLoad], host: &HostId) -> bool {
    loads.iter().any(|load| load.host.id == *host && load.facts.is_none())
}

/// Operations on backups that are under way; without any, the last one when it failed.
fn works(operations: Vec<Operation>) -> Vec<Operation> {
    let mut of_backups =
        operations.into_iter().filter(|one| one.kind.lane() == Lane::Backup).peekable();
    let failed = of_backups.peek().filter(|one| one.status == OperationStatus::Failed).cloned();
    let open: Vec<Operation> = of_backups.filter(|one| one.status.is_active()).collect();
    if open.is_empty() { failed.into_iter().collect() } else { open }
}
