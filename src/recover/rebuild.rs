//! The store anew from the labels on the engines: what is left when there is no backup of it at all.
//!
//! Labels and volumes tell which servers there are, what they are, where their members lie, and what a person set of their
//! configuration. They hold no key of the portal's. So there is a new root certificate, and each server gets new certificates: they are
//! made here and due at once, and the portal installs them right after its start by what renews certificates otherwise. Files are put
//! into the volume and PostgreSQL reads them again: that needs no login, so it works where the old keys are lost.

use super::labels::{self, Labelled};
use crate::domain::backup::stanza_of;
use crate::domain::configuration::Configuration;
use crate::domain::ha::MemberRole;
use crate::domain::host::Host;
use crate::domain::ids::NetworkId;
use crate::domain::network::Access;
use crate::domain::route::RouteState;
use crate::domain::server::{Member, Server, ServerSpec, SettledState};
use crate::domain::storage::{Disk, choose_minor};
use crate::domain::virtual_network::{NetworkState, VirtualNetwork, docker_name};
use crate::engine::ContainerFacts;
use crate::operations::access::{self, keep_secret, secret};
use crate::operations::context::Services;
use crate::operations::member::certificate_names;
use crate::postgres::CONTROL_ROLE;
use crate::postgres::conf::configuration_in;
use crate::postgres::pgbackrest::{ARCHIVE_FILE, key_in};
use crate::secrets::Secret;
use crate::store::{Record, StoreError, WriteTx};
use anyhow::Context;
use std::collections::{BTreeMap, HashSet};

/// What labels cannot tell, for the end of the command's output.
pub const LOST: &str = "\
What is lost: accounts, resource groups, locks, firewall rules, history, costs, and the root certificate.
What the portal does next: right after its start it gives every server a new certificate, without a restart.
What you do next: make an owner by the link that pgflex serve prints; give people the new CA file (Connect page);
write firewall rules again, because nobody is let in without them; tell people the new ports. Passwords inside PostgreSQL are as they were.";

const UNLOGGED: &str = "the recovery has one line in the log";

/// Writes rows for everything that is understood. Gives lines for people: each server with what became of it.
///
/// # Errors
/// When a host does not answer or the store refuses. The store stays marked as unfinished then.
pub async fn rebuild(services: &Services, ports: (u16, u16)) -> anyhow::Result<Vec<String>> {
    let (mut lines, mut servers) = (vec![], BTreeMap::<String, Vec<Labelled>>::new());
    let mut networks = vec![];
    for host in services.store.hosts().await? {
        let engine = services.engines.get(&host.id).with_context(|| not_driven(&host))?;
        let found = labels::read(&host.id, &engine).await.with_context(|| not_driven(&host))?;
        for (id, name, docker) in found.networks {
            let facts = engine.network(&docker).await?;
            if let Some(range) = facts.and_then(|facts| facts.range) {
                networks.push((id, name, range));
            }
        }
        for member in found.members {
            servers.entry(member.server.to_string()).or_default().push(member);
        }
    }
    let networks = write_networks(services, networks, &mut lines).await?;
    let mut minors = HashSet::new();
    let mut names = HashSet::new();
    for (members, container) in running_first(servers).await? {
        let found = match refused(&members) {
            Ok((found, spec)) => {
                match refused_part(found, container.as_ref(), spec, &names).await {
                    None => Ok((found, spec)),
                    Some(why) => Err(why),
                }
            }
            Err(why) => Err(why),
        };
        let line = match found {
            Err(why) => why,
            Ok((found, spec)) => {
                names.insert(spec.name.to_string());
                let found = (found, spec, container.as_ref());
                write_server(services, &networks, found, ports, &mut minors).await?
            }
        };
        lines.push(line);
    }
    Ok(lines)
}

type WithContainer = (Vec<Labelled>, Option<ContainerFacts>);

/// Each server with the container of its first member that has data, those that run first: of two of one name, the one in use is right.
async fn running_first(
    servers: BTreeMap<String, Vec<Labelled>>,
) -> anyhow::Result<Vec<WithContainer>> {
    let mut all = vec![];
    for members in servers.into_values() {
        let one = members.iter().find(|member| member.has_volume);
        let at = one.and_then(|one| Some((one, one.container()?)));
        let container = match at {
            Some((one, name)) => one.engine.container(&name).await?,
            None => None,
        };
        all.push((members, container));
    }
    all.sort_by_key(|(_, container)| !is_running(container.as_ref()));
    Ok(all)
}

fn is_running(container: Option<&ContainerFacts>) -> bool {
    container.is_some_and(|container| container.state == "running")
}

/// Why what looks like a whole server is not written: it may be half of a pair, of which the other half lies where nobody
/// looked, and then its data may be stale; or its name is taken.
async fn refused_part(
    found: &Labelled,
    container: Option<&ContainerFacts>,
    spec: &ServerSpec,
    names: &HashSet<String>,
) -> Option<String> {
    let name = &spec.name;
    if names.contains(name.as_str()) {
        return Some(format!(
            "Server {name}: a second one of this name is there ({}), and it is not written. Its container goes on.",
            found.server
        ));
    }
    let sign = sign_of_a_pair(found, container).await?;
    Some(format!(
        "Server {name}: {sign}, so it is one member of a server with high availability, or of a restore that did not end. \
         Whether another member, on a host that was not looked at, has newer commits is not known: nothing is written for it. \
         Its container goes on; dump its data from the member that is not in recovery."
    ))
}

async fn sign_of_a_pair(
    found: &Labelled,
    container: Option<&ContainerFacts>,
) -> Option<&'static str> {
    if container.is_some_and(|container| !container.restarts_by_itself) {
        return Some("its container does not start again by itself");
    }
    if text(found, container, "data/standby.signal").await.is_some() {
        return Some("its data are those of a standby");
    }
    let conf = text(found, container, "config/postgresql.conf").await.unwrap_or_default();
    let replicates = |line: &str| {
        ["primary_conninfo", "synchronous_standby_names"]
            .iter()
            .any(|name| line.trim_start().starts_with(name))
    };
    conf.lines().any(replicates).then_some("its configuration names another member")
}

fn not_driven(host: &Host) -> String {
    format!("the host {} does not answer: its servers would be missing afterwards", host.name)
}

async fn write_networks(
    services: &Services,
    found: Vec<(NetworkId, String, ipnet::Ipv4Net)>,
    lines: &mut Vec<String>,
) -> Result<Vec<NetworkId>, StoreError> {
    let mut known: Vec<NetworkId> = vec![];
    for (id, name, range) in found {
        if known.contains(&id) {
            continue;
        }
        let created_at = services.clock.now();
        let state = NetworkState::Active;
        lines.push(format!("Virtual network {name} ({range})"));
        let network =
            VirtualNetwork { id: id.clone(), name, range, state, note: String::new(), created_at };
        let mut tx = services.store.begin_write(created_at).await?;
        tx.insert_network(&network).await?;
        tx.commit(Record::Nothing(UNLOGGED)).await?;
        known.push(id);
    }
    Ok(known)
}

/// Why a server is not written, in words.
fn refused(members: &[Labelled]) -> Result<(&Labelled, &ServerSpec), String> {
    let name = members.first().map_or("", |member| member.server_name.as_str());
    let with_data: Vec<&Labelled> = members.iter().filter(|member| member.has_volume).collect();
    let one = match with_data.as_slice() {
        [one] => *one,
        [] => {
            return Err(format!(
                "Server {name}: no volume with its data is there. Nothing is written for it."
            ));
        }
        _ => {
            return Err(format!(
                "Server {name}: it has high availability. Which of its members may take writes is not in labels, and a wrong guess loses commits: \
                 nothing is written for it. Its containers go on; dump its data from the member that is not in recovery."
            ));
        }
    };
    match &one.spec {
        Some(spec) => Ok((one, spec)),
        None => Err(format!(
            "Server {name}: its labels are not understood. Nothing is written for it; its container goes on."
        )),
    }
}

async fn write_server(
    services: &Services,
    networks: &[NetworkId],
    (found, spec, container): (&Labelled, &ServerSpec, Option<&ContainerFacts>),
    ports: (u16, u16),
    minors: &mut HashSet<u32>,
) -> anyhow::Result<String> {
    let runs = is_running(container);
    let configuration = read_configuration(found, container).await;
    let cipher = read_cipher(found, container).await;
    let mut tx = services.store.begin_write(services.clock.now()).await?;
    let port = tx.take_port(ports).await?;
    let port = port.context("no gateway port is free: widen --gateway-ports")?;
    tx.insert_server(&found.server, spec, port, None).await?;
    tx.set_configuration(&found.server, &configuration).await?;
    tx.insert_member(&member(found, spec, container, minors)).await?;
    if let Some(network) = in_network(networks, container) {
        tx.follow_network(&found.server, network).await?;
    }
    let settled = if runs { SettledState::Ready } else { SettledState::Stopped };
    tx.set_settled(&found.server, settled).await?;
    let target = container.and_then(access::address_in);
    let state = match spec.access {
        Access::Public => RouteState::Open,
        Access::Private => RouteState::Closed,
    };
    tx.set_route(&found.server, target, state).await?;
    if let Some(cipher) = &cipher {
        keep(services, &mut tx, found, secret::BACKUP_CIPHER, cipher, None).await?;
    }
    tx.commit(Record::Nothing(UNLOGGED)).await?;
    issue(services, found).await?;
    Ok(told(found, port, runs, cipher.is_some(), &configuration))
}

fn told(
    found: &Labelled,
    port: u16,
    runs: bool,
    has_cipher: bool,
    configuration: &Configuration,
) -> String {
    let state = if runs { "runs" } else { "does not run; start it from its page" };
    let cipher = if has_cipher { " The key of its backups was read from its volume." } else { "" };
    format!(
        "Server {}: {state}. Its gateway port is {port} now; {} parameters that a person set were read from its volume.{cipher}",
        found.server_name,
        configuration.parameters.len()
    )
}

/// What a person set, from the file in the volume.
async fn read_configuration(found: &Labelled, container: Option<&ContainerFacts>) -> Configuration {
    text(found, container, "config/postgresql.conf")
        .await
        .map(|text| configuration_in(&text))
        .unwrap_or_default()
}

/// What its backups are encrypted with stands where PostgreSQL archives by.
async fn read_cipher(found: &Labelled, container: Option<&ContainerFacts>) -> Option<Secret> {
    let file = text(found, container, ARCHIVE_FILE).await?;
    key_in(&file, &stanza_of(&found.server))
}

async fn text(found: &Labelled, container: Option<&ContainerFacts>, path: &str) -> Option<String> {
    let content = found.engine.get_file(&container?.name, path).await.ok()??;
    String::from_utf8(content).ok()
}

fn member(
    found: &Labelled,
    spec: &ServerSpec,
    container: Option<&ContainerFacts>,
    minors: &mut HashSet<u32>,
) -> Member {
    // The number follows from the member's identity, unless two members of a host met in it once.
    let minor = found.is_sized.then(|| choose_minor(&found.member, minors)).flatten();
    minors.extend(minor);
    Member {
        id: found.member.clone(),
        server_id: found.server.clone(),
        host_id: found.host.clone(),
        generation: found.generation.unwrap_or(1),
        image: container.map(|container| container.image.clone()).unwrap_or_default(),
        postgres_version: String::new(),
        disk: Some(match minor {
            Some(minor) => Disk::Image { minor },
            None => Disk::Measured { why: "known from its volume alone".into() },
        }),
        zone: spec.zone.clone(),
        port: container.and_then(|container| Some(container.published?.port())),
        role: MemberRole::Primary,
    }
}

fn in_network<'a>(
    networks: &'a [NetworkId],
    container: Option<&ContainerFacts>,
) -> Option<&'a NetworkId> {
    let names = &container?.networks;
    networks.iter().find(|id| names.contains(&docker_name(id)))
}

/// Everything that the portal needs to get at the server, and due for renewal at once: that is what brings it there.
async fn issue(services: &Services, found: &Labelled) -> anyhow::Result<()> {
    let server: Server =
        services.store.server(&found.server).await?.context("a row was not kept")?;
    let now = services.clock.now();
    let names = certificate_names(&services.settings, &server);
    let issued = services.authority.issue(&names, CONTROL_ROLE, now)?;
    let mut tx = services.store.begin_write(now).await?;
    let public = |text: String| Secret::new(text);
    for (name, value, expires_at) in [
        (secret::SERVER_CERTIFICATE, public(issued.server.certificate), Some(now)),
        (secret::SERVER_KEY, issued.server.key, Some(now)),
        (secret::CLIENT_AUTHORITY, public(issued.client_authority), None),
        (secret::CONTROL_CERTIFICATE, public(issued.control.certificate), None),
        (secret::CONTROL_KEY, issued.control.key, None),
    ] {
        keep(services, &mut tx, found, name, &value, expires_at).await?;
    }
    Ok(tx.commit(Record::Nothing(UNLOGGED)).await?)
}

async fn keep(
    services: &Services,
    tx: &mut WriteTx,
    found: &Labelled,
    name: &str,
    value: &Secret,
    expires_at: Option<chrono::DateTime<chrono::Utc>>,
) -> anyhow::Result<()> {
    let kept = keep_secret(services, tx, &found.server, name, value, expires_at).await;
    kept.map_err(|error| anyhow::anyhow!("the secret {name} of {}: {error}", found.server_name))
}
