//! Whether the two members of a pair can be lost at once, by what the engines said of themselves.

use crate::domain::ids::HostId;
use crate::domain::placement::HostLoad;
use crate::domain::sharing::{SeenHost, shared};
use std::collections::HashSet;
use std::slice::from_ref;

/// What two places have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Truth {
    /// Engines of their own.
    Apart,
    /// One Docker Engine, whatever the places are called.
    OneEngine,
    /// Two engines at one machine, by their addresses.
    OneMachine,
    /// They share some engine or machine, so that both members may come to be on one.
    MayShare,
    /// An engine has never answered.
    Unknown,
}

impl Truth {
    /// What a person must know before they rely on it; empty when there is nothing.
    pub fn warning(self) -> &'static str {
        match self {
            Truth::Apart => "",
            Truth::OneEngine => {
                "Primary and standby share one Docker Engine: this survives the loss of a container, not of the host. With the host all of it is lost."
            }
            Truth::OneMachine => {
                "Primary and standby are on two Docker Engines of one machine, by their addresses: this survives the loss of a container or of an engine, not of the machine. With the machine all of it is lost."
            }
            Truth::MayShare => {
                "The zones share a Docker Engine or a machine: when both members come to be on it, this survives the loss of a container, not of the host."
            }
            Truth::Unknown => {
                "Whether the two zones are on one Docker Engine is not known: one of the engines has not answered yet."
            }
        }
    }
}

fn engine(load: &HostLoad) -> Option<&str> {
    load.facts.as_ref().map(|facts| facts.engine_id.as_str())
}

/// Of two hosts.
pub fn of_hosts(loads: &[HostLoad], one: &HostId, other: &HostId) -> Truth {
    if one == other {
        return Truth::OneEngine;
    }
    let find = |id: &HostId| loads.iter().find(|load| load.host.id == *id);
    let Some((one, other)) = find(one).zip(find(other)) else { return Truth::Unknown };
    match engine(one).zip(engine(other)) {
        Some((one, other)) if one == other => Truth::OneEngine,
        _ if is_one_machine(one, other) => Truth::OneMachine,
        Some(_) => Truth::Apart,
        None => Truth::Unknown,
    }
}

/// Of two hosts whose engines differ.
fn is_one_machine(one: &HostLoad, other: &HostLoad) -> bool {
    shared(from_ref(&SeenHost::from(one)), from_ref(&SeenHost::from(other))).is_some()
}

/// Of two zones of a region, whichever of their hosts the members are on.
pub fn of_zones(loads: &[HostLoad], region: &str, zone_a: &str, zone_b: &str) -> Truth {
    let engines = |zone: &str| -> HashSet<Option<&str>> {
        let there = loads.iter().filter(|load| load.host.serves(region, zone));
        there.map(engine).collect()
    };
    let (one, other) = (engines(zone_a), engines(zone_b));
    match (one.len(), other.len()) {
        (1, 1) if one == other && !one.contains(&None) => Truth::OneEngine,
        // Two silent engines look alike; one host alone is one engine.
        (1, 1) if one == other && loads.len() == 1 => Truth::OneEngine,
        _ if one.contains(&None) || other.contains(&None) => Truth::Unknown,
        _ if one.is_disjoint(&other) => of_machines(loads, region, zone_a, zone_b),
        _ => Truth::MayShare,
    }
}

/// Of two zones that share no engine.
fn of_machines(loads: &[HostLoad], region: &str, zone_a: &str, zone_b: &str) -> Truth {
    let hosts = |zone: &str| -> Vec<&HostLoad> {
        loads.iter().filter(|load| load.host.serves(region, zone)).collect()
    };
    let (a, b) = (hosts(zone_a), hosts(zone_b));
    let ways = a.len() * b.len();
    let same = |one: &&HostLoad| b.iter().filter(|other| is_one_machine(one, other)).count();
    match a.iter().map(same).sum::<usize>() {
        0 => Truth::Apart,
        all if all == ways => Truth::OneMachine,
        _ => Truth::MayShare,
    }
}

#[cfg(test)]
mod tests {
    use super::super::create_world::tests::host;
    use super::*;

    fn on(engine: &str, end: &str, zones: &[&str]) -> HostLoad {
        let mut load = host(end, 8, zones);
        if let Some(facts) = &mut load.facts {
            facts.engine_id = engine.into();
        }
        load
    }

    #[test]
    fn names_of_zones_protect_nobody() {
        let of = |loads: &[HostLoad]| of_zones(loads, "westeurope", "1", "2");
        assert_eq!(of(&[on("a", "01", &[])]), Truth::OneEngine);
        assert_eq!(of(&[on("a", "01", &["1"]), on("a", "02", &["2"])]), Truth::OneEngine);
        assert_eq!(of(&[on("a", "01", &["1"]), on("b", "02", &["2"])]), Truth::Apart);
        let wide = [on("a", "01", &["1", "2"]), on("b", "02", &["2"])];
        assert_eq!(of(&wide), Truth::MayShare);
        let silent = [HostLoad { facts: None, ..host("01", 8, &["1"]) }, on("b", "02", &["2"])];
        assert_eq!(of(&silent), Truth::Unknown);
        let (one, two) = (&wide[0].host.id, &wide[1].host.id);
        assert_eq!(of_hosts(&wide, one, two), Truth::Apart);
        assert_eq!(of_hosts(&wide, one, one), Truth::OneEngine);
    }

    #[test]
    fn two_engines_of_one_machine_are_lost_together() {
        let at = |address: &str, engine: &str, end: &str, zone: &str| {
            let mut load = on(engine, end, &[zone]);
            load.host.address = address.into();
            load
        };
        let first = at("tcp://10.0.0.1:2376", "a", "01", "1");
        let beside = at("tcp://10.0.0.1:2377", "b", "02", "2");
        let away = at("tcp://10.0.0.9:2376", "c", "03", "2");
        let of = |loads: &[HostLoad]| of_zones(loads, "westeurope", "1", "2");
        let both = [first.clone(), beside.clone()];
        assert_eq!(of(&both), Truth::OneMachine);
        assert_eq!(of_hosts(&both, &both[0].host.id, &both[1].host.id), Truth::OneMachine);
        assert_eq!(of(&[first.clone(), away.clone()]), Truth::Apart);
        assert_eq!(of(&[first, beside, away]), Truth::MayShare);
    }
}
