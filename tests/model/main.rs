//! The decision core and the row, explored by a model checker: every interleaving of writes, steps, crashes and
//! cuts within the bounds. The rules are the product's own (`decide`, `HighAvailability::after`, `check_beside`); the
//! world around them is a model.
//!
//! `PGFLEX_MODEL=large cargo test --test model` looks further: minutes, and some gigabytes of memory.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod liveness;
mod look;
mod mutants;
mod operations;
mod pair;
mod properties;
mod world;

use mutants::Mutant;
use pair::{Bounds, Event, Pair};
use stateright::{Checker, HasDiscoveries, Model};
use std::time::Instant;

const SMALL: Bounds = Bounds { writes: 2, epochs: 3, members: 4, faults: 2, wishes: 1, orders: 1 };
const LARGE: Bounds = Bounds { writes: 3, epochs: 3, members: 5, faults: 3, wishes: 2, orders: 1 };

#[expect(clippy::disallowed_methods, reason = "a switch of this test, not of the product")]
fn bounds() -> Bounds {
    match std::env::var("PGFLEX_MODEL").as_deref() {
        Ok("large") => LARGE,
        _ => SMALL,
    }
}

/// The rules as they are: nothing breaks, and all that must be possible is. Then each broken rule in turn: what it must
/// break breaks. One test, so that the states of all are told together.
#[test]
fn every_invariant_holds_and_every_broken_rule_is_noticed() {
    let (begun, bounds) = (Instant::now(), bounds());
    let (states, broken) = explore(None, bounds);
    assert!(broken.is_empty(), "{}", broken.join("\n\n"));
    let mut total = states;
    let mut survivors = vec![];
    for mutant in Mutant::ALL {
        let (states, missing) = explore(Some(mutant), SMALL);
        total += states;
        if !missing.is_empty() {
            survivors.push(format!("{mutant:?} ({}) does not break {missing:?}", mutant.rule()));
        }
    }
    println!(
        "the rules and {} broken ones: {total} distinct states in {:.0} s",
        Mutant::ALL.len(),
        begun.elapsed().as_secs_f64()
    );
    assert!(survivors.is_empty(), "{}", survivors.join("\n"));
}

/// Distinct states, and what is wrong: of the true model what broke, of a mutant what did not.
fn explore(mutant: Option<Mutant>, bounds: Bounds) -> (usize, Vec<String>) {
    let begun = Instant::now();
    let expected = mutant.map_or(&[] as &[_], Mutant::breaks);
    let enough = match mutant {
        None => HasDiscoveries::All,
        Some(_) => HasDiscoveries::AllOf(expected.iter().copied().collect()),
    };
    let checker =
        Pair { bounds, mutant }.checker().threads(2).finish_when(enough).spawn_bfs().join();
    let found = checker.discoveries();
    let states = checker.unique_state_count();
    let seconds = begun.elapsed().as_secs_f64();
    let Some(mutant) = mutant else {
        println!(
            "the rules as they are: {} states, {states} distinct, depth {}, in {seconds:.1} s, with {bounds:?}",
            checker.state_count(),
            checker.max_depth(),
        );
        let broken = failures(&checker);
        if broken.is_empty() {
            checker.assert_properties();
        }
        return (states, broken);
    };
    let broken: Vec<_> =
        properties::ALWAYS.into_iter().filter(|name| found.contains_key(name)).collect();
    let number = mutant.number().map_or_else(String::new, |number| format!("M5.{number} "));
    println!(
        "{number}{mutant:?} ({}) breaks {broken:?} in {states} distinct states, {seconds:.1} s",
        mutant.rule()
    );
    for name in &broken {
        println!("    {name}: {:?}", found[name].clone().into_actions());
    }
    let missing = expected.iter().filter(|name| !broken.contains(name));
    (states, missing.map(|name| (*name).to_owned()).collect())
}

/// The invariants that do not hold, each with the shortest way there.
fn failures(checker: &impl Checker<Pair>) -> Vec<String> {
    let found = checker.discoveries();
    let broken = properties::ALWAYS.into_iter().filter_map(|name| Some((name, found.get(name)?)));
    let told = |path: &stateright::Path<world::World, Event>| {
        format!("{:?}\n  {:?}", path.clone().into_actions(), path.last_state())
    };
    broken.map(|(name, path)| format!("{name}: {}", told(path))).collect()
}

/// A property that nothing breaks proves nothing, and M5 is there as a whole.
#[test]
fn every_invariant_is_broken_by_a_mutant_and_every_mutant_of_m5_is_there() {
    for name in properties::ASKED {
        let by = Mutant::ALL.into_iter().filter(|mutant| mutant.breaks().contains(&name));
        assert!(by.count() > 0, "{name}");
    }
    let rules: Vec<_> =
        Mutant::ALL.iter().filter(|it| it.number().is_some()).map(|it| it.rule()).collect();
    assert_eq!(rules, ["A4", "D1", "F1", "F6", "C3", "N1", "W4", "P4", "N3", "F4"]);
    let known: Vec<_> = properties::all().iter().map(|property| property.name).collect();
    assert!(properties::ALWAYS.iter().all(|name| known.contains(name)));
    assert!(Mutant::ALL.iter().all(|mutant| !mutant.breaks().is_empty()));
}

/// L1 as M4 asks for it. Fewer writes and faults than above: what strands a pair needs few.
#[test]
fn from_every_state_there_is_a_way_to_writes() {
    let begun = Instant::now();
    let bounds = Bounds { writes: 1, members: 4, epochs: 3, faults: 2, wishes: 1, orders: 0 };
    let reached = liveness::Reached::by(&Pair { bounds, mutant: None });
    println!(
        "a way to writes: from each of {} states, in {:.0} s, with {bounds:?}",
        reached.len(),
        begun.elapsed().as_secs_f64()
    );
    assert_eq!(reached.stranded(), None);
    let few = Bounds { faults: 1, wishes: 0, ..bounds };
    for mutant in [Mutant::NeverDisarms, Mutant::NobodyResumes] {
        let broken = liveness::Reached::by(&Pair { bounds: few, mutant: Some(mutant) });
        println!("{mutant:?}: stranded by {:?}", broken.stranded());
        assert_ne!(broken.stranded(), None, "{mutant:?}");
    }
}
