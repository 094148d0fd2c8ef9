//! Looks at settings and extensions of running servers, for their pages. A look costs connections, so it is
//! repeated only when something may have changed: the configuration, a start of PostgreSQL, or some minutes.

use crate::domain::extensions::{self, ExtensionLook};
use crate::domain::ids::ServerId;
use crate::domain::operation::OperationKind;
use crate::domain::parameters::{self, Catalogue};
use crate::domain::server::{Member, Server, SettledState};
use crate::operations::access;
use crate::operations::context::Services;
use crate::operations::look;
use crate::store::StoreError;
use crate::store::operations::OperationFilter;
use chrono::{DateTime, Duration, Utc};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::Arc;

/// A look older than this is repeated: people also change things by SQL.
const EVERY_MINUTES: i64 = 5;
/// Servers looked at at the same time.
const LOOKS_AT_ONCE: usize = 4;

/// Kind of the observation that says what a look was made of.
const MARK: &str = "settings_mark";

/// Small, so that asking whether a look is old costs little.
#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    fingerprint: String,
}

struct Seen {
    id: ServerId,
    mark: Mark,
    catalogue: Catalogue,
    extensions: Option<ExtensionLook>,
}

/// Looks at every server whose last look is old.
///
/// # Errors
/// When the store does not answer; a PostgreSQL that does not is asked again by the next tick.
pub async fn tick(services: &Arc<Services>) -> Result<(), StoreError> {
    let members = services.store.primaries_all().await?;
    let mut due = vec![];
    for (member, _, settled) in members {
        if settled == SettledState::Ready
            && let Some(found) = due_server(services, &member).await?
        {
            due.push(found);
        }
    }
    let seen: Vec<Seen> = futures_util::stream::iter(due)
        .map(|(server, address)| look_at(services, server, address))
        .buffer_unordered(LOOKS_AT_ONCE)
        .filter_map(|seen| async { seen })
        .collect()
        .await;
    let now = services.clock.now();
    let (mut marks, mut catalogues, mut extension_looks) = (vec![], vec![], vec![]);
    let mut pending: Vec<(ServerId, Vec<String>)> = vec![];
    for one in seen {
        let names = one.catalogue.pending().map(|parameter| parameter.name.clone());
        pending.push((one.id.clone(), names.collect()));
        marks.push((one.id.clone(), one.mark));
        catalogues.push((one.id.clone(), one.catalogue));
        extension_looks.extend(one.extensions.map(|facts| (one.id, facts)));
    }
    services.store.observe_servers(now, parameters::OBSERVATION, &catalogues).await?;
    services.store.observe_servers(now, parameters::PENDING, &pending).await?;
    services.store.observe_servers(now, extensions::OBSERVATION, &extension_looks).await?;
    services.store.observe_servers(now, MARK, &marks).await
}

/// The server and where it listens, when it answers, its last look is old, and nothing is at work on it.
async fn due_server(
    services: &Services,
    member: &Member,
) -> Result<Option<(Server, SocketAddr)>, StoreError> {
    let id = &member.server_id;
    let looks = services.store.member_observations(id).await?;
    let Some(running) = looks.into_iter().find(|look| look.member_id == member.id) else {
        return Ok(None);
    };
    let address = running.facts.reached_at();
    let Some(address) = address.filter(|_| running.facts.accepts_queries == Some(true)) else {
        return Ok(None);
    };
    let Some(server) = services.store.server(id).await? else { return Ok(None) };
    let is_due =
        server.active.is_none() && is_old(services, &server, running.facts.started_at).await?;
    Ok(is_due.then_some((server, address)))
}

async fn is_old(
    services: &Services,
    server: &Server,
    started_at: Option<DateTime<Utc>>,
) -> Result<bool, StoreError> {
    let Some(last) = services.store.server_observation::<Mark>(&server.id, MARK).await? else {
        return Ok(true);
    };
    Ok(last.facts.fingerprint != look::fingerprint(server)
        || last.at < services.clock.now() - Duration::minutes(EVERY_MINUTES)
        || started_at.max(last_extension_change(services, &server.id).await?) >= Some(last.at))
}

/// When an extension was last changed from the portal.
async fn last_extension_change(
    services: &Services,
    id: &ServerId,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    let filter = OperationFilter {
        server_id: Some(id.clone()),
        kind: Some(OperationKind::ChangeExtension),
        ..Default::default()
    };
    let last = services.store.operations(&filter).await?.into_iter().next();
    Ok(last.and_then(|operation| operation.ended_at))
}

async fn look_at(services: &Arc<Services>, server: Server, address: SocketAddr) -> Option<Seen> {
    let target = access::target(services, &server, address).await.ok()?;
    let settings = services.postgres.settings(&target).await.ok()?;
    Some(Seen {
        id: server.id.clone(),
        mark: Mark { fingerprint: look::fingerprint(&server) },
        catalogue: look::catalogue(&server, settings.parameters),
        extensions: look::extensions(services, &target).await.ok(),
    })
}
