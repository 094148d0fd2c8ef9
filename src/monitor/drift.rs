//! What was seen of a member against what it shall be. What differs is kept for the pages; what the portal can put right
//! becomes a repair, once two looks in a row found it. A server that needs that again and again is only told of.

use super::observe::Look;
use crate::domain::activity::Actor;
use crate::domain::drift::{
    DriftLook, Next, OBSERVATION, REPAIRS_WITHIN, SURE_AFTER, Seen, drifts,
};
use crate::domain::ha::MemberRole;
use crate::domain::ids::{HostId, ServerId};
use crate::domain::operation::OperationKind;
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
    let mut seen: Vec<(ServerId, DriftLook)> = vec![];
    for looks in of_servers(quiet, looks) {
        let Some(id) = looks.first().map(|look| &look.member.server_id) else { continue };
        let earlier = before.get(id.as_str()).map(|observed| &observed.facts);
        if let Some(now) = compare(services, &looks, &images, earlier).await? {
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

/// The looks of each quiet server, its primary's first. Members of before are no part of what a server is.
fn of_servers<'a>(quiet: &HashMap<String, i64>, looks: &'a [Look]) -> Vec<Vec<&'a Look>> {
    let mut servers: HashMap<&str, Vec<&Look>> = HashMap::new();
    let counts = |look: &&Look| {
        quiet.contains_key(look.member.server_id.as_str()) && look.member.role != MemberRole::Former
    };
    for look in looks.iter().filter(counts) {
        servers.entry(look.member.server_id.as_str()).or_default().push(look);
    }
    let mut servers: Vec<Vec<&Look>> = servers.into_values().collect();
    for looks in &mut servers {
        looks.sort_by_key(|look| look.member.role != MemberRole::Primary);
    }
    servers
}

/// `None` where it could not be told: the server is gone, or the engine of its primary does not answer.
async fn compare(
    services: &Services,
    looks: &[&Look],
    images: &HashMap<HostId, Vec<String>>,
    earlier: Option<&DriftLook>,
) -> Result<Option<DriftLook>, StoreError> {
    let Some(first) = looks.first().filter(|look| look.member.role == MemberRole::Primary) else {
        return Ok(None);
    };
    let Some(server) = services.store.server(&first.member.server_id).await? else {
        return Ok(None);
    };
    let is_held = services.store.is_held(&server.id).await?;
    let has_ha = services.store.ha(&server.id).await?.is_some();
    let mut found = vec![];
    for look in looks {
        let has_volume = match has_volume(services, look).await {
            Some(has_volume) => has_volume,
            // Of the standby nothing is known then, and the rest stands without it.
            None if look.member.role == MemberRole::Standby => continue,
            None => return Ok(None),
        };
        let seen = Seen {
            container: look.container.as_ref().map(member::seen),
            has_volume,
            images: images.get(&look.member.host_id).cloned(),
        };
        found.extend(drifts(&member::wanted(&server, &look.member, is_held, has_ha), &seen));
    }
    let repairs = recent_repairs(services, &server.id, &found).await?;
    Ok(Some(DriftLook::after(earlier, found, repairs, services.clock.now())))
}

/// What a container mounts cannot be removed; the volume with an image file can. `None` inside where that need not
/// be asked, outside where it could not be.
async fn has_volume(services: &Services, look: &Look) -> Option<Option<bool>> {
    if look.container.is_some() && look.member.loop_minor().is_none() {
        return Some(None);
    }
    let engine = services.engines.get(&look.member.host_id)?;
    engine.has_volume(&look.member.data_volume()).await.ok().map(Some)
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
