//! What must be true of backups after operations on them, and stories of their own.

use super::*;
use crate::world::changes;
use pgflex::clock::Clock;
use pgflex::domain::activity::Actor;
use pgflex::domain::backup::{BackupType, Protection, RepositoryState, stanza_of};
use pgflex::domain::operation::Operation;
use pgflex::engine::fake::FakeSet;
use pgflex::operations::backup::repository;

async fn protection(world: &World, operation: &Operation) -> Protection {
    world.services.store.protection(&operation.server_id).await.unwrap()
}

/// What really lies in the repository of the server.
async fn there(world: &World, operation: &Operation) -> Vec<FakeSet> {
    let members = world.services.store.members(&operation.server_id).await.unwrap();
    let volume = repository::blueprint(&world.services, &members[0].host_id).volume_name();
    world.engine.backups(&volume, &stanza_of(&operation.server_id))
}

async fn configuration(world: &World, operation: &Operation) -> String {
    let members = world.services.store.members(&operation.server_id).await.unwrap();
    let file = world.engine.file(&members[0].volume(), "config/postgresql.conf").unwrap();
    String::from_utf8(file).unwrap()
}

pub async fn assert_taken(world: &World, operation: &Operation, why: &str) {
    let (seen, sets) = (protection(world, operation).await, there(world, operation).await);
    assert_eq!((seen.backups.len(), sets.len()), (1, 1), "{why}: taken once");
    let one = &seen.backups[0];
    assert_eq!(one.label, sets[0].label, "{why}");
    assert_eq!(one.operation_id.as_ref(), Some(&operation.id), "{why}");
    assert!(one.is_good() && one.verified_at.is_some(), "{why}: {one:?}");
    assert_eq!(seen.repositories[0].state, RepositoryState::Active, "{why}");
    let text = configuration(world, operation).await;
    let stanza = stanza_of(&operation.server_id);
    assert!(text.contains(&format!("--stanza={stanza} archive-push %p")), "{why}: {text}");
    assert_server_of_repository(world, operation, why).await;
}

/// It runs, is reached from the server's own network, lets the server in, and has no key.
async fn assert_server_of_repository(world: &World, operation: &Operation, why: &str) {
    let members = world.services.store.members(&operation.server_id).await.unwrap();
    let plan = repository::blueprint(&world.services, &members[0].host_id);
    let server = world.services.store.server(&operation.server_id).await.unwrap().unwrap();
    let name = plan.server_name(server.spec.major);
    let joined = world.engine.joined(&name);
    let network = pgflex::domain::server::network_name(&server.id);
    assert!(joined.iter().any(|join| join.network == network), "{why}: {joined:?}");
    let file = world.engine.file(&name, "config/server.conf").unwrap();
    let file = String::from_utf8(file).unwrap();
    let client = format!("tls-server-auth={}={}\n", server.id, stanza_of(&server.id));
    assert!(file.contains(&client) && !file.contains("cipher"), "{why}: {file}");
}

pub async fn assert_not_taken(world: &World, operation: &Operation, why: &str) {
    let seen = protection(world, operation).await;
    assert!(seen.backups.is_empty(), "{why}: {:?}", seen.backups);
}

pub async fn assert_deleted(world: &World, operation: &Operation, why: &str) {
    assert_listed_is_there(world, operation, why).await;
    let seen = protection(world, operation).await;
    assert!(seen.backups.iter().all(|one| one.label != changes::NAMED_BACKUP), "{why}");
    assert_eq!(seen.backups.len(), 1, "{why}: the other stays");
}

/// What is listed is what is there, neither more nor less.
pub async fn assert_listed_is_there(world: &World, operation: &Operation, why: &str) {
    let mut listed: Vec<String> =
        protection(world, operation).await.backups.into_iter().map(|one| one.label).collect();
    let mut sets: Vec<String> =
        there(world, operation).await.into_iter().map(|set| set.label).collect();
    (listed.sort(), sets.sort());
    assert_eq!(listed, sets, "{why}");
}

fn helpers(world: &World) -> Vec<String> {
    let is_helper = |object: &String| object.ends_with("-backup") || object.ends_with("-tool");
    world.engine.remaining().into_iter().filter(is_helper).collect()
}

async fn succeed(world: &World, id: &pgflex::domain::ids::OperationId) -> Operation {
    let operation = world.run_to_rest(&world.runner(), id).await;
    assert_eq!(operation.status, OperationStatus::Succeeded, "{:?}", operation.error);
    operation
}

/// A copy takes long, and the runner is killed while it goes on: the next one waits for the same copy.
#[tokio::test]
async fn a_copy_that_takes_long_is_waited_for_by_whoever_has_the_operation() {
    let world = world().await;
    let id = world.submit(OperationKind::Backup).await;
    world.engine.slow_backup_tool(5);
    let operation =
        world.run_through(once("copy", Point::Acted, false, Interference::Kill), &id).await;
    assert_succeeded(&world, &operation, "killed while it copies").await;
    assert_eq!(helpers(&world), Vec::<String>::new());
}

/// Cancelled while the helper runs: it is ended, and what it would have copied is never there.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_cancelled_leaves_nothing() {
    let world = Arc::new(world().await);
    let id = world.submit(OperationKind::Backup).await;
    world.engine.slow_backup_tool(5);
    let (inner, asked) = (world.clone(), id.clone());
    let cancel = move || {
        tokio::runtime::Handle::current().block_on(async {
            let operation = inner.operation(&asked).await;
            // Later calls of the step find it asked for already.
            let _ = inner.door().cancel(&operation, &Actor::system()).await;
        });
    };
    let hook: Hook = Arc::new(move |moment: Moment<'_>| {
        if moment == (Moment { step: "copy", point: Point::Acted, undoing: false }) {
            tokio::task::block_in_place(&cancel);
        }
        Interference::None
    });
    let operation = world.run_through(hook, &id).await;
    assert_eq!(operation.status, OperationStatus::Cancelled);
    assert_unwound(&world, &operation, "cancelled while it copies").await;
    assert!(there(&world, &operation).await.is_empty());
    assert_eq!(helpers(&world), Vec::<String>::new());
}

/// What is damaged is not listed, is removed where it can be, and the next backup is a full one.
#[tokio::test]
async fn a_backup_that_is_found_damaged_is_not_listed() {
    let world = world().await;
    let first = succeed(&world, &world.submit(OperationKind::Backup).await).await;
    let server = first.server_id.clone();
    let (members, label) = (
        world.services.store.members(&server).await.unwrap(),
        protection(&world, &first).await.backups[0].label.clone(),
    );
    let volume = repository::blueprint(&world.services, &members[0].host_id).volume_name();
    world.engine.damage_backup(&volume, &stanza_of(&server), &label);
    let asked = (BackupType::Differential, "daily");
    let id = world.door().take_backup(&server, asked, &Actor::system(), None).await.unwrap();
    let operation = world.run_to_rest(&world.runner(), &id).await;
    assert_eq!(operation.status, OperationStatus::Failed);
    assert!(operation.error.as_ref().unwrap().contains("not whole"), "{:?}", operation.error);
    let seen = protection(&world, &operation).await;
    assert_eq!(seen.backups.len(), 1, "only the full one that it rested on: {:?}", seen.backups);
    assert!(!seen.backups[0].is_good(), "which nothing vouches for any more");
    assert_eq!(helpers(&world), Vec::<String>::new());
    // Asked for as a differential one: with nothing good to rest on it is a full one.
    let asked = (BackupType::Differential, "again");
    let id = world.door().take_backup(&server, asked, &Actor::system(), None).await.unwrap();
    let operation = succeed(&world, &id).await;
    let seen = protection(&world, &operation).await;
    let good: Vec<_> = seen.good_in(1).collect();
    assert_eq!((good.len(), good[0].kind, good[0].name.as_str()), (1, BackupType::Full, "again"));
}

/// The first full backup cannot be removed again, because pgBackRest keeps the only one: nobody is offered it.
#[tokio::test]
async fn a_first_backup_that_was_given_up_is_never_good() {
    let world = world().await;
    let id = world.submit(OperationKind::Backup).await;
    let failed =
        world.run_through(once("verify", Point::Acted, false, Interference::Fail), &id).await;
    assert_eq!(failed.status, OperationStatus::Failed);
    assert!(protection(&world, &failed).await.backups.is_empty());
    assert_eq!(there(&world, &failed).await.len(), 1, "still in the repository");
    let id = world.submit_on(OperationKind::Backup, &failed.server_id).await;
    let second = succeed(&world, &id).await;
    let seen = protection(&world, &second).await;
    let given_up = seen.backups.iter().find(|one| one.operation_id.as_ref() == Some(&failed.id));
    assert!(!given_up.unwrap().is_good(), "{:?}", seen.backups);
    assert_eq!(seen.good_in(1).count(), 1);
}

/// On what a person may ask for.
#[tokio::test]
async fn names_are_given_once_and_what_others_rest_on_stays() {
    let world = world().await;
    let first = succeed(&world, &world.submit(OperationKind::Backup).await).await;
    let server = &first.server_id;
    let take = async |kind, name: &str| {
        world.door().take_backup(server, (kind, name), &Actor::system(), None).await
    };
    let full = succeed(&world, &take(BackupType::Full, "full").await.unwrap()).await;
    assert!(take(BackupType::Full, "FULL").await.is_err(), "the name is taken");
    assert!(take(BackupType::Full, "a=b").await.is_err(), "no name");
    succeed(&world, &take(BackupType::Differential, "diff").await.unwrap()).await;
    let seen = protection(&world, &full).await;
    let label =
        |name: &str| seen.backups.iter().find(|one| one.name == name).unwrap().label.clone();
    let delete =
        async |label: &str| world.door().delete_backup(server, label, &Actor::system(), None).await;
    let refused = delete(&label("full")).await.unwrap_err().to_string();
    assert!(refused.contains("rests on it"), "{refused}");
    assert!(delete(&label("")).await.unwrap_err().to_string().contains("asked for"));
    succeed(&world, &delete(&label("diff")).await.unwrap()).await;
    succeed(&world, &delete(&label("full")).await.unwrap()).await;
    for number in 1..=7 {
        let name = format!("n{number}");
        succeed(&world, &take(BackupType::Incremental, &name).await.unwrap()).await;
    }
    assert!(take(BackupType::Full, "eighth").await.unwrap_err().to_string().contains('7'));
    assert!(world.clock.now() > chrono::DateTime::UNIX_EPOCH);
}

/// A server that was started without an archive says so; nothing was taken.
#[tokio::test]
async fn a_server_without_an_archive_asks_for_a_restart() {
    let world = world().await;
    let id = world.submit(OperationKind::Backup).await;
    world.postgres.set_archiver(Some(Default::default()));
    let operation = world.run_to_rest(&world.runner(), &id).await;
    assert_eq!(operation.status, OperationStatus::Failed);
    assert!(operation.advice.as_ref().unwrap().contains("Restart"), "{:?}", operation.advice);
    let text = configuration(&world, &operation).await;
    assert!(text.contains("archive_mode = on"), "the restart turns it on");
}
