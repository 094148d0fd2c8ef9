//! The repository of a host: its volume, a server of it for each major, and who is let in.
//!
//! Everything here looks, then acts, and may be called at any time by anybody: operations call it before they need a
//! repository, and the monitor calls it again when a host has lost something of it. Nothing here removes a volume.

use super::object_storage;
use crate::domain::backup::Repository;
use crate::domain::ids::HostId;
use crate::domain::server::Member;
use crate::domain::sharing::{self, SeenHost};
use crate::domain::version::Major;
use crate::engine::blueprint_repository::{RepositoryBlueprint, published_port};
use crate::engine::{
    ContainerSpec, Engine, EngineError, FileSpec, ImageProgress, NetworkJoin, RepositoryMount,
};
use crate::operations::context::Services;
use crate::operations::step::{Outcome, StepError};
use crate::operations::{image, member};
use crate::postgres::pgbackrest::{
    self, Client, REPOSITORY_NAME, REPOSITORY_PORT, Reach, RepositoryTls,
};
use crate::secrets::Secret;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// Time between two looks at an image that is on its way.
const IMAGE_SOON: Duration = Duration::from_secs(1);
/// Writings of the list of clients in one call: it changes with an operation at most.
const WRITINGS: usize = 5;

/// Certificate and key of a server are two files, and two who write both at once could leave one of each.
static WRITING: Mutex<()> = Mutex::const_new(());

/// What the objects of a host's repository are described from.
pub fn blueprint<'a>(services: &'a Services, host: &'a HostId) -> RepositoryBlueprint<'a> {
    let settings = &services.settings;
    RepositoryBlueprint { install_id: &settings.install_id, host, is_test: settings.is_test }
}

/// The volume with the backups of a host's servers, for a container that works on it.
pub fn mount(services: &Services, host: &HostId, read_only: bool) -> RepositoryMount {
    RepositoryMount { volume: blueprint(services, host).volume_name(), read_only }
}

/// The engine of a host.
///
/// # Errors
/// Passing, while this process drives none there.
pub fn engine(services: &Services, host: &HostId) -> Result<Arc<dyn Engine>, StepError> {
    let why = || StepError::Transient("This process does not drive the repository's host.".into());
    services.engines.get(host).ok_or_else(why)
}

/// Has the repository of a host with a running server of it for this major, which lets in whom it shall. Waits while
/// the image is on its way.
///
/// # Errors
/// When the engine refuses, or the host has no port left for it.
pub async fn ensure(
    services: &Services,
    host: &HostId,
    major: Major,
) -> Result<Outcome, StepError> {
    let engine = engine(services, host)?;
    let image = match image::ensure_on(services, host, major).await? {
        ImageProgress::Ready { id, .. } => id,
        ImageProgress::Building { now, .. } => return Ok(Outcome::Wait(IMAGE_SOON, now)),
    };
    let plan = blueprint(services, host);
    let publish = published(services, host, major)?;
    engine.ensure_volume(&plan.volume()).await?;
    engine.ensure_volume(&plan.server_volume(major)).await?;
    engine.ensure_network(&plan.network(publish.is_some())).await?;
    let spec = plan.server(major, &image, pgbackrest::server_command(), publish);
    remove_if_other(&engine, &spec).await?;
    engine.ensure_container(&spec).await?;
    reach_storage(services, &engine, (host, &spec.name)).await?;
    let_in(services, host, major).await?;
    start(&engine, &spec.name).await?;
    Ok(Outcome::done())
}

/// Where object storage is configured, the server of the repository is the members' and the drills' way to it.
async fn reach_storage(
    services: &Services,
    engine: &Arc<dyn Engine>,
    (host, name): (&HostId, &str),
) -> Result<(), StepError> {
    if services.settings.object_storage.is_none() {
        return Ok(());
    }
    let plan = blueprint(services, host);
    for network in [plan.way_out(), plan.drills()] {
        engine.ensure_network(&network).await?;
        let join = NetworkJoin { network: network.name, aliases: vec![name_on(host)] };
        engine.connect_network(name, &join).await?;
    }
    Ok(())
}

/// One of another image or port is made anew: its clients try again by themselves.
async fn remove_if_other(engine: &Arc<dyn Engine>, spec: &ContainerSpec) -> Result<(), StepError> {
    let Some(facts) = engine.container(&spec.name).await? else { return Ok(()) };
    let is_other_port = facts.state == "running" && facts.published != spec.publish;
    if facts.image != spec.image || is_other_port {
        engine.remove_container(&spec.name).await?;
    }
    Ok(())
}

/// One that is in a network that was removed never starts again. It has nothing that must be kept.
async fn start(engine: &Arc<dyn Engine>, name: &str) -> Result<(), StepError> {
    match engine.start_container(name).await {
        Err(EngineError::Refused(why)) => {
            engine.remove_container(name).await?;
            Err(StepError::Transient(format!("The server of the repository is made anew: {why}")))
        }
        other => Ok(other?),
    }
}

/// Writes the files of the server of a repository and has them read, again when the list of clients has changed meanwhile.
///
/// # Errors
/// When the engine does not take them.
pub async fn let_in(services: &Services, host: &HostId, major: Major) -> Result<(), StepError> {
    let _one_at_a_time = WRITING.lock().await;
    let engine = engine(services, host)?;
    let name = blueprint(services, host).server_name(major);
    let mut clients = clients(services, host, major).await?;
    for _ in 0..WRITINGS {
        engine.put_files(&name, &files(services, host, &clients)?).await?;
        if engine.container(&name).await?.is_some_and(|facts| facts.state == "running") {
            engine.signal_container(&name, "SIGHUP").await?;
        }
        let now = self::clients(services, host, major).await?;
        if now == clients {
            return Ok(());
        }
        clients = now;
    }
    Err(StepError::Transient("The clients of the repository change while they are written.".into()))
}

/// Who is let into a host's repository by the server for this major, and into which stanzas.
///
/// # Errors
/// When the store does not answer.
pub async fn clients(
    services: &Services,
    host: &HostId,
    major: Major,
) -> Result<Vec<Client>, StepError> {
    let mut allowed: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let here = services.store.repositories_on(host).await?;
    let own = here.into_iter().map(|one| (one.server_id, one.stanza, one.major));
    let restored = services.store.restoring_from(host).await?;
    for (server, stanza, of) in own.chain(restored) {
        let stanzas = allowed.entry(server.to_string()).or_default();
        if of == major && !stanzas.contains(&stanza) {
            stanzas.push(stanza);
        }
    }
    let client = |(name, stanzas)| Client { name, stanzas };
    Ok(allowed.into_iter().map(client).filter(|client| !client.stanzas.is_empty()).collect())
}

/// The certificate is made with each writing: nothing rests on its being the same.
fn files(
    services: &Services,
    host: &HostId,
    clients: &[Client],
) -> Result<Vec<FileSpec>, StepError> {
    let mut names = vec![name_on(host)];
    names.extend(services.engines.member_address(host).map(|address| address.to_string()));
    let issued = services.authority.issue_repository(&names, services.clock.now());
    let issued =
        issued.map_err(|error| StepError::permanent(error.to_string(), "Try it again."))?;
    let tls = RepositoryTls {
        root_certificate: &services.authority.certificate,
        certificate: &issued.certificate,
        key: &Secret::new(issued.key.reveal()),
    };
    let mut files = pgbackrest::tls_files(&tls);
    files.push(pgbackrest::server_file(clients));
    if let Some(storage) = &services.settings.object_storage {
        files.extend(pgbackrest::relay_files(storage));
    }
    Ok(member::collect(files))
}

/// Name of a host's repository in the networks of servers on its engine, where that of another host of the same engine
/// may be too.
pub fn name_on(host: &HostId) -> String {
    format!("{REPOSITORY_NAME}-{}", host.short())
}

/// Whether a member and the repository of a host meet in the member's own network: on one Docker Engine. Where both are
/// reached at addresses, those are used: engines of machines that were copied from one another tell the same identity.
///
/// # Errors
/// When the store does not answer.
pub async fn shares_network(
    services: &Services,
    host: &HostId,
    member: &Member,
) -> Result<bool, StepError> {
    if *host == member.host_id {
        return Ok(true);
    }
    let has_address = |host: &HostId| services.engines.member_address(host).is_some();
    if member.port.is_some() && has_address(host) && has_address(&member.host_id) {
        return Ok(false);
    }
    let loads = services.store.host_loads_all().await?;
    let seen = |id: &HostId| loads.iter().find(|load| load.host.id == *id).map(SeenHost::from);
    let both = seen(host).zip(seen(&member.host_id));
    Ok(both.is_some_and(|(one, other)| sharing::is_one_engine(&one, &other)))
}

/// Gives the server of a repository its place in a network, where members reach it by [`name_on`].
///
/// # Errors
/// When the engine refuses.
pub async fn enter(
    services: &Services,
    host: &HostId,
    major: Major,
    network: &str,
) -> Result<(), StepError> {
    let join = NetworkJoin { network: network.to_owned(), aliases: vec![name_on(host)] };
    let name = blueprint(services, host).server_name(major);
    Ok(engine(services, host)?.connect_network(&name, &join).await?)
}

/// Takes every server of a host's repository out of a network that is about to be removed.
///
/// # Errors
/// When the engine refuses.
pub async fn leave(services: &Services, host: &HostId, network: &str) -> Result<(), StepError> {
    let engine = engine(services, host)?;
    let Some(facts) = engine.network(network).await? else { return Ok(()) };
    for major in Major::ALL {
        let name = blueprint(services, host).server_name(major);
        if facts.containers.contains(&name) {
            engine.disconnect_network(&name, network).await?;
        }
    }
    Ok(())
}

/// Where the server of a host's repository is published; `None` where nothing is.
fn published(
    services: &Services,
    host: &HostId,
    major: Major,
) -> Result<Option<SocketAddr>, StepError> {
    let Some(address) = services.engines.member_address(host) else { return Ok(None) };
    let port = published_port(services.settings.member_ports, major).ok_or_else(|| {
        StepError::permanent(
            "There is no port for the repository of the host.",
            "Start pgflex with a wider --member-ports, then try it again.",
        )
    })?;
    Ok(Some(SocketAddr::new(address, port)))
}

/// How a member reaches a repository.
///
/// # Errors
/// A sentence that says why it cannot.
pub async fn reach_of(
    services: &Services,
    repository: &Repository,
    member: &Member,
) -> Result<Reach, String> {
    let host = &repository.host_id;
    if repository.is_in_object_storage() {
        return object_storage::relay(services, repository, &member.host_id);
    }
    if shares_network(services, host, member).await.map_err(|error| error.to_string())? {
        return Ok(Reach::Tls { host: name_on(host), port: REPOSITORY_PORT });
    }
    let address = services.engines.member_address(host);
    let port = published_port(services.settings.member_ports, repository.major);
    match (address, port) {
        (Some(address), Some(port)) if member.port.is_some() => {
            Ok(Reach::Tls { host: address.to_string(), port })
        }
        _ => Err(format!(
            "The repository is on another host, which member {} does not reach: both hosts need a member address.",
            member.id.short()
        )),
    }
}
