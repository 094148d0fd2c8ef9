//! Who is connected under which epoch. Admission and the change of tables share one lock, so a
//! connection is either judged by the new table or is on the list of those to be cut: none slips between.

use super::limits::{GatewayStats, Limits};
use super::refusal::Reason;
use super::table::{Table, Way};
use crate::domain::ids::ServerId;
use crate::domain::network::admits;
use crate::domain::route::{Route, RouteState, Service};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};

struct Live {
    service: (ServerId, Service),
    epoch: i64,
    client: IpAddr,
    /// Without TLS.
    plain: bool,
    cut: Arc<Notify>,
}

/// What one address has.
#[derive(Default)]
struct Own {
    connections: u32,
    /// Those of them that are opening.
    openings: u32,
}

#[derive(Default)]
struct State {
    table: Arc<Table>,
    live: HashMap<u64, Live>,
    next_key: u64,
    /// Openings and relayed connections by client address.
    addresses: HashMap<IpAddr, Own>,
    openings: u32,
}

/// The connections of this gateway.
pub struct Registry {
    state: Mutex<State>,
    /// Grows with every table; held clients wait for it.
    changed: watch::Sender<i64>,
    pub stats: Arc<GatewayStats>,
    address_max: u32,
    address_openings_max: u32,
    openings_max: u32,
}

/// What a client gets at this moment.
pub enum Verdict {
    Pass(Admitted),
    /// The route is held: wait for the next table and ask again.
    Hold {
        server: String,
    },
    Refuse(Reason),
}

impl Registry {
    pub fn new(limits: &Limits, stats: Arc<GatewayStats>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            changed: watch::Sender::new(0),
            stats,
            address_max: limits.address_connections_max,
            address_openings_max: limits.address_openings_max,
            openings_max: limits.openings_max,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock leaves the state half changed, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn table(&self) -> Arc<Table> {
        self.lock().table.clone()
    }

    /// A receiver that changes with every table.
    pub fn watch(&self) -> watch::Receiver<i64> {
        self.changed.subscribe()
    }

    /// Counts a client that begins to open; dropping the guard counts it out.
    pub fn begin(self: &Arc<Self>, client: IpAddr) -> Result<Opening, Reason> {
        let mut state = self.lock();
        if state.openings >= self.openings_max {
            return Err(Reason::GatewayFull);
        }
        let own = state.addresses.entry(client).or_default();
        for (has, max) in
            [(own.connections, self.address_max), (own.openings, self.address_openings_max)]
        {
            if has >= max {
                return Err(Reason::AddressFull { max });
            }
        }
        own.connections += 1;
        own.openings += 1;
        state.openings += 1;
        Ok(Opening { registry: self.clone(), client, relaying: false })
    }

    /// Judges a client without letting it in: for clients that are refused anyway, and for CancelRequests.
    pub fn judge(&self, way: &Way, client: IpAddr) -> Result<Arc<Route>, Reason> {
        judged(&self.lock().table, way, client)
    }

    /// Lets a client in if everything allows it; `plain` is one without TLS.
    pub fn admit(self: &Arc<Self>, way: &Way, client: IpAddr, plain: bool) -> Verdict {
        let mut state = self.lock();
        let route = match judged(&state.table, way, client) {
            Ok(route) => route,
            Err(reason) => return Verdict::Refuse(reason),
        };
        if plain && route.tls_required {
            return Verdict::Refuse(Reason::PlainText);
        }
        if route.state == RouteState::Held || route.target.is_none() {
            return Verdict::Hold { server: route.server_name.clone() };
        }
        if let Err(reason) = self.count_in(&route) {
            return Verdict::Refuse(reason);
        }
        let cut = Arc::new(Notify::new());
        let key = state.next_key;
        state.next_key += 1;
        state.live.insert(
            key,
            Live {
                service: (route.server_id.clone(), route.service),
                epoch: route.epoch,
                client,
                plain,
                cut: cut.clone(),
            },
        );
        Verdict::Pass(Admitted { registry: self.clone(), key, route, cut })
    }

    fn count_in(&self, route: &Route) -> Result<(), Reason> {
        let mut open = self.stats.open.lock().unwrap_or_else(PoisonError::into_inner);
        let own = open.entry((route.server_id.clone(), route.service)).or_default();
        if *own >= route.connections_max {
            let server = route.server_name.clone();
            return Err(Reason::ServerFull { server, max: route.connections_max });
        }
        *own += 1;
        Ok(())
    }

    /// Puts a new table in place and cuts every connection that it does not allow.
    /// Returns the keys of those, for [`Registry::wait_gone`].
    pub fn apply(&self, table: Table) -> Vec<u64> {
        let generation = table.generation;
        let mut state = self.lock();
        state.table = Arc::new(table);
        let mut keys = vec![];
        for (key, live) in &state.live {
            if !still_allowed(&state.table, live) {
                live.cut.notify_one();
                keys.push(*key);
            }
        }
        drop(state);
        self.stats.count_cut(keys.len());
        self.changed.send_replace(generation);
        keys
    }

    /// Waits until the sockets of all these connections are closed; false when that took too long.
    pub async fn wait_gone(&self, keys: &[u64], limit: Duration) -> bool {
        let gone = async {
            while self.any_live(keys) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(limit, gone).await.is_ok()
    }

    fn any_live(&self, keys: &[u64]) -> bool {
        let state = self.lock();
        keys.iter().any(|key| state.live.contains_key(key))
    }

    fn leave(&self, key: u64) {
        let Some(live) = self.lock().live.remove(&key) else { return };
        let mut open = self.stats.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = open.get_mut(&live.service) {
            *own -= 1;
            if *own == 0 {
                open.remove(&live.service);
            }
        }
    }
}

fn judged(table: &Table, way: &Way, client: IpAddr) -> Result<Arc<Route>, Reason> {
    let Some(route) = table.find(way) else {
        let name = match way {
            Way::Port(port) => format!("port {port}"),
            Way::Name(name) => name.clone(),
        };
        return Err(Reason::UnknownName { name });
    };
    // The rules before the state: a stranger does not learn whether the server runs.
    if !admits(&route.ranges, client) {
        return Err(Reason::NotAdmitted { server: route.server_name.clone(), client });
    }
    if route.state == RouteState::Closed {
        return Err(Reason::Closed { server: route.server_name.clone() });
    }
    Ok(route.clone())
}

fn still_allowed(table: &Table, live: &Live) -> bool {
    table.service(&live.service).is_some_and(|route| {
        route.epoch == live.epoch
            && route.state == RouteState::Open
            && admits(&route.ranges, live.client)
            && !(live.plain && route.tls_required)
    })
}

/// A client between accept and its end, counted for its address.
pub struct Opening {
    registry: Arc<Registry>,
    client: IpAddr,
    relaying: bool,
}

impl Opening {
    /// The opening is over and the client is connected: it no longer counts among the openings.
    pub fn relaying(&mut self) {
        if !self.relaying {
            self.relaying = true;
            let mut state = self.registry.lock();
            state.openings -= 1;
            if let Some(own) = state.addresses.get_mut(&self.client) {
                own.openings -= 1;
            }
        }
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        let mut state = self.registry.lock();
        if !self.relaying {
            state.openings -= 1;
        }
        if let Some(own) = state.addresses.get_mut(&self.client) {
            own.connections -= 1;
            own.openings -= u32::from(!self.relaying);
            if own.connections == 0 {
                state.addresses.remove(&self.client);
            }
        }
    }
}

/// Leave to connect to `route.target` under `route.epoch`. Drop it after the sockets.
pub struct Admitted {
    registry: Arc<Registry>,
    key: u64,
    pub route: Arc<Route>,
    cut: Arc<Notify>,
}

impl Admitted {
    /// Comes back when the leave is taken away.
    pub async fn cut(&self) {
        self.cut.notified().await;
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.registry.leave(self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_cannot_take_every_opening() {
        let limits = Limits { openings_max: 4, address_openings_max: 2, ..Limits::default() };
        let registry = Registry::new(&limits, Arc::default());
        let (loud, other) = (IpAddr::from([203, 0, 113, 1]), IpAddr::from([203, 0, 113, 2]));
        let mut first = registry.begin(loud).ok().unwrap();
        let second = registry.begin(loud).ok().unwrap();
        assert!(matches!(registry.begin(loud), Err(Reason::AddressFull { max: 2 })));
        assert!(registry.begin(other).is_ok(), "there is room for others");
        first.relaying();
        let third = registry.begin(loud).ok().unwrap();
        assert!(registry.begin(loud).is_err(), "an open connection is no opening");
        drop((first, second, third));
        assert!(registry.lock().addresses.is_empty() && registry.lock().openings == 0);
    }
}
