//! The front door: TCP from clients to servers, with TLS from end to end.
//!
//! A client is known by the port it comes in on, or by the name in its ClientHello on the shared port. Firewall
//! rules are applied to its address before a byte goes further. The gateway needs nothing but the
//! store, and that only for changes: while the store is silent the last routes hold.

pub mod copy;
mod farewell;
pub mod hello;
pub mod identity;
mod lanes;
mod limits;
mod listeners;
mod proxy;
pub mod refusal;
mod registry;
mod table;

pub use identity::{Identities, Identity};
pub use limits::{GatewayStats, Limits};

use crate::clock::Clock;
use crate::poke::Poke;
use crate::store::{Store, StoreError};
use farewell::Farewells;
use identity::IdentityCache;
use lanes::Lanes;
use listeners::Listeners;
use proxy::{CUT_MAX, Doorman};
use registry::Registry;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use table::Table;
use tokio::time::Instant;

/// What a gateway is told when it starts.
pub struct GatewaySettings {
    /// Name of this gateway among all; the same after a restart.
    pub id: String,
    /// Address on which clients are accepted.
    pub listen: IpAddr,
    /// Port of all servers; 0 switches it off.
    pub shared_port: u16,
    /// Domain below which every server has a name.
    pub endpoint_domain: String,
    /// Threads of the data path.
    pub threads: usize,
    /// Opens servers' certificates, so that refusals can be told inside TLS; see [`identity`].
    pub identities: Option<Arc<dyn Identities>>,
    pub limits: Limits,
    /// Counters, shared with whoever shows them.
    pub stats: Arc<GatewayStats>,
}

/// Threads for the data path when nobody says otherwise: half of the cores. One thread moves some ten thousand messages a
/// second; on few cores more threads only take turns.
pub fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1))
}

/// Every connection takes two file descriptors, and many systems start a process with 1,024.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files stays as it was");
    }
}

/// Runs the gateway until `shutdown` comes. Then ports are closed and connections are cut.
///
/// # Errors
/// When the system gives no threads. A store that does not answer is waited for.
pub async fn run(
    store: Store,
    clock: Arc<dyn Clock>,
    poke: Poke,
    settings: GatewaySettings,
    shutdown: impl Future<Output = ()>,
) -> std::io::Result<()> {
    raise_descriptor_limit();
    let mut follower = Follower::new(store, clock, settings)?;
    tokio::pin!(shutdown);
    loop {
        follower.tick().await;
        tokio::select! {
            () = &mut shutdown => break,
            () = poke.wait_routes() => {}
            () = tokio::time::sleep(follower.limits.poll) => {}
        }
    }
    follower.leave().await;
    Ok(())
}

/// Follows the store and tells it how far it came.
struct Follower {
    store: Store,
    clock: Arc<dyn Clock>,
    id: String,
    domain: String,
    limits: Limits,
    registry: Arc<Registry>,
    listeners: Listeners,
    /// Generation of the table in place; `None` before the first.
    applied: Option<i64>,
    /// Whether the store did not answer the last time, so that this is logged once.
    store_silent: bool,
    ports_tried: Instant,
    reported: Option<(Instant, i64, String)>,
    /// When refusals were last put in the log, and how many there had been.
    refusals_told: (Instant, u64),
}

/// Between two lines of the log about refusals.
const REFUSALS_LOGGED_EVERY: Duration = Duration::from_secs(60);

impl Follower {
    fn new(
        store: Store,
        clock: Arc<dyn Clock>,
        settings: GatewaySettings,
    ) -> std::io::Result<Self> {
        let limits = settings.limits;
        let registry = Registry::new(&limits, settings.stats);
        let farewells =
            Farewells::new(IdentityCache::new(settings.identities), limits.refusals_in_tls_max);
        let doorman =
            Arc::new(Doorman { registry: registry.clone(), limits: limits.clone(), farewells });
        let lanes = Arc::new(Lanes::start(settings.threads)?);
        let listeners = Listeners::new(settings.listen, settings.shared_port, doorman, lanes);
        Ok(Self {
            store,
            clock,
            id: settings.id,
            domain: settings.endpoint_domain,
            limits,
            registry,
            listeners,
            applied: None,
            store_silent: false,
            ports_tried: Instant::now(),
            reported: None,
            refusals_told: (Instant::now(), 0),
        })
    }

    async fn tick(&mut self) {
        match self.follow().await {
            Ok(()) => self.store_silent = false,
            Err(error) => {
                if !self.store_silent {
                    tracing::warn!(%error, "the gateway cannot ask the store; the last routes hold");
                }
                self.store_silent = true;
            }
        }
        if self.listeners.has_troubles() && self.ports_tried.elapsed() >= self.limits.port_retry {
            self.open_ports().await;
        }
        if !self.store_silent {
            self.report().await;
        }
        self.log_refusals();
    }

    /// One line for many refusals: strangers must not fill the log.
    fn log_refusals(&mut self) {
        let total: u64 = self.registry.stats.refused().map(|(_, count)| count).sum();
        let (since, told) = self.refusals_told;
        if total > told && since.elapsed() >= REFUSALS_LOGGED_EVERY {
            tracing::info!(clients = total - told, "clients were refused; the reasons are counted");
            self.refusals_told = (Instant::now(), total);
        }
    }

    /// Loads and applies the routes if the store has newer ones.
    async fn follow(&mut self) -> Result<(), StoreError> {
        let generation = self.store.route_generation().await?;
        if self.applied == Some(generation) {
            return Ok(());
        }
        let snapshot = self.store.route_snapshot(&self.domain).await?;
        let generation = snapshot.generation;
        let cut = self.registry.apply(Table::new(snapshot));
        self.open_ports().await;
        if !self.registry.wait_gone(&cut, CUT_MAX).await {
            // Without the confirmation whoever waits for this generation goes on waiting: it is tried again.
            tracing::error!(generation, "cut connections are not closed yet");
            return Ok(());
        }
        tracing::debug!(generation, cut = cut.len(), "routes applied");
        self.applied = Some(generation);
        Ok(())
    }

    async fn open_ports(&mut self) {
        self.ports_tried = Instant::now();
        self.listeners.follow(&self.registry.table()).await;
    }

    /// Tells the store that this gateway lives: at once when something changed, otherwise now and then.
    async fn report(&mut self) {
        let (Some(generation), notes) = (self.applied, self.listeners.notes()) else { return };
        let fresh = self.reported.as_ref().is_some_and(|(since, told, with)| {
            *told == generation && *with == notes && since.elapsed() < self.limits.heartbeat
        });
        if fresh {
            return;
        }
        let now = self.clock.now();
        match self.store.record_gateway(now, &self.id, generation, &notes).await {
            Ok(()) => self.reported = Some((Instant::now(), generation, notes)),
            Err(error) => tracing::debug!(%error, "heart-beat not written"),
        }
    }

    /// Closes everything, and only then takes the gateway off the list: whoever reads the list may
    /// trust that a gateway that is not on it forwards nothing.
    async fn leave(mut self) {
        self.listeners.close().await;
        let cut = self.registry.apply(Table::default());
        if !self.registry.wait_gone(&cut, CUT_MAX).await {
            return tracing::error!(
                "cut connections are not closed yet; the gateway stays on the list"
            );
        }
        let now = self.clock.now();
        if let Err(error) = self.store.forget_gateway(now, &self.id).await {
            tracing::debug!(%error, "the gateway could not take itself off the list");
        }
    }
}
