//! An engine in memory, with faults to order. For tests of what stands above engines.

mod disks;
mod faults;
mod members;
mod networks;
mod objects;
mod repositories;

pub use faults::Fault;
pub use members::{CopyOrder, FakeMember};
pub use repositories::FakeSet;

use super::{
    ContainerFacts, ContainerSpec, DiskAnswer, DiskSpec, Engine, EngineError, EngineEvent,
    EventKind, FileSpec, ImageProgress, ImageSource, ImageStream, Limits, NetworkFacts,
    NetworkJoin, NetworkSpec, OwnedObject, Reserve, VolumeSpec,
};
use crate::domain::host::EngineFacts;
use crate::domain::storage::VolumeUsage;
use crate::domain::version::Major;
use async_trait::async_trait;
use bytes::Bytes;
use faults::Faults;
use objects::Objects;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{broadcast, mpsc};

/// Events that one who follows may be behind.
const EVENTS: usize = 256;

/// An engine whose objects are entries of a map. Clones share it.
///
/// It behaves as the contract of [`Engine`] says, for one install id. A helper whose command has `initdb` in it
/// ends with the code of [`FakeEngine::set_init_exit`] and, when that is 0, leaves an initialised volume; any
/// other container runs as long as its volume is initialised and holds `config/postgresql.conf`, else it
/// exits with 1. Two containers never run on one volume: the second exits with 75. A helper that copies asks
/// [`FakeEngine::on_copy`].
#[derive(Clone)]
pub struct FakeEngine {
    install_id: String,
    state: Arc<Mutex<State>>,
}

struct State {
    /// Replaced when those who follow shall be cut off.
    events: broadcast::Sender<EngineEvent>,
    copies: Arc<members::Copies>,
    objects: Objects,
    faults: Faults,
    calls: Vec<String>,
    /// Calls of `ensure_image` that still answer "building".
    image_calls: u32,
    facts: Option<EngineFacts>,
    /// Images that are not there until they are carried or built.
    lacking: HashSet<Major>,
}

impl FakeEngine {
    pub fn new(install_id: impl Into<String>) -> Self {
        Self::numbered(install_id, 0)
    }

    /// One of several in a test: engines of other numbers have other addresses.
    pub fn numbered(install_id: impl Into<String>, number: u8) -> Self {
        let state = State {
            events: broadcast::channel(EVENTS).0,
            copies: Arc::new(|_| Ok(())),
            objects: Objects::of_engine(number.into()),
            faults: Faults::default(),
            calls: vec![],
            image_calls: 0,
            facts: None,
            lacking: HashSet::new(),
        };
        Self { install_id: install_id.into(), state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next `times` calls of the method (its name in [`Engine`], such as `start_container`) meet the fault.
    pub fn inject(&self, method: &'static str, times: u32, fault: Fault) {
        self.state().faults.add(method, times, fault);
    }

    /// Every call meets the fault until [`FakeEngine::heal`].
    pub fn inject_everywhere(&self, fault: Fault) {
        self.state().faults.meet_every(fault);
        self.cut_events();
    }

    /// Ends every fault that was ordered.
    pub fn heal(&self) {
        self.state().faults = Faults::default();
    }

    /// Exit code of the next helpers that initialise a volume.
    pub fn set_init_exit(&self, code: i64) {
        self.state().objects.init_exit = code;
    }

    /// The next `calls` of `ensure_image` find it building.
    pub fn set_image_calls(&self, calls: u32) {
        self.state().image_calls = calls;
    }

    /// The engine has no image of this major until one is carried or built.
    pub fn lack_image(&self, major: Major) {
        self.state().lacking.insert(major);
    }

    /// What the engine says of itself from now on.
    pub fn set_facts(&self, facts: EngineFacts) {
        self.state().facts = Some(facts);
    }

    /// From now on the host gives no sized disks, for this reason.
    pub fn refuse_disks(&self, why: &str) {
        self.state().objects.disks.refused = Some(why.to_owned());
    }

    /// The host starts anew: nothing runs, no disk is attached.
    pub fn reboot(&self) {
        self.state().objects.reboot();
        self.cut_events();
    }

    /// Another image is attached behind the loop device of this number.
    pub fn take_loop_device(&self, minor: u32) {
        self.state().objects.disks.attached.insert(minor, "somebody else's".into());
    }

    /// What a volume will be found to hold.
    pub fn set_usage(&self, volume: &str, usage: VolumeUsage) {
        self.state().objects.disks.usage.insert(volume.to_owned(), usage);
    }

    /// Size of the disk whose image file is in this volume.
    pub fn disk_bytes(&self, holder: &str) -> Option<u64> {
        self.state().objects.disks.bytes.get(holder).copied()
    }

    /// Whether space is set aside on the disk whose image file is in this volume.
    pub fn has_reserve(&self, holder: &str) -> bool {
        !self.state().objects.disks.released.contains(holder)
    }

    /// Lines that the container will be found to have written.
    pub fn write_output(&self, container: &str, lines: &[&str]) {
        self.state().objects.write_output(container, lines);
    }

    /// Ends a running container as a crash would, behind everybody's back.
    pub fn crash(&self, container: &str, code: i64) {
        self.state().objects.end(container, code);
        self.tell(EventKind::Died, container);
    }

    /// What a container is described by now; `None` when there is none.
    pub fn spec(&self, container: &str) -> Option<ContainerSpec> {
        self.state().objects.spec(container)
    }

    /// Lets a running container use CPU time.
    pub fn burn(&self, container: &str, seconds: f64) {
        self.state().objects.burn(container, seconds);
    }

    /// Removes an object of ours by hand, behind everybody's back, also a running container.
    pub fn remove_by_hand(&self, kind: &'static str, name: &str) {
        if kind == "container" {
            self.tell(EventKind::Died, name);
            self.tell(EventKind::Removed, name);
        }
        let _ = self.state().objects.remove(kind, name, &self.install_id);
    }

    /// Changes a container by hand as `docker update`, `docker pause` or `docker network disconnect` would.
    pub fn change_by_hand(&self, container: &str, change: impl FnOnce(&mut ContainerSpec)) {
        self.state().objects.change(container, change);
    }

    /// Makes an object of that name that belongs to somebody else.
    pub fn plant_foreign(&self, kind: &'static str, name: &str) {
        self.state().objects.plant_foreign(kind, name);
    }

    /// Every object there is, as `kind name`, sorted: what a sweep asserts to be empty.
    pub fn remaining(&self) -> Vec<String> {
        self.state().objects.remaining()
    }

    /// Names of the calls so far, in order, with the object: `start_container pgflex-…-g1`.
    pub fn calls(&self) -> Vec<String> {
        self.state().calls.clone()
    }

    /// Content of a file in a volume, if it was put there.
    pub fn file(&self, volume: &str, path: &str) -> Option<Vec<u8>> {
        self.state().objects.file(volume, path)
    }

    /// Networks that a container is in beside its own, with its names there.
    pub fn joined(&self, container: &str) -> Vec<NetworkJoin> {
        self.state().objects.joined(container)
    }

    /// The image of the running member at an address: what [`crate::postgres::fake`] answers for.
    pub fn member_at(&self, address: &str) -> Option<String> {
        self.state().objects.member_at(address)
    }

    /// The configuration file of the running member at an address, as text.
    pub fn configuration_at(&self, address: &str) -> Option<String> {
        self.state().objects.configuration_at(address)
    }

    /// One call: noted, met by its fault if one is ordered, else done.
    async fn call<T>(
        &self,
        method: &'static str,
        object: &str,
        act: impl FnOnce(&mut State) -> Result<T, EngineError> + Send,
    ) -> Result<T, EngineError> {
        let fault = {
            let mut state = self.state();
            state.calls.push(format!("{method} {object}").trim_end().to_owned());
            state.faults.take(method)
        };
        match fault {
            None => act(&mut self.state()),
            Some(Fault::Fail(error)) => Err(error),
            Some(Fault::LoseReply) => {
                let _ = act(&mut self.state());
                Err(EngineError::Silent("the reply was lost".into()))
            }
            Some(Fault::Hang) => std::future::pending().await,
        }
    }
}

#[async_trait]
impl Engine for FakeEngine {
    async fn facts(&self) -> Result<EngineFacts, EngineError> {
        self.call("facts", "", |state| Ok(state.facts.clone().unwrap_or_else(usual_facts))).await
    }

    async fn ensure_image(&self, major: Major) -> Result<ImageProgress, EngineError> {
        let act = |state: &mut State| {
            state.lacking.remove(&major);
            let Some(left) = state.image_calls.checked_sub(1) else {
                let (id, version) = (format!("sha256:{}", major.number()), version_of(major));
                return Ok(ImageProgress::Ready { id, version });
            };
            state.image_calls = left;
            let line = format!("{left} calls to go");
            Ok(ImageProgress::Building { now: "Building".into(), lines: vec![line] })
        };
        self.call("ensure_image", &major.number().to_string(), act).await
    }

    async fn carry_image(
        &self,
        major: Major,
        sources: Vec<ImageSource>,
    ) -> Result<ImageProgress, EngineError> {
        let tag = major.image_tag();
        let lacks = self.state().lacking.contains(&major);
        if lacks {
            for source in &sources {
                if source.engine.export_image(&tag).await.is_ok() {
                    self.state().lacking.remove(&major);
                    let line = format!("Carrying the image {tag} from host {}", source.host);
                    return Ok(ImageProgress::Building { now: line.clone(), lines: vec![line] });
                }
            }
        }
        self.ensure_image(major).await
    }

    async fn export_image(&self, tag: &str) -> Result<ImageStream, EngineError> {
        let act =
            |state: &mut State| match Major::ALL.into_iter().find(|major| major.image_tag() == tag)
            {
                Some(major) if !state.lacking.contains(&major) => Ok(()),
                _ => Err(EngineError::Missing(format!("the image {tag}"))),
            };
        self.call("export_image", tag, act).await?;
        Ok(Box::pin(futures_util::stream::once(async { Ok(Bytes::from_static(b"layers")) })))
    }

    async fn ensure_network(&self, spec: &NetworkSpec) -> Result<(), EngineError> {
        let act = |state: &mut State| state.objects.ensure_network(spec);
        self.call("ensure_network", &spec.name, act).await
    }

    async fn remove_network(&self, name: &str) -> Result<(), EngineError> {
        let act = |state: &mut State| state.objects.remove_network(name, &self.install_id);
        self.call("remove_network", name, act).await
    }

    async fn network(&self, name: &str) -> Result<Option<NetworkFacts>, EngineError> {
        self.call("network", name, |state| Ok(state.objects.network(name))).await
    }

    async fn connect_network(
        &self,
        container: &str,
        join: &NetworkJoin,
    ) -> Result<(), EngineError> {
        let act = |state: &mut State| state.objects.join(container, join);
        self.call("connect_network", &format!("{container} {}", join.network), act).await
    }

    async fn disconnect_network(&self, container: &str, network: &str) -> Result<(), EngineError> {
        let act = |state: &mut State| state.objects.leave(container, network, &self.install_id);
        self.call("disconnect_network", &format!("{container} {network}"), act).await
    }

    async fn ensure_volume(&self, spec: &VolumeSpec) -> Result<(), EngineError> {
        let act = |state: &mut State| state.objects.ensure("volume", &spec.name, &spec.labels);
        self.call("ensure_volume", &spec.name, act).await
    }

    async fn has_volume(&self, name: &str) -> Result<bool, EngineError> {
        let act = |state: &mut State| state.objects.has_volume(name, &self.install_id);
        self.call("has_volume", name, act).await
    }

    async fn remove_volume(&self, name: &str) -> Result<(), EngineError> {
        let act = |state: &mut State| state.objects.remove_volume(name, &self.install_id);
        self.call("remove_volume", name, act).await
    }

    async fn ensure_disk(&self, spec: &DiskSpec) -> Result<DiskAnswer, EngineError> {
        let act = |state: &mut State| state.objects.ensure_disk(spec);
        self.call("ensure_disk", &spec.holder.name, act).await
    }

    async fn grow_disk(&self, spec: &DiskSpec) -> Result<(), EngineError> {
        let act = |state: &mut State| state.objects.grow_disk(spec);
        self.call("grow_disk", &spec.holder.name, act).await
    }

    async fn tend_disk(
        &self,
        spec: &DiskSpec,
        reserve: Reserve,
    ) -> Result<VolumeUsage, EngineError> {
        let act = |state: &mut State| state.objects.tend_disk(spec, reserve);
        self.call("tend_disk", &spec.holder.name, act).await
    }

    async fn volume_usage(
        &self,
        container: &str,
        is_sized: bool,
    ) -> Result<VolumeUsage, EngineError> {
        let act = |state: &mut State| state.objects.usage(container, is_sized);
        self.call("volume_usage", container, act).await
    }

    async fn ensure_container(&self, spec: &ContainerSpec) -> Result<(), EngineError> {
        let act = |state: &mut State| state.objects.ensure_container(spec);
        self.call("ensure_container", &spec.name, act).await
    }

    async fn remove_container(&self, name: &str) -> Result<(), EngineError> {
        let act = |state: &mut State| {
            state.end_telling(name, |objects| objects.end(name, 0));
            state.tell(EventKind::Removed, name);
            state.objects.remove("container", name, &self.install_id)
        };
        self.call("remove_container", name, act).await
    }

    async fn put_files(&self, container: &str, files: &[FileSpec]) -> Result<(), EngineError> {
        let act = |state: &mut State| state.objects.put_files(container, files);
        self.call("put_files", container, act).await
    }

    async fn start_container(&self, name: &str) -> Result<(), EngineError> {
        let copied = self.copy_for(name);
        let act = |state: &mut State| {
            let was_alive = state.objects.is_alive(name);
            state.objects.start(name, copied)?;
            if !was_alive {
                state.tell(EventKind::Started, name);
            }
            if !state.objects.is_alive(name) {
                state.tell(EventKind::Died, name);
            }
            Ok(())
        };
        self.call("start_container", name, act).await
    }

    async fn stop_container(&self, name: &str, _grace: Duration) -> Result<(), EngineError> {
        let act = |state: &mut State| state.end_telling(name, |objects| objects.stop(name));
        self.call("stop_container", name, act).await
    }

    async fn signal_container(&self, name: &str, signal: &str) -> Result<(), EngineError> {
        let act =
            |state: &mut State| state.end_telling(name, |objects| objects.signal(name, signal));
        self.call("signal_container", &format!("{name} {signal}"), act).await
    }

    async fn wait_exit(&self, name: &str, _patience: Duration) -> Result<Option<i64>, EngineError> {
        let act = |state: &mut State| state.end_telling(name, |objects| objects.wait_exit(name));
        self.call("wait_exit", name, act).await
    }

    async fn tail(&self, name: &str, lines: usize) -> Result<Vec<String>, EngineError> {
        self.call("tail", name, |state| state.objects.tail(name, lines)).await
    }

    async fn output(&self, name: &str) -> Result<String, EngineError> {
        self.call("output", name, |state| state.objects.all_output(name)).await
    }

    async fn update_limits(&self, name: &str, limits: &Limits) -> Result<(), EngineError> {
        self.call("update_limits", name, |state| state.objects.set_limits(name, limits)).await
    }

    async fn set_restart(&self, name: &str, restarts: bool) -> Result<(), EngineError> {
        let act = |state: &mut State| {
            state.objects.get(name)?;
            state.objects.change(name, |spec| spec.restart = restarts);
            Ok(())
        };
        self.call("set_restart", &format!("{name} {restarts}"), act).await
    }

    async fn events(&self, to: mpsc::Sender<EngineEvent>) -> Result<(), EngineError> {
        let subscribe = |state: &mut State| Ok(state.events.subscribe());
        let mut events = self.call("events", "", subscribe).await?;
        loop {
            let event = tokio::select! {
                () = to.closed() => return Ok(()),
                event = events.recv() => event,
            };
            let gone = EngineError::Silent("its list of events ended".into());
            if to.send(event.map_err(|_| gone)?).await.is_err() {
                return Ok(());
            }
        }
    }

    async fn cpu_nanos(&self, name: &str) -> Result<Option<u64>, EngineError> {
        self.call("cpu_nanos", name, |state| Ok(state.objects.cpu_nanos(name))).await
    }

    async fn container(&self, name: &str) -> Result<Option<ContainerFacts>, EngineError> {
        self.call("container", name, |state| Ok(state.objects.facts(name))).await
    }

    async fn owned(&self) -> Result<Vec<OwnedObject>, EngineError> {
        self.call("owned", "", |state| Ok(state.objects.owned(&self.install_id))).await
    }
}

/// Minor version that the fake's images hold.
pub fn version_of(major: Major) -> String {
    format!("{}.{}", major.number(), major.minor_min() + 1)
}

/// A host that can hold a few small servers.
fn usual_facts() -> EngineFacts {
    EngineFacts {
        engine_id: "FAKE".into(),
        engine_version: "29.0".into(),
        operating_system: "Debian GNU/Linux".into(),
        kernel: "6.12".into(),
        cpus: 8,
        memory_bytes: 64 << 30,
        storage_total_bytes: Some(2048 << 30),
        storage_free_bytes: Some(1024 << 30),
        images: Major::ALL.map(Major::image_tag).to_vec(),
        ranges: vec![],
        clock_ahead_ms: None,
    }
}

#[cfg(test)]
#[path = "fake_tests.rs"]
mod tests;
