//! Virtual networks that were asked to go: taken off every host, then forgotten. A network that a container
//! is still in stays, and its page says whose; the next tick looks again.

use crate::domain::host::Host;
use crate::domain::virtual_network::{NetworkState, VirtualNetwork};
use crate::engine::{Engine, EngineError};
use crate::operations::context::Services;
use crate::store::StoreError;
use std::sync::Arc;

/// Containers named in a note, at most.
const NAMED_MAX: usize = 3;

/// Looks at every network that is to go.
///
/// # Errors
/// When the store does not answer; engines that do not are a note, no error.
pub async fn tick(services: &Arc<Services>) -> Result<(), StoreError> {
    let networks = services.store.networks().await?;
    let going: Vec<_> =
        networks.into_iter().filter(|network| network.state == NetworkState::Deleting).collect();
    if going.is_empty() {
        return Ok(());
    }
    let hosts = services.store.hosts().await?;
    for network in going {
        let mut notes = vec![];
        // A host that left the configuration has no engine here: what is left on it is its operator's.
        for (host, engine) in
            hosts.iter().filter_map(|host| Some((host, services.engines.get(&host.id)?)))
        {
            notes.extend(take_off(&engine, host, &network).await);
        }
        let now = services.clock.now();
        if notes.is_empty() {
            services.store.forget_network(now, &network.id).await?;
            tracing::info!(network = %network.name, "the virtual network is deleted");
        } else {
            services.store.note_network(now, &network.id, &notes.join(" ")).await?;
        }
    }
    Ok(())
}

/// Removes the network from a host; the reason why it is still there otherwise.
async fn take_off(
    engine: &Arc<dyn Engine>,
    host: &Host,
    network: &VirtualNetwork,
) -> Option<String> {
    let name = network.docker_name();
    let containers = match engine.network(&name).await {
        Ok(None) => return None,
        Ok(Some(facts)) => facts.containers,
        Err(error) => return Some(format!("Host {}: {error}.", host.name)),
    };
    if !containers.is_empty() {
        return Some(in_use(host, &name, &containers));
    }
    match engine.remove_network(&name).await {
        Ok(()) => None,
        // The name is somebody else's: ours is not there.
        Err(EngineError::Foreign(_)) => None,
        Err(error) => Some(format!("Host {}: {error}.", host.name)),
    }
}

fn in_use(host: &Host, network: &str, containers: &[String]) -> String {
    let named: Vec<&str> = containers.iter().take(NAMED_MAX).map(String::as_str).collect();
    let more = containers.len() - named.len();
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!(
        "Host {}: {}{rest} still in it; take out with docker network disconnect {network} <container>.",
        host.name,
        named.join(", ")
    )
}
