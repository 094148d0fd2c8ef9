//! The fake's containers, volumes and networks.

use super::disks::Disks;
use super::members::Loaded;
use super::repositories::{self, Repositories};
use crate::engine::blueprint::VOLUME_IN_USE;
use crate::engine::{
    ContainerFacts, ContainerSpec, EngineError, FileSpec, Labels, Limits, NetworkJoin, OwnedObject,
    label,
};
use chrono::DateTime;
use ipnet::Ipv4Net;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Starts are a second apart, from 2027 on: later starts have later times, and that is all they tell.
const FIRST_START: i64 = 1_798_761_600;

pub(super) type Outcome<T = ()> = Result<T, EngineError>;

#[derive(Default)]
pub(super) struct Objects {
    /// By kind and name.
    pub(super) labels: BTreeMap<(&'static str, String), Labels>,
    pub(super) containers: HashMap<String, Container>,
    /// Address ranges of networks.
    pub(super) ranges: BTreeMap<String, Ipv4Net>,
    pub(super) networks_made: u32,
    pub(super) volumes: HashMap<String, Volume>,
    /// Containers made so far; gives ids and addresses.
    made: u32,
    /// Starts so far; gives start times.
    starts: i64,
    pub(super) init_exit: i64,
    pub(super) disks: Disks,
    pub(super) repositories: Repositories,
    /// Number of the engine: no two have an address or a data directory in common.
    pub(super) engine: u32,
    /// Volumes made so far.
    volumes_made: u32,
}

pub(super) struct Container {
    pub(super) spec: ContainerSpec,
    /// Networks beside the first.
    pub(super) joins: Vec<NetworkJoin>,
    /// Whether a network that it was in was removed while it did not run.
    pub(super) is_cut_off: bool,
    number: u32,
    /// Of its engine.
    engine: u32,
    pub(super) loaded: Loaded,
    pub(super) state: &'static str,
    pub(super) exit_code: Option<i64>,
    /// Of the last start, by count.
    pub(super) start: Option<i64>,
    /// CPU time used since the last start.
    nanos: u64,
    output: Vec<String>,
}

#[derive(Default)]
pub(super) struct Volume {
    pub(super) is_initialised: bool,
    pub(super) files: HashMap<String, Vec<u8>>,
    /// By count: another volume of the same name has another one.
    pub(super) serial: u32,
}

fn networks_of(spec: &ContainerSpec) -> Vec<String> {
    let joined = spec.joins.iter().map(|join| &join.network);
    spec.network.iter().map(|(name, _)| name).chain(joined).cloned().collect()
}

pub(super) fn key(kind: &'static str, name: &str) -> (&'static str, String) {
    (kind, name.to_owned())
}

impl Objects {
    pub(super) fn of_engine(engine: u32) -> Self {
        Self { engine, ..Self::default() }
    }

    pub(super) fn has(&self, kind: &'static str, name: &str) -> bool {
        self.labels.contains_key(&key(kind, name))
    }

    pub(super) fn ensure(&mut self, kind: &'static str, name: &str, labels: &Labels) -> Outcome {
        let same = |found: &Labels| {
            [label::INSTALL, label::SERVER, label::MEMBER, label::NETWORK]
                .iter()
                .all(|key| found.get(*key) == labels.get(*key))
        };
        match self.labels.get(&key(kind, name)) {
            Some(found) if same(found) => return Ok(()),
            Some(_) => return Err(EngineError::Foreign(format!("a {kind} named {name}"))),
            None => {}
        }
        self.labels.insert(key(kind, name), labels.clone());
        if kind == "volume" {
            self.volumes_made += 1;
            let volume = Volume { serial: self.volumes_made, ..Volume::default() };
            self.volumes.insert(name.to_owned(), volume);
        }
        Ok(())
    }

    pub(super) fn ensure_container(&mut self, spec: &ContainerSpec) -> Outcome {
        let network = spec.network.iter().map(|(name, _)| ("network", name));
        let repository = spec.repository.iter().map(|one| ("volume", &one.volume));
        for (kind, name) in network.chain([("volume", &spec.volume)]).chain(repository) {
            if !self.labels.contains_key(&key(kind, name)) {
                return Err(EngineError::Missing(name.clone()));
            }
        }
        self.ensure("container", &spec.name, &spec.labels)?;
        if !self.containers.contains_key(&spec.name) {
            self.made += 1;
            let container = Container {
                spec: spec.clone(),
                joins: vec![],
                is_cut_off: false,
                number: self.made,
                engine: self.engine,
                loaded: Loaded::default(),
                state: "created",
                exit_code: None,
                start: None,
                nanos: 0,
                output: Vec::new(),
            };
            self.containers.insert(spec.name.clone(), container);
        }
        for join in &spec.joins {
            self.join(&spec.name, join)?;
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, kind: &'static str, name: &str, install_id: &str) -> Outcome {
        let Some(labels) = self.labels.get(&key(kind, name)) else { return Ok(()) };
        if labels.get(label::INSTALL).map(String::as_str) != Some(install_id) {
            return Err(EngineError::Foreign(format!("a {kind} named {name}")));
        }
        self.labels.remove(&key(kind, name));
        match kind {
            "container" => {
                self.repositories.forget(name);
                drop(self.containers.remove(name));
            }
            "volume" => drop(self.volumes.remove(name)),
            "network" => self.cut_off(name),
            _ => {}
        }
        Ok(())
    }

    pub(super) fn has_volume(&self, name: &str, install_id: &str) -> Outcome<bool> {
        match self.labels.get(&key("volume", name)) {
            None => Ok(false),
            Some(labels) if labels.get(label::INSTALL).map(String::as_str) == Some(install_id) => {
                Ok(true)
            }
            Some(_) => Err(EngineError::Foreign(format!("a volume named {name}"))),
        }
    }

    pub(super) fn change(&mut self, name: &str, change: impl FnOnce(&mut ContainerSpec)) {
        if let Some(container) = self.containers.get_mut(name) {
            change(&mut container.spec);
        }
    }

    pub(super) fn remove_volume(&mut self, name: &str, install_id: &str) -> Outcome {
        if self.containers.values().any(|container| container.spec.volume == name) {
            return Err(EngineError::Refused(format!("volume {name} is in use")));
        }
        self.remove("volume", name, install_id)?;
        self.disks.forget(name);
        Ok(())
    }

    pub(super) fn put_files(&mut self, container: &str, files: &[FileSpec]) -> Outcome {
        let volume = self.get(container)?.spec.volume.clone();
        self.disks.check_mount(&volume)?;
        let volume = self.volumes.get_mut(&volume).ok_or(EngineError::Missing(volume))?;
        if !volume.is_initialised && files.iter().any(|file| file.path.starts_with("data/")) {
            return Err(EngineError::Refused(
                "there is no data directory to put a file into".into(),
            ));
        }
        for file in files {
            volume.files.insert(file.path.clone(), file.content.clone());
        }
        Ok(())
    }

    pub(super) fn get_file(&self, container: &str, path: &str) -> Outcome<Option<Vec<u8>>> {
        let volume = self.get(container)?.spec.volume.clone();
        self.disks.check_mount(&volume)?;
        Ok(self.file(&volume, path))
    }

    /// `copied`: how the copy ended, of a helper that makes one.
    pub(super) fn start(&mut self, name: &str, copied: Option<Result<(), String>>) -> Outcome {
        let container = self.get(name)?;
        match container.state {
            "running" => return Ok(()),
            "paused" => return Err(EngineError::Refused("cannot start a paused container".into())),
            _ => self.check_port(container)?,
        }
        let (volume, words) = (container.spec.volume.clone(), container.spec.command.clone());
        let command = words.join(" ");
        let container_repository = container.spec.repository.clone();
        let networks = networks_of(&container.spec);
        self.disks.check_mount(&volume)?;
        if container.is_cut_off {
            return Err(EngineError::Refused(format!("a network of {name} not found")));
        }
        let is_taken = self.is_taken(&volume, &command);
        // What ended in order left a database that was shut down; where, only those know who play PostgreSQL.
        let is_member =
            |other: &Container| other.spec.command.iter().any(|word| word == "postgres");
        let has_stopped = self.containers.values().any(|other| {
            is_member(other) && other.spec.volume == volume && other.exit_code == Some(0)
        });
        let init_exit = self.init_exit;
        let repository = container_repository;
        let doors = self.doors_for(&self.get(name)?.spec);
        let order = repositories::Order { words: words.clone(), repository, doors, networks };
        let data = self.volumes.get_mut(&volume).ok_or(EngineError::Missing(volume))?;
        let end = if is_taken {
            Some(VOLUME_IN_USE)
        } else if command.contains("initdb") {
            data.is_initialised |= init_exit == 0;
            Some(init_exit)
        } else if command.contains("pg_basebackup") {
            let (code, line) = data.copied(copied);
            self.write_output(name, &[&line]);
            Some(code)
        } else if command.contains("pg_controldata") {
            let state = if has_stopped { "shut down" } else { "in production" };
            let state = format!("Database cluster state:               {state}");
            self.write_output(name, &[&state, "Latest checkpoint location:           0/10"]);
            Some(0)
        } else if repositories::is_tool(&command) {
            if self.repositories.begin(name, &words) {
                None
            } else {
                let end = self.repositories.play(&order, data);
                self.write_output(name, &[end.text.as_str()]);
                Some(end.code)
            }
        } else if repositories::is_server(&command) {
            let conf = repositories::server_file(&words);
            (!conf.is_some_and(|path| data.files.contains_key(&path))).then_some(1)
        } else if command.starts_with("pgbouncer ") {
            (!data.files.contains_key("config/pgbouncer.ini")).then_some(1)
        } else if data.is_initialised && data.files.contains_key("config/postgresql.conf") {
            let (code, line) = data.recovered();
            if let Some(line) = line {
                self.write_output(name, &[line]);
            }
            code
        } else {
            Some(1)
        };
        self.starts += 1;
        if let Some(container) = self.containers.get_mut(name) {
            container.start = Some(self.starts);
            container.nanos = 0;
            container.exit_code = end;
            container.state = if end.is_some() { "exited" } else { "running" };
        }
        self.load(name, true);
        Ok(())
    }

    /// Whether a command that locks the data finds it locked by another. pgBackRest takes no lock.
    fn is_taken(&self, volume: &str, command: &str) -> bool {
        let is_backup =
            |command: &str| repositories::is_server(command) || repositories::is_tool(command);
        let locks = |other: &Container| {
            other.is_alive()
                && other.spec.volume == volume
                && !is_backup(&other.spec.command.join(" "))
        };
        !is_backup(command) && self.containers.values().any(locks)
    }

    pub(super) fn stop(&mut self, name: &str) -> Outcome {
        self.get(name)?;
        self.end(name, 0);
        Ok(())
    }

    pub(super) fn signal(&mut self, name: &str, signal: &str) -> Outcome {
        if !self.get(name)?.is_alive() {
            return Err(EngineError::Refused(format!("container {name} is not running")));
        }
        match signal {
            "SIGKILL" => self.end(name, 137),
            "SIGHUP" => self.load(name, false),
            _ => {}
        }
        Ok(())
    }

    pub(super) fn end(&mut self, name: &str, code: i64) {
        if let Some(container) = self.containers.get_mut(name).filter(|c| c.is_alive()) {
            (container.state, container.exit_code) = ("exited", Some(code));
        }
    }

    pub(super) fn spec(&self, name: &str) -> Option<ContainerSpec> {
        self.containers.get(name).map(|container| container.spec.clone())
    }

    pub(super) fn set_limits(&mut self, name: &str, limits: &Limits) -> Outcome {
        self.get(name)?;
        if let Some(Container { spec, .. }) = self.containers.get_mut(name) {
            spec.vcores = limits.vcores;
            spec.memory_bytes = limits.memory_bytes.unwrap_or(spec.memory_bytes);
            spec.pids_max = limits.pids_max.unwrap_or(spec.pids_max);
        }
        Ok(())
    }

    pub(super) fn burn(&mut self, name: &str, seconds: f64) {
        if let Some(container) = self.containers.get_mut(name).filter(|c| c.state == "running") {
            container.nanos += (seconds * 1e9) as u64;
        }
    }

    pub(super) fn cpu_nanos(&self, name: &str) -> Option<u64> {
        self.containers.get(name).filter(|c| c.state == "running").map(|c| c.nanos)
    }

    pub(super) fn reboot(&mut self) {
        let names: Vec<String> = self.containers.keys().cloned().collect();
        names.iter().for_each(|name| self.end(name, 137));
        self.disks.attached.clear();
    }

    /// Names of the servers of pgBackRest's protocol that run in the network of a helper.
    fn doors_for(&self, helper: &ContainerSpec) -> Vec<String> {
        let Some((network, _)) = &helper.network else { return vec![] };
        let open = self.containers.values().filter(|one| {
            one.state == "running" && repositories::is_server(&one.spec.command.join(" "))
        });
        let names = open.filter_map(|one| one.spec.network.clone());
        names.filter(|(name, _)| name == network).flat_map(|(_, names)| names).collect()
    }

    /// The exit code. A helper of pgBackRest may end with this look.
    pub(super) fn wait_exit(&mut self, name: &str) -> Outcome<Option<i64>> {
        let spec = self.get(name)?.spec.clone();
        if let Some(words) = self.repositories.look(name) {
            let (doors, networks) = (self.doors_for(&spec), networks_of(&spec));
            let order = repositories::Order { words, repository: spec.repository, doors, networks };
            let data = self.volumes.get_mut(&spec.volume);
            let data = data.ok_or(EngineError::Missing(spec.volume))?;
            let end = self.repositories.play(&order, data);
            self.write_output(name, &[end.text.as_str()]);
            self.end(name, end.code);
        }
        Ok(self.get(name)?.exit_code)
    }

    pub(super) fn volume_of(&self, container: &str) -> Outcome<String> {
        Ok(self.get(container)?.spec.volume.clone())
    }

    pub(super) fn is_alive(&self, container: &str) -> bool {
        self.containers.get(container).is_some_and(Container::is_alive)
    }

    pub(super) fn is_running(&self, container: &str) -> Outcome<bool> {
        Ok(self.get(container)?.state == "running")
    }

    /// The container, running or not.
    pub(super) fn get(&self, name: &str) -> Outcome<&Container> {
        self.containers.get(name).ok_or_else(|| EngineError::Missing(name.to_owned()))
    }

    pub(super) fn tail(&self, name: &str, lines: usize) -> Outcome<Vec<String>> {
        let output = &self.get(name)?.output;
        Ok(output[output.len().saturating_sub(lines)..].to_vec())
    }

    /// Errors go elsewhere than to the standard output.
    pub(super) fn all_output(&self, name: &str) -> Outcome<String> {
        let lines = self.get(name)?.output.iter().flat_map(|text| text.lines());
        let lines: Vec<&str> = lines.filter(|line| !line.starts_with("ERROR:")).collect();
        Ok(lines.join("\n"))
    }

    pub(super) fn write_output(&mut self, name: &str, lines: &[&str]) {
        if let Some(container) = self.containers.get_mut(name) {
            container.output.extend(lines.iter().map(|line| (*line).to_owned()));
        }
    }

    pub(super) fn plant_foreign(&mut self, kind: &'static str, name: &str) {
        self.labels.insert(key(kind, name), Labels::new());
    }

    pub(super) fn facts(&self, name: &str) -> Option<ContainerFacts> {
        let labels = self.labels.get(&key("container", name))?.clone();
        let container = self.containers.get(name)?;
        Some(ContainerFacts {
            id: format!("{:064x}", container.number),
            name: name.to_owned(),
            labels,
            image: container.spec.image.clone(),
            state: container.state.to_owned(),
            started_at: container
                .start
                .and_then(|count| DateTime::from_timestamp(FIRST_START + count, 0)),
            exit_code: container.exit_code,
            restarts: 0,
            address: container.address(),
            memory_limit_bytes: container.spec.memory_bytes,
            cpu_limit: container.spec.vcores,
            networks: container.spec.network.iter().map(|(name, _)| name.clone()).collect(),
            volume: container.spec.volume.clone(),
            restarts_by_itself: container.spec.restart,
            published: container.spec.publish.filter(|_| container.is_alive()),
        })
    }

    pub(super) fn owned(&self, install_id: &str) -> Vec<OwnedObject> {
        let is_ours =
            |labels: &Labels| labels.get(label::INSTALL).map(String::as_str) == Some(install_id);
        let ours = self.labels.iter().filter(|(_, labels)| is_ours(labels));
        ours.map(|((kind, name), labels)| OwnedObject {
            kind,
            name: name.clone(),
            labels: labels.clone(),
        })
        .collect()
    }

    pub(super) fn installations(&self) -> BTreeSet<String> {
        self.labels.values().filter_map(|labels| labels.get(label::INSTALL).cloned()).collect()
    }

    pub(super) fn remaining(&self) -> Vec<String> {
        self.labels.keys().map(|(kind, name)| format!("{kind} {name}")).collect()
    }

    pub(super) fn file(&self, volume: &str, path: &str) -> Option<Vec<u8>> {
        self.volumes.get(volume)?.files.get(path).cloned()
    }

    pub(super) fn member_at(&self, address: &str) -> Option<String> {
        let found = self.containers.values().find(|c| c.address().as_deref() == Some(address))?;
        Some(found.spec.image.clone())
    }

    pub(super) fn configuration_at(&self, address: &str) -> Option<String> {
        let found = self.containers.values().find(|c| c.address().as_deref() == Some(address))?;
        let file = self.file(&found.spec.volume, "config/postgresql.conf")?;
        String::from_utf8(file).ok()
    }
}

impl Container {
    /// Whether it has processes: a frozen one has.
    pub(super) fn is_alive(&self) -> bool {
        matches!(self.state, "running" | "paused")
    }

    /// Of its own, never used again: a new container of the same name is reached elsewhere.
    pub(super) fn address(&self) -> Option<String> {
        let is_reached = self.is_alive() && self.spec.network.is_some();
        let (engine, number) = (99 + self.engine, self.number);
        is_reached.then(|| format!("10.{engine}.{}.{}", number / 250, number % 250 + 1))
    }
}
