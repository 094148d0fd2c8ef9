//! Repositories that are not reached any more: the log of a server stops waiting for one before it fills the disk.

use crate::domain::backup::Repository;
use crate::domain::backup::suspend::{Sight, reason_to_suspend, refused_by};
use crate::domain::ha::MemberRole;
use crate::domain::ids::HostId;
use crate::domain::server::{Member, SettledState};
use crate::domain::storage::{OBSERVATION, StorageLook};
use crate::operations::context::Services;
use crate::operations::submit::{Door, SubmitError};
use crate::store::StoreError;
use chrono::{DateTime, Utc};
use std::collections::HashMap;
use std::sync::Arc;

/// Since when a host does not answer.
type Silent = HashMap<HostId, DateTime<Utc>>;

/// Submits what follows from what was seen of hosts, disks and archives.
///
/// # Errors
/// When the store does not answer.
pub async fn tick(services: &Arc<Services>) -> Result<(), StoreError> {
    let silent = silent(services).await?;
    for (member, _, settled) in services.store.primaries_all().await? {
        let is_open = settled == SettledState::Ready && member.role == MemberRole::Primary;
        // A primary that is not reached now has its files changed when it is.
        if is_open && !silent.contains_key(&member.host_id) {
            look_at(services, &member, &silent).await?;
        }
    }
    Ok(())
}

async fn silent(services: &Services) -> Result<Silent, StoreError> {
    let seen = services.store.host_observations().await?;
    let silent = seen.into_iter().filter(|host| host.error.is_some());
    Ok(silent
        .map(|host| {
            let answered = host.facts.map(|(at, _)| at);
            (host.host_id, answered.unwrap_or(host.observed_at))
        })
        .collect())
}

async fn look_at(
    services: &Arc<Services>,
    member: &Member,
    silent: &Silent,
) -> Result<(), StoreError> {
    let (store, server) = (&services.store, &member.server_id);
    let protection = store.protection(server).await?;
    let failing_since = protection.archive.failing_since;
    // Object storage is on no host: that it does not answer is seen by what it refuses.
    let silent_since = |one: &Repository| {
        silent.get(&one.host_id).copied().filter(|_| !one.is_in_object_storage())
    };
    let is_any_away = protection.repositories.iter().any(|one| silent_since(one).is_some());
    if failing_since.is_none() && !is_any_away {
        return Ok(());
    }
    let storage = store.server_observation::<StorageLook>(server, OBSERVATION).await?;
    let disk = storage.map(|seen| (seen.facts.usage.wal, seen.facts.usage.free));
    for one in &protection.repositories {
        let silent_since = silent_since(one);
        let failing_since = refused_by(&protection.repositories, one, failing_since);
        let sight = Sight { silent_since, failing_since, disk };
        let Some(why) = reason_to_suspend(services.clock.now(), one, &sight) else { continue };
        // What is not known to have arrived is taken as missing.
        let until = protection.archive.until.unwrap_or(one.since);
        let door = Door { store, clock: &*services.clock, poke: &services.poke };
        match door.suspend_repository(server, one.number, (until, &why)).await {
            Ok(_) => {}
            // Something else is under way; the next tick asks again.
            Err(SubmitError::Refused(why)) => {
                tracing::info!(server.id = %server, %why, "a repository is suspended later");
            }
            Err(SubmitError::Store(error)) => return Err(error),
        }
    }
    Ok(())
}
