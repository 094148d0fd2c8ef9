//! Every limit of the gateway with its unit, and its counters.

use super::refusal::{REASON_KINDS, Reason};
use crate::domain::ids::ServerId;
use crate::domain::route::Service;
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Limits of the data path.
#[derive(Debug, Clone)]
pub struct Limits {
    /// From accepting a client to the end of its opening messages.
    pub opening: Duration,
    /// Connecting to a server.
    pub dial: Duration,
    /// How long a server that cannot be reached is tried again before its client is told: a container that its
    /// engine starts again is away for less.
    pub redial: Duration,
    /// How long new clients wait while a route is held.
    pub hold: Duration,
    /// How long a refusal may take to be told, and its client to take it.
    pub farewell: Duration,
    /// Connections of one client address, relayed and opening. Many people may share one behind a translator.
    pub address_connections_max: u32,
    /// Clients that are opening, held or being refused at one moment, all addresses together.
    pub openings_max: u32,
    /// The same of one address: a quarter, so that one that opens and says nothing keeps nobody else out.
    pub address_openings_max: u32,
    /// Refusals told inside TLS at one moment: each costs a signature, the rest gets an alert.
    pub refusals_in_tls_max: usize,
    /// Silence after which a peer is asked whether it lives (TCP keep-alive).
    pub keepalive_idle: Duration,
    pub keepalive_interval: Duration,
    pub keepalive_probes: u32,
    /// Between two attempts to open a port that was taken.
    pub port_retry: Duration,
    /// Between two looks at the store's generation.
    pub poll: Duration,
    /// Between two heart-beats when nothing changes.
    pub heartbeat: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            opening: Duration::from_secs(10),
            dial: Duration::from_secs(5),
            redial: Duration::from_secs(3),
            hold: Duration::from_secs(30),
            farewell: Duration::from_secs(5),
            address_connections_max: 6_000,
            openings_max: 4_096,
            address_openings_max: 1_024,
            refusals_in_tls_max: 64,
            keepalive_idle: Duration::from_secs(60),
            keepalive_interval: Duration::from_secs(10),
            keepalive_probes: 6,
            port_retry: Duration::from_secs(5),
            poll: Duration::from_millis(250),
            heartbeat: Duration::from_secs(5),
        }
    }
}

/// What the gateway did since it started. Shared with whoever shows it.
#[derive(Debug, Default)]
pub struct GatewayStats {
    accepted: AtomicU64,
    cut: AtomicU64,
    cancels: AtomicU64,
    refused: [AtomicU64; REASON_KINDS.len()],
    pub(super) open: Mutex<HashMap<(ServerId, Service), u32>>,
}

impl GatewayStats {
    /// Clients accepted by a listener.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Connections closed because the route or the rules changed.
    pub fn cut(&self) -> u64 {
        self.cut.load(Ordering::Relaxed)
    }

    /// CancelRequests passed on.
    pub fn cancels(&self) -> u64 {
        self.cancels.load(Ordering::Relaxed)
    }

    /// Clients not let through, by reason.
    pub fn refused(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        REASON_KINDS
            .into_iter()
            .zip(&self.refused)
            .map(|(kind, count)| (kind, count.load(Ordering::Relaxed)))
    }

    /// Connections that a server has through this gateway now.
    pub fn open(&self, server: &ServerId) -> u32 {
        self.open.lock().map_or(0, |open| sum_of(&open, server))
    }

    /// The same for every server that has any.
    pub fn open_by_server(&self) -> HashMap<ServerId, u32> {
        let Ok(open) = self.open.lock() else { return HashMap::new() };
        open.keys().map(|(server, _)| (server.clone(), sum_of(&open, server))).collect()
    }

    pub(super) fn count_accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_cut(&self, connections: usize) {
        self.cut.fetch_add(u64::try_from(connections).unwrap_or(0), Ordering::Relaxed);
    }

    pub(super) fn count_cancel(&self) {
        self.cancels.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_refused(&self, reason: &Reason) {
        self.refused[reason.kind()].fetch_add(1, Ordering::Relaxed);
    }
}

/// Through its own port and through its PgBouncer.
fn sum_of(open: &HashMap<(ServerId, Service), u32>, server: &ServerId) -> u32 {
    let of = |service| open.get(&(server.clone(), service)).copied().unwrap_or(0);
    of(Service::Postgres) + of(Service::Pooler)
}
