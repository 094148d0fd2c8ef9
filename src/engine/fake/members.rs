//! What the fake tells of the members it runs, for those who play PostgreSQL, and what becomes of containers.

use super::objects::{Container, Objects, Outcome, Volume};
use super::repositories::RECOVERY_SIGNAL;
use super::{EVENTS, FakeEngine, State};
use crate::engine::{EngineError, EngineEvent, EventKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::sync::broadcast;

/// What a helper that copies a member was told.
#[derive(Debug, Clone)]
pub struct CopyOrder {
    /// How the source is reached.
    pub source: String,
    pub slot: String,
    /// The data directory that becomes; see [`FakeMember::data`].
    pub data: String,
}

/// Plays `pg_basebackup`: `Err` is the line it ends with.
pub type Copies = dyn Fn(&CopyOrder) -> Result<(), String> + Send + Sync;

/// A member that runs or is frozen.
#[derive(Debug, Clone)]
pub struct FakeMember {
    pub container: String,
    /// Names its data directory; a new volume of the same name is another one.
    pub data: String,
    /// Inside its network, and published.
    pub addresses: Vec<SocketAddr>,
    /// Grows with each start on its engine.
    pub start: i64,
    /// As they were when they were last loaded.
    pub configuration: String,
    pub rules: String,
    pub loads: i64,
    /// Whether `standby.signal` was there at the start.
    pub is_standby: bool,
    pub is_paused: bool,
}

/// What a member read when it started or was told to read again.
#[derive(Debug, Clone, Default)]
pub(super) struct Loaded {
    configuration: String,
    rules: String,
    loads: i64,
    is_standby: bool,
}

const PORT: u16 = 5432;
const SIGNAL: &str = "data/standby.signal";
/// What a copy cannot do without.
const COPY_FILES: [&str; 3] =
    ["config/root.crt", "config/replication.crt", "config/replication.key"];

impl FakeEngine {
    /// Says what a helper that copies a member does. Without it every copy succeeds.
    pub fn on_copy(
        &self,
        copies: impl Fn(&CopyOrder) -> Result<(), String> + Send + Sync + 'static,
    ) {
        self.state().copies = Arc::new(copies);
    }

    /// The members that run or are frozen.
    pub fn members(&self) -> Vec<FakeMember> {
        self.state().objects.members()
    }

    /// A member reads its files again.
    pub fn reload(&self, container: &str) {
        self.state().objects.load(container, false);
    }

    /// A member is a standby no more.
    pub fn end_recovery(&self, container: &str) {
        self.state().objects.end_recovery(container);
    }

    /// Freezes a running container, as `docker pause` does.
    pub fn pause(&self, container: &str) {
        self.freeze(container, "running", "paused", EventKind::Paused);
    }

    /// Lets a frozen container go on.
    pub fn unpause(&self, container: &str) {
        self.freeze(container, "paused", "running", EventKind::Unpaused);
    }

    fn freeze(&self, name: &str, from: &str, to: &'static str, what: EventKind) {
        let mut state = self.state();
        let found = state.objects.containers.get_mut(name).filter(|found| found.state == from);
        if let Some(container) = found {
            container.state = to;
            state.tell(what, name);
        }
    }

    /// Those who follow events find that the list has ended.
    pub fn cut_events(&self) {
        self.state().events = broadcast::channel(EVENTS).0;
    }

    pub(super) fn tell(&self, what: EventKind, container: &str) {
        self.state().tell(what, container);
    }

    /// How the copy ends that this container is about to make. Asked without the lock: the answer comes from those who
    /// ask this engine.
    pub(super) fn copy_for(&self, container: &str) -> Option<Result<(), String>> {
        let (order, copies) = {
            let state = self.state();
            (state.objects.copy_order(container)?, state.copies.clone())
        };
        Some(order.and_then(|order| copies(&order)))
    }
}

impl State {
    /// Tells those who follow the engine's events.
    pub(super) fn tell(&self, what: EventKind, container: &str) {
        if let Some(facts) = self.objects.facts(container) {
            let (id, labels) = (facts.id, facts.labels);
            let event = EngineEvent { what, id, container: container.to_owned(), labels };
            let _ = self.events.send(event);
        }
    }

    /// Does something that may end a container, and tells.
    pub(super) fn end_telling<T>(&mut self, name: &str, act: impl FnOnce(&mut Objects) -> T) -> T {
        let was_alive = self.objects.is_alive(name);
        let done = act(&mut self.objects);
        if was_alive && !self.objects.is_alive(name) {
            self.tell(EventKind::Died, name);
        }
        done
    }
}

impl Volume {
    fn text(&self, path: &str) -> String {
        let bytes = self.files.get(path).map(Vec::as_slice).unwrap_or_default();
        String::from_utf8_lossy(bytes).into_owned()
    }

    /// How a start ends for one that was restored and is to recover: at the end of the archive, or without a way to it.
    pub(super) fn recovered(&mut self) -> (Option<i64>, Option<&'static str>) {
        if !self.files.contains_key(RECOVERY_SIGNAL) {
            return (None, None);
        }
        let can_fetch = self.text("config/postgresql.conf").contains("\nrestore_command = ")
            && self.files.contains_key("config/recovery.conf");
        if !can_fetch {
            let why = "FATAL:  must specify \"restore_command\" when standby mode is not enabled";
            return (Some(1), Some(why));
        }
        self.files.remove(RECOVERY_SIGNAL);
        (None, Some("P00   INFO: unable to find 00000001000000000000000A in the archive"))
    }

    /// What a copy leaves: exit code and last line.
    pub(super) fn copied(&mut self, outcome: Option<Result<(), String>>) -> (i64, String) {
        match outcome {
            None if self.is_initialised => (0, "the data directory is there already".into()),
            Some(Ok(())) => {
                self.is_initialised = true;
                self.files.insert(SIGNAL.into(), vec![]);
                (0, "pg_basebackup: base backup completed".into())
            }
            Some(Err(why)) => (1, format!("pg_basebackup: error: {why}")),
            None => (1, "pg_basebackup: error: nothing to copy".into()),
        }
    }
}

impl Objects {
    /// A port of the host belongs to one container that runs.
    pub(super) fn check_port(&self, container: &Container) -> Outcome {
        let Some(port) = container.spec.publish else { return Ok(()) };
        let is_taken = |other: &Container| other.is_alive() && other.spec.publish == Some(port);
        match self.containers.values().any(is_taken) {
            true => Err(EngineError::Refused(format!(
                "Bind for {port} failed: port is already allocated"
            ))),
            false => Ok(()),
        }
    }

    /// The member reads its files; at a start also what it is.
    pub(super) fn load(&mut self, name: &str, is_start: bool) {
        let Some(container) = self.containers.get_mut(name) else { return };
        let Some(volume) = self.volumes.get(&container.spec.volume) else { return };
        let loaded = &mut container.loaded;
        loaded.configuration = volume.text("config/postgresql.conf");
        loaded.rules = volume.text("config/pg_hba.conf");
        loaded.loads += 1;
        if is_start {
            loaded.is_standby = volume.files.contains_key(SIGNAL);
        }
    }

    fn end_recovery(&mut self, name: &str) {
        let Some(container) = self.containers.get(name) else { return };
        if let Some(volume) = self.volumes.get_mut(&container.spec.volume) {
            volume.files.remove(SIGNAL);
        }
    }

    fn data_of(&self, volume: &str) -> String {
        let serial = self.volumes.get(volume).map_or(0, |volume| volume.serial);
        format!("{}/{volume}#{serial}", self.engine)
    }

    fn copy_order(&self, name: &str) -> Option<Result<CopyOrder, String>> {
        let spec = &self.containers.get(name)?.spec;
        let volume = self.volumes.get(&spec.volume)?;
        let is_copy = spec.command.join(" ").contains("pg_basebackup");
        if !is_copy || volume.is_initialised {
            return None;
        }
        let missing = COPY_FILES.iter().find(|file| !volume.files.contains_key(**file));
        if let Some(file) = missing {
            return Some(Err(format!("could not read {file}")));
        }
        let [.., source, slot] = spec.command.as_slice() else { return None };
        let (source, slot, data) = (source.clone(), slot.clone(), self.data_of(&spec.volume));
        Some(Ok(CopyOrder { source, slot, data }))
    }

    fn members(&self) -> Vec<FakeMember> {
        let is_member = |container: &&Container| {
            let command = container.spec.command.join(" ");
            container.is_alive()
                && command.contains("postgres")
                && !command.starts_with("pgbouncer")
        };
        self.containers.values().filter(is_member).map(|found| self.member(found)).collect()
    }

    fn member(&self, container: &Container) -> FakeMember {
        let inside = container.address().and_then(|text| text.parse::<IpAddr>().ok());
        let inside = inside.map(|ip| SocketAddr::new(ip, PORT));
        let loaded = container.loaded.clone();
        FakeMember {
            container: container.spec.name.clone(),
            data: self.data_of(&container.spec.volume),
            addresses: inside.into_iter().chain(container.spec.publish).collect(),
            start: container.start.unwrap_or(0),
            configuration: loaded.configuration,
            rules: loaded.rules,
            loads: loaded.loads,
            is_standby: loaded.is_standby,
            is_paused: container.state == "paused",
        }
    }
}
