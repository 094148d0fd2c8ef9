//! What was seen of a member against what it shall be. What differs is kept for the pages; what the portal can put right
//! becomes a repair, once two looks in a row found it. A server that needs that again and again is only told of.

use super::observe::Look;
use crate::domain::activity::Actor;
use crate::domain::drift::{
    DriftLook, Next, OBSERVATION, REPAIRS_WITHIN, SURE_AFTER, Seen, drifts,
};
use crate::domain::ids::{HostId, ServerId};
use crate::domain::operation::OperationKind;
use crate::domain::starts::{self, Starts};
use crate::operations::context::Services;
use crate::operations::member;
use crate::operations::submit::{Door, SubmitError};
use crate::store::StoreError;
use std::collections::HashMap;
use std::sync::Arc;

/// Compares every look at a server on which nothing was under way, and submits the repairs.
///
/// # Errors
/// When the store does not answer.
pub async fn follow(
    services: &Arc<Services>,
    quiet: &HashMap<String, i64>,
    looks: &[Look],
) -> Result<(), StoreError> {
    let images = images(services).await?;
    let before = services.store.server_observations::<DriftLook>(OBSERVATION).await?;
    let starts = services.store.server_observations::<Starts>(starts::OBSERVATION).await?;
    let mut seen: Vec<(ServerId, DriftLook)> = vec![];
    for look in looks.iter().filter(|look| quiet.contains_key(look.member.server_id.as_str())) {
        let id = &look.member.server_id;
        let earlier = before.get(id.as_str()).map(|observed| &observed.facts);
        let starts = starts.get(id.as_str()).map(|observed| &observed.facts);
        if let Some(now) = compare(services, look, &images, (earlier, starts)).await? {
            seen.push((id.clone(), now));
        }
    }
    services.store.observe_servers(services.clock.now(), OBSERVATION, &seen).await?;
    if seen.iter().any(|(_, look)| look.next == Next::LookAgain) {
        look_again_soon(services);
    }
    for (id, _) in seen.iter().filter(|(_, look)| look.next == Next::Repair) {
        submit(services, id).await?;
    }
    Ok(())
}

async fn images(services: &Services) -> Result<HashMap<HostId, Vec<String>>, StoreError> {
    let hosts = services.store.host_observations().await?;
    Ok(hosts
        .into_iter()
        .filter(|host| host.error.is_none())
        .filter_map(|host| Some((host.host_id, host.facts?.1.images)))
        .collect())
}

/// `None` where it could not be told: the server is gone, or its engine does not answer.
async fn compare(
    services: &Services,
    look: &Look,
    images: &HashMap<HostId, Vec<String>>,
    (earlier, starts): (Option<&DriftLook>, Option<&Starts>),
) -> Result<Option<DriftLook>, StoreError> {
    let Some(server) = services.store.server(&look.member.server_id).await? else {
        return Ok(None);
    };
    // What a container mounts cannot be removed; the volume with an image file can.
    let is_safe = look.container.is_some() && look.member.loop_minor().is_none();
    let has_volume = match services.engines.get(&look.member.host_id) {
        _ if is_safe => None,
        Some(engine) => match engine.has_volume(&look.member.data_volume()).await {
            Ok(there) => Some(there),
            Err(_) => return Ok(None),
        },
        None => return Ok(None),
    };
    let seen = Seen {
        container: look.container.as_ref().map(member::seen),
        has_volume,
        images: images.get(&look.member.host_id).cloned(),
    };
    let is_held = services.store.is_held(&server.id).await?;
    let wanted = member::wanted(&server, &look.member, is_held);
    let mut found = drifts(&wanted, &seen);
    found.extend(starts.and_then(|starts| starts.drift(&look.member.volume())));
    let repairs = recent_repairs(services, &server.id, &found).await?;
    Ok(Some(DriftLook::after(earlier, found, repairs, services.clock.now())))
}

/// Repairs that the portal itself submitted lately; not asked for where nothing differs.
async fn recent_repairs(
    services: &Services,
    server: &ServerId,
    found: &[crate::domain::drift::Drift],
) -> Result<usize, StoreError> {
    if found.is_empty() {
        return Ok(0);
    }
    let since = services.clock.now() - REPAIRS_WITHIN;
    services.store.count_requests(server, OperationKind::Repair, &Actor::system().name, since).await
}

/// A database that is down is worth a look before the next one is due.
fn look_again_soon(services: &Arc<Services>) {
    let services = Arc::clone(services);
    tokio::spawn(async move {
        tokio::time::sleep(SURE_AFTER.to_std().unwrap_or_default()).await;
        services.poke.monitor();
    });
}

async fn submit(services: &Arc<Services>, id: &ServerId) -> Result<(), StoreError> {
    let door = Door { store: &services.store, clock: &*services.clock, poke: &services.poke };
    match door.submit(OperationKind::Repair, id, &Actor::system(), None).await {
        Ok(operation) => {
            tracing::warn!(server.id = %id, operation.id = %operation, "a server has drifted; it is repaired");
            Ok(())
        }
        // Something else has begun; the next look asks again.
        Err(SubmitError::Refused(why)) => {
            tracing::info!(server.id = %id, %why, "a repair waits");
            Ok(())
        }
        Err(SubmitError::Store(error)) => Err(error),
    }
}
