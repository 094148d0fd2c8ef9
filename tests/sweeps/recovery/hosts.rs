//! The whole way with engines: put there, found, loaded, and rows that follow what the hosts have become.

use super::{clock, sealer};
use crate::world::World;
use pgflex::certificates::Authority;
use pgflex::clock::Clock;
use pgflex::domain::catalog::Tier;
use pgflex::domain::ids::ServerId;
use pgflex::domain::operation::{OperationKind, OperationStatus};
use pgflex::domain::server::SettledState;
use pgflex::engine::fake::FakeEngine;
use pgflex::engine::{Engine, FileSpec};
use pgflex::monitor::{schedule, store_backups};
use pgflex::operations::access::{open_secret, secret};
use pgflex::operations::context::Services;
use pgflex::operations::store_backup;
use pgflex::recover::find::{Candidate, Place, Search, candidates};
use pgflex::recover::{self, adopt, rebuild};
use pgflex::store::Store;
use pgflex::store::testing::{self, TestStore};
use std::path::PathBuf;
use std::sync::Arc;

pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> Self {
        Self(std::env::temp_dir().join(format!("pgflex-{}", pgflex::clock::new_uuid())))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A process of the portal around another store and the same hosts.
fn again(world: &World, store: Store, authority: Authority) -> Arc<Services> {
    let of = &world.services;
    Arc::new(Services {
        store,
        engines: of.engines.clone(),
        postgres: of.postgres.clone(),
        clock: of.clock.clone(),
        sealer: of.sealer.clone(),
        authority,
        poke: of.poke.clone(),
        settings: of.settings.clone(),
    })
}

pub(super) fn places(world: &World) -> Vec<Place> {
    let place = |(name, engine): (&str, &FakeEngine)| {
        let engine = engine.clone();
        Place::with(name.into(), move |_| Ok(Arc::new(engine.clone()) as Arc<dyn Engine>))
    };
    [("near", &world.engine), ("far", &world.far)].map(place).into()
}

pub(super) async fn search(world: &World, folder: Option<&Folder>) -> Vec<Candidate> {
    let (sealer, places) = (sealer(), places(world));
    let folder = folder.map(|folder| folder.0.as_path());
    let search = Search { sealer: &sealer, places: &places, folder, file: None, install: None };
    candidates(&search).await.unwrap().candidates
}

pub(super) async fn back_up(world: &World, folder: &Folder) {
    let started_at = clock().now() - chrono::Duration::days(1);
    let mut state = store_backups::State::new(started_at, 0);
    store_backups::tick(&world.services, &folder.0, &mut state).await.unwrap();
    assert_eq!(state.turn, 1, "one was due");
    store_backups::tick(&world.services, &folder.0, &mut state).await.unwrap();
    assert_eq!(state.turn, 1, "and none after it");
}

/// Loads the newest backup that is found into a new store.
pub(super) async fn recover_newest(world: &World) -> (TestStore, Arc<Services>) {
    let found = search(world, None).await;
    let newest = found.first().expect("a backup is found");
    let checked = recover::verify(&sealer(), &newest.content).unwrap();
    let to = testing::sqlite().await;
    let store = recover::load(&to.url, &sealer(), &newest.content, &checked).await.unwrap();
    (to, again(world, store, world.services.authority.clone()))
}

pub(super) async fn create(world: &World, name: &str) -> ServerId {
    let id = world.submit_create_in(name, Tier::GeneralPurpose).await;
    let made = world.run_to_rest(&world.runner(), &id).await;
    assert_eq!(made.status, OperationStatus::Succeeded);
    made.server_id
}

/// Calls that change something on an engine.
pub(super) fn changes(engine: &FakeEngine) -> Vec<String> {
    let looks =
        ["facts", "owned", "container", "get_file", "installations", "has_volume", "network "];
    let calls = engine.calls().into_iter();
    calls.filter(|call| !looks.iter().any(|look| call.starts_with(look.trim()))).collect()
}

#[tokio::test]
async fn a_lost_store_comes_back_from_any_host_and_nothing_is_touched() {
    for test in testing::all().await {
        let world = World::new(test).await;
        let (shop, folder) = (create(&world, "shop").await, Folder::new());
        back_up(&world, &folder).await;
        let record = world.services.store.store_backups().await.unwrap();
        assert_eq!(record.len(), 3, "two hosts and the own folder");
        assert!(record.iter().all(|place| place.failure.is_empty() && place.bytes > Some(1000)));
        let volume = store_backup::volume_name(&world.services.settings.install_id);
        for engine in world.engines() {
            assert!(engine.file(&volume, &store_backup::all_slots(&sealer())[0]).is_some());
            assert_eq!(engine.container(&volume).await.unwrap().unwrap().state, "created");
        }
        assert_eq!(search(&world, Some(&folder)).await.len(), 1, "the same one everywhere");
        // The near host loses all it has of it: the far one is enough.
        world.engine.remove_by_hand("container", &volume);
        world.engine.remove_by_hand("volume", &volume);
        let before = world.engines().map(changes);
        let (_to, services) = recover_newest(&world).await;
        let lines = adopt::adopt(&services).await.unwrap();
        assert!(lines.iter().all(|line| line.starts_with("Host ")), "nothing to tell: {lines:?}");
        services.store.settle_recovery(services.clock.now(), "a test").await.unwrap();
        assert!(!services.store.is_recovery_unfinished().await.unwrap());
        assert_eq!(world.engines().map(changes), before, "no host was touched");
        let server = services.store.server(&shop).await.unwrap().unwrap();
        assert_eq!(server.settled, SettledState::Ready);
        for name in [secret::CONTROL_KEY, secret::SERVER_KEY, secret::ADMIN_VERIFIER] {
            let then = open_secret(&world.services, &shop, name).await.unwrap().unwrap();
            let now = open_secret(&services, &shop, name).await.unwrap().unwrap();
            assert_eq!(then.reveal(), now.reveal(), "{name}");
        }
        let same = world.services.store.members(&shop).await.unwrap();
        assert_eq!(services.store.members(&shop).await.unwrap(), same);
    }
}

/// A key that was made is worth more than an hour.
#[tokio::test]
async fn a_new_server_is_in_a_backup_at_the_next_look() {
    let world = World::new(testing::sqlite().await).await;
    let folder = Folder::new();
    back_up(&world, &folder).await;
    create(&world, "late").await;
    world.clock.wind(chrono::Duration::seconds(20));
    let mut state = store_backups::State::new(world.clock.now(), 1);
    store_backups::tick(&world.services, &folder.0, &mut state).await.unwrap();
    assert_eq!(state.turn, 2, "the hour is not over");
    let newest = &search(&world, None).await[0];
    assert_eq!(newest.header.rows_of("servers"), 1);
    // A host that refuses is told of, holds up nobody, and is tried again.
    world.far.inject_everywhere(pgflex::engine::fake::Fault::Fail(
        pgflex::engine::EngineError::Silent("gone".into()),
    ));
    create_row(&world).await;
    store_backups::tick(&world.services, &folder.0, &mut state).await.unwrap();
    let record = world.services.store.store_backups().await.unwrap();
    let failed: Vec<_> = record.iter().filter(|place| !place.failure.is_empty()).collect();
    assert!(
        failed.len() == 1 && failed[0].made_at.is_some(),
        "the one before is still there: {failed:?}"
    );
    world.far.heal();
    world.clock.wind(chrono::Duration::minutes(6));
    store_backups::tick(&world.services, &folder.0, &mut state).await.unwrap();
    let record = world.services.store.store_backups().await.unwrap();
    assert!(record.iter().all(|place| place.failure.is_empty()));
}

async fn create_row(world: &World) {
    testing::server(&world.services.store, world.clock.now(), "third").await;
}

/// A damaged newest backup is passed over: the second is whole.
#[tokio::test]
async fn the_newest_that_is_whole_is_found() {
    let world = World::new(testing::sqlite().await).await;
    let folder = Folder::new();
    back_up(&world, &folder).await;
    let before = search(&world, None).await[0].header.made_at;
    world.clock.wind(chrono::Duration::hours(2));
    create_row(&world).await;
    let mut state = store_backups::State::new(world.clock.now(), 1);
    store_backups::tick(&world.services, &folder.0, &mut state).await.unwrap();
    let found = search(&world, None).await;
    assert_eq!(found.len(), 2);
    assert!(found[0].header.made_at > before && found[1].header.made_at == before);
    assert!(recover::verify(&sealer(), &found[1].content).is_ok());
}

/// Everything that was under way waits or ends; what counts is ahead of what anybody may hold.
#[tokio::test]
async fn nothing_of_before_acts_by_itself() {
    let world = World::new(testing::sqlite().await).await;
    let (shop, folder) = (create(&world, "shop").await, Folder::new());
    let restart = world.submit_on(OperationKind::Restart, &shop).await;
    let generation = world.services.store.route_generation().await.unwrap();
    back_up(&world, &folder).await;
    let (_to, services) = recover_newest(&world).await;
    adopt::adopt(&services).await.unwrap();
    let settled = services.store.settle_recovery(world.clock.now(), "a test").await.unwrap();
    assert_eq!((settled.parked, settled.ended), (1, 0));
    let parked = services.store.operation(&restart).await.unwrap().unwrap();
    assert_eq!(parked.status, OperationStatus::NeedsAttention);
    assert!(parked.error.unwrap().contains("a test"));
    let runner = pgflex::operations::runner::Runner::new(services.clone(), "test".into());
    assert!(!runner.tick().await.unwrap(), "nobody takes it up");
    assert!(services.store.route_generation().await.unwrap() > generation + 1000);
    // A person may: its steps find what is there.
    let (now, deadline) = (world.clock.now(), world.clock.now() + chrono::Duration::hours(1));
    let record = pgflex::store::Record::Nothing("a test");
    assert!(services.store.resume_operation(&restart, now, deadline, record).await.unwrap());
    while runner.tick().await.unwrap() {}
    let ended = services.store.operation(&restart).await.unwrap().unwrap();
    assert_eq!(ended.status, OperationStatus::Succeeded, "{:?}", ended.error);
}

/// The container was made anew after the backup: the row follows, so that nobody makes an old one beside it.
#[tokio::test]
async fn rows_follow_what_the_hosts_have_become() {
    let world = World::new(testing::sqlite().await).await;
    let (shop, folder) = (create(&world, "shop").await, Folder::new());
    back_up(&world, &folder).await;
    let scale = world.submit_on(OperationKind::Scale, &shop).await;
    assert_eq!(world.run_to_rest(&world.runner(), &scale).await.status, OperationStatus::Succeeded);
    let stranger = create(&world, "late").await;
    let (_to, services) = recover_newest(&world).await;
    let lines = adopt::adopt(&services).await.unwrap();
    let (now, then) = (&services.store, &world.services.store);
    assert_eq!(
        now.server(&shop).await.unwrap().unwrap().spec,
        then.server(&shop).await.unwrap().unwrap().spec
    );
    let generation = |members: Vec<pgflex::domain::server::Member>| members[0].generation;
    assert_eq!(
        generation(now.members(&shop).await.unwrap()),
        generation(then.members(&shop).await.unwrap())
    );
    assert!(now.server(&stranger).await.unwrap().is_none());
    assert!(
        lines.iter().any(|line| line.contains("late") && line.contains("keys are lost")),
        "{lines:?}"
    );
}

/// Tells the fake's files what PostgreSQL would have written.
pub(super) async fn control_file(engine: &FakeEngine, container: &str, timeline: u32) {
    let mut content = vec![0; 8192];
    content[48..52].copy_from_slice(&timeline.to_le_bytes());
    let file = FileSpec { path: "data/global/pg_control".into(), mode: 0o600, content };
    engine.put_files(container, &[file]).await.unwrap();
}

#[tokio::test]
async fn a_failover_after_the_backup_is_followed_and_a_doubt_stops_everything() {
    let world = World::new(testing::sqlite().await).await;
    let (shop, folder) = (create(&world, "shop").await, Folder::new());
    world.plant_pair(&shop).await;
    let build = world.submit_on(OperationKind::BuildStandby, &shop).await;
    assert_eq!(world.run_to_rest(&world.runner(), &build).await.status, OperationStatus::Succeeded);
    back_up(&world, &folder).await;
    let members = world.services.store.members(&shop).await.unwrap();
    let (old, new) = (&members[0], &members[1]);
    let row = world.services.store.ha(&shop).await.unwrap().unwrap();
    assert!(row.is_promotable);

    // As it was: the standby has to prove itself again.
    let (_to, services) = recover_newest(&world).await;
    adopt::adopt(&services).await.unwrap();
    let stays = services.store.ha(&shop).await.unwrap().unwrap();
    assert_eq!((stays.primary, stays.is_promotable), (row.primary.clone(), false));

    // The standby was promoted, the old primary does not run.
    world.engine.stop_container(&old.container(), std::time::Duration::from_secs(1)).await.unwrap();
    world.far.end_recovery(&new.container());
    control_file(&world.engine, &old.container(), 1).await;
    control_file(&world.far, &new.container(), 2).await;
    let (_to, services) = recover_newest(&world).await;
    let lines = adopt::adopt(&services).await.unwrap();
    let moved = services.store.ha(&shop).await.unwrap().unwrap();
    assert_eq!(moved.primary.as_ref(), Some(&new.id), "{lines:?}");
    assert!(moved.epoch > row.epoch + 100 && !moved.is_promotable && moved.standby.is_none());

    // Nobody can tell: its server is Failed, which no watch touches.
    control_file(&world.far, &new.container(), 1).await;
    let (_to, services) = recover_newest(&world).await;
    adopt::adopt(&services).await.unwrap();
    let server = services.store.server(&shop).await.unwrap().unwrap();
    assert_eq!(server.settled, SettledState::Failed);
}

/// A portal around an empty store and the same hosts, with a new root certificate.
pub(super) async fn blank(world: &World) -> (TestStore, Arc<Services>) {
    let to = testing::sqlite().await;
    let place =
        |zone: &str| pgflex::domain::host::Place { region: "westeurope".into(), zone: zone.into() };
    let hosts = [
        ("local".to_owned(), "unix:///fake".to_owned(), vec![place("1")]),
        ("other".to_owned(), "unix:///far".to_owned(), vec![place("2")]),
    ];
    let hosts = to.store.register_hosts(world.clock.now(), &hosts).await.unwrap();
    let install = &world.services.settings.install_id;
    let (authority, _) = Authority::generate(install, world.clock.now()).unwrap();
    let services = again(world, to.store.clone(), authority);
    let engine = |name: &str| match name {
        "local" => Arc::new(world.engine.clone()) as Arc<dyn Engine>,
        _ => Arc::new(world.far.clone()) as Arc<dyn Engine>,
    };
    let engines: std::collections::HashMap<_, _> =
        hosts.iter().map(|host| (host.id.clone(), engine(&host.name))).collect();
    let services = Arc::new(Services {
        engines: engines.into(),
        store: services.store.clone(),
        postgres: services.postgres.clone(),
        clock: services.clock.clone(),
        sealer: services.sealer.clone(),
        authority: services.authority.clone(),
        poke: services.poke.clone(),
        settings: services.settings.clone(),
    });
    (to, services)
}

/// Without any backup: servers by their labels, with new certificates that are installed without a restart.
#[tokio::test]
async fn labels_are_enough_for_servers_though_not_for_keys() {
    for test in testing::all().await {
        let world = World::new(test).await;
        let shop = create(&world, "shop").await;
        let change = world.submit_on(OperationKind::ChangeParameters, &shop).await;
        let changed = world.run_to_rest(&world.runner(), &change).await;
        assert_eq!(changed.status, OperationStatus::Succeeded, "{:?}", changed.error);
        let then = world.services.store.server(&shop).await.unwrap().unwrap();
        let (_to, services) = blank(&world).await;
        let before = world.engines().map(changes);
        let lines = rebuild::rebuild(&services, (20_000, 20_999)).await.unwrap();
        services.store.settle_recovery(world.clock.now(), "labels").await.unwrap();
        assert_eq!(world.engines().map(changes), before, "no host was touched");
        let now = services.store.server(&shop).await.unwrap().unwrap();
        assert_eq!((&now.spec, now.settled), (&then.spec, SettledState::Ready), "{lines:?}");
        assert_eq!(now.configuration.parameters, then.configuration.parameters);
        assert!(!now.configuration.parameters.is_empty(), "the story sets one");
        let (old, new) = (
            world.services.store.members(&shop).await.unwrap(),
            services.store.members(&shop).await.unwrap(),
        );
        assert_eq!(old[0].container(), new[0].container());
        assert_eq!(old[0].disk, new[0].disk);
        let starts = |services: &FakeEngine| {
            services.calls().iter().filter(|call| call.starts_with("start_container")).count()
        };
        let started = starts(&world.engine);
        schedule::tick(&services).await.unwrap();
        let runner = pgflex::operations::runner::Runner::new(services.clone(), "test".into());
        while runner.tick().await.unwrap() {}
        let filter = pgflex::store::operations::OperationFilter::default();
        let all = services.store.operations(&filter).await.unwrap();
        assert_eq!(all.len(), 1, "{all:?}");
        assert_eq!(all[0].kind, OperationKind::RenewCertificate);
        assert_eq!(all[0].status, OperationStatus::Succeeded, "{:?}", all[0].error);
        assert_eq!(starts(&world.engine), started, "nothing was started anew");
        let file = world.engine.file(&new[0].volume(), "config/client-ca.crt").unwrap();
        let own = open_secret(&services, &shop, secret::CLIENT_AUTHORITY).await.unwrap().unwrap();
        assert_eq!(file, own.reveal().as_bytes());
    }
}
