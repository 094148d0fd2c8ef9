//! The engines of this process, by host. Hosts come and go while it runs: who asks gets those of this moment.

use super::Engine;
use crate::domain::ids::HostId;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

/// A host as this process drives it.
#[derive(Clone)]
pub struct Driven {
    pub engine: Arc<dyn Engine>,
    /// Where other machines reach the ports of its members; `None` where members are reached by their containers' addresses.
    pub member_address: Option<IpAddr>,
    /// Version of the row it was made from.
    pub version: i64,
}

/// Every host at one moment.
pub type Snapshot = Arc<HashMap<HostId, Driven>>;

/// A list of engines that changes. Clones share it.
#[derive(Clone, Default)]
pub struct Engines(Arc<RwLock<Snapshot>>);

impl Engines {
    /// All of this moment; later changes do not show in it.
    pub fn now(&self) -> Snapshot {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The engine of a host; `None` when this process drives none there.
    pub fn get(&self, host: &HostId) -> Option<Arc<dyn Engine>> {
        self.now().get(host).map(|driven| driven.engine.clone())
    }

    /// Where other machines reach published ports of a host's members.
    pub fn member_address(&self, host: &HostId) -> Option<IpAddr> {
        self.now().get(host).and_then(|driven| driven.member_address)
    }

    /// Host and engine of all.
    pub fn iter(&self) -> impl Iterator<Item = (HostId, Arc<dyn Engine>)> {
        let all: Vec<_> =
            self.now().iter().map(|(host, driven)| (host.clone(), driven.engine.clone())).collect();
        all.into_iter()
    }

    /// From now on these are all there are.
    pub fn replace(&self, all: HashMap<HostId, Driven>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(all);
    }
}

/// Hosts whose members are reached by their containers' addresses.
impl From<HashMap<HostId, Arc<dyn Engine>>> for Engines {
    fn from(engines: HashMap<HostId, Arc<dyn Engine>>) -> Self {
        let driven = |engine| Driven { engine, member_address: None, version: 0 };
        let all = Self::default();
        all.replace(engines.into_iter().map(|(host, engine)| (host, driven(engine))).collect());
        all
    }
}
