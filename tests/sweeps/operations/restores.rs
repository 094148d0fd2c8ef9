//! What must be true after a restore and after a drill, and stories of deleted servers.

use super::*;
use crate::world::VERIFIER;
use pgflex::clock::Clock;
use pgflex::domain::backup::{RestoreTarget, stanza_of};
use pgflex::domain::ids::ServerId;
use pgflex::domain::operation::Operation;
use pgflex::domain::route::RouteState;
use pgflex::domain::server::{ServerState, SettledState, network_name};
use pgflex::engine::Engine;
use pgflex::monitor::{erasure, restore_drills};
use pgflex::operations::access::secret;
use pgflex::operations::backup::repository;
use pgflex::operations::submit::SubmitError;
use pgflex::postgres::PostgresError;
use pgflex::secrets::sha256_hex;
use pgflex::store::restore_drills::{PASSED, RestoreDrill};
use pgflex::store::scope::Viewer;

/// The server that the restored one comes from is as it was, with its backup and its way in.
async fn assert_source(world: &World, operation: &Operation, why: &str) {
    let store = &world.services.store;
    let origin = store.origin(&operation.server_id).await.unwrap().unwrap();
    let source = store.server(&origin.source_id).await.unwrap().unwrap();
    assert_eq!((source.spec.name.as_str(), source.state()), ("shop", ServerState::Ready), "{why}");
    let protection = store.protection(&source.id).await.unwrap();
    assert_eq!(protection.backups.len(), 1, "{why}");
    let member = store.members(&source.id).await.unwrap().remove(0);
    let facts = world.engine.container(&member.container()).await.unwrap().unwrap();
    assert_eq!(facts.state, "running", "{why}");
    assert!(origin.ended_at.is_some(), "{why}: the way into the repository is closed");
    let host = &member.host_id;
    let server = repository::blueprint(&world.services, host).server_name(source.spec.major);
    let clients = world.engine.file(&server, "config/server.conf").unwrap();
    let clients = String::from_utf8(clients).unwrap();
    let stanza = stanza_of(&source.id);
    assert!(clients.contains(&format!("tls-server-auth={}={stanza}", source.id)), "{why}");
    assert!(!clients.contains(operation.server_id.as_str()), "{why}: {clients}");
}

fn objects_of(world: &World, shorts: &[&str]) -> Vec<String> {
    let is_its = |object: &String| shorts.iter().any(|short| object.contains(short));
    world.engine.remaining().into_iter().filter(is_its).collect()
}

pub async fn assert_restored(world: &World, operation: &Operation, why: &str) {
    assert_source(world, operation, why).await;
    let store = &world.services.store;
    let server = store.server(&operation.server_id).await.unwrap().unwrap();
    assert_eq!((server.spec.name.as_str(), server.state()), ("copy", ServerState::Ready), "{why}");
    let reached = store.origin(&server.id).await.unwrap().unwrap().reached.unwrap();
    assert!(reached.at.is_some() && reached.timeline == 2, "{why}: {reached:?}");
    let members = store.members(&server.id).await.unwrap();
    assert_eq!(members.len(), 1, "{why}");
    let member = &members[0];
    let mut wanted = vec![
        format!("container {}", member.container()),
        format!("network {}", network_name(&server.id)),
        format!("volume {}", member.volume()),
        format!("volume {}", member.disk_volume()),
    ];
    wanted.sort();
    let there = objects_of(world, &[server.id.short(), member.id.short()]);
    assert_eq!(there, wanted, "{why}: exactly one of each");
    let facts = world.engine.container(&member.container()).await.unwrap().unwrap();
    assert!(facts.state == "running" && facts.restarts_by_itself, "{why}");
    let text = |path: &str| {
        let bytes = world.engine.file(&member.volume(), path).unwrap();
        String::from_utf8(bytes).unwrap()
    };
    assert!(!text("config/postgresql.conf").contains("restore_command"), "{why}");
    for path in ["config/recovery.conf", "config/backup.conf"] {
        assert!(!text(path).contains("cipher"), "{why}: the source's key stays nowhere");
    }
    let admins = world.postgres.admins();
    let own = admins.iter().filter(|one| Some(one.address.to_string()) == facts.address);
    let own: Vec<_> = own.map(|one| one.verifier_sha256.clone()).collect();
    assert!(!own.is_empty() && own.iter().all(|sha| *sha == sha256_hex(VERIFIER)), "{why}");
    let routes = store.route_snapshot("pgflex.localhost").await.unwrap().routes;
    assert_eq!(routes.len(), 2, "{why}");
    assert!(routes.iter().all(|route| route.state == RouteState::Open), "{why}");
}

pub async fn assert_not_restored(world: &World, operation: &Operation, why: &str) {
    assert_source(world, operation, why).await;
    let store = &world.services.store;
    let server = store.server(&operation.server_id).await.unwrap().unwrap();
    assert_eq!(server.settled, SettledState::Failed, "{why}: never one that is there");
    assert_eq!(store.members(&server.id).await.unwrap().len(), 0, "{why}");
    assert_eq!(objects_of(world, &[server.id.short()]), Vec::<String>::new(), "{why}");
    let volumes = world.engine.remaining().into_iter();
    let volumes: Vec<_> = volumes.filter(|object| object.ends_with("-data")).collect();
    assert_eq!(volumes.len(), 1, "{why}: that of the source alone: {volumes:?}");
    let helpers = objects_of(world, &["-restore", "-look", "-init"]);
    assert_eq!(helpers, Vec::<String>::new(), "{why}");
    let routes = store.route_snapshot("pgflex.localhost").await.unwrap().routes;
    assert_eq!(routes.len(), 1, "{why}");
}

async fn drills(world: &World, server: &ServerId) -> Vec<RestoreDrill> {
    world.services.store.restore_drills(server, 10).await.unwrap()
}

pub async fn assert_proven(world: &World, operation: &Operation, why: &str) {
    let all = drills(world, &operation.server_id).await;
    assert_eq!(all.len(), 1, "{why}: one record");
    assert!(all[0].has_passed() && all[0].ended_at.is_some(), "{why}: {:?}", all[0]);
    assert_eq!((all[0].found.tables, all[0].found.rows), (Some(2), Some(1502)), "{why}");
    assert_eq!(objects_of(world, &["-drill"]), Vec::<String>::new(), "{why}");
}

/// Nothing that was cut off counts: its record says why, if it came to have one.
pub async fn assert_not_proven(world: &World, operation: &Operation, why: &str) {
    for one in drills(world, &operation.server_id).await {
        // What was recorded was measured, whatever became of the operation afterwards.
        let steps = world.services.store.operation_steps(&operation.id).await.unwrap();
        let record = steps.iter().find(|step| step.name == "record").unwrap();
        let is_recorded = record.started_at.is_some();
        assert!(one.is_over() && (!one.has_passed() || is_recorded), "{why}: {one:?}");
    }
    assert_eq!(objects_of(world, &["-drill"]), Vec::<String>::new(), "{why}");
}

/// A server with one backup.
async fn shop(world: &World) -> ServerId {
    let id = world.submit(OperationKind::Backup).await;
    let operation = world.run_to_rest(&world.runner(), &id).await;
    assert_eq!(operation.status, OperationStatus::Succeeded, "{:?}", operation.error);
    operation.server_id
}

async fn run(world: &World, kind: OperationKind, server: &ServerId) -> Operation {
    let id = world.submit_on(kind, server).await;
    world.run_to_rest(&world.runner(), &id).await
}

#[tokio::test]
async fn a_deleted_server_keeps_its_backups_and_key_until_its_time_is_over() {
    for test in testing::all().await {
        let world = World::new(test).await;
        let server = shop(&world).await;
        assert_eq!(
            run(&world, OperationKind::Delete, &server).await.status,
            OperationStatus::Succeeded
        );
        let (store, now) = (&world.services.store, world.clock.now());
        let deleted = store.deleted_servers(&Viewer::Portal, now).await.unwrap().remove(0);
        assert_eq!((&deleted.id, deleted.name.as_str()), (&server, "shop"));
        assert_eq!(deleted.erase_after - deleted.deleted_at, chrono::Duration::days(7));
        assert!(deleted.archived_until.is_some());
        let has = async |name| store.server_secret(&server, name).await.unwrap().is_some();
        assert!(has(secret::BACKUP_CIPHER).await && !has(secret::ADMIN_VERIFIER).await);

        let copy = world.submit_restore(&server, &RestoreTarget::Latest).await.unwrap();
        // Whoever restores from it holds it.
        world.clock.wind(chrono::Duration::days(8));
        erasure::tick(&world.services).await.unwrap();
        assert!(has(secret::BACKUP_CIPHER).await);
        let copy = world.run_to_rest(&world.runner(), &copy).await;
        assert_eq!(copy.status, OperationStatus::Succeeded, "{:?}", copy.error);

        let refused = world.submit_restore(&server, &RestoreTarget::Latest).await;
        assert!(matches!(refused, Err(SubmitError::Refused(_))), "its time is over");
        let volume = repository::blueprint(&world.services, &host(&world, &copy.server_id).await)
            .volume_name();
        let stanza = stanza_of(&server);
        assert!(world.engine.has_stanza(&volume, &stanza));
        // The key goes although the host is away; the files follow.
        world.engine.inject(
            "start_container",
            1,
            Fault::Fail(pgflex::engine::EngineError::Silent("away".into())),
        );
        erasure::tick(&world.services).await.unwrap();
        assert!(!has(secret::BACKUP_CIPHER).await && world.engine.has_stanza(&volume, &stanza));
        erasure::tick(&world.services).await.unwrap();
        assert!(!world.engine.has_stanza(&volume, &stanza));
        assert!(store.deleted_server(&server, &Viewer::Portal).await.unwrap().is_none());
        assert!(store.repositories(&server).await.unwrap().is_empty());
        assert_eq!(objects_of(&world, &["-erase"]), Vec::<String>::new());
    }
}

async fn host(world: &World, server: &ServerId) -> pgflex::domain::ids::HostId {
    world.services.store.members(server).await.unwrap().remove(0).host_id
}

#[tokio::test]
async fn a_server_without_backups_leaves_nothing_when_it_is_deleted() {
    let world = world().await;
    let id = world.submit(OperationKind::Delete).await;
    let operation = world.run_to_rest(&world.runner(), &id).await;
    assert_eq!(operation.status, OperationStatus::Succeeded);
    let store = &world.services.store;
    let gone = store.deleted_server(&operation.server_id, &Viewer::Portal).await.unwrap();
    assert!(gone.is_none());
}

#[tokio::test]
async fn a_target_that_cannot_be_reached_is_refused_before_anything_is_made() {
    let world = world().await;
    let server = shop(&world).await;
    let (calls, servers) =
        (world.engine.calls().len(), world.services.store.server_ids().await.unwrap());
    let early = RestoreTarget::Moment { at: chrono::DateTime::UNIX_EPOCH };
    let Err(SubmitError::Refused(refusal)) = world.submit_restore(&server, &early).await else {
        panic!()
    };
    assert!(
        refusal.text.contains("The nearest moment that can be restored is 2026-11-23 10:01:00 UTC"),
        "{refusal}"
    );
    let unknown = RestoreTarget::Backup { label: "20261123-100303F".into() };
    assert!(world.submit_restore(&server, &unknown).await.is_err());
    assert_eq!(world.services.store.server_ids().await.unwrap(), servers);
    assert_eq!(world.engine.calls().len(), calls);
}

/// A source that does not answer is when a restore is needed most.
#[tokio::test]
async fn a_restore_goes_on_without_its_source() {
    let world = world().await;
    let server = shop(&world).await;
    let silent = PostgresError::Silent("away".into());
    world.postgres.inject("end_piece", 1, &silent);
    let id = world.submit_restore(&server, &RestoreTarget::Latest).await.unwrap();
    let operation = world.run_to_rest(&world.runner(), &id).await;
    assert_restored(&world, &operation, "the source was silent").await;
}

#[tokio::test]
async fn drills_come_weekly_one_at_a_time_and_failed_ones_the_next_day() {
    let world = world().await;
    let server = shop(&world).await;
    let tick = async || restore_drills::tick(&world.services).await.unwrap();
    let finish = async || {
        let active = world.services.store.drills_under_way().await.unwrap();
        let runner = world.runner();
        while runner.tick().await.unwrap() {}
        active
    };
    let first = world.services.store.protection(&server).await.unwrap().backups[0].ended_at;
    world.clock.wind(first - world.clock.now() + chrono::Duration::hours(23));
    tick().await;
    assert_eq!(finish().await, 0, "the backup is not a day old");
    world.clock.wind(chrono::Duration::hours(1));
    world.engine.fail_backup_tool("drill", "no backup set found to restore");
    tick().await;
    tick().await;
    assert_eq!(finish().await, 1);
    assert!(
        drills(&world, &server).await[0].outcome.starts_with("The backup could not be restored")
    );
    tick().await;
    assert_eq!(finish().await, 0, "not at once");
    world.clock.wind(chrono::Duration::days(1));
    tick().await;
    assert_eq!(finish().await, 1);
    assert_eq!(drills(&world, &server).await[0].outcome, PASSED);
    world.clock.wind(chrono::Duration::days(6));
    tick().await;
    assert_eq!(finish().await, 0);
    world.clock.wind(chrono::Duration::days(1));
    tick().await;
    assert_eq!(finish().await, 1);
}
