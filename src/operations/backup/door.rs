//! A door: the way to a member's data for a backup into the repository of another host. It is there while the backup
//! copies, lets in the one client whose backup it is, and is removed with it.

use super::repository;
use crate::domain::backup::Repository;
use crate::domain::ids::OperationId;
use crate::domain::server::{Member, internal_name, network_name};
use crate::engine::blueprint_repository::Tool;
use crate::engine::{ContainerSpec, Engine, EngineError, FileSpec, label};
use crate::operations::context::{Services, StepContext};
use crate::operations::step::{Outcome, StepError};
use crate::operations::{backup::keys, member};
use crate::postgres::pgbackrest::{
    Client, REPOSITORY_PORT, Reach, door_command, door_files, door_name, door_port,
};
use crate::secrets::Secret;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Time between two looks at a door that is another server's.
const BUSY_SOON: Duration = Duration::from_secs(5);

/// How a helper on the repository's host comes to a member's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Door {
    pub reach: Reach,
    /// The network in which the helper reaches it.
    pub network: String,
}

/// Has the door of a member open for a repository on another host; `Err` while it must wait for another server's.
///
/// # Errors
/// Permanent, when nobody on the repository's host reaches the member's.
pub async fn open(
    ctx: &StepContext,
    member: &Member,
    repository: &Repository,
) -> Result<Result<Door, Outcome>, StepError> {
    let services = &ctx.services;
    let (door, publish) = way(services, member, repository).await?;
    let engine = repository::engine(services, &member.host_id)?;
    if publish.is_some()
        && let Some(line) = held_by_other(services, &engine, member).await?
    {
        return Ok(Err(Outcome::Wait(BUSY_SOON, line)));
    }
    let address = engine.container(&member.container()).await?.and_then(|facts| facts.address);
    let spec = describe(ctx, member, (publish, address.as_deref()));
    remove_if_other(&engine, &spec).await?;
    engine.ensure_container(&spec).await?;
    if engine.container(&spec.name).await?.is_none_or(|facts| facts.state != "running") {
        engine.put_files(&spec.name, &files(ctx, member, repository).await?).await?;
        start(&engine, &spec.name).await?;
    }
    Ok(Ok(door))
}

/// How a helper on the repository's host comes through the door of a member, and where that is published for it. No
/// engine is asked.
///
/// # Errors
/// Permanent, when nobody on the repository's host reaches the member's.
pub async fn way(
    services: &Services,
    member: &Member,
    repository: &Repository,
) -> Result<(Door, Option<SocketAddr>), StepError> {
    if repository::shares_network(services, &repository.host_id, member).await? {
        let reach = Reach::Tls { host: door_name(member.id.short()), port: REPOSITORY_PORT };
        return Ok((Door { reach, network: network_name(&member.server_id) }, None));
    }
    let at = published(services, member)?;
    let network = repository::blueprint(services, &repository.host_id).volume_name();
    let reach = Reach::Tls { host: at.ip().to_string(), port: at.port() };
    Ok((Door { reach, network }, Some(at)))
}

/// Closes and removes the door of a member; one that is not there is closed.
///
/// # Errors
/// When the engine does not do it.
pub async fn close(services: &Services, member: &Member) -> Result<(), StepError> {
    let engine = repository::engine(services, &member.host_id)?;
    Ok(engine.remove_container(&member.door_container()).await?)
}

fn published(services: &Services, member: &Member) -> Result<SocketAddr, StepError> {
    let address =
        services.engines.member_address(&member.host_id).filter(|_| member.port.is_some());
    let place = address.zip(door_port(services.settings.member_ports));
    place.map(|(address, port)| SocketAddr::new(address, port)).ok_or_else(|| {
        StepError::permanent(
            "The repository is on another host, which does not reach this server's data. No backup was taken.",
            "Both hosts need a member address, set before the server was placed there. Until then keep backups where the server's host reaches them, or create the server anew on a host that has one.",
        )
    })
}

fn describe(
    ctx: &StepContext,
    member: &Member,
    (publish, address): (Option<SocketAddr>, Option<&str>),
) -> ContainerSpec {
    let tool = Tool {
        name: member.door_container(),
        image: member.image.clone(),
        command: door_command((&internal_name(&member.server_id), address)),
        volume: member.volume(),
        network: None,
        run: format!("{}/door", ctx.operation.id),
        member: Some(member.id.to_string()),
        repository: None,
    };
    let spec = repository::blueprint(&ctx.services, &member.host_id).tool(tool);
    let network = Some((network_name(&member.server_id), vec![door_name(member.id.short())]));
    ContainerSpec { network, publish, ..spec }
}

/// One of an earlier backup, or that ended by itself.
async fn remove_if_other(engine: &Arc<dyn Engine>, spec: &ContainerSpec) -> Result<(), StepError> {
    let Some(facts) = engine.container(&spec.name).await? else { return Ok(()) };
    let is_own = facts.labels.get(label::RUN) == spec.labels.get(label::RUN);
    if !is_own || facts.state == "exited" {
        engine.remove_container(&spec.name).await?;
    }
    Ok(())
}

/// Another server's backup may have come first to the port. What was made for it is removed: a container that never
/// ran has nothing.
async fn start(engine: &Arc<dyn Engine>, name: &str) -> Result<(), StepError> {
    match engine.start_container(name).await {
        Err(EngineError::Refused(why)) => {
            engine.remove_container(name).await?;
            Err(StepError::Transient(format!("The way to the data is not free: {why}")))
        }
        other => Ok(other?),
    }
}

/// A host has one port for doors. Whose operation is over has left its own behind, and it is removed.
async fn held_by_other(
    services: &Services,
    engine: &Arc<dyn Engine>,
    member: &Member,
) -> Result<Option<String>, StepError> {
    for object in engine.owned().await? {
        let is_other = object.name.ends_with("-door") && object.name != member.door_container();
        if object.kind != "container" || !is_other {
            continue;
        }
        if is_at_work(services, object.labels.get(label::RUN)).await? {
            return Ok(Some("another server of the host is backed up".into()));
        }
        engine.remove_container(&object.name).await?;
    }
    Ok(None)
}

async fn is_at_work(services: &Services, run: Option<&String>) -> Result<bool, StepError> {
    let id = run.and_then(|run| run.split_once('/')).and_then(|(id, _)| OperationId::parse(id));
    let Some(id) = id else { return Ok(false) };
    Ok(services.store.operation(&id).await?.is_some_and(|operation| operation.status.is_active()))
}

async fn files(
    ctx: &StepContext,
    member: &Member,
    repository: &Repository,
) -> Result<Vec<FileSpec>, StepError> {
    let services = &ctx.services;
    let mut names = vec![door_name(member.id.short())];
    names.extend(services.engines.member_address(&member.host_id).map(|at| at.to_string()));
    let issued = services.authority.issue_repository(&names, services.clock.now());
    let issued =
        issued.map_err(|error| StepError::permanent(error.to_string(), "Try it again."))?;
    let client =
        Client { name: repository.server_id.to_string(), stanzas: vec![repository.stanza.clone()] };
    let key = Secret::new(issued.key.reveal());
    let mut files = keys::tls_files(services, &repository.server_id).await?;
    files.extend(keys::role_files(services, &repository.server_id).await?);
    files.extend(member::collect(door_files(&client, &issued.certificate, &key)));
    Ok(files)
}
