//! The decision core and the row, explored by a model checker: every interleaving of writes, steps, crashes and
//! cuts within the bounds. The rules are the product's own (`decide`, `HighAvailability::after`, `check_beside`); the
//! world around them is a model. Which mutant is which of M5's list is told in `mutants.rs`, the invariants are in
//! `properties.rs`, what may happen in `pair.rs`, what operations do in `operations.rs`.
//!
//! `PGFLEX_MODEL=large cargo test --test model` looks further: minutes, and some gigabytes of memory.
//! `PGFLEX_MUTANT=NoGate` hunts for one mutant alone.

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
use std::collections::BTreeSet;
use std::time::Instant;

/// Faults and people who change the primary; then choices of durability; then orders that arrive late: each alone with the
/// faults that it takes, because all of them together are too many states for every day.
const FAULTS: Bounds =
    Bounds { writes: 2, epochs: 3, members: 4, faults: 2, wishes: 1, choices: 0, orders: 0 };
const CHOICES: Bounds =
    Bounds { writes: 1, epochs: 2, members: 2, faults: 1, wishes: 0, choices: 1, orders: 0 };
const ORDERS: Bounds =
    Bounds { writes: 1, epochs: 2, members: 2, faults: 2, wishes: 0, choices: 0, orders: 1 };
const LARGE: Bounds =
    Bounds { writes: 3, epochs: 3, members: 5, faults: 3, wishes: 2, choices: 1, orders: 1 };

#[expect(clippy::disallowed_methods, reason = "a switch of this test, not of the product")]
fn bounds() -> Vec<Bounds> {
    match std::env::var("PGFLEX_MODEL").as_deref() {
        Ok("large") => vec![LARGE],
        _ => vec![FAULTS, CHOICES, ORDERS],
    }
}

/// The rules as they are: nothing breaks, and all that must be possible is.
#[test]
fn every_invariant_holds_in_every_state() {
    let begun = Instant::now();
    let (mut total, mut seen) = (0, BTreeSet::new());
    for bounds in bounds() {
        let (states, broken, reached) = explore(bounds);
        assert!(broken.is_empty(), "{}", broken.join("\n\n"));
        total += states;
        seen.extend(reached);
    }
    println!("the rules as they are: {total} distinct states in all, {:.0} s", seconds(begun));
    for sight in properties::sights() {
        assert!(seen.contains(sight.name), "never reached: {}", sight.name);
    }
}

fn seconds(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64()
}

/// Distinct states, what broke, and what was reached.
fn explore(bounds: Bounds) -> (usize, Vec<String>, Vec<&'static str>) {
    let begun = Instant::now();
    let checker = Pair { bounds, mutant: None }.checker().threads(2).spawn_bfs().join();
    println!(
        "the rules as they are: {} states, {} distinct, depth {}, in {:.1} s, with {bounds:?}",
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth(),
        seconds(begun)
    );
    let reached = checker.discoveries().into_keys().collect();
    (checker.unique_state_count(), failures(&checker), reached)
}

/// All mutants, or the one of this name.
#[expect(clippy::disallowed_methods, reason = "a switch of this test, not of the product")]
fn chosen() -> Vec<Mutant> {
    let name = std::env::var("PGFLEX_MUTANT").ok();
    let is_asked =
        |mutant: &Mutant| name.as_ref().is_none_or(|name| *name == format!("{mutant:?}"));
    Mutant::ALL.into_iter().filter(is_asked).collect()
}

/// Each broken rule in turn: what it must break breaks.
#[test]
fn every_broken_rule_is_noticed() {
    let begun = Instant::now();
    let (mut total, mut survivors) = (0, vec![]);
    for mutant in chosen() {
        let (states, missing) = hunt(mutant);
        total += states;
        if !missing.is_empty() {
            survivors.push(format!("{mutant:?} ({}) does not break {missing:?}", mutant.rule()));
        }
    }
    println!("{} broken rules: {total} distinct states, {:.0} s", chosen().len(), seconds(begun));
    assert!(survivors.is_empty(), "{}", survivors.join("\n"));
}

/// Distinct states that were looked at, and what it should have broken and did not.
fn hunt(mutant: Mutant) -> (usize, Vec<&'static str>) {
    let begun = Instant::now();
    let expected: BTreeSet<_> = mutant.breaks().iter().copied().collect();
    let checker = Pair { bounds: mutant.bounds(), mutant: Some(mutant) }
        .checker()
        .threads(2)
        .finish_when(HasDiscoveries::AllOf(expected.clone()))
        .spawn_bfs()
        .join();
    let (found, states) = (checker.discoveries(), checker.unique_state_count());
    let broken: Vec<_> =
        properties::ALWAYS.into_iter().filter(|name| found.contains_key(name)).collect();
    let number = mutant.number().map_or_else(String::new, |number| format!("M5.{number} "));
    println!(
        "{number}{mutant:?} ({}) breaks {broken:?} in {states} distinct states, {:.1} s",
        mutant.rule(),
        seconds(begun)
    );
    for name in &broken {
        println!("    {name}: {:?}", found[name].clone().into_actions());
    }
    (states, expected.into_iter().filter(|name| !broken.contains(name)).collect())
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

/// L1 as M4 asks for it. Fewer faults than above: what strands a pair needs few.
#[test]
fn from_every_state_there_is_a_way_to_writes() {
    let begun = Instant::now();
    let bounds = Bounds { members: 3, wishes: 1, ..CHOICES };
    let reached = liveness::Reached::by(&Pair { bounds, mutant: None });
    println!(
        "a way to writes: from each of {} states, in {:.0} s, with {bounds:?}",
        reached.len(),
        begun.elapsed().as_secs_f64()
    );
    assert_eq!(reached.stranded(), None);
    let few = Bounds { choices: 0, ..bounds };
    for mutant in [Mutant::NeverDisarms, Mutant::NobodyResumes] {
        let broken = liveness::Reached::by(&Pair { bounds: few, mutant: Some(mutant) });
        println!("{mutant:?}: stranded by {:?}", broken.stranded());
        assert_ne!(broken.stranded(), None, "{mutant:?}");
    }
}
