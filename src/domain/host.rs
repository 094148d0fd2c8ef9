//! Hosts: machines with a Docker Engine, and what was last seen of them.

use super::ids::HostId;
use super::virtual_network::TakenRange;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// A host as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    pub id: HostId,
    /// Name for people, unique.
    pub name: String,
    /// `unix:///…` or `tcp://…`.
    pub address: String,
    /// Region and zone pairs that live on this host; empty means all of them.
    pub places: Vec<Place>,
}

/// A region and one of its zones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub region: String,
    pub zone: String,
}

impl Host {
    pub fn serves(&self, region: &str, zone: &str) -> bool {
        self.places.is_empty()
            || self.places.iter().any(|place| place.region == region && place.zone == zone)
    }
}

/// What an engine said of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EngineFacts {
    pub engine_id: String,
    pub engine_version: String,
    pub operating_system: String,
    pub kernel: String,
    pub cpus: u32,
    pub memory_bytes: u64,
    /// Size of the file system that holds volumes; `None` where it cannot be measured from here.
    pub storage_total_bytes: Option<u64>,
    pub storage_free_bytes: Option<u64>,
    /// Tags of images of ours present on the engine.
    pub images: Vec<String>,
    /// Address ranges of the engine's networks, but for virtual networks of ours.
    #[serde(default)]
    pub ranges: Vec<TakenRange>,
}

/// The last look at a host.
#[derive(Debug, Clone, PartialEq)]
pub struct HostObservation {
    pub host_id: HostId,
    /// When the engine last answered or failed to.
    pub observed_at: DateTime<Utc>,
    /// Facts of the last answer, with its time; kept while the engine is silent.
    pub facts: Option<(DateTime<Utc>, EngineFacts)>,
    /// Why the last look got no answer; `None` when it did.
    pub error: Option<String>,
    /// Objects with our install label that no row of the store explains.
    pub orphans: Vec<Orphan>,
}

/// Something on an engine that is ours by label and belongs to nothing. Listed, never removed by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orphan {
    /// "container", "volume" or "network".
    pub kind: String,
    pub name: String,
    /// Name of the server in its label, as found.
    pub server: String,
}

/// How far promises may exceed what a host has. 1.0 promises nothing twice.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Overcommit {
    pub vcores: f64,
    pub memory: f64,
    pub storage: f64,
}

impl Default for Overcommit {
    fn default() -> Self {
        Self { vcores: 4.0, memory: 1.0, storage: 2.0 }
    }
}
