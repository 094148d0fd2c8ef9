//! Keeps the engines of this process as the store has the hosts, also those that another process added or changed.

use super::context::Services;
use super::host_entry::open_tls;
use crate::domain::host::Host;
use crate::domain::ids::HostId;
use crate::engine::EngineError;
use crate::engine::docker::DockerEngine;
use crate::engine::registry::{Driven, Engines};
use crate::secrets::Sealer;
use crate::store::{Store, StoreError};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Time until a host that another process changed is driven as it is now.
const EVERY: Duration = Duration::from_secs(3);

/// An engine for a host as it is stored.
///
/// # Errors
/// When the address cannot be used or the certificates do not open; the text says which host.
pub fn engine_of(
    sealer: &Sealer,
    install_id: &str,
    host: &Host,
    sealed: Option<&[u8]>,
) -> Result<DockerEngine, EngineError> {
    let tls = sealed.map(|sealed| open_tls(sealer, &host.name, sealed)).transpose()?;
    DockerEngine::connect_with(&host.address, tls.as_ref(), install_id)
}

/// Makes the list what the store says, once. Hosts that did not change keep their engine. One that cannot be used
/// is left out, with a line in the log: its servers are then on a host that this process does not drive.
///
/// # Errors
/// When the store does not answer; the list stays as it was.
pub async fn refresh(
    engines: &Engines,
    store: &Store,
    sealer: &Sealer,
    install_id: &str,
) -> Result<(), StoreError> {
    let (known, mut all) = (engines.now(), HashMap::new());
    let mut is_new = false;
    for (host, sealed) in store.driven_hosts().await? {
        let kept = known.get(&host.id).filter(|driven| driven.version == host.version).cloned();
        is_new |= kept.is_none();
        let driven = match kept {
            Some(kept) => kept,
            None => match engine_of(sealer, install_id, &host, sealed.as_deref()) {
                Ok(engine) => drive(&host, engine),
                Err(error) => {
                    tracing::warn!(host = %host.name, %error, "the host cannot be driven");
                    continue;
                }
            },
        };
        all.insert(host.id, driven);
    }
    let is_same = !is_new && all.len() == known.len();
    if !is_same {
        engines.replace(all);
    }
    Ok(())
}

fn drive(host: &Host, engine: DockerEngine) -> Driven {
    let (member_address, version) = (host.member_address, host.version);
    Driven { engine: Arc::new(engine), member_address, version }
}

/// Follows the store until `stop` is set. A change wakes the monitor: a new host is looked at at once.
pub async fn follow(services: Arc<Services>, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = services.poke.wait_hosts() => {}
            _ = stop.changed() => return,
        }
        let before = versions(&services.engines);
        let Services { engines, store, sealer, settings, .. } = &*services;
        match refresh(engines, store, sealer, &settings.install_id).await {
            Ok(()) if versions(engines) != before => services.poke.monitor(),
            Ok(()) => {}
            Err(error) => {
                tracing::warn!(%error, "the list of hosts cannot be read; it stays as it was");
            }
        }
    }
}

fn versions(engines: &Engines) -> HashMap<HostId, i64> {
    engines.now().iter().map(|(host, driven)| (host.clone(), driven.version)).collect()
}
