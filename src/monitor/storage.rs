//! Looks at how full each server's storage is, and submits what must happen: protection, its end, growth.
//!
//! A server with room is looked at every half minute, one that fills up with every tick. What could not be measured
//! decides nothing.

use crate::domain::activity::Actor;
use crate::domain::ha::MemberRole;
use crate::domain::ids::{HostId, ServerId};
use crate::domain::operation::{OperationKind, OperationStatus};
use crate::domain::placement::{HostLoad, storage_reason_members};
use crate::domain::server::{Member, Server, SettledState};
use crate::domain::storage::{
    Decision, Growth, OBSERVATION, Protection, Situation, StorageLook, VolumeUsage, decide,
    needs_watching, next_size, wants_growth,
};
use crate::engine::blueprint::Blueprint;
use crate::engine::{Engine, EngineError, Reserve};
use crate::operations::context::Services;
use crate::operations::submit::{Change, Door, SubmitError};
use crate::store::StoreError;
use crate::store::operations::OperationFilter;
use chrono::{Duration, Utc};
use futures_util::StreamExt;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Time between two looks at a server with room.
const LOOK_EVERY: Duration = Duration::seconds(30);
/// The same for one that fills up: a little less than a tick of the monitor.
const WATCH_EVERY: Duration = Duration::seconds(10);
/// Servers looked at at the same time: each look runs a program in a container.
const LOOKS_AT_ONCE: usize = 4;
/// The same for a protection: short, because the disk may be full before the next try.
const PROTECTION_PAUSE: Duration = Duration::minutes(2);
/// How long a growth that failed is not tried again by itself.
const GROWTH_PAUSE: Duration = Duration::minutes(30);

/// Looks where a look is due, keeps what was found, submits what follows.
///
/// # Errors
/// When the store does not answer; a volume that cannot be measured is no error.
pub async fn tick(services: &Arc<Services>) -> Result<(), StoreError> {
    let members = services.store.primaries_all().await?;
    let silent = &super::silent_hosts(services).await?;
    let ready = members.into_iter().filter(|(member, _, settled)| {
        *settled == SettledState::Ready && !silent.contains(&member.host_id)
    });
    let looks: Vec<Result<Option<Look>, StoreError>> = futures_util::stream::iter(ready)
        .map(|(member, _, _)| look(services, member, silent))
        .buffer_unordered(LOOKS_AT_ONCE)
        .collect()
        .await;
    let looks: Vec<Look> =
        looks.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
    if looks.is_empty() {
        return Ok(());
    }
    let loads = services.store.host_loads_all().await?;
    let loads: HashMap<&HostId, &HostLoad> =
        loads.iter().map(|load| (&load.host.id, load)).collect();
    let mut seen: Vec<(ServerId, StorageLook)> = vec![];
    for look in looks {
        let why_not_grown = why_not_grown(services, &look, &loads).await?;
        let facts = loads.get(&look.host).and_then(|load| load.facts.as_ref());
        let host_free = facts.and_then(|facts| facts.storage_free_bytes);
        submit(services, &look, why_not_grown.is_none(), host_free).await?;
        let facts = StorageLook { usage: look.usage, why_not_grown, host_free };
        seen.push((look.server.id, facts));
    }
    services.store.observe_servers(services.clock.now(), OBSERVATION, &seen).await
}

/// One server, measured.
struct Look {
    server: Server,
    host: HostId,
    usage: VolumeUsage,
    is_down: bool,
}

async fn look(
    services: &Arc<Services>,
    member: Member,
    silent: &HashSet<HostId>,
) -> Result<Option<Look>, StoreError> {
    if !is_due(services, &member.server_id).await? {
        return Ok(None);
    }
    let Some(server) = services.store.server(&member.server_id).await? else { return Ok(None) };
    let Some(engine) = services.engines.get(&member.host_id) else { return Ok(None) };
    // What an operation changes under our eyes is looked at when it has ended.
    if server.active.is_some() {
        return Ok(None);
    }
    match measure(services, &engine, &server, &member).await {
        Ok((usage, is_down)) => {
            let usage = fuller(services, &server, usage, silent).await?;
            Ok(Some(Look { server, host: member.host_id, usage, is_down }))
        }
        Err(error) => {
            tracing::debug!(server.id = %server.id, %error, "the storage was not measured");
            Ok(None)
        }
    }
}

/// Of a pair the fuller of both counts: a standby without room holds up every commit, and is what is left after a
/// failover. One that cannot be measured decides nothing.
async fn fuller(
    services: &Services,
    server: &Server,
    primary: VolumeUsage,
    silent: &HashSet<HostId>,
) -> Result<VolumeUsage, StoreError> {
    let members = services.store.members(&server.id).await?;
    let standby = members.iter().find(|member| member.role == MemberRole::Standby);
    let standby = standby.filter(|member| !silent.contains(&member.host_id));
    let Some((standby, engine)) =
        standby.and_then(|standby| Some((standby, services.engines.get(&standby.host_id)?)))
    else {
        return Ok(primary);
    };
    let is_sized = standby.loop_minor().is_some();
    Ok(match engine.volume_usage(&standby.container(), is_sized).await {
        Ok(usage) if is_sized && usage.free < primary.free => usage,
        _ => primary,
    })
}

async fn is_due(services: &Services, server: &ServerId) -> Result<bool, StoreError> {
    let last = services.store.server_observation::<StorageLook>(server, OBSERVATION).await?;
    Ok(last.is_none_or(|last| {
        let pause = if needs_watching(&last.facts.usage) { WATCH_EVERY } else { LOOK_EVERY };
        services.clock.now() - last.at >= pause
    }))
}

/// Inside the running container; a disk whose container does not run is looked at by a helper of its own,
/// because a full disk is a reason not to run.
async fn measure(
    services: &Services,
    engine: &Arc<dyn Engine>,
    server: &Server,
    member: &Member,
) -> Result<(VolumeUsage, bool), EngineError> {
    let is_sized = member.loop_minor().is_some();
    match engine.volume_usage(&member.container(), is_sized).await {
        Ok(usage) if is_sized => Ok((usage, false)),
        Ok(usage) => Ok((usage.measured(server.spec.storage(), usage.free), false)),
        Err(EngineError::Silent(why)) => Err(EngineError::Silent(why)),
        Err(error) => {
            let settings = &services.settings;
            // Labels of a helper name the operation that made it; this one is the server's own.
            let operation = crate::clock::new_id(crate::domain::ids::OperationId::parse);
            let blueprint = Blueprint {
                install_id: &settings.install_id,
                server,
                member,
                operation: &operation,
                is_test: settings.is_test,
            };
            let disk = blueprint.disk(&member.image).ok_or(error)?;
            Ok((engine.tend_disk(&disk, Reserve::Leave).await?, true))
        }
    }
}

/// Why a server that should grow by itself cannot. `None` when it can, and when it need not.
async fn why_not_grown(
    services: &Services,
    look: &Look,
    loads: &HashMap<&HostId, &HostLoad>,
) -> Result<Option<String>, StoreError> {
    let server = &look.server;
    if !server.configuration.autogrow || !wants_growth(&look.usage) {
        return Ok(None);
    }
    let Some(next) = next_size(server.spec.storage_gib) else {
        return Ok(Some("It has the largest size there is.".into()));
    };
    let members = services.store.members(&server.id).await?;
    let on = |host: &HostId| members.iter().filter(|member| member.host_id == *host).count();
    // Both of a pair grow, or none.
    let host = members.iter().find_map(|member| {
        let load = loads.get(&member.host_id)?;
        let (host, gib) = (&member.host_id, server.spec.storage_gib);
        storage_reason_members(load, on(host), gib, next, &services.settings.overcommit)
    });
    if let Some(why) = host {
        return Ok(Some(format!("The host cannot hold {}: {why}", next.label())));
    }
    let filter = OperationFilter {
        server_id: Some(server.id.clone()),
        kind: Some(OperationKind::GrowStorage),
        ..Default::default()
    };
    let last = services.store.operations(&filter).await?.into_iter().next();
    let failed = last.filter(|last| {
        last.status == OperationStatus::Failed && is_recent(services, last.ended_at)
    });
    Ok(failed.map(|last| {
        let why = last.error.unwrap_or_default();
        format!("The last growth failed: {why} It is tried again by itself after half an hour.")
    }))
}

fn is_recent(services: &Services, ended: Option<chrono::DateTime<Utc>>) -> bool {
    ended.is_some_and(|at| services.clock.now() - at < GROWTH_PAUSE)
}

/// Each try of a protection is a line in the activity log, and a look comes every few seconds.
async fn failed_lately(services: &Services, server: &ServerId) -> Result<bool, StoreError> {
    let filter = OperationFilter {
        server_id: Some(server.clone()),
        kind: Some(OperationKind::ProtectStorage),
        ..Default::default()
    };
    let last = services.store.operations(&filter).await?.into_iter().next();
    let now = services.clock.now();
    Ok(last.is_some_and(|last| {
        last.status == OperationStatus::Failed
            && last.ended_at.is_some_and(|ended| now - ended < PROTECTION_PAUSE)
    }))
}

async fn submit(
    services: &Services,
    look: &Look,
    may_grow: bool,
    host_free: Option<u64>,
) -> Result<(), StoreError> {
    let server = &look.server;
    let situation = Situation {
        usage: look.usage,
        size_gib: server.spec.storage_gib,
        is_protected: server.configuration.write_protected,
        autogrow: server.configuration.autogrow,
        may_grow,
        is_down: look.is_down,
        host_free,
    };
    let protect = |on, about| Change::new(OperationKind::ProtectStorage, about, &Protection { on });
    let change = match decide(&situation) {
        Decision::Nothing => return Ok(()),
        Decision::Protect => protect(true, "on, because the storage is nearly full"),
        Decision::Unprotect => protect(false, "off, because there is room again"),
        Decision::Grow(to_gib) => Change::new(
            OperationKind::GrowStorage,
            &format!("to {to_gib} GiB, by itself"),
            &Growth { to_gib },
        ),
    };
    if change.kind == OperationKind::ProtectStorage && failed_lately(services, &server.id).await? {
        return Ok(());
    }
    let door = Door { store: &services.store, clock: &*services.clock, poke: &services.poke };
    match door.submit_change(change, &server.id, &Actor::system(), None).await {
        Ok(_) => Ok(()),
        // Something else is under way; the next look asks again.
        Err(SubmitError::Refused(why)) => {
            tracing::info!(server.id = %server.id, %why, "the storage is tended later");
            Ok(())
        }
        Err(SubmitError::Store(error)) => Err(error),
    }
}
