//! The networks of a member: its server's own, through which portal and gateway reach it, and the virtual
//! network of a private server. Whatever makes a member's container anew calls [`ensure`] before it; the
//! places in them come with the container's description (`member::container`).

use super::backup::repository;
use super::context::{OperationSettings, StepContext};
use super::member;
use super::step::StepError;
use crate::domain::ids::NetworkId;
use crate::domain::network::Access;
use crate::domain::server::{Member, Server, network_name};
use crate::domain::virtual_network::{VirtualNetwork, docker_name};
use crate::engine::{EngineError, NetworkJoin, NetworkSpec, label};
use crate::postgres::conf::Admission;
use std::collections::BTreeMap;

/// The virtual network that a server belongs to, when its access is private.
pub fn virtual_of(server: &Server) -> Option<&NetworkId> {
    server.network_id.as_ref().filter(|_| server.spec.access == Access::Private)
}

/// The place of a server's container in its virtual network: reached by its name, and by the name that its
/// certificate has always had.
pub fn join(settings: &OperationSettings, server: &Server) -> Option<NetworkJoin> {
    let name = server.spec.name.as_str();
    virtual_of(server).map(|network| NetworkJoin {
        network: docker_name(network),
        aliases: vec![name.to_owned(), settings.endpoint_of(name).to_ascii_lowercase()],
    })
}

/// Has every network of the server on its member's host.
pub async fn ensure(ctx: &StepContext) -> Result<(), StepError> {
    let member = ctx.member()?;
    ctx.engine(member)?.ensure_network(&member::network(ctx, member)).await?;
    match virtual_of(&ctx.server) {
        Some(network) => ensure_virtual(ctx, network).await,
        None => Ok(()),
    }
}

/// Removes the server's own network from the host of a member, out of which the host's repository goes before.
///
/// # Errors
/// When the engine does not do it.
pub async fn remove_own(ctx: &StepContext, on: &Member) -> Result<(), StepError> {
    let name = network_name(&ctx.server.id);
    repository::leave(&ctx.services, &on.host_id, &name).await?;
    match ctx.engine(on)?.remove_network(&name).await {
        // Where a stranger's object has the name, ours cannot be, and theirs is not ours to remove.
        Err(EngineError::Foreign(_)) => Ok(()),
        other => Ok(other?),
    }
}

/// Whether every network of the server is on its member's host. A container that does not run keeps the identity
/// of its networks: after one was removed, none of the same name lets it start.
pub async fn are_there(ctx: &StepContext) -> Result<bool, StepError> {
    let owned = ctx.engine(ctx.member()?)?.owned().await?;
    let is_there =
        |name: &String| owned.iter().any(|object| object.kind == "network" && object.name == *name);
    let virtual_one = virtual_of(&ctx.server).map(docker_name);
    Ok(is_there(&network_name(&ctx.server.id)) && virtual_one.iter().all(is_there))
}

/// Has a virtual network on the host of the server's member.
pub async fn ensure_virtual(ctx: &StepContext, id: &NetworkId) -> Result<(), StepError> {
    let network = find(ctx, id).await?;
    let spec = spec(&ctx.services.settings, &network);
    match ctx.engine(ctx.member()?)?.ensure_network(&spec).await {
        Err(EngineError::Refused(why)) if why.to_ascii_lowercase().contains("overlap") => {
            Err(StepError::permanent(
                format!(
                    "The range {} of network {} is in use on the host: {why}",
                    network.range, network.name
                ),
                "Remove what uses the range on the host and retry, or make a network with another range.",
            ))
        }
        other => Ok(other?),
    }
}

/// Gives the container its place in the virtual network of its server.
pub async fn enter(ctx: &StepContext, server: &Server) -> Result<(), StepError> {
    let member = ctx.member()?;
    let Some(join) = join(&ctx.services.settings, server) else { return Ok(()) };
    match ctx.engine(member)?.connect_network(&member.container(), &join).await {
        Err(EngineError::Refused(why)) if is_exhausted(&why) => Err(StepError::permanent(
            "The virtual network has no free address left.",
            "Take a container out of it, or choose a network with a larger range, then retry.",
        )),
        other => Ok(other?),
    }
}

/// Takes the container out of a virtual network.
pub async fn leave(ctx: &StepContext, network: &NetworkId) -> Result<(), StepError> {
    let member = ctx.member()?;
    let name = docker_name(network);
    Ok(ctx.engine(member)?.disconnect_network(&member.container(), &name).await?)
}

/// Where people may come from, to log in to a server as given.
pub async fn admission(ctx: &StepContext, server: &Server) -> Result<Admission, StepError> {
    if server.spec.access == Access::Public {
        return Ok(Admission::Everyone);
    }
    if let Some(id) = &server.network_id {
        let network = find(ctx, id).await?;
        return Ok(Admission::Network { range: network.range, host: Some(network.gateway()) });
    }
    let engine = ctx.engine(ctx.member()?)?;
    let facts = engine.network(&network_name(&server.id)).await?;
    Ok(match facts.and_then(|facts| Some((facts.range?, facts.gateway))) {
        Some((range, host)) => Admission::Network { range, host },
        None => Admission::Nobody,
    })
}

pub async fn find(ctx: &StepContext, id: &NetworkId) -> Result<VirtualNetwork, StepError> {
    let found = ctx.services.store.network(id).await?;
    found.ok_or_else(|| {
        StepError::permanent(
            "The virtual network does not exist any more.",
            "Choose another network for the server.",
        )
    })
}

fn spec(settings: &OperationSettings, network: &VirtualNetwork) -> NetworkSpec {
    let mut labels = BTreeMap::from([
        (label::INSTALL.to_owned(), settings.install_id.clone()),
        (label::NETWORK.to_owned(), network.id.to_string()),
        (label::NETWORK_NAME.to_owned(), network.name.clone()),
    ]);
    if settings.is_test {
        labels.insert(label::TEST.into(), "1".into());
    }
    NetworkSpec { name: network.docker_name(), labels, range: Some(network.range), is_open: false }
}

fn is_exhausted(why: &str) -> bool {
    let why = why.to_ascii_lowercase();
    why.contains("no available ip") || why.contains("no available ipv4 addresses")
}
