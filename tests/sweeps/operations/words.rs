//! Every way in which an engine or PostgreSQL can say no, at every step of every kind: the operation ends with
//! what happened, what was left and what to do, and what it says was left is so.

use super::expect::assert_unwound;
use super::{before_return, kinds, together, world};
use crate::world::World;
use pgflex::domain::activity::Actor;
use pgflex::domain::operation::{Operation, OperationKind, OperationStatus};
use pgflex::engine::EngineError;
use pgflex::engine::fake::{FakeEngine, Fault};
use pgflex::operations::kinds::steps;
use pgflex::operations::runner::{Hook, Interference, Moment, Point};
use pgflex::postgres::PostgresError;
use pgflex::web::handlers::operations::{facts, outcome};
use std::sync::Arc;

/// One way to say no.
#[derive(Debug, Clone)]
enum No {
    Engine(EngineError),
    Postgres(PostgresError),
}

fn every_no() -> Vec<No> {
    let text = || "the words of the fault".to_owned();
    let engine = [
        EngineError::Silent(text()),
        EngineError::Foreign(text()),
        EngineError::Missing(text()),
        EngineError::Refused(text()),
        EngineError::NoSpace(text()),
    ];
    let postgres = [PostgresError::Silent(text()), PostgresError::Refused(text())];
    engine.map(No::Engine).into_iter().chain(postgres.map(No::Postgres)).collect()
}

/// Everything says no while the step is at work, and nothing at any other time.
fn while_at(step: &'static str, no: No, world: &World) -> Hook {
    let engines = world.engines().map(Clone::clone);
    let (postgres, clock) = (world.postgres.clone(), world.clock.clone());
    Arc::new(move |moment: Moment<'_>| {
        if moment.point == Point::Begun {
            engines.iter().for_each(FakeEngine::heal);
            postgres.fail_everywhere(None);
            if moment.step == step && !moment.undoing {
                // A step that looks again and again is asked once more after its deadline.
                clock.wind(chrono::Duration::minutes(20));
                match &no {
                    No::Engine(error) => engines
                        .iter()
                        .for_each(|engine| engine.inject_everywhere(Fault::Fail(error.clone()))),
                    No::Postgres(error) => postgres.fail_everywhere(Some(error.clone())),
                }
            }
        }
        Interference::None
    })
}

/// Title and lines of the panel, in order.
async fn panel(world: &World, operation: &Operation) -> Vec<(&'static str, String)> {
    let facts = facts::load(&world.services.store, operation.clone(), facts::Usual::new());
    let facts = facts.await.unwrap_or_else(|_| panic!("the page cannot be read"));
    outcome::of(&facts).expect("it has ended").lines
}

fn assert_three_parts(lines: &[(&'static str, String)], why: &str) {
    let at = |term: &str| {
        let found = lines.iter().position(|(name, text)| *name == term && text.trim().len() > 10);
        found.unwrap_or_else(|| panic!("{why}: {term} is missing in {lines:?}"))
    };
    let order = [at("What happened"), at("What was left"), at("What to do")];
    assert!(order.is_sorted(), "{why}: {lines:?}");
}

fn left<'a>(lines: &'a [(&'static str, String)]) -> &'a str {
    &lines.iter().find(|(name, _)| *name == "What was left").unwrap().1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_no_at_every_step_is_told_in_three_parts_that_are_true() {
    together(kinds(), assert_kind_tells).await;
}

async fn assert_kind_tells(kind: OperationKind) {
    let mut told = 0;
    for (at, step) in steps(kind).iter().enumerate() {
        for no in every_no() {
            let why = format!("{kind:?} {} {no:?}", step.name);
            let world = world().await;
            let id = world.submit(kind).await;
            let hook = while_at(step.name, no, &world);
            let operation = world.run_through(hook, &id).await;
            if operation.status == OperationStatus::Succeeded {
                continue;
            }
            told += 1;
            assert_eq!(operation.failed_step.as_deref(), Some(step.name), "{why}");
            assert_told(&world, &operation, before_return(kind, at), &why).await;
        }
    }
    // A removal that is refused ends well and is asked for again: it holds up nothing of a server in use.
    let ends_well = kind == OperationKind::RemoveRepository;
    assert_eq!(told == 0, ends_well, "{kind:?} failed {told} times");
}

async fn assert_told(world: &World, operation: &Operation, can_unwind: bool, why: &str) {
    let lines = panel(world, operation).await;
    assert_three_parts(&lines, why);
    world.engines().iter().for_each(|engine| engine.heal());
    world.postgres.fail_everywhere(None);
    if can_unwind {
        assert!(!left(&lines).contains("given up"), "{why}: {lines:?}");
        return assert_unwound(world, operation, why).await;
    }
    assert_eq!(operation.status, OperationStatus::NeedsAttention, "{why}");
    assert!(left(&lines).contains("can only go forward"), "{why}: {lines:?}");
    world.door().abandon(operation, &Actor::system()).await.unwrap();
    let ended = world.operation(&operation.id).await;
    let lines = panel(world, &ended).await;
    assert_three_parts(&lines, why);
    assert!(left(&lines).contains("given up"), "{why}: {lines:?}");
}

/// Cancelled while a long step waits: it does not wait for the end of that.
#[tokio::test]
async fn a_cancel_does_not_wait_for_an_image() {
    let world = world().await;
    let id = world.submit(OperationKind::Create).await;
    world.engine.set_image_calls(1_000);
    let runner = world.runner();
    runner.tick().await.unwrap();
    let operation = world.operation(&id).await;
    assert_eq!(operation.status, OperationStatus::Running);
    world.door().cancel(&operation, &Actor::system()).await.unwrap();
    let before = world.services.clock.now();
    while runner.tick().await.unwrap() {}
    let operation = world.operation(&id).await;
    assert_eq!(operation.status, OperationStatus::Cancelled);
    assert_eq!(world.services.clock.now(), before, "at once");
    let looks = world.engine.calls().iter().filter(|call| call.starts_with("ensure_image")).count();
    assert_eq!(looks, 1);
    assert_three_parts_of_a_cancel(&panel(&world, &operation).await);
}

fn assert_three_parts_of_a_cancel(lines: &[(&'static str, String)]) {
    assert!(left(lines).contains("no container, volume or network is left"), "{lines:?}");
}
