//! Which host has the second repository of a server: one whose loss is not that of the first.

use super::super::ids::HostId;
use super::super::partner::{Site, reason_against_pair};
use super::super::placement::HostLoad;
use super::super::server::{Member, ServerSpec};
use super::super::sharing::{SeenHost, is_one_engine};
use super::{Protection, Redundancy, Repository, RepositoryState};

/// The host for the second repository of a server whose first is beside `primary`, in another zone than `zone` of the
/// same region: on another engine wherever one can be reached, and of those the one with the most space left.
///
/// # Errors
/// Why no host can have it, in words that say what to set.
pub fn choose_second(
    loads: &[HostLoad],
    (region, zone): (&str, &str),
    primary: &Site,
) -> Result<HostId, String> {
    let elsewhere = |load: &&HostLoad| {
        let mut places = load.host.places.iter();
        load.host.id != primary.seen.host.id
            && !load.host.serves(region, zone)
            && places.any(|place| place.region == region)
    };
    let mut reason = format!(
        "No host serves another zone of region {region} than zone {zone}. Add one on the Hosts page, or keep backups locally redundant."
    );
    let mut open = vec![];
    for load in loads.iter().filter(elsewhere) {
        match reason_against(load, primary) {
            None => open.push(load),
            Some(why) => reason = why,
        }
    }
    let apart = |load: &HostLoad| !is_one_engine(&primary.seen, &SeenHost::from(load));
    let space = |load: &HostLoad| load.facts.as_ref().and_then(|facts| facts.storage_free_bytes);
    let best = open.into_iter().max_by_key(|load| (apart(load), space(load)));
    best.map(|load| load.host.id.clone()).ok_or(reason)
}

/// The same for a server that is there: beside its primary, and on no host that has another repository of it.
///
/// # Errors
/// As [`choose_second`].
pub fn choose_second_of(
    loads: &[HostLoad],
    known: &[Repository],
    (spec, primary): (&ServerSpec, &Member),
) -> Result<HostId, String> {
    let here = loads.iter().find(|load| load.host.id == primary.host_id);
    let here = here.ok_or("The primary's host is no longer configured.")?;
    let is_taken = |load: &HostLoad| {
        let is_there =
            |one: &Repository| one.host_id == load.host.id && !one.is_in_object_storage();
        known.iter().any(is_there) && load.host.id != primary.host_id
    };
    let free: Vec<HostLoad> = loads.iter().filter(|load| !is_taken(load)).cloned().collect();
    // One that was placed before zones were noted of members is where its server is.
    let zone = if primary.zone.is_empty() { &spec.zone } else { &primary.zone };
    choose_second(&free, (&spec.region, zone), &Site::of_member(here, primary))
}

/// Why a server that is there cannot have a second repository; `None` where one is prepared, or a host can have it.
pub fn reason_against_second(
    loads: &[HostLoad],
    known: &[Repository],
    of: (&ServerSpec, &Member),
) -> Option<String> {
    let is_prepared = |one: &Repository| one.number == 2 && one.state != RepositoryState::Planned;
    match known.iter().any(is_prepared) {
        true => None,
        false => choose_second_of(loads, known, of).err(),
    }
}

/// Why a repository beside the first must stay: without it the log would go into none. `None` where it may end.
pub fn reason_against_leaving(protection: &Protection, to: Redundancy) -> Option<String> {
    let is_active = |one: &&Repository| one.state == RepositoryState::Active;
    let mut active = protection.repositories.iter().filter(is_active).map(|one| one.number);
    let ends = |number: &i64| *number != 1 && to.second() != Some(*number);
    let alone = active.next().filter(|number| ends(number) && active.next().is_none());
    alone.map(|number| {
        format!("The first repository is suspended: repository {number} is the only one that the log goes into. Wait until the first is in use again.")
    })
}

/// A host that does not answer now could keep the first copy waiting for as long as it is away.
fn reason_against(load: &HostLoad, primary: &Site) -> Option<String> {
    match load.facts {
        None => Some(format!("Host {} does not answer.", load.host.name)),
        Some(_) => reason_against_pair(primary, &Site::of_host(load)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::host::{EngineFacts, Host, Place};
    use crate::domain::placement::Promise;

    fn load(end: u8, zone: &str, engine: &str, address: Option<&str>) -> HostLoad {
        let id = HostId::parse(&format!("01890a5d-ac96-774b-bcce-b302099a80{end:02}")).unwrap();
        let place = Place { region: "westeurope".into(), zone: zone.into() };
        let mut host = Host::new(id, format!("h{end}"), format!("unix:///{end}"), vec![place]);
        host.member_address = address.map(|ip| ip.parse().unwrap());
        let facts = EngineFacts {
            engine_id: engine.into(),
            storage_free_bytes: Some(u64::from(end) << 30),
            ..EngineFacts::default()
        };
        HostLoad { host, facts: Some(facts), promised: Promise::default() }
    }

    fn choose(loads: &[HostLoad]) -> Result<String, String> {
        let chosen = choose_second(loads, ("westeurope", "1"), &Site::of_host(&loads[0]))?;
        Ok(loads.iter().find(|load| load.host.id == chosen).unwrap().host.name.clone())
    }

    #[test]
    fn another_engine_goes_before_more_space_and_more_space_before_less() {
        let near = load(1, "1", "a", Some("10.0.0.1"));
        let twin = load(9, "2", "a", None);
        let (far, farther) =
            (load(2, "2", "b", Some("10.0.0.2")), load(3, "3", "c", Some("10.0.0.3")));
        assert_eq!(choose(&[near.clone(), twin.clone()]), Ok("h9".into()), "one engine will do");
        assert_eq!(choose(&[near.clone(), twin, far.clone()]), Ok("h2".into()));
        assert_eq!(choose(&[near, far, farther]), Ok("h3".into()));
    }

    #[test]
    fn the_same_zone_another_region_and_what_is_not_reached_are_none() {
        let near = load(1, "1", "a", None);
        let beside = load(2, "1", "b", Some("10.0.0.2"));
        let mut abroad = load(3, "2", "c", Some("10.0.0.3"));
        abroad.host.places[0].region = "northeurope".into();
        let why = choose(&[near.clone(), beside, abroad]).unwrap_err();
        assert!(why.contains("another zone"), "{why}");
        let far = load(4, "2", "b", Some("10.0.0.4"));
        let why = choose(&[near.clone(), far]).unwrap_err();
        assert!(why.contains("host h1") && why.contains("member_address"), "{why}");
        let silent = HostLoad { facts: None, ..load(5, "2", "a", None) };
        let why = choose(&[near, silent]).unwrap_err();
        assert!(why.contains("does not answer"), "{why}");
    }
}
