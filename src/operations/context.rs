//! The little that a step may touch.

use crate::certificates::Authority;
use crate::clock::Clock;
use crate::domain::ha::{HighAvailability, MemberRole};
use crate::domain::operation::{Lease, Operation};
use crate::domain::server::{Member, Server};
use crate::engine::Engine;
use crate::engine::registry::{Engines, Snapshot};
use crate::operations::step::StepError;
use crate::poke::Poke;
use crate::postgres::Postgres;
use crate::secrets::Sealer;
use crate::store::{Record, Store, WriteTx};
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::sync::Arc;

/// What steps and the runner share; made once in `app.rs`.
pub struct Services {
    pub store: Store,
    pub engines: Engines,
    pub postgres: Arc<dyn Postgres>,
    pub clock: Arc<dyn Clock>,
    pub sealer: Sealer,
    pub authority: Authority,
    pub poke: Poke,
    pub settings: OperationSettings,
}

/// Settings that steps need.
#[derive(Debug, Clone)]
pub struct OperationSettings {
    /// Random id of this installation; label on everything we make.
    pub install_id: String,
    pub endpoint_host: String,
    pub endpoint_domain: String,
    pub overcommit: crate::domain::host::Overcommit,
    /// How the storage of new servers is kept to its size.
    pub storage: crate::domain::storage::StoragePolicy,
    /// Where backups can be kept outside of every host; `None` when nothing is configured.
    pub object_storage: Option<Arc<crate::postgres::pgbackrest::Storage>>,
    /// First and last of the ports on which hosts with a member address publish their members.
    pub member_ports: (u16, u16),
    /// Extra label for the clean-up after tests.
    pub is_test: bool,
}

impl OperationSettings {
    /// Host name of a server's endpoint on the shared port.
    pub fn endpoint_of(&self, server_name: &str) -> String {
        format!("{server_name}.{}", self.endpoint_domain)
    }
}

/// One step's view: the operation it belongs to, the server, its members, what earlier steps gave.
pub struct StepContext {
    pub services: Arc<Services>,
    pub operation: Operation,
    pub server: Server,
    /// The primary first, then its standby, then those of before; see [`StepContext::on`].
    pub members: Vec<Member>,
    /// The row of its pair; `None` without high availability.
    pub ha: Option<HighAvailability>,
    /// Output of every finished step, by name.
    pub outputs: HashMap<String, serde_json::Value>,
    /// The engines as they were when the call began.
    pub(super) engines: Snapshot,
    pub(super) lease: Lease,
    pub(super) step: &'static str,
}

impl StepContext {
    /// The same with another member in the place of the primary: what works on [`StepContext::member`] works on it.
    #[must_use]
    pub fn on(&self, member: &Member) -> Self {
        let rest = self.members.iter().filter(|other| other.id != member.id).cloned();
        let members = std::iter::once(member.clone()).chain(rest).collect();
        Self {
            services: self.services.clone(),
            operation: self.operation.clone(),
            server: self.server.clone(),
            members,
            ha: self.ha.clone(),
            outputs: self.outputs.clone(),
            engines: self.engines.clone(),
            lease: self.lease.clone(),
            step: self.step,
        }
    }

    /// The member in this role, if there is one.
    pub fn in_role(&self, role: MemberRole) -> Option<&Member> {
        self.members.iter().find(|member| member.role == role)
    }

    /// The primary, or the member that [`StepContext::on`] chose.
    pub fn member(&self) -> Result<&Member, StepError> {
        self.members.first().ok_or_else(|| {
            StepError::permanent(
                "The server has no member on record.",
                "Delete the server and create it again.",
            )
        })
    }

    /// The engine of a member's host.
    pub fn engine(&self, member: &Member) -> Result<&Arc<dyn Engine>, StepError> {
        let why = || StepError::Transient("This process does not drive the member's host.".into());
        self.engines.get(&member.host_id).map(|driven| &driven.engine).ok_or_else(why)
    }

    /// What the kind was told when it was submitted.
    pub fn input<T: DeserializeOwned>(&self) -> Result<T, StepError> {
        serde_json::from_value(self.operation.input.clone()).map_err(|_| {
            StepError::permanent(
                "The operation does not say what is to be done. Nothing was changed.",
                "Submit it again from its page.",
            )
        })
    }

    /// What an earlier step gave.
    pub fn output<T: DeserializeOwned>(&self, step: &str) -> Result<T, StepError> {
        let value = self.outputs.get(step).cloned().unwrap_or(serde_json::Value::Null);
        serde_json::from_value(value).map_err(|_| {
            StepError::permanent(
                format!("The result of “{step}” is missing."),
                "Try the operation again from the start.",
            )
        })
    }

    /// Begins a write that the store refuses when this runner lost the operation.
    pub async fn begin_write(&self) -> Result<WriteTx, StepError> {
        let mut tx = self.services.store.begin_write(self.services.clock.now()).await?;
        tx.guard(&self.lease, None).await?;
        Ok(tx)
    }

    /// Commits what a step wrote; the activity line belongs to the operation as a whole.
    pub async fn commit(&self, tx: WriteTx) -> Result<(), StepError> {
        Ok(tx
            .commit(Record::Nothing("a step of an operation, which has a line of its own"))
            .await?)
    }

    /// Writes lines into the operation's log that are not there yet: `lines` is everything since the step began.
    pub async fn log_new(&self, lines: &[String]) {
        let known =
            self.services.store.count_log_lines(&self.operation.id, self.step).await.unwrap_or(0);
        for line in lines.iter().skip(known) {
            self.log(line.clone()).await;
        }
    }

    /// Writes a line into the operation's log. A line that cannot be written is no reason to fail.
    pub async fn log(&self, line: impl Into<String>) {
        let now = self.services.clock.now();
        let written = self
            .services
            .store
            .append_operation_log(&self.lease, now, self.step, &[line.into()])
            .await;
        if let Err(error) = written {
            tracing::warn!(operation.id = %self.operation.id, step = self.step, %error, "a log line was not written");
        }
        self.services.poke.progress();
    }
}
