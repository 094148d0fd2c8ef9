//! Backups into a repository on another host, where nothing of the primary is: through a door, killed and failed at
//! every step; a repository that is away; a failover in the middle.

use super::*;
use crate::world::changes;
use pgflex::clock::Clock;
use pgflex::domain::activity::Actor;
use pgflex::domain::backup::{
    BackupPolicy, BackupType, Protection, Redundancy, RepositoryState, stanza_of,
};
use pgflex::domain::ids::{OperationId, ServerId};
use pgflex::domain::operation::Operation;
use pgflex::engine::Engine;
use pgflex::engine::registry::Driven;
use pgflex::operations::backup::take::Asked;
use pgflex::operations::submit::Change;
use pgflex::store::hosts::HostEntry;
use std::collections::BTreeSet;

/// Two hosts that are two engines, reached at addresses of their own.
pub async fn apart() -> World {
    let world = world().await;
    let (store, now) = (&world.services.store, world.clock.now());
    let loads = store.host_loads().await.unwrap();
    let address = |name: &str| if name == "local" { "10.0.0.1" } else { "10.0.0.2" };
    let entry = |load: &pgflex::domain::placement::HostLoad| HostEntry {
        name: load.host.name.clone(),
        address: load.host.address.clone(),
        places: load.host.places.clone(),
        member_address: Some(address(&load.host.name).parse().unwrap()),
        sealed_tls: None,
    };
    let entries: Vec<_> = loads.iter().map(entry).collect();
    let hosts = store.register_host_entries(now, &entries).await.unwrap();
    let mut driven = std::collections::HashMap::new();
    for load in loads {
        let mut facts = load.facts.unwrap();
        facts.engine_id = load.host.name.clone();
        store.observe_host(&load.host.id, now, &facts, &[]).await.unwrap();
        let fake = if load.host.name == "local" { &world.engine } else { &world.far };
        let host = hosts.iter().find(|host| host.id == load.host.id).unwrap();
        let one = Driven {
            engine: Arc::new(fake.clone()) as Arc<dyn Engine>,
            member_address: host.member_address,
            version: host.version,
        };
        driven.insert(load.host.id, one);
    }
    world.services.engines.replace(driven);
    world
}

pub async fn succeed(world: &World, id: &OperationId) -> Operation {
    let operation = world.run_to_rest(&world.runner(), id).await;
    assert_eq!(operation.status, OperationStatus::Succeeded, "{:?}", operation.error);
    operation
}

pub async fn submit_into(world: &World, server: &ServerId, repository: i64) -> OperationId {
    let input = Asked::new(BackupType::Full, "").into_repository(repository);
    let input = serde_json::to_value(input).unwrap();
    let change = Change { kind: OperationKind::Backup, input };
    world.door().submit_change(change, server, &Actor::system(), None).await.unwrap()
}

/// A server with its first backup, and the next one, into the second repository, submitted.
async fn submitted() -> (World, OperationId) {
    let world = apart().await;
    let first = world.submit(OperationKind::Backup).await;
    let server = succeed(&world, &first).await.server_id;
    ask_for(&world, &server, Redundancy::Zone).await;
    let id = submit_into(&world, &server, 2).await;
    (world, id)
}

/// As a person does on the page.
async fn ask_for(world: &World, server: &ServerId, redundancy: Redundancy) {
    let seen = protection(world, server).await;
    let to = BackupPolicy { redundancy, ..seen.policy };
    world.door().change_backup_policy(server, to, seen.version, &Actor::system()).await.unwrap();
}

pub async fn protection(world: &World, server: &ServerId) -> Protection {
    world.services.store.protection(server).await.unwrap()
}

/// What is there for a backup alone, on both engines.
pub fn helpers(world: &World) -> Vec<String> {
    let is_helper =
        |object: &String| ["-backup", "-tool", "-door"].iter().any(|end| object.ends_with(end));
    world.engines().iter().flat_map(|one| one.remaining()).filter(is_helper).collect()
}

async fn file(world: &World, server: &ServerId, name: &str) -> String {
    let members = world.services.store.members(server).await.unwrap();
    let path = format!("config/{name}");
    let mut found =
        world.engines().into_iter().filter_map(|one| one.file(&members[0].volume(), &path));
    String::from_utf8(found.next().unwrap()).unwrap()
}

async fn assert_in_both(world: &World, operation: &Operation, why: &str) {
    assert_eq!(operation.status, OperationStatus::Succeeded, "{why}: {:?}", operation.error);
    let server = &operation.server_id;
    let seen = protection(world, server).await;
    let hosts: BTreeSet<_> = seen.repositories.iter().map(|one| one.host_id.clone()).collect();
    assert_eq!((seen.repositories.len(), hosts.len()), (2, 2), "{why}: on two hosts");
    let is_active = |state| state == RepositoryState::Active;
    assert!(seen.repositories.iter().all(|one| is_active(one.state)), "{why}");
    for number in [1, 2] {
        assert_eq!(seen.good_in(number).count(), 1, "{why}: {:?}", seen.backups);
    }
    let volume = pgflex::operations::backup::repository::blueprint(
        &world.services,
        &seen.repositories[1].host_id,
    )
    .volume_name();
    assert_eq!(world.far.backups(&volume, &stanza_of(server)).len(), 1, "{why}: it is there");
    let text = file(world, server, "archive.conf").await;
    assert!(text.contains("repo1-host=pgflex-repository-"), "{why}: {text}");
    assert!(text.contains("repo2-host=10.0.0.2\n"), "{why}: {text}");
    assert_eq!(helpers(world), Vec::<String>::new(), "{why}");
}

async fn assert_nowhere(world: &World, operation: &Operation, why: &str) {
    assert!(
        matches!(operation.status, OperationStatus::Failed | OperationStatus::Cancelled),
        "{why}"
    );
    let seen = protection(world, &operation.server_id).await;
    assert_eq!(seen.good_in(2).count(), 0, "{why}: {:?}", seen.backups);
    assert_eq!(seen.good_in(1).count(), 1, "{why}: the first is as it was");
    assert_eq!(helpers(world), Vec::<String>::new(), "{why}");
}

#[tokio::test]
async fn a_backup_goes_through_a_door_into_another_host() {
    let (world, id) = submitted().await;
    let calls = world.engine.calls().len();
    let operation = succeed(&world, &id).await;
    assert_in_both(&world, &operation, "to the end").await;
    let calls = world.engine.calls()[calls..].join("\n");
    assert!(calls.contains("-door"), "{calls}");
    let started = world
        .far
        .calls()
        .iter()
        .any(|call| call.starts_with("start_container") && call.ends_with("-backup"));
    assert!(started, "the helper is where the repository is");
}

#[tokio::test]
async fn a_far_backup_ends_right_when_killed_or_failed_at_every_step() {
    for (at, step) in steps(OperationKind::Backup).iter().enumerate() {
        for point in Point::ALL {
            let (world, id) = submitted().await;
            let why = format!("killed at {} {point:?}", step.name);
            let hook = once(step.name, point, false, Interference::Kill);
            assert_in_both(&world, &world.run_through(hook, &id).await, &why).await;
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
async fn a_lost_reply_does_a_far_backup_no_harm() {
    for at in 0..2 {
        for method in METHODS {
            let (world, id) = submitted().await;
            world.engines()[at].inject(method, 1, Fault::LoseReply);
            let operation = world.run_to_rest(&world.runner(), &id).await;
            assert_in_both(&world, &operation, &format!("{method} on engine {at}")).await;
        }
    }
}

/// A host has one port for doors: what was left behind there is in nobody's way.
#[tokio::test]
async fn the_door_of_an_operation_that_is_over_is_removed() {
    let (world, id) = submitted().await;
    world.engine.slow_backup_tool(3);
    world.far.slow_backup_tool(3);
    let hook = once("copy", Point::Acted, false, Interference::Kill);
    assert!(world.try_run_to_rest(&world.runner().with_hook(hook), &id).await.is_err());
    assert!(helpers(&world).iter().any(|one| one.ends_with("-door")), "open while it copies");
    let operation = world.run_to_rest(&world.runner(), &id).await;
    assert_in_both(&world, &operation, "taken up by another process").await;
}

pub async fn assert_suspended(world: &World, operation: &Operation, why: &str) {
    let seen = protection(world, &operation.server_id).await;
    assert_eq!(seen.repositories[0].state, RepositoryState::Suspended, "{why}");
    let open: Vec<_> = seen.gaps.iter().filter(|gap| gap.ended_at.is_none()).collect();
    assert_eq!((open.len(), open[0].repository), (1, 1), "{why}: {:?}", seen.gaps);
    let text = file(world, &operation.server_id, "postgresql.conf").await;
    assert!(text.contains("archive_command = '/bin/true'"), "{why}: its log is not kept: {text}");
}

pub async fn assert_not_suspended(world: &World, operation: &Operation, why: &str) {
    let seen = protection(world, &operation.server_id).await;
    assert_eq!(seen.repositories[0].state, RepositoryState::Active, "{why}");
    assert!(seen.gaps.is_empty(), "{why}: {:?}", seen.gaps);
    let text = file(world, &operation.server_id, "postgresql.conf").await;
    assert!(text.contains("archive-push %p"), "{why}: {text}");
}

/// Away for long: the log goes into the other alone. Back again: a full backup ends the gap.
#[tokio::test]
async fn a_repository_that_is_away_is_suspended_and_taken_up_again() {
    let (world, id) = submitted().await;
    let server = succeed(&world, &id).await.server_id;
    let host = protection(&world, &server).await.repositories[1].host_id.clone();
    let silent = pgflex::engine::EngineError::Silent("cut off".into());
    world.far.inject_everywhere(Fault::Fail(silent));
    let loads = world.services.store.host_loads().await.unwrap();
    let facts = loads.into_iter().find(|load| load.host.id == host).unwrap().facts.unwrap();
    world.services.store.observe_host(&host, world.clock.now(), &facts, &[]).await.unwrap();
    let tick = async |minutes: i64| {
        world.clock.wind(chrono::Duration::minutes(minutes));
        let now = world.clock.now();
        world.services.store.observe_host_silent(&host, now, "cut off").await.unwrap();
        pgflex::monitor::repositories::tick(&world.services).await.unwrap();
    };
    tick(5).await;
    assert_eq!(
        world.services.store.active_kinds_of(&server).await.unwrap(),
        [],
        "it is waited for"
    );
    tick(6).await;
    let kinds = world.services.store.active_kinds_of(&server).await.unwrap();
    assert_eq!(kinds, [OperationKind::SuspendRepository]);
    world.run_to_rest(&world.runner(), &id).await;
    let seen = protection(&world, &server).await;
    assert_eq!(seen.repositories[1].state, RepositoryState::Suspended);
    assert_eq!(seen.repositories[0].state, RepositoryState::Active);
    let text = file(&world, &server, "archive.conf").await;
    assert!(text.contains("repo1-host=pgflex-repository-") && !text.contains("10.0.0.2"), "{text}");
    assert!(
        seen.window_of(2).latest() < seen.window_of(1).latest() || seen.archive.until.is_none()
    );

    world.far.heal();
    let id = submit_into(&world, &server, 2).await;
    succeed(&world, &id).await;
    let seen = protection(&world, &server).await;
    assert_eq!(seen.repositories[1].state, RepositoryState::Active);
    assert!(seen.gaps.iter().all(|gap| gap.ended_at.is_some()), "{:?}", seen.gaps);
    let text = file(&world, &server, "archive.conf").await;
    assert!(text.contains("repo2-host=10.0.0.2\n"), "{text}");
}

pub async fn assert_removed(world: &World, operation: &Operation, why: &str) {
    let seen = protection(world, &operation.server_id).await;
    let numbers: Vec<_> = seen.repositories.iter().map(|one| one.number).collect();
    assert_eq!(numbers, [1], "{why}");
    assert_eq!((seen.good_in(1).count(), seen.good_in(2).count()), (1, 0), "{why}");
}

/// Not asked for any more: the log goes into the first alone, its backups stay as long as one of their moments is within the
/// retention, and then they go, with their files, and nothing of the first.
#[tokio::test]
async fn a_repository_that_nobody_asks_for_ends_with_its_retention() {
    let (world, id) = submitted().await;
    world.engines().iter().for_each(|engine| engine.set_backup_time(world.clock.now()));
    let server = succeed(&world, &id).await.server_id;
    let tick = async || pgflex::monitor::repositories::tick(&world.services).await.unwrap();
    let all = async || {
        let filter = pgflex::store::operations::OperationFilter {
            server_id: Some(server.clone()),
            ..Default::default()
        };
        world.services.store.operations(&filter).await.unwrap()
    };
    let kinds = async || {
        let open = all().await.into_iter().filter(|one| one.status.is_active());
        open.map(|one| one.kind).collect::<Vec<_>>()
    };
    let rest = async || succeed(&world, &all().await[0].id).await;
    tick().await;
    assert_eq!(kinds().await, [], "it is asked for");
    ask_for(&world, &server, Redundancy::Local).await;
    tick().await;
    assert_eq!(kinds().await, [OperationKind::SuspendRepository]);
    rest().await;
    let seen = protection(&world, &server).await;
    assert_eq!(seen.repositories[1].state, RepositoryState::Suspended);
    assert_eq!(seen.good_in(2).count(), 1, "its backups stay");
    let text = file(&world, &server, "archive.conf").await;
    assert!(text.contains("repo1-host=") && !text.contains("10.0.0.2"), "{text}");
    let input = Asked::new(BackupType::Full, "").into_repository(2);
    let change =
        Change { kind: OperationKind::Backup, input: serde_json::to_value(input).unwrap() };
    let late = world.door().submit_change(change, &server, &Actor::system(), None).await.unwrap();
    let late = world.run_to_rest(&world.runner(), &late).await;
    assert!(late.error.unwrap().contains("do not go into repository 2"));

    let days = |days| chrono::Duration::days(days);
    world.clock.wind(days(6));
    tick().await;
    assert_eq!(kinds().await, [], "within the retention");
    world.clock.wind(days(2));
    tick().await;
    assert_eq!(kinds().await, [OperationKind::RemoveRepository]);
    let host = seen.repositories[1].host_id.clone();
    let removed = rest().await;
    assert_removed(&world, &removed, "to the end").await;
    let volume = pgflex::operations::backup::repository::blueprint(&world.services, &host);
    assert!(world.far.backups(&volume.volume_name(), &stanza_of(&server)).is_empty());
    let first = pgflex::operations::backup::repository::blueprint(
        &world.services,
        &seen.repositories[0].host_id,
    );
    assert_eq!(world.engine.backups(&first.volume_name(), &stanza_of(&server)).len(), 1);
    // Asked for again: a new one.
    ask_for(&world, &server, Redundancy::Zone).await;
    let again = submit_into(&world, &server, 2).await;
    let again = succeed(&world, &again).await;
    assert_in_both(&world, &again, "asked for again").await;
}

/// Exchanged for object storage it ends as well. A host that refuses holds up nothing else of the server, and is asked again.
#[tokio::test]
async fn one_that_was_exchanged_is_removed_although_its_host_refuses_at_first() {
    let (world, id) = submitted().await;
    world.engines().iter().for_each(|engine| engine.set_backup_time(world.clock.now()));
    let server = succeed(&world, &id).await.server_id;
    let stored = |seen: &Protection| {
        let host = &seen.repositories[1].host_id;
        let volume = pgflex::operations::backup::repository::blueprint(&world.services, host);
        world.far.backups(&volume.volume_name(), &stanza_of(&server)).len()
    };
    ask_for(&world, &server, Redundancy::ObjectStorage).await;
    pgflex::monitor::repositories::tick(&world.services).await.unwrap();
    world.run_to_rest(&world.runner(), &id).await;
    world.clock.wind(chrono::Duration::days(9));
    world.far.fail_backup_tool("erase", "rm: cannot remove: Input/output error");
    let removal = world.door().remove_repository(&server, 2).await.unwrap();
    succeed(&world, &removal).await;
    let seen = protection(&world, &server).await;
    assert_eq!((seen.good_in(2).count(), stored(&seen)), (0, 1), "on record until it is gone");
    assert_eq!(seen.repositories[1].state, RepositoryState::Planned);
    world.clock.wind(chrono::Duration::hours(7));
    pgflex::monitor::repositories::tick(&world.services).await.unwrap();
    world.run_to_rest(&world.runner(), &removal).await;
    assert_eq!(protection(&world, &server).await.repositories.len(), 1);
    assert_eq!(stored(&seen), 0, "it is asked again");
}

/// Asked for again in the last moment: nothing goes.
#[tokio::test]
async fn a_repository_that_is_asked_for_again_is_not_removed() {
    let (world, id) = submitted().await;
    world.engines().iter().for_each(|engine| engine.set_backup_time(world.clock.now()));
    let server = succeed(&world, &id).await.server_id;
    ask_for(&world, &server, Redundancy::Local).await;
    pgflex::monitor::repositories::tick(&world.services).await.unwrap();
    world.run_to_rest(&world.runner(), &id).await;
    world.clock.wind(chrono::Duration::days(9));
    let removal = world.door().remove_repository(&server, 2).await.unwrap();
    ask_for(&world, &server, Redundancy::Zone).await;
    let operation = world.run_to_rest(&world.runner(), &removal).await;
    assert_eq!(operation.status, OperationStatus::Failed);
    assert_eq!(protection(&world, &server).await.good_in(2).count(), 1);
}

/// T21: the primary changes while it is copied. The backup ends, and the next one is taken of the new primary, whose
/// host is not that of its repository.
#[tokio::test(flavor = "multi_thread")]
async fn a_failover_in_the_middle_of_a_backup_ends_it_without_harm() {
    let world = Arc::new(apart().await);
    let build = world.submit(OperationKind::BuildStandby).await;
    let server = succeed(&world, &build).await.server_id;
    let first = submit_into(&world, &server, 1).await;
    succeed(&world, &first).await;
    world.engine.slow_backup_tool(8);
    let id = submit_into(&world, &server, 1).await;
    let armed = Arc::new(AtomicBool::new(true));
    let (inner, asked) = (world.clone(), server.clone());
    let strike = move || {
        tokio::runtime::Handle::current().block_on(async {
            changes::prepare(&inner, OperationKind::Failover, &asked).await;
            let input = changes::input(OperationKind::Failover);
            let change = Change { kind: OperationKind::Failover, input };
            inner.door().submit_change(change, &asked, &Actor::system(), None).await.unwrap();
        });
    };
    let hook: Hook = Arc::new(move |moment: Moment<'_>| {
        let here = moment == (Moment { step: "copy_standby", point: Point::Acted, undoing: false });
        if here && armed.swap(false, Ordering::SeqCst) {
            tokio::task::block_in_place(&strike);
        }
        Interference::None
    });
    let operation = world.run_through(hook, &id).await;
    assert_eq!(operation.status, OperationStatus::Failed, "{:?}", operation.error);
    assert!(
        operation.error.as_ref().unwrap().contains("became the primary"),
        "{:?}",
        operation.error
    );
    assert_eq!(helpers(&world), Vec::<String>::new());
    let seen = protection(&world, &server).await;
    assert_eq!(seen.good_in(1).count(), 1, "the earlier one is as it was: {:?}", seen.backups);
    world.engine.slow_backup_tool(0);
    succeed(&world, &submit_into(&world, &server, 1).await).await;
    let seen = protection(&world, &server).await;
    assert_eq!(seen.good_in(1).count(), 2, "{:?}", seen.backups);
    let text = file(&world, &server, "archive.conf").await;
    assert!(text.contains("repo1-host=10.0.0.1\n"), "from its own host into the first: {text}");
}
