//! Every kind of operation: to the end; killed at every moment of every step; failed at every step;
//! killed while it unwinds; with every reply of the engine lost. A new kind is covered by being in
//! `OperationKind::ALL`, and the counts below fail when a step escapes.

use crate::world::{VERIFIER, World};
use pgflex::domain::activity::ActivityOutcome;
use pgflex::domain::operation::{Operation, OperationKind, OperationStatus, StepStatus};
use pgflex::domain::server::{ServerState, SettledState};
use pgflex::engine::EngineError;
use pgflex::engine::fake::Fault;
use pgflex::operations::kinds::steps;
use pgflex::operations::runner::{Hook, Interference, Moment, Point};
use pgflex::operations::step::Undo;
use pgflex::secrets::sha256_hex;
use pgflex::store::activity::ActivityFilter;
use pgflex::store::testing;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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

/// What must be true of a server after an operation of the kind succeeded.
async fn assert_succeeded(world: &World, operation: &Operation, why: &str) {
    assert_eq!(
        operation.status,
        OperationStatus::Succeeded,
        "{why}: {:?} {:?}",
        operation.failed_step,
        operation.error
    );
    let records = world.services.store.operation_steps(&operation.id).await.unwrap();
    assert!(
        records.iter().all(|record| record.status == StepStatus::Done && record.ended_at.is_some()),
        "{why}"
    );
    let activity = world.services.store.activities(&ActivityFilter::default()).await.unwrap();
    let mine: Vec<_> =
        activity.iter().filter(|line| line.operation_id.as_ref() == Some(&operation.id)).collect();
    assert_eq!(mine.len(), 1, "{why}: one line, once");
    assert_eq!(mine[0].outcome, ActivityOutcome::Succeeded, "{why}");
    match operation.kind {
        OperationKind::Delete => assert_nothing_left(world, why).await,
        OperationKind::Create | OperationKind::Restart | OperationKind::RenewCertificate => {
            assert_running_once(world, operation, why).await;
        }
    }
}

async fn assert_running_once(world: &World, operation: &Operation, why: &str) {
    let server = world.services.store.server(&operation.server_id).await.unwrap().unwrap();
    assert_eq!(server.state(), ServerState::Ready, "{why}");
    let members = world.services.store.members(&server.id).await.unwrap();
    assert_eq!(members.len(), 1, "{why}");
    let mut wanted = vec![
        format!("container {}", members[0].container()),
        format!("network {}", pgflex::domain::server::network_name(&server.id)),
        format!("volume {}", members[0].volume()),
    ];
    wanted.sort();
    assert_eq!(world.engine.remaining(), wanted, "{why}: exactly one of each");
    let admins = world.postgres.admins();
    assert!(
        !admins.is_empty()
            && admins.iter().all(|admin| admin.verifier_sha256 == sha256_hex(VERIFIER)),
        "{why}: always the same secret"
    );
    let routes = world.services.store.route_snapshot("pgflex.localhost").await.unwrap().routes;
    let address = routes[0].target.unwrap().ip().to_string();
    assert!(
        world.engine.member_at(&address).is_some(),
        "{why}: the route leads to the running member"
    );
}

async fn assert_nothing_left(world: &World, why: &str) {
    assert_eq!(world.engine.remaining(), Vec::<String>::new(), "{why}");
    assert_eq!(world.services.store.route_snapshot("x").await.unwrap().routes.len(), 0, "{why}");
    assert_eq!(world.services.store.members_all().await.unwrap().len(), 0, "{why}");
}

/// What must be true after an operation was unwound.
async fn assert_unwound(world: &World, operation: &Operation, why: &str) {
    let ended = [OperationStatus::Failed, OperationStatus::Cancelled].contains(&operation.status);
    assert!(ended, "{why}: {:?} {:?}", operation.status, operation.error);
    assert!(
        operation.error.as_ref().is_some_and(|text| !text.is_empty()) && operation.advice.is_some(),
        "{why}: says what and what to do"
    );
    let server = world.services.store.server(&operation.server_id).await.unwrap().unwrap();
    if operation.kind == OperationKind::Create {
        assert_nothing_left(world, why).await;
        assert_eq!(server.settled, SettledState::Failed, "{why}");
    } else {
        assert_running_once(world, operation, why).await;
    }
}

#[tokio::test]
async fn every_kind_runs_to_the_end_on_both_databases() {
    for kind in OperationKind::ALL {
        for test in testing::all().await {
            let name = test.name;
            let world = World::new(test).await;
            let id = world.submit(kind).await;
            let operation = world.run_to_rest(&world.runner(), &id).await;
            assert_succeeded(&world, &operation, &format!("{kind:?} on {name}")).await;
        }
    }
}

#[tokio::test]
async fn every_kind_ends_right_when_killed_at_every_moment_of_every_step() {
    let mut moments = 0;
    for kind in OperationKind::ALL {
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
                moments += 1;
            }
        }
    }
    let all: usize = OperationKind::ALL.iter().map(|kind| steps(*kind).len() * 3).sum();
    assert_eq!(moments, all);
}

#[tokio::test]
async fn every_kind_leaves_nothing_behind_when_a_step_fails() {
    for kind in OperationKind::ALL {
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
    }
}

#[tokio::test]
async fn unwinding_survives_a_kill_at_every_moment() {
    for kind in OperationKind::ALL {
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
    }
}

/// The engine did it, but its answer never came: the step must find its own work.
#[tokio::test]
async fn a_lost_reply_of_any_engine_call_does_no_harm() {
    for kind in OperationKind::ALL {
        let calm = world().await;
        let id = calm.submit(kind).await;
        let before = calm.engine.calls().len();
        calm.run_to_rest(&calm.runner(), &id).await;
        let methods: std::collections::BTreeSet<&'static str> = calm.engine.calls()[before..]
            .iter()
            .filter_map(|call| METHODS.iter().find(|name| call.starts_with(*name)).copied())
            .collect();
        assert!(!methods.is_empty());
        for method in methods {
            let world = world().await;
            let id = world.submit(kind).await;
            world.engine.inject(method, 1, Fault::LoseReply);
            let operation = world.run_to_rest(&world.runner(), &id).await;
            assert_succeeded(&world, &operation, &format!("{kind:?}, reply of {method} lost"))
                .await;
        }
    }
}

/// Longer names first: `start_container` must not be taken for a shorter one.
const METHODS: &[&str] = &[
    "ensure_image",
    "ensure_network",
    "remove_network",
    "ensure_volume",
    "remove_volume",
    "ensure_container",
    "remove_container",
    "put_files",
    "start_container",
    "stop_container",
    "signal_container",
    "wait_exit",
    "tail",
    "container",
];

#[tokio::test]
async fn a_cancelled_operation_is_taken_back() {
    for kind in OperationKind::ALL {
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
    for kind in OperationKind::ALL {
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

/// An engine that stays away: the operation gives up, cannot clean up, says so, and ends when the engine is back.
#[tokio::test]
async fn an_engine_that_stays_away_parks_the_operation_until_a_person_retries() {
    let world = world().await;
    let id = world.submit(OperationKind::Create).await;
    let silent = || Fault::Fail(EngineError::Silent("connection refused".into()));
    for method in METHODS {
        if !["ensure_image", "ensure_network", "ensure_volume"].contains(method) {
            world.engine.inject(method, 1_000, silent());
        }
    }
    let operation = world.run_to_rest(&world.runner(), &id).await;
    assert_eq!(operation.status, OperationStatus::NeedsAttention);
    assert_eq!(operation.failed_step.as_deref(), Some("initialise_data"));
    world.engine.heal();
    world.door().retry(&operation, &pgflex::domain::activity::Actor::system(), None).await.unwrap();
    let operation = world.run_to_rest(&world.runner(), &id).await;
    assert_unwound(&world, &operation, "after the engine is back").await;
}

/// Given up half way: the server must not look as if nothing had happened.
#[tokio::test]
async fn an_abandoned_deletion_leaves_a_failed_server_that_can_be_deleted_again() {
    let world = world().await;
    let id = world.submit(OperationKind::Delete).await;
    let fail = once("remove_volume", Point::Begun, false, Interference::Fail);
    let parked = world.run_through(fail, &id).await;
    assert_eq!(parked.status, OperationStatus::NeedsAttention);
    let actor = pgflex::domain::activity::Actor::system();
    world.door().abandon(&parked, &actor).await.unwrap();
    let server = world.services.store.server(&parked.server_id).await.unwrap().unwrap();
    assert_eq!(server.state(), ServerState::Failed);
    let again =
        world.door().submit(OperationKind::Delete, &parked.server_id, &actor, None).await.unwrap();
    let operation = world.run_to_rest(&world.runner(), &again).await;
    assert_succeeded(&world, &operation, "deleted after all").await;
}

/// An earlier creation that failed could otherwise be tried again on the volume that is left, and fail, and
/// then delete it as its own.
#[tokio::test]
async fn a_server_that_was_in_use_is_never_created_again() {
    let world = world().await;
    let actor = pgflex::domain::activity::Actor::system();
    let first = world.submit(OperationKind::Create).await;
    world.engine.set_init_exit(1);
    let failed = world.run_to_rest(&world.runner(), &first).await;
    world.engine.set_init_exit(0);
    let second = world.door().retry(&failed, &actor, None).await.unwrap();
    world.run_to_rest(&world.runner(), &second).await;
    let server = failed.server_id.clone();
    let delete = world.door().submit(OperationKind::Delete, &server, &actor, None).await.unwrap();
    let fail = once("remove_volume", Point::Begun, false, Interference::Fail);
    let parked = world.run_through(fail, &delete).await;
    world.door().abandon(&parked, &actor).await.unwrap();
    let refused = world.door().retry(&failed, &actor, None).await.unwrap_err();
    assert!(refused.to_string().contains("may still hold data"), "{refused}");
    assert!(world.engine.remaining().iter().any(|left| left.starts_with("volume ")));
}

/// What was never open is not opened by taking a deletion back.
#[tokio::test]
async fn a_cancelled_deletion_of_a_failed_server_opens_nothing() {
    let world = world().await;
    let actor = pgflex::domain::activity::Actor::system();
    let id = world.submit(OperationKind::Create).await;
    let silent = || Fault::Fail(EngineError::Silent("connection refused".into()));
    world.engine.inject("start_container", 1_000, silent());
    world.engine.inject("remove_container", 1_000, silent());
    let parked = world.run_to_rest(&world.runner(), &id).await;
    assert_eq!(parked.status, OperationStatus::NeedsAttention);
    world.engine.heal();
    world.door().abandon(&parked, &actor).await.unwrap();
    let server = parked.server_id;
    let delete = world.door().submit(OperationKind::Delete, &server, &actor, None).await.unwrap();
    let failing = once("stop_member", Point::Acted, false, Interference::Fail);
    let operation = world.run_through(failing, &delete).await;
    assert_eq!(operation.status, OperationStatus::Failed, "{:?}", operation.error);
    assert_eq!(world.services.store.route_snapshot("x").await.unwrap().routes.len(), 0);
}

/// A step that panics must not leave a task behind that renews its lease for ever.
#[tokio::test]
async fn a_step_that_panics_gives_up_its_lease() {
    let world = world().await;
    world.submit(OperationKind::Create).await;
    let held = Arc::strong_count(&world.services);
    let panicked = Arc::new(AtomicBool::new(false));
    let seen = panicked.clone();
    let hook: Hook = Arc::new(move |_| {
        seen.store(true, Ordering::SeqCst);
        panic!("a step that panics, on purpose")
    });
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let running = tokio::spawn(world.runner().with_hook(hook).run(stopped));
    for _ in 0..500 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        if panicked.load(Ordering::SeqCst) && Arc::strong_count(&world.services) == held + 1 {
            break;
        }
    }
    assert!(panicked.load(Ordering::SeqCst));
    assert_eq!(Arc::strong_count(&world.services), held + 1, "the runner alone holds the services");
    stop.send_replace(true);
    running.await.unwrap();
}

/// A failed creation is tried again on the same server and then succeeds.
#[tokio::test]
async fn a_failed_creation_can_be_retried() {
    let world = world().await;
    let id = world.submit(OperationKind::Create).await;
    world.engine.set_init_exit(1);
    let failed = world.run_to_rest(&world.runner(), &id).await;
    assert_unwound(&world, &failed, "initdb failed").await;
    assert!(failed.error.as_ref().unwrap().contains("initdb ended with code 1"));
    world.engine.set_init_exit(0);
    let again = world
        .door()
        .retry(&failed, &pgflex::domain::activity::Actor::system(), None)
        .await
        .unwrap();
    assert_ne!(again, id);
    let operation = world.run_to_rest(&world.runner(), &again).await;
    assert_eq!(operation.retry_of, Some(id));
    assert_succeeded(&world, &operation, "retried").await;
}

/// Two runners: the one that lost its lease can write nothing.
#[tokio::test]
async fn a_runner_that_lost_its_lease_writes_nothing() {
    for test in testing::all().await {
        let world = World::new(test).await;
        let id = world.submit(OperationKind::Create).await;
        let (store, now) = (&world.services.store, pgflex::clock::Clock::now(&world.clock));
        let old = store
            .claim_operation("slow", now, now + chrono::Duration::seconds(30))
            .await
            .unwrap()
            .unwrap();
        assert!(
            store
                .claim_operation("other", now, now + chrono::Duration::seconds(30))
                .await
                .unwrap()
                .is_none(),
            "held"
        );
        world.clock.wind(chrono::Duration::seconds(31));
        let operation = world.run_to_rest(&world.runner(), &id).await;
        assert_eq!(operation.status, OperationStatus::Succeeded);
        let late = store.append_operation_log(&old, now, "create_volume", &["late".into()]).await;
        assert!(matches!(late, Err(pgflex::store::StoreError::Stale)));
        assert!(matches!(
            store.renew_lease(&old, now, now).await,
            Err(pgflex::store::StoreError::Stale)
        ));
    }
}

/// Step names are stored and shown; a name stands for one thing within its kind.
#[test]
fn step_names_are_unique_within_a_kind_and_imperative_words() {
    for kind in OperationKind::ALL {
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

/// The monitor looks, a restart begins and ends, the monitor writes: what it saw is no longer so.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_seen_before_a_restart_is_not_written_after_it() {
    let world = Arc::new(world().await);
    let create = world.submit(OperationKind::Create).await;
    world.run_to_rest(&world.runner(), &create).await;
    let server = world.operation(&create).await.server_id;
    let target = async |world: &World| {
        world.services.store.route_snapshot("x").await.unwrap().routes[0].target.unwrap()
    };
    let newer: std::net::SocketAddr = "10.99.0.77:5432".parse().unwrap();
    let (inner, armed) = (world.clone(), AtomicBool::new(true));
    let restart = move || {
        tokio::runtime::Handle::current().block_on(async {
            let actor = pgflex::domain::activity::Actor::system();
            let kind = OperationKind::Restart;
            let id = inner.door().submit(kind, &server, &actor, None).await.unwrap();
            inner.run_to_rest(&inner.runner(), &id).await;
            // The fake engine gives the same address again, a real one need not.
            let now = pgflex::clock::Clock::now(&inner.clock);
            let mut tx = inner.services.store.begin_write(now).await.unwrap();
            tx.set_route(&server, Some(newer), pgflex::domain::route::RouteState::Open)
                .await
                .unwrap();
            tx.commit(pgflex::store::Record::Nothing("test")).await.unwrap();
        });
    };
    let postgres = pgflex::postgres::fake::FakePostgres::new(move |_| {
        if armed.swap(false, Ordering::SeqCst) {
            tokio::task::block_in_place(&restart);
        }
        Some("17.6".into())
    });
    let of = &world.services;
    let services = Arc::new(pgflex::operations::context::Services {
        store: of.store.clone(),
        engines: of.engines.clone(),
        postgres: Arc::new(postgres),
        clock: of.clock.clone(),
        sealer: of.sealer.clone(),
        authority: of.authority.clone(),
        poke: of.poke.clone(),
        settings: of.settings.clone(),
    });
    pgflex::monitor::observe::tick(&services).await.unwrap();
    assert_eq!(target(&world).await, newer);
    pgflex::monitor::observe::tick(&services).await.unwrap();
    assert_ne!(target(&world).await, newer, "the next look follows the container");
}
