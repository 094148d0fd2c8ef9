//! PostgreSQL that answers where the fake engine runs a member.

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
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    admins: Vec<EnsuredAdmin>,
    ended_sessions: Vec<Unwanted>,
    faults: Vec<(&'static str, PostgresError)>,
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
        Self { members: Arc::new(members), files: Arc::new(|_| None), state: Arc::default() }
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

    /// Every call fails so from now on; `None` ends it.
    pub fn fail_everywhere(&self, error: Option<PostgresError>) {
        self.state().every = error;
    }

    /// Every `ensure_admin` that was done, in order.
    pub fn admins(&self) -> Vec<EnsuredAdmin> {
        self.state().admins.clone()
    }

    fn answer(&self, method: &'static str, target: &Target) -> Result<String, PostgresError> {
        let mut state = self.state();
        if let Some(at) = state.faults.iter().position(|(name, _)| *name == method) {
            return Err(state.faults.remove(at).1);
        }
        if let Some(error) = &state.every {
            return Err(error.clone());
        }
        (self.members)(target.address.ip())
            .ok_or_else(|| PostgresError::Silent(format!("{}: connection refused", target.address)))
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
        Ok(Probe { version, in_recovery: false })
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
