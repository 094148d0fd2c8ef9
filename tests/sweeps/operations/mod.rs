//! Every kind of operation: to the end; killed at every moment of every step; failed at every step;
//! killed while it unwinds; with every reply of the engine lost. A new kind is covered by being in
//! `OperationKind::ALL`, and the counts below fail when a step escapes.

mod archives;
mod backups;
mod durability;
mod expect;
mod far;
mod pair_changes;
mod pair_stories;
mod pairs;
mod power;
mod repair;
mod restores;
mod retention;
mod seams;
mod standbys;
mod stored;
mod stories;
mod words;

use crate::world::World;
use expect::{assert_succeeded, assert_unwound};
use pgflex::domain::operation::{OperationKind, OperationStatus};
use pgflex::engine::fake::Fault;
use pgflex::operations::kinds::steps;
use pgflex::operations::runner::{Hook, Interference, Moment, Point};
use pgflex::operations::step::Undo;
use pgflex::store::testing;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Every kind; while one is being built, those alone that `PGFLEX_SWEEP_KINDS` names.
#[expect(clippy::disallowed_methods, reason = "a developer's choice of what to run")]
fn kinds() -> Vec<OperationKind> {
    let chosen = std::env::var("PGFLEX_SWEEP_KINDS").unwrap_or_default();
    let is_chosen =
        |kind: &OperationKind| chosen.is_empty() || chosen.split(',').any(|key| key == kind.key());
    OperationKind::ALL.into_iter().filter(is_chosen).collect()
}

/// Each in a task of its own, on every core: steps that look again and again wait in real time, so they wait together.
async fn together<T, F>(items: impl IntoIterator<Item = T>, sweep: impl Fn(T) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let tasks: Vec<_> = items.into_iter().map(|item| tokio::spawn(sweep(item))).collect();
    for task in tasks {
        if let Err(failed) = task.await {
            std::panic::resume_unwind(failed.into_panic());
        }
    }
}

async fn world() -> World {
    World::new(testing::sqlite().await).await
}

/// Interferes once, at one moment.
fn once(step: &'static str, point: Point, undoing: bool, what: Interference) -> Hook {
    let armed = AtomicBool::new(true);
    Arc::new(move |moment: Moment<'_>| {
        let here = moment == Moment { step, point, undoing };
        if here && armed.swap(false, Ordering::SeqCst) { what } else { Interference::None }
    })
}

/// Whether a failure of the step at `at` can still be taken back.
fn before_return(kind: OperationKind, at: usize) -> bool {
    !steps(kind)[..at].iter().any(|step| step.point_of_no_return)
}

#[tokio::test]
async fn every_kind_runs_to_the_end_on_both_databases() {
    for kind in kinds() {
        for test in testing::all().await {
            let name = test.name;
            let world = World::new(test).await;
            let id = world.submit(kind).await;
            let operation = world.run_to_rest(&world.runner(), &id).await;
            assert_succeeded(&world, &operation, &format!("{kind:?} on {name}")).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_ends_right_when_killed_at_every_moment_of_every_step() {
    let moments = Arc::new(AtomicUsize::new(0));
    let count = moments.clone();
    together(kinds(), move |kind| {
        let moments = count.clone();
        async move {
            for step in steps(kind) {
                for point in Point::ALL {
                    let world = world().await;
                    let id = world.submit(kind).await;
                    let struck = Arc::new(AtomicBool::new(false));
                    let hook = {
                        let (struck, inner) =
                            (struck.clone(), once(step.name, point, false, Interference::Kill));
                        Arc::new(move |moment: Moment<'_>| {
                            let what = inner(moment);
                            struck.fetch_or(what == Interference::Kill, Ordering::SeqCst);
                            what
                        })
                    };
                    let operation = world.run_through(hook, &id).await;
                    assert!(
                        struck.load(Ordering::SeqCst),
                        "{kind:?} {} {point:?} was reached",
                        step.name
                    );
                    assert_succeeded(
                        &world,
                        &operation,
                        &format!("{kind:?} killed at {} {point:?}", step.name),
                    )
                    .await;
                    moments.fetch_add(1, Ordering::SeqCst);
                }
            }
        }
    })
    .await;
    let all: usize = kinds().iter().map(|kind| steps(*kind).len() * 3).sum();
    assert_eq!(moments.load(Ordering::SeqCst), all);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_leaves_nothing_behind_when_a_step_fails() {
    together(kinds(), |kind| async move {
        for (at, step) in steps(kind).iter().enumerate() {
            for point in [Point::Begun, Point::Acted] {
                let why = format!("{kind:?} failed at {} {point:?}", step.name);
                let world = world().await;
                let id = world.submit(kind).await;
                let operation =
                    world.run_through(once(step.name, point, false, Interference::Fail), &id).await;
                assert_eq!(operation.failed_step.as_deref(), Some(step.name), "{why}");
                if before_return(kind, at) {
                    assert_unwound(&world, &operation, &why).await;
                } else {
                    assert_eq!(operation.status, OperationStatus::NeedsAttention, "{why}");
                    world
                        .door()
                        .retry(&operation, &pgflex::domain::activity::Actor::system(), None)
                        .await
                        .unwrap();
                    let operation = world.run_to_rest(&world.runner(), &id).await;
                    assert_eq!(operation.status, OperationStatus::Succeeded, "{why}, then retried");
                }
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unwinding_survives_a_kill_at_every_moment() {
    together(kinds(), |kind| async move {
        let last = (0..steps(kind).len()).rev().find(|at| before_return(kind, *at)).unwrap();
        for step in steps(kind)[..=last].iter().filter(|step| matches!(step.undo, Undo::Run(_))) {
            for point in Point::ALL {
                let why = format!("{kind:?}: killed while undoing {} {point:?}", step.name);
                let world = world().await;
                let id = world.submit(kind).await;
                let fail = once(steps(kind)[last].name, Point::Acted, false, Interference::Fail);
                let kill = once(step.name, point, true, Interference::Kill);
                let hook: Hook = Arc::new(move |moment| match fail(moment) {
                    Interference::None => kill(moment),
                    other => other,
                });
                let operation = world.run_through(hook, &id).await;
                assert_unwound(&world, &operation, &why).await;
            }
        }
    })
    .await;
}

/// The engine did it, but its answer never came: the step must find its own work.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_reply_of_any_engine_call_does_no_harm() {
    together(kinds(), |kind| async move {
        for at in 0..2 {
            let calm = world().await;
            let id = calm.submit(kind).await;
            let before = calm.engines()[at].calls().len();
            calm.run_to_rest(&calm.runner(), &id).await;
            let methods: std::collections::BTreeSet<&'static str> = calm.engines()[at].calls()
                [before..]
                .iter()
                .filter_map(|call| METHODS.iter().find(|name| call.starts_with(*name)).copied())
                .collect();
            // What is removed there is on the other host.
            assert!(!methods.is_empty() || at > 0 || kind == OperationKind::RemoveRepository);
            for method in methods {
                let world = world().await;
                let id = world.submit(kind).await;
                world.engines()[at].inject(method, 1, Fault::LoseReply);
                let operation = world.run_to_rest(&world.runner(), &id).await;
                let why = format!("{kind:?}, reply of {method} lost on engine {at}");
                assert_succeeded(&world, &operation, &why).await;
            }
        }
    })
    .await;
}

/// Longer names first: `start_container` must not be taken for a shorter one.
const METHODS: &[&str] = &[
    "ensure_image",
    "ensure_network",
    "remove_network",
    "connect_network",
    "disconnect_network",
    "ensure_volume",
    "remove_volume",
    "ensure_disk",
    "grow_disk",
    "tend_disk",
    "has_volume",
    "update_limits",
    "ensure_container",
    "remove_container",
    "put_files",
    "start_container",
    "stop_container",
    "signal_container",
    "set_restart",
    "carry_image",
    "cpu_nanos",
    "owned",
    "wait_exit",
    "tail",
    "output",
    "container",
    "network",
];

#[tokio::test]
async fn a_cancelled_operation_is_taken_back() {
    for kind in kinds() {
        let world = world().await;
        let id = world.submit(kind).await;
        let operation = world.operation(&id).await;
        world.door().cancel(&operation, &pgflex::domain::activity::Actor::system()).await.unwrap();
        let operation = world.run_to_rest(&world.runner(), &id).await;
        assert_eq!(operation.status, OperationStatus::Cancelled, "{kind:?}");
        assert_unwound(&world, &operation, &format!("{kind:?} cancelled")).await;
    }
}

/// Asked while the point of no return is at work: it was promised, so it is taken back. Asked afterwards:
/// it is refused, and nothing else happens.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_at_the_point_of_no_return_is_either_done_or_refused() {
    for kind in kinds() {
        let step = steps(kind).iter().find(|step| step.point_of_no_return).unwrap().name;
        for point in Point::ALL {
            let why = format!("{kind:?} cancelled at {step} {point:?}");
            let world = Arc::new(world().await);
            let id = world.submit(kind).await;
            let accepted = Arc::new(AtomicBool::new(false));
            let (inner, seen, asked) = (world.clone(), accepted.clone(), id.clone());
            let cancel = move || {
                tokio::runtime::Handle::current().block_on(async {
                    let operation = inner.operation(&asked).await;
                    let actor = pgflex::domain::activity::Actor::system();
                    seen.store(
                        inner.door().cancel(&operation, &actor).await.is_ok(),
                        Ordering::SeqCst,
                    );
                });
            };
            let hook: Hook = Arc::new(move |moment: Moment<'_>| {
                if moment == (Moment { step, point, undoing: false }) {
                    tokio::task::block_in_place(&cancel);
                }
                Interference::None
            });
            let operation = world.run_through(hook, &id).await;
            let in_time = point != Point::Recorded;
            assert_eq!(accepted.load(Ordering::SeqCst), in_time, "{why}");
            if in_time {
                assert_eq!(operation.status, OperationStatus::Cancelled, "{why}");
                assert_unwound(&world, &operation, &why).await;
            } else {
                assert_succeeded(&world, &operation, &why).await;
            }
        }
    }
}

/// Step names are stored and shown; a name stands for one thing within its kind.
#[test]
fn step_names_are_unique_within_a_kind_and_imperative_words() {
    for kind in kinds() {
        let names: Vec<_> = steps(kind).iter().map(|step| step.name).collect();
        let unique: std::collections::HashSet<_> = names.iter().collect();
        assert_eq!(unique.len(), names.len(), "{kind:?}");
        assert!(names.iter().all(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
        assert!(
            steps(kind).iter().any(|step| step.point_of_no_return),
            "{kind:?} names its point of no return"
        );
    }
}
