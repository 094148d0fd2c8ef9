//! Repositories that are not reached any more, or not asked for: the log of a server stops waiting for one before it fills the disk,
//! and what nobody asks for ends when nothing in it is within the retention.

use crate::domain::backup::suspend::{Sight, reason_to_end, reason_to_suspend, refused_by};
use crate::domain::backup::{Protection, Repository};
use crate::domain::ha::MemberRole;
use crate::domain::ids::{HostId, ServerId};
use crate::domain::operation::OperationKind;
use crate::domain::server::{Member, SettledState};
use crate::domain::storage::{OBSERVATION, StorageLook};
use crate::operations::context::Services;
use crate::operations::submit::{Door, SubmitError};
use crate::store::StoreError;
use crate::store::operations::OperationFilter;
use chrono::{DateTime, Duration, Utc};
use std::collections::HashMap;
use std::sync::Arc;

/// A removal that failed is tried again after so long.
const TRY_AGAIN: Duration = Duration::hours(6);

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
    for one in protection.repositories.iter().filter(|one| !protection.asks_for(one.number)) {
        if let Some(why) = reason_to_end(&protection, one) {
            return suspend(services, &protection, one, why).await;
        }
        let is_over = protection.kept_until(one).is_some_and(|at| at <= services.clock.now());
        if is_over && silent_since(one).is_none() && !was_tried(services, server).await? {
            let door = Door { store, clock: &*services.clock, poke: &services.poke };
            later(server, door.remove_repository(server, one.number).await)?;
        }
    }
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
        suspend(services, &protection, one, &why).await?;
    }
    Ok(())
}

async fn suspend(
    services: &Arc<Services>,
    protection: &Protection,
    one: &Repository,
    why: &str,
) -> Result<(), StoreError> {
    // What is not known to have arrived is taken as missing.
    let until = protection.archive.until.unwrap_or(one.since);
    let door = Door { store: &services.store, clock: &*services.clock, poke: &services.poke };
    let asked = door.suspend_repository(&one.server_id, one.number, (until, why)).await;
    later(&one.server_id, asked)
}

/// A refusal means that something else is under way; the next tick asks again.
fn later<T>(server: &ServerId, asked: Result<T, SubmitError>) -> Result<(), StoreError> {
    match asked {
        Ok(_) => Ok(()),
        Err(SubmitError::Refused(why)) => {
            tracing::info!(server.id = %server, %why, "a repository is seen to later");
            Ok(())
        }
        Err(SubmitError::Store(error)) => Err(error),
    }
}

/// Whether a removal was begun a short time ago: what failed is not repeated with each tick.
async fn was_tried(services: &Services, server: &ServerId) -> Result<bool, StoreError> {
    let filter = OperationFilter { server_id: Some(server.clone()), ..Default::default() };
    let since = services.clock.now() - TRY_AGAIN;
    let all = services.store.operations(&filter).await?;
    let is_one = |kind| kind == OperationKind::RemoveRepository;
    Ok(all.iter().any(|one| is_one(one.kind) && one.created_at > since))
}
