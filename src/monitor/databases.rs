//! A look at the databases of every running server, once a minute and after each operation on it.

use crate::domain::database::DatabaseList;
use crate::domain::ids::ServerId;
use crate::domain::server::{Member, Server, SettledState};
use crate::operations::access;
use crate::operations::context::Services;
use crate::store::StoreError;
use crate::store::observations::Observed;
use crate::store::operations::OperationFilter;
use chrono::Duration;
use futures_util::StreamExt;
use std::sync::Arc;

/// Between two looks at one server: sizes are read from the file system.
const LOOK_EVERY: Duration = Duration::seconds(60);
/// Servers asked at the same time.
const LOOKS_AT_ONCE: usize = 8;

/// Looks where the last look is old.
///
/// # Errors
/// When the store does not answer; a server that does not keeps its last look, whose time tells.
pub async fn tick(services: &Arc<Services>) -> Result<(), StoreError> {
    let members = services.store.primaries_all().await?;
    let silent = super::silent_hosts(services).await?;
    let mut due = vec![];
    for (member, _, settled) in members {
        let is_asked = settled == SettledState::Ready && !silent.contains(&member.host_id);
        if is_asked && is_due(services, &member.server_id).await? {
            due.push(member);
        }
    }
    let seen: Vec<(ServerId, DatabaseList)> = futures_util::stream::iter(due)
        .map(|member| look(services, member))
        .buffer_unordered(LOOKS_AT_ONCE)
        .filter_map(|look| async { look })
        .collect()
        .await;
    services.store.observe_servers(services.clock.now(), DatabaseList::OBSERVATION, &seen).await
}

async fn is_due(services: &Arc<Services>, server: &ServerId) -> Result<bool, StoreError> {
    let kind = DatabaseList::OBSERVATION;
    let last: Option<Observed<DatabaseList>> =
        services.store.server_observation(server, kind).await?;
    let Some(last) = last else { return Ok(true) };
    if services.clock.now() - last.at >= LOOK_EVERY {
        return Ok(true);
    }
    let filter = OperationFilter { server_id: Some(server.clone()), ..Default::default() };
    let newest = services.store.operations(&filter).await?.into_iter().next();
    Ok(newest.and_then(|operation| operation.ended_at).is_some_and(|ended| ended >= last.at))
}

async fn look(services: &Arc<Services>, member: Member) -> Option<(ServerId, DatabaseList)> {
    let server: Server = services.store.server(&member.server_id).await.ok()??;
    let engine = services.engines.get(&member.host_id)?;
    let address = access::address_of(engine, &member).await.ok()??;
    let target = access::target(services, &server, address).await.ok()?;
    match services.postgres.list_databases(&target).await {
        Ok(list) => Some((server.id, list)),
        Err(error) => {
            tracing::debug!(server.id = %server.id, %error, "the databases were not read");
            None
        }
    }
}
