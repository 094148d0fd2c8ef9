//! Members in memory that read each other's log: what each data directory holds, and who streams from whom.
//!
//! As strict as PostgreSQL: a standby streams only from a primary that runs, lets it in, has its slot and whose history
//! is a continuation of its own. A directory that went another way never streams again.

use super::{FakePostgres, State};
use crate::domain::ha::Lsn;
use crate::postgres::replication::{REPLICATION_ROLE, Sender, Standing};
use crate::postgres::{PostgresError, Target};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// A member that runs, as its machine tells.
#[derive(Debug, Clone)]
pub struct Running {
    /// Name of its container.
    pub container: String,
    /// Names its data directory, on whatever engine: another volume of the same name is another one.
    pub data: String,
    /// Where it is reached.
    pub addresses: Vec<SocketAddr>,
    /// Grows with every start of its machine.
    pub start: i64,
    /// `postgresql.conf` as it was loaded.
    pub configuration: String,
    /// `pg_hba.conf` as it was loaded.
    pub rules: String,
    /// Grows with every load.
    pub loads: i64,
    /// Whether `standby.signal` was there when it started.
    pub is_standby: bool,
    /// A frozen one says nothing and hears nothing.
    pub is_paused: bool,
}

/// The machines that members run on. Tied to fake engines from outside, because this layer knows none.
pub trait Machines: Send + Sync {
    /// Every member that runs or is frozen.
    fn members(&self) -> Vec<Running>;
    /// The member in this container reads its files again.
    fn reload(&self, container: &str);
    /// The member in this container is a standby no more: `standby.signal` goes.
    fn end_recovery(&self, container: &str);
}

/// A part of a history: from `begins` on, by one promotion and no other (I7).
#[derive(Debug, Clone, Copy, PartialEq)]
struct Branch {
    timeline: i64,
    begins: u64,
    promotion: u64,
}

#[derive(Debug, Clone)]
struct Directory {
    system: String,
    history: Vec<Branch>,
    end: u64,
    slots: BTreeSet<String>,
    has_role: bool,
    is_recovering: bool,
    /// The start it runs since.
    start: i64,
}

impl Directory {
    fn timeline(&self) -> i64 {
        self.history.last().map_or(1, |branch| branch.timeline)
    }

    /// Whether all that is in `self` is in `other` as well.
    fn is_part_of(&self, other: &Self) -> bool {
        let is_prefix = other.history.starts_with(&self.history);
        let limit = other.history.get(self.history.len()).map_or(other.end, |next| next.begins);
        self.system == other.system && is_prefix && self.end <= limit
    }
}

/// One that streams.
struct Stream {
    standby: Running,
    source: String,
    name: String,
}

#[derive(Default)]
pub(super) struct Cluster {
    directories: BTreeMap<String, Directory>,
    promotions: u64,
    /// Pairs of containers that do not reach each other.
    cut: BTreeSet<(String, String)>,
    /// Containers whose PostgreSQL the portal does not reach.
    pub(super) silent: BTreeSet<String>,
}

impl Cluster {
    /// Takes note of who runs and lets standbys read what is there.
    fn settle(&mut self, running: &[Running]) -> Vec<Stream> {
        for member in running {
            let directory = self.directories.entry(member.data.clone()).or_insert_with(|| {
                let first = Branch { timeline: 1, begins: 0, promotion: 0 };
                Directory {
                    system: format!("system of {}", member.data),
                    history: vec![first],
                    end: 0x0100_0000,
                    slots: BTreeSet::new(),
                    has_role: false,
                    is_recovering: member.is_standby,
                    start: member.start,
                }
            });
            if directory.start != member.start {
                (directory.start, directory.is_recovering) = (member.start, member.is_standby);
            }
        }
        running.iter().filter_map(|standby| self.stream(standby, running)).collect()
    }

    fn stream(&mut self, standby: &Running, running: &[Running]) -> Option<Stream> {
        let mine = self.directories.get(&standby.data)?.clone();
        if !mine.is_recovering || standby.is_paused {
            return None;
        }
        let conninfo = setting(&standby.configuration, "primary_conninfo")?;
        let slot = setting(&standby.configuration, "primary_slot_name")?;
        let source = self.source(&conninfo, &slot, running).ok()?;
        let theirs = self.directories.get(&source.data)?.clone();
        if self.is_cut(&standby.container, &source.container) || !mine.is_part_of(&theirs) {
            return None;
        }
        let mine = self.directories.get_mut(&standby.data)?;
        (mine.history, mine.end, mine.has_role) = (theirs.history, theirs.end, theirs.has_role);
        let name = part(&conninfo, "application_name").unwrap_or_default();
        Some(Stream { standby: standby.clone(), source: source.data.clone(), name })
    }

    /// The member that a connection string leads to, if it lets a standby read its log.
    fn source<'a>(
        &self,
        conninfo: &str,
        slot: &str,
        running: &'a [Running],
    ) -> Result<&'a Running, String> {
        let (host, port) = (part(conninfo, "hostaddr"), part(conninfo, "port"));
        let address = format!("{}:{}", host.unwrap_or_default(), port.unwrap_or_default());
        let refused =
            || format!("connection to server at \"{address}\" failed: Connection refused");
        let found = address.parse().ok().and_then(|address| at(running, address));
        let source = found.filter(|source| !source.is_paused).ok_or_else(refused)?;
        let directory = self.directories.get(&source.data).ok_or_else(refused)?;
        let admits = source.rules.contains(REPLICATION_ROLE) && directory.has_role;
        match () {
            () if !admits => Err(format!("FATAL:  no entry for {REPLICATION_ROLE}")),
            () if directory.is_recovering => Err("FATAL:  the source is a standby".into()),
            () if !directory.slots.contains(slot) => {
                Err(format!("ERROR:  replication slot \"{slot}\" does not exist"))
            }
            () => Ok(source),
        }
    }

    fn is_cut(&self, one: &str, other: &str) -> bool {
        let has = |a: &str, b: &str| self.cut.contains(&(a.to_owned(), b.to_owned()));
        has(one, other) || has(other, one)
    }

    pub(super) fn is_recovering(&self, member: &Running) -> bool {
        self.directories.get(&member.data).is_some_and(|directory| directory.is_recovering)
    }
}

fn at(running: &[Running], address: SocketAddr) -> Option<&Running> {
    running.iter().find(|member| member.addresses.contains(&address))
}

/// The last value of a name in `postgresql.conf`.
fn setting(file: &str, name: &str) -> Option<String> {
    let lines = file.lines().filter_map(|line| line.split_once(" = "));
    let value = lines.filter(|(found, _)| *found == name).map(|(_, value)| value).next_back()?;
    Some(value.trim_matches('\'').replace("''", "'").replace("\\\\", "\\"))
}

/// A part of a connection string.
fn part(conninfo: &str, name: &str) -> Option<String> {
    let (_, rest) = conninfo.split_once(&format!("{name}='"))?;
    Some(rest.split('\'').next().unwrap_or_default().to_owned())
}

/// Bytes of log that one write makes.
const RECORD: u64 = 0x60;

impl FakePostgres {
    /// The same, with members that replicate as the machines run them.
    #[must_use]
    pub fn with_machines(mut self, machines: impl Machines + 'static) -> Self {
        self.machines = Some(std::sync::Arc::new(machines));
        self
    }

    /// Copies a member into a new data directory, as `pg_basebackup` does; the last line it would write when it fails.
    pub fn copy(&self, conninfo: &str, slot: &str, data: &str) -> Result<(), String> {
        let running = self.running();
        let mut state = self.state();
        let streams = state.cluster.settle(&running);
        let source = state.cluster.source(conninfo, slot, &running)?.data.clone();
        if streams.iter().any(|stream| stream.source == source && stream.name == slot) {
            return Err(format!("ERROR:  replication slot \"{slot}\" is active"));
        }
        let missing = || "the source is gone".to_owned();
        let copy = state.cluster.directories.get(&source).cloned().ok_or_else(missing)?;
        // No start is like it: the first one says what it is.
        let copy = Directory { slots: BTreeSet::new(), start: -1, ..copy };
        state.cluster.directories.insert(data.to_owned(), copy);
        Ok(())
    }

    /// A commit of somebody's: the log of the member in this container grows, and standbys read it.
    pub fn write(&self, container: &str) {
        let running = self.running();
        let mut state = self.state();
        state.cluster.settle(&running);
        let data = running.iter().find(|member| member.container == container);
        if let Some(directory) =
            data.and_then(|member| state.cluster.directories.get_mut(&member.data))
        {
            directory.end += RECORD;
        }
        state.cluster.settle(&running);
    }

    /// Two members reach each other no more, until [`FakePostgres::heal`].
    pub fn cut(&self, one: &str, other: &str) {
        // What was written before is there.
        let running = self.running();
        let mut state = self.state();
        state.cluster.settle(&running);
        state.cluster.cut.insert((one.to_owned(), other.to_owned()));
    }

    /// The portal does not reach the PostgreSQL in this container any more, until [`FakePostgres::heal`].
    pub fn silence(&self, container: &str) {
        self.state().cluster.silent.insert(container.to_owned());
    }

    /// Ends every cut, every silence and every fault that was ordered.
    pub fn heal(&self) {
        let mut state = self.state();
        state.cluster.cut.clear();
        state.cluster.silent.clear();
        state.faults.clear();
        state.faults_at.clear();
        state.every = None;
    }

    pub(super) fn running(&self) -> Vec<Running> {
        self.machines.as_ref().map_or_else(Vec::new, |machines| machines.members())
    }

    /// The member that is meant, and everything that runs; `None` for members that nobody tied to machines.
    pub(super) fn member(&self, target: &Target) -> Option<(Running, Vec<Running>)> {
        let running = self.running();
        let member = at(&running, target.address)?.clone();
        Some((member, running))
    }

    pub(super) fn look(&self, target: &Target) -> Standing {
        let Some((member, running)) = self.member(target) else {
            return Standing { timeline: 1, written: Some(Lsn(1)), ..Standing::default() };
        };
        let mut state = self.state();
        let streams = state.cluster.settle(&running);
        stand(&state, &member, &streams)
    }

    /// Changes the directory of a member, or refuses.
    pub(super) fn change<T>(
        &self,
        target: &Target,
        usual: T,
        act: impl FnOnce(&mut Change<'_>) -> Result<T, PostgresError>,
    ) -> Result<T, PostgresError> {
        let Some((member, running)) = self.member(target) else { return Ok(usual) };
        let mut state = self.state();
        let streams = state.cluster.settle(&running);
        let Cluster { directories, promotions, .. } = &mut state.cluster;
        let Some(directory) = directories.get_mut(&member.data) else { return Ok(usual) };
        let readers = streams.into_iter().filter(|stream| stream.source == member.data);
        let readers = readers.map(|stream| stream.name).collect();
        let done = act(&mut Change { directory, promotions, readers });
        state.cluster.settle(&running);
        done
    }

    /// The start that a session of looks belongs to.
    pub(super) fn start_of(&self, target: &Target) -> Option<i64> {
        self.member(target).map(|(member, _)| member.start)
    }
}

fn stand(state: &State, member: &Running, streams: &[Stream]) -> Standing {
    let Some(mine) = state.cluster.directories.get(&member.data) else {
        return Standing::default();
    };
    let waits_for = setting(&member.configuration, "synchronous_standby_names").unwrap_or_default();
    let sender = |stream: &Stream| {
        let is_sync = waits_for == format!("FIRST 1 (\"{}\")", stream.name);
        let reached = state.cluster.directories.get(&stream.standby.data).map(|it| Lsn(it.end));
        Sender {
            pid: 1000 + stream.standby.start as i32,
            application_name: stream.name.clone(),
            state: "streaming".into(),
            sync_state: if is_sync { "sync" } else { "async" }.into(),
            flushed: reached,
            replayed: reached,
            started_at: stream.standby.start * 1_000_000,
        }
    };
    let readers = streams.iter().filter(|stream| stream.source == member.data);
    let reads = streams.iter().any(|stream| stream.standby.data == member.data);
    Standing {
        in_recovery: mine.is_recovering,
        timeline: mine.timeline(),
        system_identifier: mine.system.clone(),
        written: Some(Lsn(mine.end)),
        replayed: mine.is_recovering.then_some(Lsn(mine.end)),
        receiver: reads.then(|| "streaming".into()),
        senders: readers.map(sender).collect(),
        waits_for: waits_for.clone(),
        loaded_at: member.loads,
    }
}

/// A member while something is done to it.
pub(super) struct Change<'a> {
    directory: &'a mut Directory,
    promotions: &'a mut u64,
    /// Who reads its log.
    readers: Vec<String>,
}

impl Change<'_> {
    pub(super) fn give_role(&mut self) {
        self.directory.has_role = true;
    }

    pub(super) fn add_slot(&mut self, name: &str) {
        self.directory.slots.insert(name.to_owned());
    }

    pub(super) fn drop_slot(&mut self, name: &str) -> Result<(), PostgresError> {
        if self.readers.iter().any(|reader| reader == name) {
            return Err(PostgresError::Silent(format!("the slot {name} is in use")));
        }
        self.directory.slots.remove(name);
        Ok(())
    }

    pub(super) fn slots(&self) -> Vec<String> {
        self.directory.slots.iter().cloned().collect()
    }

    pub(super) fn mark(&mut self) -> Lsn {
        self.directory.end += RECORD;
        Lsn(self.directory.end)
    }

    /// The timeline after it, and where that began.
    pub(super) fn promote(&mut self) -> (i64, Lsn) {
        let directory = &mut self.directory;
        if directory.is_recovering {
            *self.promotions += 1;
            let timeline = directory.timeline() + 1;
            let branch = Branch { timeline, begins: directory.end, promotion: *self.promotions };
            directory.history.push(branch);
            directory.is_recovering = false;
            directory.end += RECORD;
        }
        (directory.timeline(), Lsn(directory.end))
    }
}

#[cfg(test)]
#[path = "cluster_tests.rs"]
mod tests;
