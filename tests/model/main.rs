//! The decision core and the row, explored by a model checker: every interleaving of writes, steps, crashes and
//! cuts within the bounds. The rules are the product's own (`decide`, `HighAvailability::after`, `check_beside`); the
//! world around them is a model.
//!
//! `PGFLEX_MODEL=large cargo test --test model` looks further: minutes, and some gigabytes of memory.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod look;
mod mutants;
mod operations;
mod pair;
mod properties;
mod world;

use mutants::Mutant;
use pair::{Bounds, Event, Pair};
use stateright::{Checker, HasDiscoveries, Model};
use world::World;

const SMALL: Bounds = Bounds { writes: 2, epochs: 3, members: 4, faults: 2, wishes: 1 };
const LARGE: Bounds = Bounds { writes: 3, epochs: 3, members: 5, faults: 3, wishes: 2 };

#[expect(clippy::disallowed_methods, reason = "a switch of this test, not of the product")]
fn bounds() -> Bounds {
    match std::env::var("PGFLEX_MODEL").as_deref() {
        Ok("large") => LARGE,
        _ => SMALL,
    }
}

#[test]
fn every_invariant_holds_in_every_state() {
    let bounds = bounds();
    let begun = std::time::Instant::now();
    let checker = Pair { bounds, mutant: None }.checker().threads(2).spawn_bfs().join();
    println!(
        "{} states, {} distinct, depth {}, in {:.1} s, with {bounds:?}",
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth(),
        begun.elapsed().as_secs_f64()
    );
    let broken = failures(&checker);
    assert!(broken.is_empty(), "{}", broken.join("\n\n"));
    checker.assert_properties();
}

/// The invariants that do not hold, each with the shortest way there.
fn failures(checker: &impl Checker<Pair>) -> Vec<String> {
    let found = checker.discoveries();
    let mut found: Vec<_> = found.iter().filter(|(name, _)| name.starts_with(['I', 'L'])).collect();
    found.sort_by_key(|(name, _)| **name);
    let told = |path: &stateright::Path<World, Event>| {
        let world = path.last_state();
        format!(
            "{:?}\n  row {:?} {:?}->{:?}\n  {world:?}",
            path.clone().into_actions(),
            world.row.state,
            world.row.primary,
            world.row.standby
        )
    };
    found.into_iter().map(|(name, path)| format!("{name}: {}", told(path))).collect()
}

#[test]
fn every_broken_rule_is_noticed() {
    let mut survivors = vec![];
    for mutant in Mutant::ALL {
        let checker = Pair { bounds: SMALL, mutant: Some(mutant) }
            .checker()
            .threads(2)
            .finish_when(HasDiscoveries::AnyFailures)
            .spawn_bfs()
            .join();
        let found = failures(&checker);
        for line in &found {
            println!("{mutant:?}: {line}");
        }
        if found.is_empty() {
            survivors.push(mutant);
        }
    }
    assert!(survivors.is_empty(), "not noticed: {survivors:?}");
}
