//! Backups into object storage: killed and failed at every step; restored from when the host of the source is gone; erased.

use super::*;
use crate::world::VERIFIER;
use pgflex::clock::Clock;
use pgflex::domain::activity::Actor;
use pgflex::domain::backup::{
    BackupPolicy, BackupType, ObjectStorage, Protection, Redundancy, RepositoryState,
    RestoreTarget, stanza_of,
};
use pgflex::domain::ids::{GroupId, OperationId, ServerId};
use pgflex::domain::names::ServerName;
use pgflex::domain::network::Access;
use pgflex::domain::operation::Operation;
use pgflex::monitor::erasure;
use pgflex::operations::ask_restore::NewRestore;
use pgflex::operations::backup::object_storage::NUMBER;
use pgflex::operations::backup::repository;
use pgflex::operations::backup::take::Asked;
use pgflex::operations::submit::Change;
use pgflex::postgres::pgbackrest::Storage;
use pgflex::secrets::Secret;

const SECRET: &str = "walnut-secret";

fn storage(bucket: &str) -> Storage {
    let at = ObjectStorage::parse("https://s3.example.org", bucket, "eu", "pgflex", "path");
    Storage {
        at: at.unwrap(),
        authority: Some("PEM".into()),
        key_id: "KEYID".into(),
        secret_key: Secret::new(SECRET),
    }
}

async fn configured() -> World {
    let mut world = world().await;
    configure(&mut world, Some(storage("backups")));
    world.engine.share_object_storage(&world.far);
    world
}

fn configure(world: &mut World, storage: Option<Storage>) {
    let services = Arc::get_mut(&mut world.services).expect("nobody works yet");
    services.settings.object_storage = storage.map(Arc::new);
}

async fn succeed(world: &World, id: &OperationId) -> Operation {
    let operation = world.run_to_rest(&world.runner(), id).await;
    assert_eq!(operation.status, OperationStatus::Succeeded, "{:?}", operation.error);
    operation
}

async fn submit_into(world: &World, server: &ServerId) -> OperationId {
    let input = Asked::new(BackupType::Full, "").into_repository(NUMBER);
    let input = serde_json::to_value(input).unwrap();
    let change = Change { kind: OperationKind::Backup, input };
    world.door().submit_change(change, server, &Actor::system(), None).await.unwrap()
}

/// As a person does on the page.
async fn ask_for(world: &World, server: &ServerId, redundancy: Redundancy) {
    let seen = protection(world, server).await;
    let to = BackupPolicy { redundancy, ..seen.policy };
    world.door().change_backup_policy(server, to, seen.version, &Actor::system()).await.unwrap();
}

/// A server with its first backup, and the one into object storage submitted.
async fn submitted() -> (World, OperationId) {
    let world = configured().await;
    let first = world.submit(OperationKind::Backup).await;
    let server = succeed(&world, &first).await.server_id;
    ask_for(&world, &server, Redundancy::ObjectStorage).await;
    let id = submit_into(&world, &server).await;
    (world, id)
}

async fn taken() -> (World, ServerId) {
    let (world, id) = submitted().await;
    let server = succeed(&world, &id).await.server_id;
    (world, server)
}

async fn protection(world: &World, server: &ServerId) -> Protection {
    world.services.store.protection(server).await.unwrap()
}

fn helpers(world: &World) -> Vec<String> {
    let ends = ["-backup", "-tool", "-door", "-look", "-erase", "-drill"];
    let is_helper = |object: &String| ends.iter().any(|end| object.ends_with(end));
    world.engines().iter().flat_map(|one| one.remaining()).filter(is_helper).collect()
}

async fn file(world: &World, server: &ServerId, name: &str) -> Option<String> {
    let members = world.services.store.members(server).await.unwrap();
    let path = format!("config/{name}");
    let mut found =
        world.engines().into_iter().filter_map(|one| one.file(&members[0].volume(), &path));
    found.next().map(|bytes| String::from_utf8(bytes).unwrap())
}

async fn assert_stored(world: &World, operation: &Operation, why: &str) {
    assert_eq!(operation.status, OperationStatus::Succeeded, "{why}: {:?}", operation.error);
    let server = &operation.server_id;
    let seen = protection(world, server).await;
    let numbers: Vec<_> = seen.repositories.iter().map(|one| one.number).collect();
    assert_eq!(numbers, [1, NUMBER], "{why}");
    assert_eq!(
        seen.repositories[1].location.as_deref(),
        Some("https://s3.example.org/backups/pgflex"),
        "{why}"
    );
    assert!(seen.repositories.iter().all(|one| one.state == RepositoryState::Active), "{why}");
    assert_eq!((seen.good_in(1).count(), seen.good_in(NUMBER).count()), (1, 1), "{why}");
    let stored = world.engine.stored_backups(&stanza_of(server)).unwrap();
    assert_eq!(stored.len(), 1, "{why}: it is there once");
    let text = file(world, server, "archive.conf").await.unwrap();
    assert!(
        text.contains("repo2-host-config=") && text.contains("repo2-path=/pgflex\n"),
        "{why}: {text}"
    );
    for name in ["archive.conf", "backup.conf", "postgresql.conf"] {
        let text = file(world, server, name).await.unwrap_or_default();
        assert!(!text.contains(SECRET), "{why}: a member knows the key of the storage: {name}");
    }
    let plan = repository::blueprint(&world.services, &seen.repositories[0].host_id);
    let relay = plan.server_name(seen.repositories[0].major);
    let text = world.engine.file(&relay, "config/object-2.conf").unwrap();
    assert!(String::from_utf8(text).unwrap().contains(SECRET), "{why}");
    let joined = world.engine.joined(&relay);
    assert!(joined.iter().any(|join| join.network == plan.way_out().name), "{why}: {joined:?}");
    assert_eq!(helpers(world), Vec::<String>::new(), "{why}");
}

async fn assert_nowhere(world: &World, operation: &Operation, why: &str) {
    assert!(
        matches!(operation.status, OperationStatus::Failed | OperationStatus::Cancelled),
        "{why}"
    );
    let seen = protection(world, &operation.server_id).await;
    assert_eq!(seen.good_in(NUMBER).count(), 0, "{why}: {:?}", seen.backups);
    assert_eq!(seen.good_in(1).count(), 1, "{why}: the first is as it was");
    assert_eq!(helpers(world), Vec::<String>::new(), "{why}");
}

#[tokio::test]
async fn a_backup_into_object_storage_ends_right_when_killed_or_failed_at_every_step() {
    for (at, step) in steps(OperationKind::Backup).iter().enumerate() {
        for point in Point::ALL {
            let (world, id) = submitted().await;
            let why = format!("killed at {} {point:?}", step.name);
            let hook = once(step.name, point, false, Interference::Kill);
            assert_stored(&world, &world.run_through(hook, &id).await, &why).await;
        }
        if before_return(OperationKind::Backup, at) {
            let (world, id) = submitted().await;
            let why = format!("failed at {}", step.name);
            let hook = once(step.name, Point::Acted, false, Interference::Fail);
            assert_nowhere(&world, &world.run_through(hook, &id).await, &why).await;
        }
    }
}

#[tokio::test]
async fn a_lost_reply_does_a_backup_into_object_storage_no_harm() {
    for method in METHODS {
        let (world, id) = submitted().await;
        world.engine.inject(method, 1, Fault::LoseReply);
        let operation = world.run_to_rest(&world.runner(), &id).await;
        assert_stored(&world, &operation, method).await;
    }
}

/// What is in the storage now is not what the configuration names: nothing is read there, nothing is written there.
#[tokio::test]
async fn another_storage_in_the_configuration_is_not_taken_for_the_one_with_the_backups() {
    for (other, word) in [(Some(storage("other")), "other/pgflex"), (None, "names none")] {
        let (mut world, server) = taken().await;
        configure(&mut world, other);
        let id = submit_into(&world, &server).await;
        let ended = world.run_to_rest(&world.runner(), &id).await;
        assert_eq!(ended.status, OperationStatus::Failed);
        let why = ended.error.unwrap_or_default();
        assert!(why.contains("s3.example.org/backups/pgflex") && why.contains(word), "{why}");
        let seen = protection(&world, &server).await;
        assert_eq!(seen.good_in(NUMBER).count(), 1, "the one that was there stays on record");
    }
}

async fn submit_restore(world: &World, source: &ServerId) -> OperationId {
    let (verifier, name) = (Secret::new(VERIFIER), ServerName::parse("copy").unwrap());
    let new = NewRestore {
        source,
        repository: NUMBER,
        target: &RestoreTarget::Latest,
        set: None,
        name: &name,
        zone: "2",
        access: Access::Public,
        network: None,
        admin_verifier: &verifier,
        ports: (20000, 20999),
        idempotency_key: None,
    };
    let (group, sealer) = (GroupId::default_group(), &world.services.sealer);
    world.door().restore(&group, sealer, &new, &Actor::system()).await.unwrap()
}

/// The host with the source and its first repository does not answer any more.
async fn lose_the_source(world: &World) {
    let silent = pgflex::engine::EngineError::Silent("cut off".into());
    world.engine.inject_everywhere(Fault::Fail(silent));
    let loads = world.services.store.host_loads().await.unwrap();
    let local = loads.iter().find(|load| load.host.name == "local").unwrap();
    let now = world.clock.now();
    world.services.store.observe_host_silent(&local.host.id, now, "cut off").await.unwrap();
}

#[tokio::test]
async fn a_server_is_restored_when_its_host_is_gone_killed_at_every_step() {
    for step in steps(OperationKind::Restore) {
        let (world, server) = taken().await;
        lose_the_source(&world).await;
        let id = submit_restore(&world, &server).await;
        let hook = once(step.name, Point::Acted, false, Interference::Kill);
        let ended = world.run_through(hook, &id).await;
        let why = format!("killed at {}: {:?}", step.name, ended.error);
        assert_eq!(ended.status, OperationStatus::Succeeded, "{why}");
        let members = world.services.store.members(&ended.server_id).await.unwrap();
        let source = world.services.store.members(&server).await.unwrap();
        assert_ne!(members[0].host_id, source[0].host_id, "{why}");
        for name in ["recovery.conf", "backup.conf", "archive.conf"] {
            let text = file(&world, &ended.server_id, name).await.unwrap_or_default();
            assert!(!text.contains(SECRET), "{why}: {name}");
        }
        let left = world.far.remaining();
        assert!(!left.iter().any(|one| one.ends_with("-look")), "{why}: {left:?}");
    }
}

#[tokio::test]
async fn a_drill_proves_what_is_in_object_storage() {
    let (world, server) = taken().await;
    let input = serde_json::json!({ "repository": NUMBER });
    let change = Change { kind: OperationKind::RestoreDrill, input };
    let id = world.door().submit_change(change, &server, &Actor::system(), None).await.unwrap();
    succeed(&world, &id).await;
    assert_eq!(helpers(&world), Vec::<String>::new());
    let drills = world.services.store.restore_drills(&server, 1).await.unwrap();
    assert_eq!(drills[0].repository, NUMBER);
    // Those that nobody chose one for take turns.
    for expected in [1, NUMBER, 1] {
        world.clock.wind(chrono::Duration::minutes(1));
        let id = world.submit_on(OperationKind::RestoreDrill, &server).await;
        succeed(&world, &id).await;
        let drills = world.services.store.restore_drills(&server, 1).await.unwrap();
        assert_eq!(drills[0].repository, expected);
    }
}

/// Its key goes first, then what lies in the storage, also when nothing answers at the first try.
#[tokio::test]
async fn what_a_deleted_server_has_in_object_storage_is_erased_with_the_rest() {
    let (mut world, server) = taken().await;
    let id = world.submit_on(OperationKind::Delete, &server).await;
    succeed(&world, &id).await;
    let stanza = stanza_of(&server);
    world.clock.wind(chrono::Duration::days(40));
    configure(&mut world, None);
    erasure::tick(&world.services).await.unwrap();
    assert!(world.engine.stored_backups(&stanza).is_some(), "the storage is not known");
    assert!(!protection(&world, &server).await.repositories.is_empty(), "it is not forgotten");
    configure(&mut world, Some(storage("backups")));
    erasure::tick(&world.services).await.unwrap();
    assert_eq!(world.engine.stored_backups(&stanza), None);
    assert!(protection(&world, &server).await.repositories.is_empty());
    assert_eq!(helpers(&world), Vec::<String>::new());
}
