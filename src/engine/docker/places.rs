//! Places of containers in networks: looked at, given, taken away.

use super::errors::within;
use super::{CHANGE, DockerEngine, LOOK, labels_of};
use crate::engine::{EngineError, NetworkFacts, NetworkJoin};
use bollard::models::{
    ContainerInspectResponse, EndpointSettings, Network, NetworkConnectRequest,
    NetworkDisconnectRequest,
};
use bollard::query_parameters::ListContainersOptionsBuilder;
use std::collections::HashMap;

impl DockerEngine {
    pub(super) async fn look_at_network(
        &self,
        name: &str,
    ) -> Result<Option<NetworkFacts>, EngineError> {
        let Some(found) = self.networks_named(name).await?.into_iter().next() else {
            return Ok(None);
        };
        let containers = self.containers_in(name).await?;
        Ok(Some(facts(name, &found, containers)))
    }

    /// The engine's own list of a network's containers leaves out those that do not run.
    async fn containers_in(&self, network: &str) -> Result<Vec<String>, EngineError> {
        let filters = HashMap::from([("network", vec![network])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let client = self.client().await?;
        let found = within(LOOK, network, client.list_containers(Some(options))).await?;
        let name = |container: bollard::models::ContainerSummary| {
            let name = container.names.and_then(|names| names.into_iter().next());
            name.map_or(container.id.unwrap_or_default(), |n| n.trim_start_matches('/').to_owned())
        };
        let mut names: Vec<String> = found.into_iter().map(name).collect();
        names.sort();
        Ok(names)
    }

    pub(super) async fn join(
        &self,
        container: &str,
        join: &NetworkJoin,
    ) -> Result<(), EngineError> {
        match place(&self.own(container).await?, join) {
            Place::Right => return Ok(()),
            // Names are given with the place and cannot be changed later.
            Place::Wrong => self.leave(container, &join.network).await?,
            Place::None => {}
        }
        let request = NetworkConnectRequest {
            container: container.to_owned(),
            endpoint_config: Some(EndpointSettings {
                aliases: Some(join.aliases.clone()),
                ..Default::default()
            }),
        };
        let client = self.client().await?;
        let joined = client.connect_network(&join.network, request);
        match within(CHANGE, &join.network, joined).await {
            // Another try of ours may have come before.
            Err(EngineError::Refused(why)) => match place(&self.own(container).await?, join) {
                Place::Right => Ok(()),
                // Without a free address the engine refuses, and yet writes the place down: with it the
                // container would not start again.
                Place::Wrong => {
                    self.leave(container, &join.network).await?;
                    Err(EngineError::Refused(why))
                }
                Place::None => Err(EngineError::Refused(why)),
            },
            other => other,
        }
    }

    pub(super) async fn leave(&self, container: &str, network: &str) -> Result<(), EngineError> {
        let found = match self.own(container).await {
            Err(EngineError::Missing(_)) => return Ok(()),
            other => other?,
        };
        if !networks(&found).contains_key(network) {
            return Ok(());
        }
        let request =
            NetworkDisconnectRequest { container: container.to_owned(), force: Some(false) };
        let client = self.client().await?;
        match within(CHANGE, network, client.disconnect_network(network, request)).await {
            Err(EngineError::Missing(_)) => Ok(()),
            Err(EngineError::Refused(why)) if why.contains("is not connected") => Ok(()),
            other => other,
        }
    }

    async fn own(&self, container: &str) -> Result<ContainerInspectResponse, EngineError> {
        let found = self.inspect(container).await?;
        let found = found.ok_or_else(|| EngineError::Missing(container.to_owned()))?;
        let labels = labels_of(found.config.as_ref().and_then(|config| config.labels.clone()));
        if !self.is_ours(&labels) {
            return Err(EngineError::Foreign(format!("a container named {container}")));
        }
        Ok(found)
    }
}

/// How a container stands in a network.
enum Place {
    Right,
    /// In it under other names, or without an address though it runs.
    Wrong,
    None,
}

fn place(container: &ContainerInspectResponse, join: &NetworkJoin) -> Place {
    match networks(container).get(&join.network) {
        None => Place::None,
        Some(endpoint) => {
            let has = endpoint.aliases.clone().unwrap_or_default();
            let is_named = join.aliases.iter().all(|alias| has.contains(alias));
            let runs = container.state.as_ref().and_then(|state| state.running) == Some(true);
            let has_address = endpoint.ip_address.as_ref().is_some_and(|text| !text.is_empty());
            if is_named && (has_address || !runs) { Place::Right } else { Place::Wrong }
        }
    }
}

fn networks(container: &ContainerInspectResponse) -> HashMap<String, EndpointSettings> {
    let settings = container.network_settings.as_ref();
    settings.and_then(|settings| settings.networks.clone()).unwrap_or_default()
}

fn facts(name: &str, network: &Network, containers: Vec<String>) -> NetworkFacts {
    let configs = network.ipam.as_ref().and_then(|ipam| ipam.config.clone()).unwrap_or_default();
    let range = configs.iter().find_map(|config| config.subnet.as_ref()?.parse().ok());
    let gateway = configs.iter().find_map(|config| config.gateway.as_ref()?.parse().ok());
    NetworkFacts { name: name.to_owned(), range, gateway, containers }
}
