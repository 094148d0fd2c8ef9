//! After the rows are back: what the hosts have become since the backup was made. Rows follow what is found; nothing on a host
//! is touched.

use super::labels::{self, Labelled};
use super::pairs::{self, MemberLook, Verdict};
use crate::domain::ha::HighAvailability;
use crate::domain::ids::HostId;
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
}

/// Looks at every host on record and puts rows right by it. Gives lines for people.
///
/// # Errors
/// When the store does not answer. A host that does not is told of: what is on it stays as the backup says.
pub async fn adopt(services: &Services) -> Result<Vec<String>, StoreError> {
    let mut lines = vec![];
    let world = look_around(services, &mut lines).await?;
    let members = services.store.members_all().await?;
    for (member, server, settled) in &members {
        follow(services, &world, (member, server, *settled), &mut lines).await?;
    }
    for row in services.store.ha_all().await? {
        settle_pair(services, &world, &row, &members, &mut lines).await?;
    }
    tell_of_strangers(services, &world, &mut lines).await?;
    Ok(lines)
}

async fn look_around(services: &Services, lines: &mut Vec<String>) -> Result<World, StoreError> {
    let mut world = World::default();
    for host in services.store.hosts().await? {
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
            tx.distrust_standby(&row.server_id).await?;
            tx.set_settled(&row.server_id, SettledState::Failed).await?;
            lines.push(format!(
                "Server {server}: {why}. It is marked Failed, so nothing is started or promoted by itself. \
                 Bring its hosts back and run pgflex recover again, into another empty database."
            ));
        }
    }
    tx.commit(Record::Nothing(UNLOGGED)).await
}

async fn look(world: &World, member: &Member) -> MemberLook {
    let found = world.members.get(member.id.as_str());
    let at = found.and_then(|found| Some((&found.engine, found.container()?)));
    match at {
        Some((engine, container)) => pairs::look(&**engine, &member.id, &container).await,
        None => {
            MemberLook { member: member.id.clone(), is_standby: None, runs: false, timeline: 0 }
        }
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
