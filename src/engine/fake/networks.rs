//! The fake's networks and the places of containers in them.

use super::objects::{Container, Objects, Outcome, key};
use crate::domain::virtual_network::gateway;
use crate::engine::{EngineError, NetworkFacts, NetworkJoin, NetworkSpec, label};
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;

impl Objects {
    pub(super) fn ensure_network(&mut self, spec: &NetworkSpec) -> Outcome {
        let overlaps = |range: &Ipv4Net| {
            spec.range.is_some_and(|wanted| {
                wanted.contains(&range.network()) || range.contains(&wanted.network())
            })
        };
        let others = self.ranges.iter().filter(|(name, _)| **name != spec.name);
        if others.map(|(_, range)| range).any(overlaps) {
            return Err(EngineError::Refused("Pool overlaps with other one".into()));
        }
        self.ensure("network", &spec.name, &spec.labels)?;
        if !self.ranges.contains_key(&spec.name) {
            self.networks_made += 1;
            let range = spec.range.unwrap_or_else(|| chosen(self.networks_made));
            self.ranges.insert(spec.name.clone(), range);
        }
        Ok(())
    }

    pub(super) fn network(&self, name: &str) -> Option<NetworkFacts> {
        let range = *self.ranges.get(name).filter(|_| self.has("network", name))?;
        let inside = self.containers.iter().filter(|(_, found)| is_in(found, name));
        let mut containers: Vec<String> = inside.map(|(name, _)| name.clone()).collect();
        containers.sort();
        Some(NetworkFacts {
            name: name.to_owned(),
            range: Some(range),
            gateway: Some(gateway(&range)),
            containers,
        })
    }

    /// Only a running container is an endpoint.
    pub(super) fn remove_network(&mut self, name: &str, install_id: &str) -> Outcome {
        if self.containers.values().any(|found| found.state == "running" && is_in(found, name)) {
            return Err(EngineError::Refused(format!("network {name} has active endpoints")));
        }
        self.remove("network", name, install_id)?;
        self.ranges.remove(name);
        Ok(())
    }

    /// Containers that do not run keep the identity of a network that is gone.
    pub(super) fn cut_off(&mut self, network: &str) {
        let stopped = self.containers.values_mut().filter(|found| found.state != "running");
        stopped.filter(|found| is_in(found, network)).for_each(|found| found.is_cut_off = true);
    }

    pub(super) fn join(&mut self, container: &str, join: &NetworkJoin) -> Outcome {
        if !self.has("network", &join.network) {
            return Err(EngineError::Missing(join.network.clone()));
        }
        let missing = || EngineError::Missing(container.to_owned());
        let found = self.containers.get_mut(container).ok_or_else(missing)?;
        found.joins.retain(|other| other.network != join.network);
        found.joins.push(join.clone());
        Ok(())
    }

    pub(super) fn leave(&mut self, container: &str, network: &str, install_id: &str) -> Outcome {
        let labels = self.labels.get(&key("container", container));
        let install = labels.and_then(|labels| labels.get(label::INSTALL));
        if install.is_some_and(|found| found != install_id) {
            return Err(EngineError::Foreign(format!("a container named {container}")));
        }
        if let Some(found) = self.containers.get_mut(container) {
            found.joins.retain(|join| join.network != network);
        }
        Ok(())
    }

    pub(super) fn joined(&self, container: &str) -> Vec<NetworkJoin> {
        self.containers.get(container).map(|found| found.joins.clone()).unwrap_or_default()
    }
}

fn is_in(container: &Container, network: &str) -> bool {
    let own = container.spec.network.as_ref().is_some_and(|(name, _)| name == network);
    own || container.joins.iter().any(|join| join.network == network)
}

/// What the engine gives out by itself.
fn chosen(number: u32) -> Ipv4Net {
    let first = Ipv4Addr::new(172, 17, 0, 0).to_bits() + (number << 8);
    Ipv4Net::new_assert(Ipv4Addr::from_bits(first), 24)
}
