//! The Docker hosts, in our words. Nothing above this module knows bollard.
//!
//! Contract of every implementation:
//! - Each call has a deadline of its own; an engine that hangs gives [`EngineError::Silent`].
//! - `ensure_*` look first: what is there under the name with our labels is adopted, what is there with
//!   other labels is refused ([`EngineError::Foreign`]), what is missing is made.
//! - `remove_*` of something absent is success. Nothing without our install label is ever touched.
//! - A lost reply is unknown, not failure: callers run the step again.

pub mod blueprint;
pub mod blueprint_repository;
pub mod docker;
#[cfg(feature = "test-util")]
pub mod fake;
pub mod image;
pub mod registry;

use crate::domain::host::EngineFacts;
use crate::domain::storage::VolumeUsage;
use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::stream::BoxStream;
use ipnet::Ipv4Net;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Labels that say whose an object is and from which the store can be rebuilt.
pub type Labels = BTreeMap<String, String>;

/// Bytes of a file that is read from a volume, at most.
pub const FILE_BYTES_MAX: usize = 256 << 20;

/// Label keys. Values are text; `SPEC` is the server's spec as JSON, without secrets.
pub mod label {
    pub const INSTALL: &str = "pgflex.install";
    pub const SERVER: &str = "pgflex.server";
    pub const SERVER_NAME: &str = "pgflex.server.name";
    pub const MEMBER: &str = "pgflex.member";
    pub const GENERATION: &str = "pgflex.generation";
    pub const OPERATION: &str = "pgflex.operation";
    pub const SPEC: &str = "pgflex.spec";
    pub const NETWORK: &str = "pgflex.network";
    pub const NETWORK_NAME: &str = "pgflex.network.name";
    /// On a volume with the image file of a disk: the image whose tools detach it.
    pub const DISK: &str = "pgflex.disk";
    /// On what belongs to the repository of a host: the host's id.
    pub const REPOSITORY: &str = "pgflex.repository";
    /// On a helper of a repository: operation and purpose of its run.
    pub const RUN: &str = "pgflex.run";
    /// On what holds backups of the portal's own store: "1".
    pub const STORE: &str = "pgflex.store";
    /// "1" on everything a test makes, so that the clean-up finds it.
    pub const TEST: &str = "pgflex.test";
}

/// Why an engine did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// No answer in time, or no connection: the engine may or may not have done it.
    #[error("the Docker Engine does not answer: {0}")]
    Silent(String),
    /// An object of that name exists and is not ours.
    #[error("{0} exists and does not belong to this pgflex")]
    Foreign(String),
    /// What the call needs is not there.
    #[error("{0} does not exist")]
    Missing(String),
    /// The engine said no, and would say it again.
    #[error("the Docker Engine refused: {0}")]
    Refused(String),
    /// The host has no room.
    #[error("the host has no space left: {0}")]
    NoSpace(String),
}

impl EngineError {
    /// Whether trying again later can help without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        matches!(self, EngineError::Silent(_))
    }
}

/// What proves portal and engine to each other over TCP: PEM text, held in memory and sealed in the store.
#[derive(Debug, Clone)]
pub struct EngineTls {
    /// Authority that signed the engine's certificate.
    pub ca: String,
    /// The portal's own, which the engine's authority must have signed.
    pub certificate: String,
    pub key: crate::secrets::Secret,
}

/// A network without a way out of the host: one server's own, or a virtual network.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkSpec {
    pub name: String,
    pub labels: Labels,
    /// `None` lets the engine choose, and the host has an address in it. With a range the host has none: what
    /// runs on the host outside of containers does not reach the network.
    pub range: Option<Ipv4Net>,
    /// Whether it has a way out of the host: only then ports of its containers can be published.
    pub is_open: bool,
}

/// A network as the engine sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkFacts {
    pub name: String,
    pub range: Option<Ipv4Net>,
    /// The host's end of the bridge.
    pub gateway: Option<Ipv4Addr>,
    /// Every container that has a place in it, running or not, ours and others.
    pub containers: Vec<String>,
}

/// A further network of a container, and the names under which it is reached there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkJoin {
    pub network: String,
    pub aliases: Vec<String>,
}

/// A named volume.
#[derive(Debug, Clone, PartialEq)]
pub struct VolumeSpec {
    pub name: String,
    pub labels: Labels,
}

/// A disk of a fixed size for one member: an image file in a volume of its own, behind a loop device, with a file
/// system on it that containers mount as another volume.
#[derive(Debug, Clone, PartialEq)]
pub struct DiskSpec {
    /// Holds the image file: this is the data.
    pub holder: VolumeSpec,
    /// What containers mount.
    pub mounted: VolumeSpec,
    /// Container image with the tools.
    pub image: String,
    /// Number of the loop device; the member's own for good.
    pub minor: u32,
    pub bytes: u64,
    /// Identity of the file system: a UUID.
    pub identity: String,
    /// Whether it is made where it is not there: only for a member that never had data.
    pub is_new: bool,
}

/// Whether a host can give sized disks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskAnswer {
    Ready,
    /// It cannot; nothing of the disk is left. The reason is for people.
    Impossible(String),
    /// A disk that is not new is not there. Nothing was made in its place.
    Lost(String),
}

/// What happens to the space that is set aside on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reserve {
    /// It is given up when next to nothing else is free.
    ReleaseWhenFull,
    /// It is set aside again as soon as there is room.
    Restore,
    Leave,
}

/// A container, as ensured. The spec is fixed at creation; a change makes a new generation.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerSpec {
    pub name: String,
    pub image: String,
    /// Arguments, never through a shell; the first is the program.
    pub command: Vec<String>,
    pub labels: Labels,
    /// Volume mounted at [`blueprint::VOLUME_PATH`].
    pub volume: String,
    /// The repository of its host, mounted at [`blueprint::REPOSITORY_PATH`]; `None` for all but those that work on it.
    pub repository: Option<RepositoryMount>,
    /// Network and the names under which the container is reached in it; `None` for no network at all.
    pub network: Option<(String, Vec<String>)>,
    /// Networks beside the first; they must exist.
    pub joins: Vec<NetworkJoin>,
    /// Address of the host on which PostgreSQL is reached from other machines; `None` publishes nothing.
    pub publish: Option<SocketAddr>,
    pub vcores: f64,
    pub memory_bytes: u64,
    pub shm_bytes: u64,
    pub pids_max: i64,
    /// Whether the engine starts it again by itself.
    pub restart: bool,
    /// Seconds between the stop signal and the kill.
    pub stop_seconds: i64,
}

/// The volume of a host's repository in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryMount {
    pub volume: String,
    pub read_only: bool,
}

/// What a container may use, changed while it runs or not. `None` leaves a limit as it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    pub vcores: f64,
    pub memory_bytes: Option<u64>,
    pub pids_max: Option<i64>,
}

/// A file put into a volume through a container that need not run. Owner and group are the image's postgres user.
#[derive(Debug, Clone, PartialEq)]
pub struct FileSpec {
    /// Path below the volume, such as `config/postgresql.conf`.
    pub path: String,
    pub mode: u32,
    pub content: Vec<u8>,
}

/// A container as the engine sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerFacts {
    pub id: String,
    pub name: String,
    pub labels: Labels,
    pub image: String,
    /// "created", "running", "exited", …
    pub state: String,
    pub started_at: Option<DateTime<Utc>>,
    pub exit_code: Option<i64>,
    pub restarts: i64,
    /// Address in the network it was made with, while running: for a member its server's own.
    pub address: Option<String>,
    pub memory_limit_bytes: u64,
    pub cpu_limit: f64,
    /// Names of the networks it is in.
    pub networks: Vec<String>,
    /// Volume mounted at [`blueprint::VOLUME_PATH`]; empty for none.
    pub volume: String,
    /// Whether the engine starts it again after a crash.
    pub restarts_by_itself: bool,
    /// Where its PostgreSQL is published on the host.
    pub published: Option<SocketAddr>,
}

/// Something that became of a container of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineEvent {
    pub what: EventKind,
    /// Engine's id of the container: a name goes on with the container that replaces it.
    pub id: String,
    /// Name of the container.
    pub container: String,
    pub labels: Labels,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    Started,
    /// Its first process ended.
    Died,
    Removed,
    Paused,
    Unpaused,
}

/// Kind and name of an object with our install label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OwnedObject {
    /// "container", "volume" or "network".
    pub kind: &'static str,
    pub name: String,
    pub labels: Labels,
}

/// State of an image that is being made ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageProgress {
    /// Present; the identity by digest and the exact PostgreSQL version in it, such as `17.11`.
    Ready { id: String, version: String },
    /// Being made in the background; what it does now, and lines since the start.
    Building { now: String, lines: Vec<String> },
}

/// An image on its way, as `docker save` writes it.
pub type ImageStream = BoxStream<'static, Result<Bytes, EngineError>>;

/// Another engine that has an image.
#[derive(Clone)]
pub struct ImageSource {
    /// Name of its host, for people.
    pub host: String,
    pub engine: Arc<dyn Engine>,
}

/// One Docker Engine.
#[async_trait]
pub trait Engine: Send + Sync {
    /// What the engine says of itself.
    async fn facts(&self) -> Result<EngineFacts, EngineError>;

    /// Makes the image of a major ready, in the background where that takes long. Call again to see how far it is.
    /// A build that failed gives its error once; the next call starts anew.
    async fn ensure_image(
        &self,
        major: crate::domain::version::Major,
    ) -> Result<ImageProgress, EngineError>;

    /// The same, but an image that is not there is carried from the first of `sources` that gives it, and built only
    /// where none does.
    async fn carry_image(
        &self,
        major: crate::domain::version::Major,
        sources: Vec<ImageSource>,
    ) -> Result<ImageProgress, EngineError>;
    /// An image with everything in it, for another engine to load. Ends with an error when the engine goes silent.
    async fn export_image(&self, tag: &str) -> Result<ImageStream, EngineError>;

    async fn ensure_network(&self, spec: &NetworkSpec) -> Result<(), EngineError>;
    /// Removes the network; refused while a running container is in it.
    async fn remove_network(&self, name: &str) -> Result<(), EngineError>;
    /// `None` when there is no such network.
    async fn network(&self, name: &str) -> Result<Option<NetworkFacts>, EngineError>;
    /// Gives a container of ours, running or not, a place in a network; one that has it under these names stays.
    async fn connect_network(&self, container: &str, join: &NetworkJoin)
    -> Result<(), EngineError>;
    /// Takes a container of ours out of a network; success when either is gone or it is not in it.
    async fn disconnect_network(&self, container: &str, network: &str) -> Result<(), EngineError>;

    async fn ensure_volume(&self, spec: &VolumeSpec) -> Result<(), EngineError>;
    /// Whether the volume is there; one that is not ours is [`EngineError::Foreign`].
    async fn has_volume(&self, name: &str) -> Result<bool, EngineError>;
    /// Deletes the data; a disk's volume is detached from its loop device before. Only the deletion of a server
    /// and the undo of its creation call this.
    async fn remove_volume(&self, name: &str) -> Result<(), EngineError>;

    /// Makes a disk and its two volumes, or attaches the one that is there, which it never formats again. Call it
    /// before each start: after a restart of the host nothing is attached. Refused when the loop device belongs
    /// to another image.
    async fn ensure_disk(&self, spec: &DiskSpec) -> Result<DiskAnswer, EngineError>;
    /// Grows a disk and its file system to `spec.bytes` while it is in use. Never shrinks one.
    async fn grow_disk(&self, spec: &DiskSpec) -> Result<(), EngineError>;
    /// Looks at a disk without its container, which may be unable to start, and tends what is set aside.
    async fn tend_disk(
        &self,
        spec: &DiskSpec,
        reserve: Reserve,
    ) -> Result<VolumeUsage, EngineError>;
    /// What is used of the volume of a running container. Without a file system of its own (`is_sized`) the free
    /// space is that of the host.
    async fn volume_usage(
        &self,
        container: &str,
        is_sized: bool,
    ) -> Result<VolumeUsage, EngineError>;

    /// Makes the container without starting it, with its places in all its networks. Its volume must be there: none is
    /// made in passing.
    async fn ensure_container(&self, spec: &ContainerSpec) -> Result<(), EngineError>;
    /// Stops (kill after a grace of seconds) and removes the container, never its volume.
    async fn remove_container(&self, name: &str) -> Result<(), EngineError>;
    /// Puts files below the volume path of a container, running or not, replacing what is there.
    async fn put_files(&self, container: &str, files: &[FileSpec]) -> Result<(), EngineError>;
    /// A file below the volume path of a container, running or not; `None` when there is none. At most
    /// [`FILE_BYTES_MAX`]: a larger one is refused.
    async fn get_file(&self, container: &str, path: &str) -> Result<Option<Vec<u8>>, EngineError>;
    /// Starts it; a running one is success.
    async fn start_container(&self, name: &str) -> Result<(), EngineError>;
    /// Stops it with its stop signal; a stopped one is success.
    async fn stop_container(&self, name: &str, grace: Duration) -> Result<(), EngineError>;
    /// Sends a signal such as `SIGHUP` to the container's first process.
    async fn signal_container(&self, name: &str, signal: &str) -> Result<(), EngineError>;
    /// Waits until the container has ended, at most `patience`; its exit code, or `None` while it runs.
    async fn wait_exit(&self, name: &str, patience: Duration) -> Result<Option<i64>, EngineError>;
    /// The last lines the container wrote, oldest first.
    async fn tail(&self, name: &str, lines: usize) -> Result<Vec<String>, EngineError>;
    /// All that a container which has ended wrote to its standard output, at most four megabytes, as it is: hostile.
    async fn output(&self, name: &str) -> Result<String, EngineError>;
    /// Gives it other limits, running or not. Its shared memory cannot be changed: that needs a new container.
    async fn update_limits(&self, name: &str, limits: &Limits) -> Result<(), EngineError>;
    /// Whether the engine starts it again by itself, changed while it runs or not.
    async fn set_restart(&self, name: &str, restarts: bool) -> Result<(), EngineError>;
    /// Reports what becomes of containers of ours, from now on, until the engine goes silent (an error) or nobody
    /// listens any more.
    async fn events(&self, to: mpsc::Sender<EngineEvent>) -> Result<(), EngineError>;
    /// CPU time in nanoseconds that it has used since its last start; `None` while it does not run.
    async fn cpu_nanos(&self, name: &str) -> Result<Option<u64>, EngineError>;
    /// `None` when there is no such container.
    async fn container(&self, name: &str) -> Result<Option<ContainerFacts>, EngineError>;
    /// Everything with our install label.
    async fn owned(&self) -> Result<Vec<OwnedObject>, EngineError>;
    /// Identities of all installations that have anything here, ours or not: for one that does not know its own yet.
    async fn installations(&self) -> Result<BTreeSet<String>, EngineError>;
}
