//! High availability on the create form: where both members would go, and what closes a mode.

use super::create_cards::per_month;
use super::create_form::{CreateForm, HA_DISABLED};
use super::create_world::World;
use super::ha_zones::{self, Truth};
use crate::domain::catalog::{Sku, StorageSize, Tier};
use crate::domain::ha::{Durability, HaMode, reason_against};
use crate::domain::ids::HostId;
use crate::domain::network::Access;
use crate::domain::partner::{Need, Site, choose_partner};
use crate::domain::placement::hosts_for;
use crate::domain::refusal::Refusal;
use crate::domain::region::Region;
use crate::web::form::Choice;

type Sizes = (&'static Sku, &'static StorageSize);

/// Why no mode is for a server of this form, wherever it would be.
pub fn reason_against_form(form: &CreateForm) -> Option<&'static str> {
    let tier = Tier::parse(&form.tier)?;
    let access = Access::parse(&form.access).unwrap_or(Access::Public);
    reason_against(tier, access, false)
}

/// The zones of the primary and of its standby. `wanted` are the chosen ones; empty is no preference.
///
/// # Errors
/// Why there are none, at the field that stands in the way.
pub fn place_pair(
    world: &World,
    region: &Region,
    mode: HaMode,
    wanted: (&str, &str),
    sizes: Sizes,
) -> Result<(String, String), Refusal> {
    let (zone, standby_zone) = wanted;
    if mode == HaMode::ZoneRedundant {
        check_standby_zone(region, wanted)?;
    }
    let (mut reason, mut together) = (None, None);
    for (zone, host) in primaries(world, region, zone, sizes) {
        if mode == HaMode::ZoneRedundant && zone == standby_zone {
            continue;
        }
        let world = &with_primary(world, &host, sizes);
        let Some(load) = world.loads.iter().find(|load| load.host.id == host) else { continue };
        let site = Site::of_host(load);
        let primary = (zone.as_str(), &site);
        match place_standby(world, region, mode, primary, standby_zone, sizes) {
            Ok(found) if found.is_apart => return Ok((zone, found.zone)),
            Ok(found) => together = together.or(Some((zone, found.zone))),
            Err(text) => reason = reason.or(Some(text)),
        }
    }
    if let Some(pair) = together {
        return Ok(pair);
    }
    // The zone is shown, and counts, for this mode alone.
    let is_of_zone = mode == HaMode::ZoneRedundant && !standby_zone.is_empty();
    let field = if is_of_zone { "standby_zone" } else { "ha" };
    let reason = reason.unwrap_or_else(|| "No host can take the primary.".into());
    Err(Refusal::at(field, format!("There is no place for a standby now. {reason}")))
}

fn check_standby_zone(region: &Region, (zone, standby_zone): (&str, &str)) -> Result<(), Refusal> {
    let label = &region.label;
    let refuse = |field, text: String| Err(Refusal::at(field, text));
    if region.zones.len() < 2 {
        return refuse("ha", format!("{label} has one zone. Choose “Same zone”."));
    }
    if standby_zone.is_empty() {
        return Ok(());
    }
    if !region.zones.iter().any(|each| each == standby_zone) {
        let zones = region.zones.join(", ");
        return refuse(
            "standby_zone",
            format!("{label} has the zones {zones}. Choose one of them."),
        );
    }
    if standby_zone == zone {
        let text = format!("The primary shall be in zone {zone}. Choose another for the standby.");
        return refuse("standby_zone", text);
    }
    Ok(())
}

/// Every place that the primary could have, zone and host; most memory left first.
fn primaries(world: &World, region: &Region, zone: &str, sizes: Sizes) -> Vec<(String, HostId)> {
    let policy = &world.config.overcommit;
    let (sku, storage) = sizes;
    let mut all: Vec<(String, HostId)> = world
        .zones(region, zone)
        .into_iter()
        .flat_map(|zone| {
            let hosts = hosts_for(&world.loads, &region.key, zone, sku, storage, policy);
            let hosts = hosts.unwrap_or_default();
            hosts.into_iter().map(move |load| (zone.to_owned(), load.host.id.clone()))
        })
        .collect();
    all.sort_by_key(|(_, host)| std::cmp::Reverse(world.memory_left(host)));
    all
}

/// Where a standby can be.
pub struct Placed {
    pub zone: String,
    /// Whether nothing is known that it would share with the primary.
    pub is_apart: bool,
}

/// The zone of a standby beside a primary that the loads count on its host already: the wanted one, or of those that
/// can take it one on another engine before one with more memory left. Both members must reach each other.
///
/// # Errors
/// Why no host can take it.
pub fn place_standby(
    world: &World,
    region: &Region,
    mode: HaMode,
    (zone, site): (&str, &Site),
    wanted: &str,
    (sku, storage): Sizes,
) -> Result<Placed, String> {
    let need = Need { region: &region.key, sku, storage, policy: &world.config.overcommit };
    let candidates: Vec<&str> = match mode {
        HaMode::SameZone => vec![zone],
        HaMode::ZoneRedundant => {
            world.zones(region, wanted).into_iter().filter(|each| *each != zone).collect()
        }
    };
    let mut reason = None;
    let mut best: Option<(&str, (bool, u64))> = None;
    for candidate in candidates {
        match choose_partner(&world.loads, candidate, &need, site) {
            Err(text) => reason = reason.or(Some(text)),
            Ok(found) => {
                let host = &site.seen.host.id;
                let is_apart = ha_zones::of_hosts(&world.loads, host, &found) == Truth::Apart;
                let worth = (is_apart, world.memory_left(&found));
                if best.is_none_or(|(_, most)| worth > most) {
                    best = Some((candidate, worth));
                }
            }
        }
    }
    match best {
        Some((zone, (is_apart, _))) => Ok(Placed { zone: zone.to_owned(), is_apart }),
        None => Err(reason.unwrap_or_else(|| match mode {
            HaMode::ZoneRedundant => "No host serves a second zone.".into(),
            HaMode::SameZone => "No host serves the zone.".into(),
        })),
    }
}

/// The world with the primary counted on its host.
fn with_primary(world: &World, host: &HostId, (sku, storage): Sizes) -> World {
    let mut world = world.clone();
    for load in world.loads.iter_mut().filter(|load| load.host.id == *host) {
        load.promised = load.promised.plus(sku, storage);
    }
    world
}

/// The sizes of a form, where they are some.
pub fn sizes(form: &CreateForm) -> Option<Sizes> {
    Sku::by_name(&form.sku).zip(form.storage.parse().ok().and_then(StorageSize::by_gib))
}

/// The modes as cards: what each survives, what it costs, and why it is closed.
pub fn modes(world: &World, form: &CreateForm) -> Vec<Choice> {
    let prices = &world.config.prices;
    let more = sizes(form).map(|(sku, storage)| prices.text(prices.estimate(sku, storage).total()));
    let disabled = Choice::new(HA_DISABLED, "Disabled")
        .detail("Commits are on one host. A failed container is replaced on the same volume; what is on the host's disk is lost with it.");
    let card = |mode: HaMode| {
        let choice = Choice::new(mode.key(), mode.label()).detail(survives(world, form, mode));
        let choice = match &more {
            Some(more) => {
                choice.fact("2x compute and storage").price(format!("adds {}", per_month(more)))
            }
            None => choice.fact("2x compute and storage"),
        };
        choice.closed(reason(world, form, mode).unwrap_or_default())
    };
    std::iter::once(disabled).chain(HaMode::ALL.map(card)).collect()
}

fn survives(world: &World, form: &CreateForm, mode: HaMode) -> String {
    let truth = truth(world, form, mode);
    let what = match (mode, truth) {
        (_, Some(Truth::OneEngine)) => "survives the loss of a container, not of the host",
        (_, Some(Truth::OneMachine)) => {
            "survives the loss of a container or of an engine, not of the machine"
        }
        (_, Some(Truth::MayShare)) => {
            "survives the loss of a container, and of a host only if the members come to be on two"
        }
        (HaMode::SameZone, _) => "survives the loss of its host, not of the zone",
        (HaMode::ZoneRedundant, _) => "survives the loss of a host and of a zone",
    };
    let place = match mode {
        HaMode::SameZone => "in the same zone",
        HaMode::ZoneRedundant => "in another zone",
    };
    format!("A standby {place} has every acknowledged commit and takes over by itself: {what}.")
}

/// Whether both members would be on one engine; `None` where no pair can be placed.
pub fn truth(world: &World, form: &CreateForm, mode: HaMode) -> Option<Truth> {
    let region = world.region(form)?;
    let sizes = sizes(form)?;
    let standby = if mode == HaMode::ZoneRedundant { form.standby_zone.as_str() } else { "" };
    let (zone, standby) = place_pair(world, region, mode, (&form.zone, standby), sizes).ok()?;
    Some(ha_zones::of_zones(&world.loads, &region.key, &zone, &standby))
}

/// Why a mode cannot be chosen now.
pub fn reason(world: &World, form: &CreateForm, mode: HaMode) -> Option<String> {
    if let Some(reason) = reason_against_form(form) {
        return Some(reason.into());
    }
    let region = world.region(form)?;
    let sizes = sizes(form)?;
    place_pair(world, region, mode, (&form.zone, ""), sizes).err().map(|refusal| refusal.text)
}

/// After a preset: its mode where that is possible, else none.
pub fn settle(form: &mut CreateForm, world: &World) {
    let is_closed = |mode| reason(world, form, mode).is_some();
    if HaMode::parse(&form.ha).is_some_and(is_closed) {
        form.ha = HA_DISABLED.into();
    }
}

/// The zones for the standby; those that cannot be are closed.
pub fn standby_zones(world: &World, form: &CreateForm) -> Vec<Choice> {
    let region = world.region(form);
    let zones = region.into_iter().flat_map(|region| {
        region.zones.iter().map(move |zone| {
            let choice = Choice::new(zone, format!("Zone {zone}"));
            if world.hosts(&region.key, zone).next().is_none() {
                return choice.closed("no host serves it");
            }
            if *zone == form.zone {
                return choice.closed("the primary's zone");
            }
            let fits = |sizes| {
                let wanted = (form.zone.as_str(), zone.as_str());
                place_pair(world, region, HaMode::ZoneRedundant, wanted, sizes).err()
            };
            match sizes(form).and_then(fits) {
                Some(refusal) => choice.closed(refusal.text),
                None => choice,
            }
        })
    });
    std::iter::once(Choice::new("", "Chosen for you")).chain(zones).collect()
}

/// What becomes of writes while there is no standby.
pub fn durabilities() -> Vec<Choice> {
    let card = |durability: Durability| {
        let (label, detail) = match durability {
            Durability::Preferred => (
                "Preferred: stay available",
                "If the standby is lost, writes go on after about 3 s on one host, until a new standby is there. Then a loss of that host loses what was written alone.",
            ),
            Durability::Required => (
                "Required: always on two",
                "If the standby is lost, writes wait until there is a standby again. Reads go on. Once the first standby is there, no commit is acknowledged while only one member has it.",
            ),
        };
        Choice::new(durability.key(), label).detail(detail)
    };
    Durability::ALL.map(card).into()
}

/// What is to be known of the zones that a mode would use; empty when they are on engines of their own.
pub fn warning(world: &World, form: &CreateForm) -> String {
    let Some(mode) = HaMode::parse(&form.ha) else { return String::new() };
    match truth(world, form, mode) {
        Some(truth) => truth.warning().to_owned(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::create_world::tests::{host, world};
    use super::*;
    use crate::domain::placement::HostLoad;

    fn form(ha: &str) -> CreateForm {
        CreateForm {
            region: "westeurope".into(),
            tier: "GeneralPurpose".into(),
            sku: "Standard_D2ds_v5".into(),
            storage: "32".into(),
            ha: ha.into(),
            ..CreateForm::default()
        }
    }

    fn apart(end: &str, gib: u64, zones: &[&str]) -> HostLoad {
        let mut load = host(end, gib, zones);
        load.host.member_address =
            Some(std::net::Ipv4Addr::new(10, 0, 0, end.parse().unwrap()).into());
        if let Some(facts) = &mut load.facts {
            facts.engine_id = end.into();
        }
        load
    }

    fn pair(world: &World, form: &CreateForm) -> Result<(String, String), Refusal> {
        let region = world.region(form).unwrap();
        let wanted = (form.zone.as_str(), form.standby_zone.as_str());
        let mode = HaMode::parse(&form.ha).unwrap();
        place_pair(world, region, mode, wanted, sizes(form).unwrap())
    }

    #[test]
    fn a_standby_goes_to_another_engine_before_one_with_more_room() {
        let world = world(vec![apart("01", 64, &["1", "2"]), apart("02", 24, &["3"])]);
        let (zone, standby) = pair(&world, &form("ZoneRedundant")).unwrap();
        assert!(["1", "2"].contains(&&*zone) && standby == "3", "{zone} {standby}");
        let text = survives(&world, &form("ZoneRedundant"), HaMode::ZoneRedundant);
        assert!(text.contains("of a zone"), "{text}");
        assert_eq!(warning(&world, &form("ZoneRedundant")), "");
    }

    #[test]
    fn a_zone_that_the_primary_cannot_reach_is_closed_with_what_to_set() {
        let local = |zones: &[&str]| {
            let mut load = apart("09", 96, zones);
            load.host.member_address = None;
            load
        };
        let two = world(vec![local(&["1"]), apart("02", 64, &["2"])]);
        let refused = pair(&two, &form("ZoneRedundant")).unwrap_err();
        assert!(refused.text.contains("host-09, which has no member address"), "{refused:?}");
        let cards = modes(&two, &form(HA_DISABLED));
        assert!(cards[2].closed.contains("member_address"), "{}", cards[2].closed);
        assert!(!cards[1].is_closed(), "one host has both");
        let near = CreateForm { zone: "2".into(), ..form(HA_DISABLED) };
        let zones = standby_zones(&two, &near);
        assert!(zones[1].closed.contains("member address"), "{}", zones[1].closed);
        // The local engine has most memory left, and is left to others.
        let loads = vec![local(&["1"]), apart("02", 64, &["2"]), apart("03", 48, &["1"])];
        let chosen = pair(&world(loads), &form("ZoneRedundant")).unwrap();
        assert_eq!(chosen, ("2".into(), "1".into()));
        let loads = vec![local(&["1", "3"]), apart("02", 48, &["2"]), apart("03", 64, &["1"])];
        let chosen = pair(&world(loads), &form("ZoneRedundant")).unwrap();
        assert_eq!(chosen, ("1".into(), "2".into()), "not both on the engine with most room");
    }

    #[test]
    fn zones_of_one_engine_are_told_as_such() {
        let world = world(vec![host("01", 64, &[])]);
        for mode in HaMode::ALL {
            let text = survives(&world, &form(mode.key()), mode);
            assert!(text.contains("loss of a container, not of the host"), "{text}");
            assert!(warning(&world, &form(mode.key())).contains("one Docker Engine"));
        }
    }

    #[test]
    fn the_second_member_needs_room_of_its_own() {
        let small = world(vec![host("01", 12, &[])]);
        let refused = pair(&small, &form("ZoneRedundant")).unwrap_err();
        assert!(refused.text.contains("no place for a standby"), "{refused:?}");
        let cards = modes(&small, &form(HA_DISABLED));
        assert!(cards[1].is_closed() && cards[2].is_closed() && !cards[0].is_closed());
        assert!(cards[2].closed.contains("memory"), "{}", cards[2].closed);
        let mut chosen = form("ZoneRedundant");
        settle(&mut chosen, &small);
        assert_eq!(chosen.ha, HA_DISABLED);
    }

    #[test]
    fn a_mode_needs_its_zones() {
        let one_zone = world(vec![host("01", 64, &["1"])]);
        let refused = pair(&one_zone, &form("ZoneRedundant")).unwrap_err();
        assert!(refused.text.contains("second zone"), "{refused:?}");
        assert_eq!(pair(&one_zone, &form("SameZone")).unwrap(), ("1".into(), "1".into()));
        let all = world(vec![host("01", 64, &[])]);
        let same =
            CreateForm { zone: "1".into(), standby_zone: "1".into(), ..form("ZoneRedundant") };
        assert_eq!(pair(&all, &same).unwrap_err().field, Some("standby_zone"));
        let wanted = CreateForm { standby_zone: "2".into(), ..form("ZoneRedundant") };
        let (zone, standby) = pair(&all, &wanted).unwrap();
        assert!(zone != "2" && standby == "2");
        let burstable = CreateForm { tier: "Burstable".into(), ..form("SameZone") };
        assert!(reason(&all, &burstable, HaMode::SameZone).unwrap().contains("Burstable"));
    }
}
