//! Whether zones are apart. A zone is a failure domain only as far as it has a Docker Engine of its own;
//! where it has not, the page says so in plain words.

use super::Seen;
use crate::domain::placement::HostLoad;
use crate::domain::region::Region;
use crate::domain::sharing::{SeenHost, SharedBy, shared};
use std::collections::BTreeMap;

/// What is true of the zones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ZoneTruth {
    /// There is no host at all.
    NoHost,
    /// Everything is on the engine of this host.
    OneEngine(String),
    /// One sentence for each thing to know; empty when every zone has an engine of its own.
    Several(Vec<String>),
}

/// Compares the zones of the regions with the hosts that serve them.
pub fn truth(regions: &[Region], seen: &Seen) -> ZoneTruth {
    let Some(first) = seen.loads.first() else { return ZoneTruth::NoHost };
    let engine = |load: &HostLoad| engine_of(load, seen);
    if seen.loads.iter().all(|load| engine(load) == engine(first)) {
        return ZoneTruth::OneEngine(first.host.name.clone());
    }
    // The same sentence of several regions is said once.
    let mut said: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for region in regions {
        for text in about(region, seen) {
            said.entry(text).or_default().push(&region.label);
        }
    }
    let sentence = |(text, labels): (String, Vec<&str>)| {
        let all = labels.len() == regions.len() && regions.len() > 1;
        let place = if all { "Every region".to_owned() } else { labels.join(", ") };
        format!("{place}: {text}")
    };
    ZoneTruth::Several(said.into_iter().map(sentence).collect())
}

/// What there is to say of one region.
fn about(region: &Region, seen: &Seen) -> Vec<String> {
    let mut zones_of: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let mut said = vec![];
    for zone in &region.zones {
        let here: Vec<_> =
            seen.loads.iter().filter(|load| load.host.serves(&region.key, zone)).collect();
        if here.is_empty() {
            said.push(format!("zone {zone} has no host; no server can be created there."));
        }
        let mut engines: Vec<_> = here.iter().map(|load| engine_of(load, seen)).collect();
        engines.sort();
        engines.dedup();
        for engine in engines {
            zones_of.entry(engine).or_default().push(zone);
        }
    }
    said.extend(machines(region, seen));
    for (engine, zones) in zones_of.into_iter().filter(|(_, zones)| zones.len() > 1) {
        let name = host_name(&engine, seen);
        said.push(format!(
            "zones {} share the Docker Engine of host {name}; when it is lost, they are lost together.",
            zones.join(", ")
        ));
    }
    said
}

/// Zones whose engines differ and whose machine, by the addresses, does not.
fn machines(region: &Region, seen: &Seen) -> Vec<String> {
    let hosts = |zone: &String| -> Vec<SeenHost> {
        let here = seen.loads.iter().filter(|load| load.host.serves(&region.key, zone));
        let seen_host = |load: &HostLoad| SeenHost {
            host: load.host.clone(),
            engine_id: Some(engine_of(load, seen)),
        };
        here.map(seen_host).collect()
    };
    let mut said = vec![];
    for (at, a) in region.zones.iter().enumerate() {
        for b in &region.zones[at + 1..] {
            let sharing = shared(&hosts(a), &hosts(b));
            said.extend(
                sharing
                    .filter(|sharing| sharing.by == SharedBy::Machine)
                    .map(|sharing| sharing.sentence(a, b).replacen("Zones", "zones", 1)),
            );
        }
    }
    said
}

/// What tells engines apart: the id that the engine told, else the address.
fn engine_of(load: &HostLoad, seen: &Seen) -> String {
    let facts = seen.observations.get(&load.host.id).and_then(|seen| seen.facts.as_ref());
    match facts.map(|(_, facts)| facts.engine_id.as_str()) {
        Some(id) if !id.is_empty() => id.to_owned(),
        _ => load.host.address.clone(),
    }
}

fn host_name(engine: &str, seen: &Seen) -> String {
    let same = seen.loads.iter().filter(|load| engine_of(load, seen) == engine);
    same.map(|load| load.host.name.as_str()).collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::new_id;
    use crate::domain::host::{Host, Place};
    use crate::domain::ids::HostId;
    use crate::domain::placement::Promise;
    use crate::domain::region::default_regions;
    use std::collections::HashMap;

    fn load(name: &str, places: &[(&str, &str)]) -> HostLoad {
        let place = |(region, zone): &(&str, &str)| Place {
            region: (*region).into(),
            zone: (*zone).into(),
        };
        let places = places.iter().map(place).collect();
        let host = Host::new(new_id(HostId::parse), name, format!("tcp://{name}"), places);
        HostLoad { host, facts: None, promised: Promise::default() }
    }

    fn seen(loads: Vec<HostLoad>) -> Seen {
        Seen { loads, observations: HashMap::new(), members: vec![], drifts: HashMap::new() }
    }

    #[test]
    fn one_engine_is_called_one_engine() {
        let regions = default_regions();
        assert_eq!(truth(&regions, &seen(vec![])), ZoneTruth::NoHost);
        assert_eq!(truth(&regions, &seen(vec![load("a", &[])])), ZoneTruth::OneEngine("a".into()));
    }

    #[test]
    fn shared_and_empty_zones_are_named() {
        let regions = &default_regions()[..1];
        let hosts = vec![
            load("a", &[("westeurope", "1"), ("westeurope", "2")]),
            load("b", &[("uksouth", "1")]),
        ];
        let ZoneTruth::Several(said) = truth(regions, &seen(hosts)) else {
            panic!("several engines")
        };
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].contains("zone 3 has no host"), "{said:?}");
        assert!(said[1].contains("zones 1, 2 share the Docker Engine of host a"), "{said:?}");
    }

    #[test]
    fn zones_apart_give_nothing_to_say() {
        let regions = &default_regions()[..1];
        let hosts = ["1", "2", "3"].map(|zone| load(zone, &[("westeurope", zone)]));
        assert_eq!(truth(regions, &seen(hosts.into())), ZoneTruth::Several(vec![]));
    }
}
