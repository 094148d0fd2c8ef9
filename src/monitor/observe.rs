//! One look at every host and every member. What is seen is stored with its time; what did not answer
//! is stored as "no answer", never as "down".
//!
//! One thing is put right without an operation: a container that its engine started again may have
//! another address, and the gateway must follow. That is a row of ours, no change of the host.

use super::{drift, starts};
use crate::domain::ha::MemberRole;
use crate::domain::host::Orphan;
use crate::domain::ids::{MemberId, ServerId};
use crate::domain::operation::{Lane, OperationKind};
use crate::domain::route::{Route, RouteState, Service};
use crate::domain::server::{Member, MemberFacts, SettledState};
use crate::engine::{ContainerFacts, Engine, EngineError, OwnedObject, label};
use crate::operations::access;
use crate::operations::context::Services;
use crate::store::{Record, StoreError};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

/// Members looked at at the same time.
const LOOKS_AT_ONCE: usize = 16;

/// Looks at everything once.
///
/// # Errors
/// When the store does not answer; engines that do not are an observation, no error.
pub async fn tick(services: &Arc<Services>) -> Result<(), StoreError> {
    let mut known = services.store.server_ids().await?;
    let networks = services.store.networks().await?;
    known.extend(networks.into_iter().map(|network| network.id.to_string()));
    let hosts = services.store.hosts().await?;
    known.extend(hosts.iter().map(|host| host.id.to_string()));
    let mut silent = HashSet::new();
    let engines = services.engines.now();
    let driven = hosts.iter().filter_map(|host| Some((host, &engines.get(&host.id)?.engine)));
    // At once, and each is written when it answers: an engine that hangs hides nothing of the others.
    let looks = driven.map(|(host, engine)| {
        let known = &known;
        async move { (host, look_at_host(engine, known).await) }
    });
    let mut looks = looks.collect::<FuturesUnordered<_>>();
    while let Some((host, look)) = looks.next().await {
        match look {
            Ok((facts, orphans)) => {
                services
                    .store
                    .observe_host(&host.id, services.clock.now(), &facts, &orphans)
                    .await?;
            }
            Err(error) => {
                silent.insert(host.id.clone());
                services
                    .store
                    .observe_host_silent(&host.id, services.clock.now(), &error.to_string())
                    .await?;
            }
        }
    }
    // Before the look: what was seen counts only for servers that nobody touched since.
    let quiet = services.store.quiet_servers().await?;
    let members: Vec<_> = services
        .store
        .members_all()
        .await?
        .into_iter()
        .filter(|(member, _, _)| !silent.contains(&member.host_id))
        .collect();
    let looks: Vec<Look> = futures_util::stream::iter(members)
        .map(|(member, _, settled)| look_at_member(services, member, settled))
        .buffer_unordered(LOOKS_AT_ONCE)
        .filter_map(|look| async { look })
        .collect()
        .await;
    keep(services, &quiet, &looks).await
}

/// Looks at the members of one server once, now.
///
/// # Errors
/// As [`tick`].
pub async fn look_at(services: &Arc<Services>, id: &ServerId) -> Result<Vec<Look>, StoreError> {
    let quiet = services.store.quiet_servers().await?;
    let Some(server) = services.store.server(id).await? else { return Ok(vec![]) };
    let mut looks = vec![];
    for member in services.store.members(id).await? {
        looks.extend(look_at_member(services, member, server.settled).await);
    }
    if !looks.is_empty() {
        keep(services, &quiet, &looks).await?;
    }
    Ok(looks)
}

/// Keeps what was seen, and does what follows from it.
async fn keep(
    services: &Arc<Services>,
    quiet: &HashMap<String, i64>,
    looks: &[Look],
) -> Result<(), StoreError> {
    let seen: Vec<(Member, MemberFacts)> =
        looks.iter().map(|look| (look.member.clone(), look.facts.clone())).collect();
    let rows: Vec<(MemberId, MemberFacts)> =
        seen.iter().map(|(member, facts)| (member.id.clone(), facts.clone())).collect();
    services.store.observe_members(services.clock.now(), &rows).await?;
    follow_addresses(services, quiet, &seen).await?;
    starts::answered(services, quiet, looks).await?;
    drift::follow(services, quiet, looks).await
}

async fn look_at_host(
    engine: &Arc<dyn Engine>,
    known: &HashSet<String>,
) -> Result<(crate::domain::host::EngineFacts, Vec<Orphan>), EngineError> {
    let facts = engine.facts().await?;
    let orphans = engine
        .owned()
        .await?
        .into_iter()
        .filter(|object| !is_explained(object, known))
        .map(orphan)
        .collect();
    Ok((facts, orphans))
}

/// An object is explained when the server, the virtual network or the host of a repository in its label is on record.
/// Objects without such a label are the short-lived helpers that image building uses.
fn is_explained(object: &OwnedObject, known: &HashSet<String>) -> bool {
    let owner = [label::REPOSITORY, label::SERVER, label::NETWORK]
        .into_iter()
        .find_map(|name| object.labels.get(name));
    owner.is_none_or(|owner| known.contains(owner))
}

fn orphan(object: OwnedObject) -> Orphan {
    let name = object.labels.get(label::SERVER_NAME).or(object.labels.get(label::NETWORK_NAME));
    let server = name.cloned().unwrap_or_default();
    Orphan { kind: object.kind.into(), name: object.name, server }
}

/// What was seen of one member.
pub struct Look {
    pub member: Member,
    pub facts: MemberFacts,
    /// `None` when there is none.
    pub container: Option<ContainerFacts>,
}

async fn look_at_member(
    services: &Arc<Services>,
    member: Member,
    settled: SettledState,
) -> Option<Look> {
    let engine = services.engines.get(&member.host_id)?;
    let container = engine.container(&member.container()).await.ok()?;
    let mut facts = container.as_ref().map_or_else(missing, container_facts);
    if facts.container_state == "running" && settled == SettledState::Ready {
        let (accepts, why) = ask(services, &member, &facts).await;
        facts.accepts_queries = Some(accepts);
        facts.probe_error = why;
    }
    Some(Look { member, facts, container })
}

/// Whether PostgreSQL answers where the container was seen, and why not.
pub async fn ask(
    services: &Arc<Services>,
    member: &Member,
    facts: &MemberFacts,
) -> (bool, Option<String>) {
    let Some(address) = facts.reached_at() else {
        return (false, Some("the container has no address".into()));
    };
    let Ok(Some(server)) = services.store.server(&member.server_id).await else {
        return (false, Some("the server is not on record".into()));
    };
    let target = match access::target(services, &server, address).await {
        Ok(target) => target,
        Err(error) => return (false, Some(error.to_string())),
    };
    match services.postgres.probe(&target).await {
        Ok(_) => (true, None),
        Err(error) => (false, Some(error.to_string())),
    }
}

fn missing() -> MemberFacts {
    MemberFacts {
        container_state: "missing".into(),
        container_id: String::new(),
        started_at: None,
        restarts: 0,
        exit_code: None,
        address: None,
        memory_limit_bytes: 0,
        cpu_limit: 0.0,
        accepts_queries: None,
        probe_error: None,
    }
}

fn container_facts(container: &ContainerFacts) -> MemberFacts {
    MemberFacts {
        container_state: container.state.clone(),
        container_id: container.id.clone(),
        started_at: container.started_at,
        restarts: container.restarts,
        exit_code: container.exit_code,
        address: container.published.map(|at| at.to_string()).or(container.address.clone()),
        memory_limit_bytes: container.memory_limit_bytes,
        cpu_limit: container.cpu_limit,
        accepts_queries: None,
        probe_error: None,
    }
}

/// Routes whose member is seen elsewhere and on which nothing was under way since before the look: a
/// restart that ended in between has written a newer address than the one that was seen.
async fn follow_addresses(
    services: &Arc<Services>,
    quiet: &HashMap<String, i64>,
    seen: &[(Member, MemberFacts)],
) -> Result<(), StoreError> {
    let snapshot = services.store.route_snapshot(&services.settings.endpoint_domain).await?;
    let routes: HashMap<&str, &Route> = snapshot
        .routes
        .iter()
        .filter(|route| route.service == Service::Postgres)
        .map(|route| (route.server_id.as_str(), route))
        .collect();
    // The way in leads to the primary alone.
    let primaries = seen.iter().filter(|(member, _)| member.role == MemberRole::Primary);
    for (member, facts) in primaries {
        let Some(route) = routes.get(member.server_id.as_str()) else { continue };
        let Some(address) = moved_to(route, facts) else { continue };
        let mut tx = services.store.begin_write(services.clock.now()).await?;
        // The lock itself counts one up.
        let untouched = quiet.get(member.server_id.as_str()).map(|version| version + 1);
        let server = tx.lock_server(&member.server_id).await?;
        // Of a pair only the primary of now is led to, and not while it is being rescued.
        let pair = tx.ha(&member.server_id).await?;
        let is_primary = pair.is_none_or(|row| row.primary.as_ref() == Some(&member.id));
        let kinds = tx.active_kinds(&member.server_id).await?;
        let is_rescued = kinds.iter().any(|kind| kind.lane() == Lane::Rescue);
        if is_primary
            && !is_rescued
            && server.is_some_and(|server| {
                Some(server.version) == untouched
                    && server.settled == SettledState::Ready
                    && server.active.is_none_or(keeps_address)
            })
        {
            tx.set_route(&member.server_id, Some(address), route.state).await?;
            tx.commit(Record::Nothing("the engine gave the container another address")).await?;
            tracing::info!(server.id = %member.server_id, %address, "the route follows the container");
            services.poke.routes();
        }
    }
    Ok(())
}

fn keeps_address(kind: OperationKind) -> bool {
    match kind {
        OperationKind::RenewCertificate
        | OperationKind::GrowStorage
        | OperationKind::ProtectStorage
        | OperationKind::ChangeExtension
        | OperationKind::CreateDatabase
        | OperationKind::DropDatabase
        | OperationKind::ResetPassword
        | OperationKind::ChangeDurability
        | OperationKind::Backup
        | OperationKind::DeleteBackup
        | OperationKind::SuspendRepository
        | OperationKind::RemoveRepository
        | OperationKind::RestoreDrill => true,
        OperationKind::Create
        | OperationKind::Restore
        | OperationKind::Delete
        | OperationKind::Restart
        | OperationKind::Stop
        | OperationKind::Start
        | OperationKind::Scale
        | OperationKind::ChangeParameters
        | OperationKind::AllowExtensions
        | OperationKind::ChangeNetworking
        | OperationKind::ChangePooler
        | OperationKind::Repair
        | OperationKind::BuildStandby
        | OperationKind::RemoveStandby
        | OperationKind::Switchover
        | OperationKind::Failover
        | OperationKind::Disarm
        | OperationKind::RecoverPrimary => false,
    }
}

fn moved_to(route: &Route, facts: &MemberFacts) -> Option<SocketAddr> {
    let address = facts.reached_at()?;
    (route.target != Some(address) && route.state != RouteState::Held).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_objects_of_unknown_servers_are_orphans() {
        let known = HashSet::from(["s1".to_owned()]);
        let object = |server: Option<&str>| OwnedObject {
            kind: "volume",
            name: "v".into(),
            labels: server
                .map(|id| (label::SERVER.to_owned(), id.to_owned()))
                .into_iter()
                .collect(),
        };
        assert!(is_explained(&object(Some("s1")), &known));
        assert!(is_explained(&object(None), &known));
        assert!(!is_explained(&object(Some("s2")), &known));
    }
}
