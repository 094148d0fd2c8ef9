//! A look at the PgBouncer of every server that has one. An engine that started its container again may have
//! given it another address: the gateway follows, as it does for members.

use crate::domain::configuration::PoolerFacts;
use crate::domain::ids::ServerId;
use crate::domain::server::{Member, Server, SettledState};
use crate::operations::access;
use crate::operations::context::Services;
use crate::postgres::{Target, pgbouncer};
use crate::store::{Record, StoreError};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Looks at all of them.
///
/// # Errors
/// When the store does not answer.
pub async fn tick(services: &Arc<Services>) -> Result<(), StoreError> {
    let mut seen: Vec<(ServerId, PoolerFacts)> = vec![];
    let silent = super::silent_hosts(services).await?;
    for (member, _, settled) in services.store.primaries_all().await? {
        if settled != SettledState::Ready || silent.contains(&member.host_id) {
            continue;
        }
        let Some(server) = services.store.server(&member.server_id).await? else { continue };
        // Meanwhile the operation knows better.
        if !server.configuration.pooler.enabled || server.active.is_some() {
            continue;
        }
        let Some((facts, address)) = look(services, &member, &server).await else { continue };
        if let Some(address) = address {
            follow_address(services, &server, address).await?;
        }
        seen.push((server.id, facts));
    }
    services.store.observe_servers(services.clock.now(), PoolerFacts::OBSERVATION, &seen).await
}

async fn look(
    services: &Arc<Services>,
    member: &Member,
    server: &Server,
) -> Option<(PoolerFacts, Option<SocketAddr>)> {
    let engine = services.engines.get(&member.host_id)?;
    let container = engine.container(&member.pooler()).await.ok()?;
    let mut facts = PoolerFacts {
        container_state: container.as_ref().map_or("missing", |it| it.state.as_str()).to_owned(),
        restarts: container.as_ref().map_or(0, |it| it.restarts),
        answers: None,
        error: None,
    };
    let address = container
        .and_then(|it| it.address)
        .and_then(|text| text.parse::<IpAddr>().ok())
        .map(|ip| SocketAddr::new(ip, pgbouncer::PORT));
    if let Some(address) = address {
        let target: Target = access::target(services, server, address).await.ok()?;
        let answer = services.postgres.probe_pooler(&target).await;
        facts.answers = Some(answer.is_ok());
        facts.error = answer.err().map(|error| error.to_string());
    }
    Some((facts, address))
}

async fn follow_address(
    services: &Arc<Services>,
    server: &Server,
    address: SocketAddr,
) -> Result<(), StoreError> {
    if services.store.pooler_target(&server.id).await? == Some(address) {
        return Ok(());
    }
    let mut tx = services.store.begin_write(services.clock.now()).await?;
    let locked: Option<Server> = tx.lock_server(&server.id).await?;
    // The lock itself counts one up: nothing happened since the look.
    if locked.is_some_and(|now| now.version == server.version + 1 && now.active.is_none()) {
        let most = server.configuration.pooler.max_client_conn;
        tx.set_pooler_route(&server.id, address, most).await?;
        tx.commit(Record::Nothing("the engine gave the container another address")).await?;
        services.poke.routes();
    }
    Ok(())
}
