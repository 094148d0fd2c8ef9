//! Single stories of operations that the sweeps over all kinds do not tell.

use super::expect::{assert_succeeded, assert_unwound};
use super::{METHODS, once, world};
use crate::world::World;
use pgflex::domain::operation::{OperationKind, OperationStatus};
use pgflex::domain::server::ServerState;
use pgflex::engine::EngineError;
use pgflex::engine::fake::Fault;
use pgflex::operations::kinds::steps;
use pgflex::operations::runner::{Hook, Interference, Point};
use pgflex::operations::submit::Change;
use pgflex::store::testing;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// An engine that stays away: the operation gives up, cannot clean up, says so, and ends when the engine is back.
#[tokio::test]
async fn an_engine_that_stays_away_parks_the_operation_until_a_person_retries() {
    let world = world().await;
    let id = world.submit(OperationKind::Create).await;
    let silent = || Fault::Fail(EngineError::Silent("connection refused".into()));
    for method in METHODS {
        let is_calm = ["ensure_image", "ensure_network", "ensure_disk"].contains(method);
        if !is_calm && *method != "ensure_volume" {
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

/// Looking again while an image is built is no attempt; trying again after a fault is one.
#[tokio::test]
async fn attempts_count_faults_and_not_looks() {
    let world = world().await;
    let id = world.submit(OperationKind::Create).await;
    world.engine.set_image_calls(5);
    world.engine.inject("ensure_network", 2, Fault::Fail(EngineError::Silent("away".into())));
    let operation = world.run_to_rest(&world.runner(), &id).await;
    assert_succeeded(&world, &operation, "in the end").await;
    let steps = world.services.store.operation_steps(&id).await.unwrap();
    let attempts = |name| steps.iter().find(|step| step.name == name).unwrap().attempts;
    assert_eq!(
        (attempts("ensure_image"), attempts("create_network"), attempts("create_volume")),
        (1, 3, 1)
    );
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
    assert!(world.door().retry(&failed, &actor, None).await.is_err());
    let again = world.door().submit(OperationKind::Create, &server, &actor, None).await;
    let refused = again.unwrap_err();
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
    let actor = pgflex::domain::activity::Actor::system();
    let again = world.door().retry(&failed, &actor, Some("one form")).await.unwrap();
    assert_ne!(again, id);
    let same = world.door().retry(&failed, &actor, Some("one form")).await.unwrap();
    assert_eq!(same, again, "a second click of the same form");
    let operation = world.run_to_rest(&world.runner(), &again).await;
    assert_eq!(operation.retry_of, Some(id));
    assert_succeeded(&world, &operation, "retried").await;
    let twice = world.door().retry(&failed, &actor, None).await;
    assert!(twice.is_err(), "the undo of another creation would take the server's volume");
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
        let now = pgflex::clock::Clock::now(&world.clock);
        let rescue = store.claim_rescue("other", now, now + chrono::Duration::seconds(30)).await;
        assert!(rescue.unwrap().is_none(), "what is kept free for rescues takes nothing else");
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

/// PgBouncer on, then a change of it that fails at every step, off or with other settings: it is as it was.
#[tokio::test]
async fn a_change_of_a_pooler_that_runs_is_taken_back_at_every_step() {
    let kind = OperationKind::ChangePooler;
    let point = steps(kind).iter().position(|step| step.point_of_no_return).unwrap();
    for enabled in [true, false] {
        for step in &steps(kind)[..=point] {
            let world = world().await;
            let on = world.submit(kind).await;
            let server = world.run_to_rest(&world.runner(), &on).await.server_id;
            let before = world.services.store.server(&server).await.unwrap().unwrap();
            let input = serde_json::json!({
                "pooler": { "enabled": enabled, "default_pool_size": 7 }, "ports": [20000, 20999],
            });
            let change = Change { kind, input };
            let actor = pgflex::domain::activity::Actor::system();
            let id = world.door().submit_change(change, &server, &actor, None).await.unwrap();
            let fail = once(step.name, Point::Acted, false, Interference::Fail);
            let operation = world.run_through(fail, &id).await;
            let why = format!("enabled {enabled}, failed at {}", step.name);
            assert_eq!(operation.status, OperationStatus::Failed, "{why}");
            let after = world.services.store.server(&server).await.unwrap().unwrap();
            assert_eq!(after.configuration, before.configuration, "{why}");
            assert_eq!(after.pooler_port, before.pooler_port, "{why}");
            let member = &world.services.store.members(&server).await.unwrap()[0];
            let ini = world.engine.file(&member.pooler(), "config/pgbouncer.ini").unwrap();
            assert!(String::from_utf8(ini).unwrap().contains("default_pool_size = 50"), "{why}");
            let routes = world.services.store.route_snapshot("x").await.unwrap().routes;
            assert_eq!(routes.len(), 2, "{why}");
        }
    }
}

#[tokio::test]
async fn a_pooler_that_is_switched_off_is_gone_and_one_that_is_on_goes_with_its_server() {
    let world = world().await;
    let (kind, actor) = (OperationKind::ChangePooler, pgflex::domain::activity::Actor::system());
    let on = world.submit(kind).await;
    let server = world.run_to_rest(&world.runner(), &on).await.server_id;
    let input = serde_json::json!({ "pooler": { "enabled": false }, "ports": [20000, 20999] });
    let off = Change { kind, input };
    let id = world.door().submit_change(off, &server, &actor, None).await.unwrap();
    let operation = world.run_to_rest(&world.runner(), &id).await;
    assert_eq!(operation.status, OperationStatus::Succeeded, "{:?}", operation.error);
    let routes = world.services.store.route_snapshot("x").await.unwrap().routes;
    assert_eq!((routes.len(), world.engine.remaining().len()), (1, 4));
    world.run_to_rest(&world.runner(), &world.submit_on(kind, &server).await).await;
    assert_eq!(world.engine.remaining().len(), 6);
    let id = world.submit_on(OperationKind::Delete, &server).await;
    let operation = world.run_to_rest(&world.runner(), &id).await;
    assert_succeeded(&world, &operation, "deleted with its pooler").await;
}
