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
use chrono::{DateTime, Duration, Utc};
use futures_util::StreamExt;
use std::sync::Arc;

/// A look older than this is repeated: people also change things by SQL.
const EVERY_MINUTES: i64 = 5;
/// Servers looked at at the same time.
const LOOKS_AT_ONCE: usize = 4;

struct Seen {
    id: ServerId,
    catalogue: Option<Catalogue>,
    extensions: Option<ExtensionLook>,
}

/// Looks at every server whose last look is old.
///
/// # Errors
/// When the store does not answer; a PostgreSQL that does not is asked again by the next tick.
pub async fn tick(services: &Arc<Services>) -> Result<(), StoreError> {
    let members = services.store.members_all().await?;
    let mut due = vec![];
    for (member, _, settled) in members {
        if settled != SettledState::Ready {
            continue;
        }
        if let Some(server) = due_server(services, &member).await? {
            due.push((server, member));
        }
    }
    let seen: Vec<Seen> = futures_util::stream::iter(due)
        .map(|(server, member)| look_at(services, server, member))
        .buffer_unordered(LOOKS_AT_ONCE)
        .filter_map(|seen| async { seen })
        .collect()
        .await;
    let now = services.clock.now();
    let (mut catalogues, mut extension_looks) = (vec![], vec![]);
    for one in seen {
        catalogues.extend(one.catalogue.map(|facts| (one.id.clone(), facts)));
        extension_looks.extend(one.extensions.map(|facts| (one.id, facts)));
    }
    services.store.observe_servers(now, parameters::OBSERVATION, &catalogues).await?;
    services.store.observe_servers(now, extensions::OBSERVATION, &extension_looks).await
}

/// The server, when its last look is old and nothing is at work on it.
async fn due_server(services: &Services, member: &Member) -> Result<Option<Server>, StoreError> {
    let id = &member.server_id;
    let Some(server) = services.store.server(id).await? else { return Ok(None) };
    if server.active.is_some() || server.settled != SettledState::Ready {
        return Ok(None);
    }
    let last = services.store.server_observation::<Catalogue>(id, parameters::OBSERVATION).await?;
    let Some(last) = last else { return Ok(Some(server)) };
    let since = last_change(services, id).await?;
    let is_old = last.facts.fingerprint != look::fingerprint(&server)
        || last.at < services.clock.now() - Duration::minutes(EVERY_MINUTES)
        || since.is_some_and(|at| last.at <= at);
    Ok(is_old.then_some(server))
}

/// When PostgreSQL was last started, or an extension was last changed from the portal.
async fn last_change(
    services: &Services,
    id: &ServerId,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    let looks = services.store.member_observations(id).await?;
    let started = looks.iter().filter_map(|look| look.facts.started_at).max();
    let filter = crate::store::operations::OperationFilter {
        server_id: Some(id.clone()),
        kind: Some(OperationKind::ChangeExtension),
        ..Default::default()
    };
    let last = services.store.operations(&filter).await?.into_iter().next();
    Ok(started.max(last.and_then(|operation| operation.ended_at)))
}

async fn look_at(services: &Arc<Services>, server: Server, member: Member) -> Option<Seen> {
    let engine = services.engines.get(&member.host_id)?;
    let address = access::address_of(engine, &member).await.ok()??;
    let target = access::target(services, &server, address).await.ok()?;
    let settings = services.postgres.settings(&target).await.ok()?;
    let extensions = look::extensions(services, &server, &target).await.ok();
    Some(Seen {
        id: server.id.clone(),
        catalogue: Some(look::catalogue(&server, settings.parameters)),
        extensions,
    })
}
