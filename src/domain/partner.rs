//! Which hosts can have the two members of a pair. Each member must reach the other, whichever of them is the
//! primary: they are on one Docker Engine, or both are published at addresses of their hosts.

use super::catalog::{Sku, StorageSize};
use super::host::Overcommit;
use super::ids::HostId;
use super::placement::{HostLoad, hosts_for};
use super::server::Member;
use super::sharing::{SeenHost, is_one_engine};

/// Where a member is, or would be.
#[derive(Debug, Clone, PartialEq)]
pub struct Site {
    pub seen: SeenHost,
    /// Whether other machines reach a member there.
    pub is_published: bool,
}

impl Site {
    /// Of a member that is yet to be placed.
    pub fn of_host(load: &HostLoad) -> Self {
        Self { seen: load.into(), is_published: load.host.member_address.is_some() }
    }

    /// Of one that is there: it has no port when it was placed before its host had a member address.
    pub fn of_member(load: &HostLoad, member: &Member) -> Self {
        let is_published = load.host.member_address.is_some() && member.port.is_some();
        Self { seen: load.into(), is_published }
    }

    fn why_not_reached(&self) -> String {
        let name = &self.seen.host.name;
        match self.seen.host.member_address {
            None => format!(
                "Members elsewhere cannot reach host {name}, which has no member address. Set its member_address, in the configuration file or on the Hosts page, while no server is on it."
            ),
            Some(_) => format!(
                "Members elsewhere cannot reach this server: it was placed on host {name} before the host had a member address. Create it anew and move its data, or choose a zone of the same Docker Engine."
            ),
        }
    }
}

/// Why two members cannot be a pair, in words that say what to set. `None` when they can.
pub fn reason_against_pair(one: &Site, other: &Site) -> Option<String> {
    if is_one_engine(&one.seen, &other.seen) {
        return None;
    }
    [one, other].into_iter().find(|site| !site.is_published).map(Site::why_not_reached)
}

/// What each member of a pair needs of its host.
#[derive(Debug, Clone, Copy)]
pub struct Need<'a> {
    pub region: &'a str,
    pub sku: &'a Sku,
    pub storage: &'a StorageSize,
    pub policy: &'a Overcommit,
}

impl Need<'_> {
    fn hosts<'a>(
        &self,
        loads: impl IntoIterator<Item = &'a HostLoad>,
        zone: &str,
    ) -> Result<Vec<&'a HostLoad>, String> {
        hosts_for(loads, self.region, zone, self.sku, self.storage, self.policy)
    }

    /// The loads with a member more on a host.
    fn with_member(&self, loads: &[HostLoad], host: &HostId) -> Vec<HostLoad> {
        let mut loads = loads.to_vec();
        for load in loads.iter_mut().filter(|load| load.host.id == *host) {
            load.promised = load.promised.plus(self.sku, self.storage);
        }
        loads
    }
}

/// The host for the other member of a pair, in a zone: on another engine than the first wherever one has room.
///
/// # Errors
/// Why no host of the zone can have it.
pub fn choose_partner(
    loads: &[HostLoad],
    zone: &str,
    need: &Need<'_>,
    beside: &Site,
) -> Result<HostId, String> {
    let here = loads.iter().filter(|load| load.host.serves(need.region, zone));
    let why = |load: &HostLoad| reason_against_pair(beside, &Site::of_host(load));
    let (open, closed): (Vec<_>, Vec<_>) = here.partition(|load| why(load).is_none());
    if let (true, Some(first)) = (open.is_empty(), closed.first()) {
        return Err(why(first).unwrap_or_default());
    }
    let hosts = need.hosts(open, zone)?;
    let is_apart = |load: &&&HostLoad| !is_one_engine(&beside.seen, &SeenHost::from(**load));
    let chosen = hosts.iter().find(is_apart).or(hosts.first());
    chosen.map(|load| load.host.id.clone()).ok_or_else(|| "No host serves the zone.".into())
}

/// The hosts of a zone for the primary of a pair, with the standby in another zone or the same one: those first beside
/// which there is room for it now, then those beside which it can be once there is room.
///
/// # Errors
/// Why no host can have the primary, or none of them a standby.
pub fn primaries(
    loads: &[HostLoad],
    zone: &str,
    standby_zone: &str,
    need: &Need<'_>,
) -> Result<Vec<HostId>, String> {
    let (mut first, mut later, mut reason) = (vec![], vec![], None);
    for load in need.hosts(loads, zone)? {
        let (id, site) = (&load.host.id, Site::of_host(load));
        match choose_partner(&need.with_member(loads, id), standby_zone, need, &site) {
            Ok(_) => first.push(id.clone()),
            Err(_) if can_have_partner(loads, standby_zone, need, &site) => later.push(id.clone()),
            Err(text) => reason = reason.or(Some(text)),
        }
    }
    first.append(&mut later);
    if first.is_empty() { Err(reason.unwrap_or_default()) } else { Ok(first) }
}

fn can_have_partner(loads: &[HostLoad], zone: &str, need: &Need<'_>, site: &Site) -> bool {
    let mut there = loads.iter().filter(|load| load.host.serves(need.region, zone));
    there.any(|load| reason_against_pair(site, &Site::of_host(load)).is_none())
}

#[cfg(test)]
#[path = "partner_tests.rs"]
mod tests;
