//! A place for a member: a host, a disk, and a port where the host publishes its members.

use super::context::StepContext;
use super::disk;
use super::step::StepError;
use crate::clock::new_id;
use crate::domain::ha::MemberRole;
use crate::domain::host::Host;
use crate::domain::ids::{HostId, MemberId};
use crate::domain::network::Access;
use crate::domain::partner::{Need, Site, choose_partner, primaries};
use crate::domain::placement::{HostLoad, choose_host};
use crate::domain::server::{Member, Server};
use crate::engine::blueprint_repository::SERVERS_MAX;
use crate::store::WriteTx;
use std::collections::HashSet;

/// What a new member shall be.
#[derive(Debug, Clone, Copy)]
pub struct Seat<'a> {
    pub zone: &'a str,
    /// What it will be by the row of its pair; the row itself is the caller's to write.
    pub role: MemberRole,
    pub beside: Beside<'a>,
}

/// The other member of the pair that a new member is of.
#[derive(Debug, Clone, Copy)]
pub enum Beside<'a> {
    /// A server with one member.
    Nobody,
    /// It is there: each must reach the other, and they are on two engines wherever there is room.
    Member(&'a Member),
    /// It comes later, in this zone.
    Later(&'a str),
}

/// Chooses a host and everything that a member has for good, and writes its row into `tx`, which must belong to this
/// operation. Locks placement, so that nobody else is given the same room, loop device or port.
///
/// # Errors
/// Permanent, when no host of the zone can take it; transient, when a host of the zone was not looked at yet, as right after the
/// start of a portal. Nothing is written then.
pub async fn place_member(
    tx: &mut WriteTx,
    ctx: &StepContext,
    seat: Seat<'_>,
) -> Result<Member, StepError> {
    tx.lock_placement().await?;
    let loads = tx.host_loads().await?;
    let host = match choose(&loads, ctx, &seat) {
        Err(StepError::Permanent { .. }) if is_first_look_due(ctx, &loads, &seat).await? => {
            return Err(StepError::Transient("A host of the zone was not looked at yet.".into()));
        }
        chosen => chosen?,
    };
    let (settings, id) = (&ctx.services.settings, new_id(MemberId::parse));
    let disk = disk::plan(settings.storage, &id, &tx.loop_minors(&host.id).await?);
    let port = match host.member_address {
        None => None,
        Some(_) => {
            Some(free_port(settings.member_ports, &tx.member_ports(&host.id).await?, &host)?)
        }
    };
    let member = Member {
        id,
        server_id: ctx.server.id.clone(),
        host_id: host.id,
        generation: 1,
        image: String::new(),
        postgres_version: String::new(),
        disk: Some(disk),
        zone: seat.zone.to_owned(),
        port,
        role: seat.role,
    };
    tx.insert_member(&member).await?;
    Ok(member)
}

/// Whether a host of the zone has neither answered nor failed to: it is new, or the portal has just begun.
async fn is_first_look_due(
    ctx: &StepContext,
    loads: &[HostLoad],
    seat: &Seat<'_>,
) -> Result<bool, StepError> {
    let seen = ctx.services.store.host_observations().await?;
    let is_seen = |host: &Host| seen.iter().any(|one| one.host_id == host.id);
    let mut here = loads.iter().filter(|load| load.host.serves(&ctx.server.spec.region, seat.zone));
    Ok(here.any(|load| !is_seen(&load.host)))
}

fn choose(loads: &[HostLoad], ctx: &StepContext, seat: &Seat<'_>) -> Result<Host, StepError> {
    let spec = &ctx.server.spec;
    let offered: Vec<HostLoad> = loads
        .iter()
        .filter(|load| reason_against_access(&load.host, &ctx.server).is_none())
        .cloned()
        .collect();
    let chosen = among(loads, &offered, ctx, seat).map_err(|why| {
        let here = loads.iter().filter(|load| load.host.serves(&spec.region, seat.zone));
        let closed = here.filter_map(|load| reason_against_access(&load.host, &ctx.server)).next();
        let why = if offered.is_empty() { closed.unwrap_or(why) } else { why };
        StepError::permanent(
            format!("No host can take this server: {why}"),
            "Choose a smaller size or another zone, or free a host, then retry.",
        )
    })?;
    let host = offered.into_iter().map(|load| load.host).find(|host| host.id == chosen);
    host.ok_or_else(|| StepError::Transient("The chosen host is gone.".into()))
}

/// The host among those that may be, or why none can.
fn among(
    loads: &[HostLoad],
    offered: &[HostLoad],
    ctx: &StepContext,
    seat: &Seat<'_>,
) -> Result<HostId, String> {
    let (spec, policy) = (&ctx.server.spec, &ctx.services.settings.overcommit);
    let (sku, storage) = (spec.sku(), spec.storage());
    let need = Need { region: &spec.region, sku, storage, policy };
    match seat.beside {
        Beside::Nobody => choose_host(offered, &spec.region, seat.zone, sku, storage, policy),
        Beside::Later(zone) => {
            let hosts = primaries(offered, seat.zone, zone, &need)?;
            hosts.into_iter().next().ok_or_else(|| "No host serves this region and zone.".into())
        }
        Beside::Member(other) => {
            let load = loads.iter().find(|load| load.host.id == other.host_id);
            let load = load.ok_or("The host of the other member is no longer configured.")?;
            choose_partner(offered, seat.zone, &need, &Site::of_member(load, other))
        }
    }
}

/// Why a server with this access cannot be on a host. A virtual network ends at its Docker Engine, and the network
/// of a member that is published has a way out: neither is private.
pub fn reason_against_access(host: &Host, server: &Server) -> Option<String> {
    (server.spec.access == Access::Private && host.member_address.is_some()).then(|| {
        format!("Private access needs a host on the portal's own machine; {} is reached over the network.", host.name)
    })
}

/// The host of a member that other machines reach at published ports; `None` for one that is reached by its
/// container's address.
pub async fn published_host(ctx: &StepContext, member: &Member) -> Result<Option<Host>, StepError> {
    if member.port.is_none() {
        return Ok(None);
    }
    Ok(ctx.services.store.host(&member.host_id).await?)
}

fn free_port(range: (u16, u16), taken: &HashSet<u16>, host: &Host) -> Result<u16, StepError> {
    // The last ones are those of the host's repository.
    let last = range.1.saturating_sub(SERVERS_MAX);
    (range.0..=last).find(|port| !taken.contains(port)).ok_or_else(|| {
        StepError::permanent(
            format!("Host {} has no free port between {} and {last}.", host.name, range.0),
            "Start pgflex with a wider --member-ports, then retry.",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_given_once() {
        let id = HostId::parse("01890a5d-ac96-774b-bcce-b302099a8057").unwrap();
        let host = Host::new(id, "h", "tcp://10.0.0.1:2376", vec![]);
        assert_eq!(
            free_port((22000, 22006), &HashSet::from([22000, 22002]), &host).unwrap(),
            22001
        );
        let taken = HashSet::from([22000, 22001, 22002]);
        assert!(free_port((22000, 22006), &taken, &host).is_err(), "four are the repository's");
    }
}
