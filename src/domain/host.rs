//! Hosts: machines with a Docker Engine, and what was last seen of them.

use super::ids::HostId;
use super::virtual_network::TakenRange;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

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
    /// Where portal, gateway and other members reach what its members publish; `None` where they are reached by
    /// their containers' addresses, which works on the portal's own machine only.
    pub member_address: Option<IpAddr>,
    pub origin: HostOrigin,
    /// Whether certificates for it are kept.
    pub has_tls: bool,
    /// Grows with every change.
    pub version: i64,
}

/// Who says that a host is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HostOrigin {
    /// The configuration file; only it can change the host or take it away.
    #[default]
    File,
    /// The Hosts page.
    Portal,
}

impl HostOrigin {
    pub fn key(self) -> &'static str {
        match self {
            HostOrigin::File => "File",
            HostOrigin::Portal => "Portal",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [HostOrigin::File, HostOrigin::Portal].into_iter().find(|origin| origin.key() == text)
    }
}

/// A region and one of its zones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub region: String,
    pub zone: String,
}

impl Host {
    /// A host of the file whose members are reached by their containers' addresses.
    pub fn new(
        id: HostId,
        name: impl Into<String>,
        address: impl Into<String>,
        places: Vec<Place>,
    ) -> Self {
        Self {
            id,
            name: name.into(),
            address: address.into(),
            places,
            member_address: None,
            origin: HostOrigin::File,
            has_tls: false,
            version: 1,
        }
    }

    pub fn serves(&self, region: &str, zone: &str) -> bool {
        self.places.is_empty()
            || self.places.iter().any(|place| place.region == region && place.zone == zone)
    }
}

/// What an engine said of itself.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
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
    /// How far the engine's clock is ahead of the portal's, in milliseconds, give or take half of the time that
    /// the question took; `None` where it did not tell.
    #[serde(default)]
    pub clock_ahead_ms: Option<i64>,
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
