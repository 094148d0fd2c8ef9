//! PostgreSQL that answers where the fake engine runs a member.

mod archive;
pub mod cluster;
mod databases;
mod drill;
pub mod extensions;
mod networking;
pub mod parameters;
mod passwords;
mod replication;
use super::networking::Unwanted;
use super::{Postgres, PostgresError, Probe, Target};
use crate::domain::names::AdminLogin;
use crate::secrets::{Secret, sha256_hex};
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Says which version runs at an address, or `None` when nothing does. Tied to a fake engine from outside,
/// because this layer does not know engines:
/// `FakePostgres::new({ let engine = engine.clone(); move |a| engine.member_at(&a.to_string()).map(|_| "17.6".into()) })`
pub type Members = dyn Fn(IpAddr) -> Option<String> + Send + Sync;

/// Gives the text of the configuration file from which the member at an address runs.
pub type Files = dyn Fn(IpAddr) -> Option<String> + Send + Sync;

/// One `ensure_admin` that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnsuredAdmin {
    pub address: IpAddr,
    pub login: String,
    /// SHA-256 of the verifier, to compare runs without keeping it.
    pub verifier_sha256: String,
}

/// Members in memory. Clones share their state.
#[derive(Clone)]
pub struct FakePostgres {
    members: Arc<Members>,
    files: Arc<Files>,
    machines: Option<Arc<dyn cluster::Machines>>,
    state: Arc<Mutex<State>>,
}

/// What a standby refuses.
const WRITES: [&str; 15] = [
    "ensure_admin",
    "set_admin_verifier",
    "stage_database",
    "publish_database",
    "withdraw_database",
    "close_database",
    "reopen_database",
    "drop_database",
    "change_extension",
    "ensure_pooler_access",
    "ensure_pooler_access_in",
    "ensure_replication_role",
    "mark",
    "ensure_backup_role",
    "end_piece",
];

#[derive(Default)]
struct State {
    admins: Vec<EnsuredAdmin>,
    ended_sessions: Vec<Unwanted>,
    faults: Vec<(&'static str, PostgresError)>,
    /// The same for one container.
    faults_at: Vec<(String, &'static str, PostgresError)>,
    archives: archive::Archives,
    cluster: cluster::Cluster,
    /// Looks at settings so far; gives the time of the file's last reading.
    looks: i64,
    /// By database and name: version.
    extensions: BTreeMap<(String, String), String>,
    databases: databases::Databases,
    drills: drill::Drills,
    passwords: passwords::Passwords,
    /// Meets every call until it is taken away.
    every: Option<PostgresError>,
}

impl FakePostgres {
    pub fn new(members: impl Fn(IpAddr) -> Option<String> + Send + Sync + 'static) -> Self {
        Self {
            members: Arc::new(members),
            files: Arc::new(|_| None),
            machines: None,
            state: Arc::default(),
        }
    }

    /// The same, with settings read from the file that the member has. Tied to a fake engine from outside.
    #[must_use]
    pub fn with_files(
        mut self,
        files: impl Fn(IpAddr) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.files = Arc::new(files);
        self
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next `times` calls of a method fail.
    pub fn inject(&self, method: &'static str, times: u32, error: &PostgresError) {
        let mut state = self.state();
        (0..times).for_each(|_| state.faults.push((method, error.clone())));
    }

    /// The next `times` calls of a method fail at the member in this container.
    pub fn inject_at(
        &self,
        container: &str,
        method: &'static str,
        times: u32,
        error: &PostgresError,
    ) {
        let fault = (container.to_owned(), method, error.clone());
        let mut state = self.state();
        (0..times).for_each(|_| state.faults_at.push(fault.clone()));
    }

    /// Every call fails so from now on; `None` ends it.
    pub fn fail_everywhere(&self, error: Option<PostgresError>) {
        self.state().every = error;
    }

    /// Every `ensure_admin` that was done, in order.
    pub fn admins(&self) -> Vec<EnsuredAdmin> {
        self.state().admins.clone()
    }

    fn answer(&self, method: &'static str, target: &Target) -> Result<String, PostgresError> {
        let member = self.member(target).map(|(member, _)| member);
        self.meet_fault(method, member.as_ref())?;
        if let Some(member) = &member {
            self.meet_standby(method, target, member)?;
        }
        let silent = || PostgresError::Silent(format!("{}: connection refused", target.address));
        match (self.members)(target.address.ip()) {
            Some(version) => Ok(version),
            // Reached by a port of its host.
            None => member.map(|_| "17.6".into()).ok_or_else(silent),
        }
    }

    fn meet_fault(
        &self,
        method: &'static str,
        member: Option<&cluster::Running>,
    ) -> Result<(), PostgresError> {
        let mut state = self.state();
        if let Some(at) = state.faults.iter().position(|(name, _)| *name == method) {
            return Err(state.faults.remove(at).1);
        }
        if let Some(error) = &state.every {
            return Err(error.clone());
        }
        let Some(member) = member else { return Ok(()) };
        let is_met = |(place, name, _): &(String, &str, PostgresError)| {
            *place == member.container && *name == method
        };
        if let Some(at) = state.faults_at.iter().position(is_met) {
            return Err(state.faults_at.remove(at).2);
        }
        match member.is_paused || state.cluster.silent.contains(&member.container) {
            true => Err(PostgresError::Silent("no connection within 3 s".into())),
            false => Ok(()),
        }
    }

    fn meet_standby(
        &self,
        method: &'static str,
        target: &Target,
        member: &cluster::Running,
    ) -> Result<(), PostgresError> {
        let _ = self.look(target);
        match WRITES.contains(&method) && self.state().cluster.is_recovering(member) {
            true => {
                let what = "cannot execute this in a read-only transaction";
                Err(PostgresError::Refused(what.into()))
            }
            false => Ok(()),
        }
    }
}

#[async_trait]
impl super::checkpoint::Checkpoint for FakePostgres {
    async fn checkpoint(&self, target: &Target) -> Result<(), PostgresError> {
        self.answer("checkpoint", target).map(|_| ())
    }
}

#[async_trait]
impl Postgres for FakePostgres {
    async fn probe(&self, target: &Target) -> Result<Probe, PostgresError> {
        let version = self.answer("probe", target)?;
        Ok(Probe { version, in_recovery: self.look(target).in_recovery })
    }

    async fn ensure_admin(
        &self,
        target: &Target,
        login: &AdminLogin,
        verifier: &Secret,
    ) -> Result<(), PostgresError> {
        self.answer("ensure_admin", target)?;
        self.state().passwords.verifier = Some(verifier.reveal().to_owned());
        self.state().admins.push(EnsuredAdmin {
            address: target.address.ip(),
            login: login.as_str().to_owned(),
            verifier_sha256: sha256_hex(verifier.reveal()),
        });
        Ok(())
    }
}
