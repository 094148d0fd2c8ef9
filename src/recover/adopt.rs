//! After the rows are back: what the hosts have become since the backup was made. Rows follow what is found; nothing on a host
//! is touched.

use super::labels::{self, Labelled};
use super::pairs::{self, MemberLook, Verdict};
use crate::domain::ha::HighAvailability;
use crate::domain::ids::{HostId, ServerId};
use crate::domain::route::RouteState;
use crate::domain::server::{Member, SettledState};
use crate::operations::context::Services;
use crate::store::{Record, StoreError, WriteTx};
use std::collections::{BTreeSet, HashMap, HashSet};

const UNLOGGED: &str = "the recovery has one line in the log";

/// Everything that was found on the hosts that answer.
#[derive(Default)]
struct World {
    /// By id of the member.
    members: HashMap<String, Labelled>,
    answering: HashSet<HostId>,
    /// Names of hosts by their id.
    names: HashMap<HostId, String>,
    /// Hosts that a person said are lost for good: what was on them is gone.
    lost: HashSet<HostId>,
}

impl World {
    /// Whether nothing of a member is left: its host answers and has nothing, or is lost for good.
    fn is_gone(&self, member: &Member) -> bool {
        let host = &member.host_id;
        !self.members.contains_key(member.id.as_str())
            && (self.answering.contains(host) || self.lost.contains(host))
    }

    /// Members with a container or data that no row knows, of one server. Helpers alone are none.
    fn unknown_of(&self, server: &str, known: &[(Member, String, SettledState)]) -> Vec<&Labelled> {
        let is_known =
            |found: &&Labelled| known.iter().any(|(member, _, _)| member.id == found.member);
        let mut unknown: Vec<&Labelled> = self
            .members
            .values()
            .filter(|found| {
                found.server.as_str() == server && found.is_a_member() && !is_known(found)
            })
            .collect();
        unknown.sort_by_key(|found| found.member.to_string());
        unknown
    }
}

/// Looks at every host on record and puts rows right by it. Gives lines for people.
///
/// # Errors
/// When the store does not answer. A host that does not is told of: what is on it stays as the backup says.
pub async fn adopt(services: &Services) -> Result<Vec<String>, StoreError> {
    adopt_without(services, &[]).await
}

/// The same where a person says that hosts, by name, are lost for good.
///
/// # Errors
/// As of [`adopt`].
pub async fn adopt_without(
    services: &Services,
    lost: &[String],
) -> Result<Vec<String>, StoreError> {
    let mut lines = vec![];
    let world = look_around(services, lost, &mut lines).await?;
    let members = services.store.members_all().await?;
    for (member, server, settled) in &members {
        follow(services, &world, (member, server, *settled), &mut lines).await?;
    }
    for row in services.store.ha_all().await? {
        if world.unknown_of(row.server_id.as_str(), &members).is_empty() {
            settle_pair(services, &world, &row, &members, &mut lines).await?;
        }
    }
    hold_unknown(services, &world, &members, &mut lines).await?;
    tell_of_strangers(services, &world, &mut lines).await?;
    Ok(lines)
}

async fn look_around(
    services: &Services,
    lost: &[String],
    lines: &mut Vec<String>,
) -> Result<World, StoreError> {
    let mut world = World::default();
    for host in services.store.hosts().await? {
        world.names.insert(host.id.clone(), host.name.clone());
        if lost.contains(&host.name) {
            world.lost.insert(host.id.clone());
            lines.push(format!(
                "Host {}: lost for good, as you say. It was not looked at.",
                host.name
            ));
            continue;
        }
        let Some(engine) = services.engines.get(&host.id) else {
            lines.push(format!(
                "Host {}: it is not in the configuration any more, so nobody looks at its servers.",
                host.name
            ));
            continue;
        };
        match labels::read(&host.id, &engine).await {
            Ok(found) => {
                world.answering.insert(host.id.clone());
                lines.push(format!(
                    "Host {}: {} members are there.",
                    host.name,
                    found.members.len()
                ));
                let by_id =
                    found.members.into_iter().map(|found| (found.member.to_string(), found));
                world.members.extend(by_id);
            }
            Err(error) => lines.push(format!(
                "Host {}: {error}. Its servers stay as the backup has them.",
                host.name
            )),
        }
    }
    Ok(world)
}

/// One member: on which host, of which generation, whether it runs though it was stopped.
async fn follow(
    services: &Services,
    world: &World,
    (member, server, settled): (&Member, &str, SettledState),
    lines: &mut Vec<String>,
) -> Result<(), StoreError> {
    let Some(found) = world.members.get(member.id.as_str()) else {
        if world.answering.contains(&member.host_id) {
            lines.push(format!(
                "Server {server}: neither container nor volume is on its host. It was deleted after the backup, or its data are lost; its page says so."
            ));
        }
        return Ok(());
    };
    let mut tx = services.store.begin_write(services.clock.now()).await?;
    if found.host != member.host_id && !world.answering.contains(&member.host_id) {
        tx.move_member(&member.id, &found.host).await?;
        lines.push(format!("Server {server}: its host is known by another name now."));
    }
    if found.generation.is_some_and(|generation| generation > member.generation) {
        follow_generation(&mut tx, member, found).await?;
        lines.push(format!(
            "Server {server}: its container was made anew after the backup; version and size follow it."
        ));
    }
    let container = match found.container() {
        Some(name) => found.engine.container(&name).await.ok().flatten(),
        None => None,
    };
    if let Some(container) = &container {
        tx.set_member_image(&member.id, &container.image, &member.postgres_version).await?;
    }
    if settled == SettledState::Stopped && container.is_some_and(|found| found.state == "running") {
        tx.set_settled(&member.server_id, SettledState::Ready).await?;
        lines.push(format!("Server {server}: it was started after the backup, so it is Ready."));
    }
    tx.commit(Record::Nothing(UNLOGGED)).await
}

async fn follow_generation(
    tx: &mut WriteTx,
    member: &Member,
    found: &Labelled,
) -> Result<(), StoreError> {
    tx.raise_generation(&member.id, found.generation.unwrap_or_default()).await?;
    match &found.spec {
        Some(spec) => tx.follow_spec(&member.server_id, spec).await,
        None => Ok(()),
    }
}

async fn settle_pair(
    services: &Services,
    world: &World,
    row: &HighAvailability,
    members: &[(Member, String, SettledState)],
    lines: &mut Vec<String>,
) -> Result<(), StoreError> {
    let own: Vec<_> =
        members.iter().filter(|(member, _, _)| member.server_id == row.server_id).collect();
    let Some((_, server, _)) = own.first() else { return Ok(()) };
    let mut looks: Vec<MemberLook> = vec![];
    for (member, _, _) in &own {
        looks.push(look(world, member).await);
    }
    let mut tx = services.store.begin_write(services.clock.now()).await?;
    match pairs::verdict(row, &looks) {
        Verdict::Stays => {
            tx.distrust_standby(&row.server_id).await?;
            lines.push(format!("Server {server}: its standby counts again as soon as it is seen to have everything."));
        }
        Verdict::Moved(primary) => {
            let zone = own.iter().find(|(member, _, _)| Some(&member.id) == row.primary.as_ref());
            let zone = zone.map_or(row.standby_zone.as_str(), |(member, _, _)| &member.zone);
            let look = looks.iter().find(|look| look.member == primary);
            let timeline = look.map_or(row.timeline, |look| look.timeline);
            tx.follow_primary(row, &primary, zone, timeline).await?;
            lines.push(format!("Server {server}: there was a failover after the backup; the primary is the member {}.", primary.short()));
        }
        Verdict::Unsure(why) => {
            hold(&mut tx, &row.server_id).await?;
            lines.push(format!(
                "Server {server}: {why}. It is marked Failed and its way in is closed, so nothing is started or promoted by itself. \
                 Bring its hosts back and run pgflex recover again, into another empty database; \
                 where a host is lost for good, say so with --without-host."
            ));
        }
    }
    tx.commit(Record::Nothing(UNLOGGED)).await
}

/// Nobody is let in and nothing acts by itself: which member is right, a person must see first.
async fn hold(tx: &mut WriteTx, server: &ServerId) -> Result<(), StoreError> {
    tx.distrust_standby(server).await?;
    tx.set_settled(server, SettledState::Failed).await?;
    tx.set_route(server, None, RouteState::Closed).await?;
    Ok(())
}

/// Servers with a member that the backup does not know: it may be the primary by now, and then those on record are stale.
async fn hold_unknown(
    services: &Services,
    world: &World,
    members: &[(Member, String, SettledState)],
    lines: &mut Vec<String>,
) -> Result<(), StoreError> {
    for server in services.store.server_ids().await? {
        let unknown = world.unknown_of(&server, members);
        let Some(first) = unknown.first() else { continue };
        let mut tx = services.store.begin_write(services.clock.now()).await?;
        hold(&mut tx, &first.server).await?;
        // It was made, whatever the backup says of its creation: another creation must never be offered.
        tx.count_as_created(&first.server).await?;
        tx.commit(Record::Nothing(UNLOGGED)).await?;
        lines.push(unknown_line(world, first, &unknown));
    }
    Ok(())
}

fn unknown_line(world: &World, first: &Labelled, unknown: &[&Labelled]) -> String {
    let place = |found: &&Labelled| {
        let host = world.names.get(&found.host).map_or("?", String::as_str);
        format!("member {} on host {host}", found.member.short())
    };
    let all = unknown.iter().map(place).collect::<Vec<_>>().join(", ");
    format!(
        "Server {}: {all} is not in the backup. It was made later and may be the primary by now, so the data of the others may be stale. \
         The server is marked Failed and its way in is closed. Look for a newer backup (--from FILE, --host ADDRESS) and recover from that, into another empty database. \
         Where there is none: find the member that is not in recovery (SELECT pg_is_in_recovery()) and dump its data into a new server; remove nothing before that.",
        first.server_name
    )
}

async fn look(world: &World, member: &Member) -> MemberLook {
    let found = world.members.get(member.id.as_str());
    let at = found.and_then(|found| Some((&found.engine, found.container()?)));
    match at {
        Some((engine, container)) => pairs::look(&**engine, &member.id, &container).await,
        None => MemberLook { is_gone: world.is_gone(member), ..MemberLook::nothing(&member.id) },
    }
}

/// Servers that the backup does not know: made after it, or deleted long ago and never cleared.
async fn tell_of_strangers(
    services: &Services,
    world: &World,
    lines: &mut Vec<String>,
) -> Result<(), StoreError> {
    let known = services.store.server_ids().await?;
    let strangers: BTreeSet<&str> = world
        .members
        .values()
        .filter(|found| !known.contains(found.server.as_str()))
        .map(|found| found.server_name.as_str())
        .collect();
    for name in strangers {
        lines.push(format!(
            "Server {name}: it is not in the backup, so its keys are lost. It goes on as it is; the Hosts page lists it under what belongs to no server."
        ));
    }
    Ok(())
}
