//! Durability chosen anew: with a standby, without one, while one is being built, and with a standby that is silent.

use super::pairs::Pair;
use super::{once, world};
use crate::world::World;
use pgflex::domain::activity::Actor;
use pgflex::domain::ha::{Durability, MemberRole, ReplicationState as S};
use pgflex::domain::ids::{OperationId, ServerId};
use pgflex::domain::operation::{Operation, OperationKind as Kind, OperationStatus as Status};
use pgflex::engine::EngineError;
use pgflex::engine::fake::Fault;
use pgflex::operations::kinds::steps;
use pgflex::operations::runner::{Hook, Interference, Point};
use pgflex::operations::submit::Change;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const BOTH_WAYS: [(Durability, Durability); 2] =
    [(Durability::Preferred, Durability::Required), (Durability::Required, Durability::Preferred)];

async fn ask(world: &World, kind: Kind, server: &ServerId, input: Value) -> OperationId {
    let change = Change { kind, input };
    world.door().submit_change(change, server, &Actor::system(), None).await.unwrap()
}

async fn choose(world: &World, server: &ServerId, durability: Durability) -> OperationId {
    ask(world, Kind::ChangeDurability, server, json!({ "durability": durability })).await
}

async fn done(world: &World, id: &OperationId) -> Operation {
    let ended = world.run_to_rest(&world.runner(), id).await;
    assert_eq!(ended.status, Status::Succeeded, "{:?}: {:?}", ended.kind, ended.error);
    ended
}

/// A pair in sync with a durability.
async fn in_sync(world: &World, durability: Durability) -> Operation {
    let id = world.submit(Kind::BuildStandby).await;
    let built = done(world, &id).await;
    if durability == Durability::Required {
        done(world, &choose(world, &built.server_id, durability).await).await;
    }
    Pair::of(world, &built).await.assert_in_sync("as it begins").await;
    built
}

/// The same after its standby was lost, with all it had where `is_bare`.
async fn alone(world: &World, durability: Durability, is_bare: bool) -> Operation {
    let built = in_sync(world, durability).await;
    let pair = Pair::of(world, &built).await;
    let standby = pair.role(MemberRole::Standby).unwrap();
    let engine = pair.engine(standby);
    engine.crash(&standby.container(), 137);
    if is_bare {
        engine.remove_by_hand("container", &standby.container());
        engine.remove_by_hand("volume", &standby.volume());
        engine.remove_by_hand("volume", &standby.disk_volume());
    }
    done(world, &ask(world, Kind::Disarm, &built.server_id, Value::Null).await).await;
    built
}

async fn assert_chosen(world: &World, of: &Operation, durability: Durability, why: &str) {
    let pair = Pair::of(world, of).await;
    assert_eq!(pair.row.durability, durability, "{why}");
    pair.assert_serves(why).await;
    let events = world.services.store.ha_events(&of.server_id, 100).await.unwrap();
    let chosen = events.iter().find(|event| event.kind == "durability").unwrap();
    assert!(chosen.detail.starts_with(&format!("Durability is {}", durability.key())), "{why}");
}

#[tokio::test]
async fn without_a_standby_what_the_primary_waits_for_follows_at_once() {
    for (from, to) in BOTH_WAYS {
        for step in steps(Kind::ChangeDurability) {
            for point in Point::ALL {
                let why = format!("to {to:?}, killed at {} {point:?}", step.name);
                let world = world().await;
                let built = alone(&world, from, false).await;
                let id = choose(&world, &built.server_id, to).await;
                let kill = once(step.name, point, false, Interference::Kill);
                let ended = world.run_through(kill, &id).await;
                assert_eq!(ended.status, Status::Succeeded, "{why}: {:?}", ended.error);
                assert_chosen(&world, &built, to, &why).await;
                assert_eq!(Pair::of(&world, &built).await.row.state, S::Single, "{why}");
            }
        }
    }
}

#[tokio::test]
async fn without_a_standby_a_choice_that_fails_is_taken_back() {
    for (from, to) in BOTH_WAYS {
        for point in [Point::Begun, Point::Acted] {
            let why = format!("to {to:?}, failed {point:?}");
            let world = world().await;
            let built = alone(&world, from, false).await;
            let id = choose(&world, &built.server_id, to).await;
            let fail = once("choose", point, false, Interference::Fail);
            assert_eq!(world.run_through(fail, &id).await.status, Status::Failed, "{why}");
            let pair = Pair::of(&world, &built).await;
            assert_eq!((pair.row.durability, pair.row.state), (from, S::Single), "{why}");
            pair.assert_serves(&why).await;
        }
    }
}

/// Another runner of the same world does an operation while a step of the first is about to begin or has just acted.
async fn meanwhile(world: &World, id: &OperationId) -> Operation {
    let runner = world.runner();
    for _ in 0..40 {
        while runner.tick().await.unwrap() {}
        let operation = world.operation(id).await;
        if !operation.status.is_active() {
            return operation;
        }
        world.clock.wind(chrono::Duration::milliseconds(300));
    }
    world.operation(id).await
}

/// The copy is made once: the build goes on, and its standby has the choice when it counts.
#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_is_under_way_goes_on_and_ends_with_the_choice() {
    let moments = [("admit_standby", Point::Begun), ("copy_data", Point::Acted)];
    let later = [("wait_streaming", Point::Begun), ("arm", Point::Begun)];
    for (from, to) in BOTH_WAYS {
        for (step, point) in moments.into_iter().chain(later) {
            let why = format!("to {to:?} at {step}");
            let world = Arc::new(world().await);
            let built = alone(&world, from, true).await;
            let id = ask(&world, Kind::BuildStandby, &built.server_id, Value::Null).await;
            let (inner, server, armed) =
                (world.clone(), built.server_id.clone(), AtomicBool::new(true));
            let said = why.clone();
            let hook: Hook = Arc::new(move |at| {
                if (at.step, at.point) == (step, point) && armed.swap(false, Ordering::SeqCst) {
                    let beside = async {
                        let chosen = choose(&inner, &server, to).await;
                        let ended = meanwhile(&inner, &chosen).await;
                        assert_eq!(ended.status, Status::Succeeded, "{said}: {:?}", ended.error);
                    };
                    tokio::task::block_in_place(|| {
                        tokio::runtime::Handle::current().block_on(beside);
                    });
                }
                Interference::None
            });
            let ended = world.run_through(hook, &id).await;
            assert_eq!(ended.status, Status::Succeeded, "{why}: {:?}", ended.error);
            assert_chosen(&world, &built, to, &why).await;
            let pair = Pair::of(&world, &built).await;
            pair.assert_in_sync(&why).await;
            pair.assert_sound(&why).await;
        }
    }
}

/// F9: the one that takes over has the choice from its first moment on, without a file being written.
#[tokio::test]
async fn the_next_primary_goes_by_the_choice_from_its_first_moment_on() {
    for (_, to) in BOTH_WAYS {
        let world = world().await;
        let built = in_sync(&world, Durability::Required).await;
        if to == Durability::Preferred {
            done(&world, &choose(&world, &built.server_id, to).await).await;
        }
        let pair = Pair::of(&world, &built).await;
        let primary = pair.role(MemberRole::Primary).unwrap();
        pair.engine(primary).crash(&primary.container(), 137);
        let change = json!({ "cause": "Automatic", "reason": "It ended.", "seen_at": "2026-11-23T10:00:00Z" });
        done(&world, &ask(&world, Kind::Failover, &built.server_id, change).await).await;
        Pair::of(&world, &built).await.assert_changed("by the choice").await;
        assert_chosen(&world, &built, to, "after the failover").await;
    }
}

fn silence(world: &World) {
    let silent = EngineError::Silent("no route".into());
    world.far.inject_everywhere(Fault::Fail(silent));
}

/// Nothing is promised that the next primary would not keep.
#[tokio::test]
async fn required_is_not_on_record_before_the_standby_has_it() {
    let world = world().await;
    let built = in_sync(&world, Durability::Preferred).await;
    silence(&world);
    let id = choose(&world, &built.server_id, Durability::Required).await;
    let ended = world.run_to_rest(&world.runner(), &id).await;
    assert_eq!(ended.status, Status::Failed);
    assert!(ended.error.unwrap().contains("configuration"), "it says what it waited for");
    world.far.heal();
    let pair = Pair::of(&world, &built).await;
    assert_eq!(pair.row.durability, Durability::Preferred);
    pair.assert_in_sync("as before").await;
}

/// Writes wait for a standby whose host is lost, and a person lets them go on.
#[tokio::test]
async fn preferred_is_on_record_without_asking_a_standby_that_is_lost() {
    let world = world().await;
    let built = in_sync(&world, Durability::Required).await;
    silence(&world);
    let id = choose(&world, &built.server_id, Durability::Preferred).await;
    done(&world, &id).await;
    assert_eq!(Pair::of(&world, &built).await.row.durability, Durability::Preferred);
    // What the portal does next, from what it sees.
    done(&world, &ask(&world, Kind::Disarm, &built.server_id, Value::Null).await).await;
    assert_chosen(&world, &built, Durability::Preferred, "it went on").await;
    world.far.heal();
    done(&world, &ask(&world, Kind::BuildStandby, &built.server_id, Value::Null).await).await;
    Pair::of(&world, &built).await.assert_in_sync("with the file of now").await;
}

/// Before the first standby nothing waits, whatever is chosen.
#[tokio::test]
async fn before_the_first_standby_only_the_row_says_it() {
    let world = world().await;
    let id = world.submit(Kind::BuildStandby).await;
    let server = world.operation(&id).await.server_id;
    let chosen = choose(&world, &server, Durability::Required).await;
    done(&world, &chosen).await;
    let built = done(&world, &id).await;
    assert_chosen(&world, &built, Durability::Required, "built").await;
    Pair::of(&world, &built).await.assert_in_sync("with the choice").await;
}
