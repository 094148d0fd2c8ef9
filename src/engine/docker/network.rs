//! Networks: one bridge for each server, without a way out of the host.
//!
//! Engines before API 1.44 make two networks of one name when asked twice at once, so a name is always
//! looked up as a list, and what is left over of such a race is removed by identity.

use super::errors::within;
use super::{CHANGE, DockerEngine, LOOK, is_same, labels_of, to_map};
use crate::domain::virtual_network::gateway;
use crate::engine::{EngineError, NetworkSpec};
use bollard::models::{Ipam, IpamConfig, Network, NetworkCreateRequest};
use bollard::query_parameters::ListNetworksOptionsBuilder;
use std::collections::HashMap;
use std::net::Ipv4Addr;

/// Networks of 16 addresses, used when the engine's own pools are used up: those hold about 30 networks.
/// The range is set aside for tests of network devices, so that it collides with no real network.
const SPARE_POOL: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);
const SPARE_NETWORKS: u32 = 8192;
const SPARE_PREFIX: u32 = 28;
/// Places of the spare pool that are tried before giving up.
const SPARE_TRIES: u32 = 64;

impl DockerEngine {
    pub(super) async fn make_network(&self, spec: &NetworkSpec) -> Result<(), EngineError> {
        if self.adopt_network(spec).await? {
            return Ok(());
        }
        let subnet = spec.range.map(|range| range.to_string());
        match self.create_network(spec, subnet).await {
            Err(EngineError::Refused(why)) if is_pool_exhausted(&why) && spec.range.is_none() => {
                self.create_in_spare_pool(spec).await?;
            }
            // The range may be that of our own network, made by another operation in this moment.
            Err(refused @ EngineError::Refused(_)) => {
                return if self.adopt_network(spec).await? { Ok(()) } else { Err(refused) };
            }
            other => other?,
        }
        self.adopt_network(spec).await.map(|_| ())
    }

    /// Whether the network is there; of several equal ones the oldest stays.
    async fn adopt_network(&self, spec: &NetworkSpec) -> Result<bool, EngineError> {
        let mut found = self.networks_named(&spec.name).await?;
        let is_foreign =
            |network: &Network| !is_same(&labels_of(network.labels.clone()), &spec.labels);
        if found.iter().any(is_foreign) {
            return Err(EngineError::Foreign(format!("a network named {}", spec.name)));
        }
        found.sort_by(|a, b| (&a.created, &a.id).cmp(&(&b.created, &b.id)));
        for extra in found.iter().skip(1) {
            self.remove_network_by_id(extra).await?;
        }
        Ok(!found.is_empty())
    }

    async fn create_network(
        &self,
        spec: &NetworkSpec,
        subnet: Option<String>,
    ) -> Result<(), EngineError> {
        let first = spec.range.map(|range| gateway(&range).to_string());
        let ipam = subnet.map(|subnet| Ipam {
            config: Some(vec![IpamConfig {
                subnet: Some(subnet),
                gateway: first,
                ..Default::default()
            }]),
            ..Default::default()
        });
        // The bridge gets no address, so the host has no way into the network.
        let inhibit = ("com.docker.network.bridge.inhibit_ipv4".to_owned(), "true".to_owned());
        let request = NetworkCreateRequest {
            name: spec.name.clone(),
            driver: Some("bridge".into()),
            // A server's users choose what it connects to; nothing outside its network is theirs to reach.
            internal: Some(!spec.is_open),
            labels: Some(to_map(&spec.labels)),
            ipam,
            options: spec.range.map(|_| HashMap::from([inhibit])),
            ..Default::default()
        };
        let client = self.client().await?;
        within(CHANGE, &spec.name, client.create_network(request)).await.map(|_| ())
    }

    async fn create_in_spare_pool(&self, spec: &NetworkSpec) -> Result<(), EngineError> {
        let mut last = EngineError::Refused("no address range is left".into());
        for attempt in 0..SPARE_TRIES {
            match self.create_network(spec, Some(spare_subnet(&spec.name, attempt))).await {
                Err(EngineError::Refused(why)) if why.contains("overlap") => {
                    last = EngineError::Refused(why);
                }
                other => return other,
            }
        }
        Err(last)
    }

    pub(super) async fn drop_network(&self, name: &str) -> Result<(), EngineError> {
        for network in self.networks_named(name).await? {
            if !self.is_ours(&labels_of(network.labels.clone())) {
                return Err(EngineError::Foreign(format!("a network named {name}")));
            }
            self.remove_network_by_id(&network).await?;
        }
        Ok(())
    }

    async fn remove_network_by_id(&self, network: &Network) -> Result<(), EngineError> {
        let id = network.id.as_deref().unwrap_or_default();
        match within(CHANGE, "a network", self.client().await?.remove_network(id)).await {
            Err(EngineError::Missing(_)) => Ok(()),
            other => other,
        }
    }

    /// The engine's filter finds parts of names as well.
    pub(super) async fn networks_named(&self, name: &str) -> Result<Vec<Network>, EngineError> {
        let filters = HashMap::from([("name", vec![name])]);
        let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
        let client = self.client().await?;
        let found = within(LOOK, name, client.list_networks(Some(options))).await?;
        Ok(found.into_iter().filter(|network| network.name.as_deref() == Some(name)).collect())
    }
}

fn is_pool_exhausted(why: &str) -> bool {
    why.contains("non-overlapping IPv4 address pool")
        || why.contains("predefined address pools have been fully subnetted")
}

/// A place in the spare pool that depends on the name, so that two portals rarely try the same.
fn spare_subnet(name: &str, attempt: u32) -> String {
    let hash = name
        .bytes()
        .fold(2_166_136_261u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(16_777_619));
    let place = hash.wrapping_add(attempt) % SPARE_NETWORKS;
    let first = SPARE_POOL.to_bits() + (place << (32 - SPARE_PREFIX));
    format!("{}/{SPARE_PREFIX}", Ipv4Addr::from_bits(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spare_networks_lie_in_the_pool_and_differ() {
        let pool: ipnet::Ipv4Net = "198.18.0.0/15".parse().unwrap();
        let seen: std::collections::HashSet<_> =
            (0..SPARE_TRIES).map(|attempt| spare_subnet("pgflex-x-net", attempt)).collect();
        assert_eq!(seen.len(), SPARE_TRIES as usize);
        for subnet in seen {
            assert!(pool.contains(&subnet.parse::<ipnet::Ipv4Net>().unwrap()), "{subnet}");
        }
    }
}
