//! What a backup does not know must never cost data: keys, servers that went into service, members that were made later.

use super::hosts::{Folder, back_up, blank, create, places, recover_newest, search};
use crate::world::World;
use pgflex::clock::Clock;
use pgflex::domain::ids::ServerId;
use pgflex::domain::operation::{OperationKind, OperationStatus};
use pgflex::domain::route::RouteState;
use pgflex::domain::server::SettledState;
use pgflex::engine::{Engine, FileSpec};
use pgflex::operations::access::{open_secret, secret};
use pgflex::operations::context::Services;
use pgflex::operations::kinds::steps;
use pgflex::operations::runner::{Hook, Interference, Moment, Point, Runner};
use pgflex::operations::store_backup;
use pgflex::operations::submit::{Change, Door};
use pgflex::recover::{adopt, rebuild};
use pgflex::store::testing;
use std::sync::Arc;

const ARCHIVE: &str = "config/archive.conf";

async fn do_on(world: &World, kind: OperationKind, server: &ServerId) {
    let id = world.submit_on(kind, server).await;
    let ended = world.run_to_rest(&world.runner(), &id).await;
    assert_eq!(ended.status, OperationStatus::Succeeded, "{kind:?}: {:?}", ended.error);
}

fn door(services: &Services) -> Door<'_> {
    Door { store: &services.store, clock: &*services.clock, poke: &services.poke }
}

/// Has a recovered portal do something to the end.
async fn try_on(
    world: &World,
    services: &Arc<Services>,
    kind: OperationKind,
    server: &ServerId,
) -> pgflex::domain::operation::Operation {
    let change = Change { kind, input: crate::world::changes::input(kind) };
    let actor = pgflex::domain::activity::Actor::system();
    let id = door(services).submit_change(change, server, &actor, None).await.unwrap();
    let runner = Runner::new(services.clone(), "test".into());
    for _ in 0..500 {
        if runner.tick().await.unwrap() {
            continue;
        }
        match services.store.next_operation_due().await.unwrap() {
            None => break,
            Some(due) => {
                world.clock.wind((due - world.clock.now()).max(chrono::Duration::milliseconds(1)));
            }
        }
    }
    services.store.operation(&id).await.unwrap().unwrap()
}

async fn cipher(services: &Services, server: &ServerId) -> Option<String> {
    let found = open_secret(services, server, secret::BACKUP_CIPHER).await.unwrap();
    found.map(|found| found.reveal().to_owned())
}

/// Every backup there is was encrypted with the key that labels brought back: another one is never made in its place.
#[tokio::test]
async fn the_key_of_backups_outlives_a_recovery_from_labels() {
    let world = World::new(testing::sqlite().await).await;
    let shop = create(&world, "shop").await;
    do_on(&world, OperationKind::Backup, &shop).await;
    let before = cipher(&world.services, &shop).await;
    assert!(before.is_some());
    let (_to, services) = blank(&world).await;
    rebuild::rebuild(&services, (20_000, 20_999)).await.unwrap();
    services.store.settle_recovery(world.clock.now(), "labels").await.unwrap();
    assert_eq!(cipher(&services, &shop).await, before);
    let taken = try_on(&world, &services, OperationKind::Backup, &shop).await;
    assert_eq!(cipher(&services, &shop).await, before, "the key of all backups before");
    assert_eq!(taken.status, OperationStatus::Succeeded, "{:?}", taken.error);
}

/// The volume says that there are backups, and not by which key: none is made.
#[tokio::test]
async fn an_unknown_key_of_backups_is_not_replaced() {
    let world = World::new(testing::sqlite().await).await;
    let shop = create(&world, "shop").await;
    do_on(&world, OperationKind::Backup, &shop).await;
    let member = world.services.store.members(&shop).await.unwrap().remove(0);
    let damaged = FileSpec { path: ARCHIVE.into(), mode: 0o600, content: b"[other]\n".to_vec() };
    world.engine.put_files(&member.container(), &[damaged]).await.unwrap();
    let (_to, services) = blank(&world).await;
    rebuild::rebuild(&services, (20_000, 20_999)).await.unwrap();
    services.store.settle_recovery(world.clock.now(), "labels").await.unwrap();
    let taken = try_on(&world, &services, OperationKind::Backup, &shop).await;
    assert_ne!(taken.status, OperationStatus::Succeeded);
    assert!(taken.error.as_deref().unwrap_or_default().contains("their key"), "{taken:?}");
    assert_eq!(cipher(&services, &shop).await, None);
    let file = world.engine.file(&member.volume(), ARCHIVE).unwrap();
    assert_eq!(file, b"[other]\n", "what is left of the old key is not written over");
}

fn kill_at(step: &'static str, point: Point) -> Hook {
    Arc::new(move |moment: Moment<'_>| match moment == (Moment { step, point, undoing: false }) {
        true => Interference::Kill,
        false => Interference::None,
    })
}

/// The backup shows a creation under way; by now the server is in use. It is never made again nor undone.
#[tokio::test]
async fn a_creation_that_the_backup_shows_never_costs_a_server() {
    for step in steps(OperationKind::Create) {
        let world = World::new(testing::sqlite().await).await;
        let folder = Folder::new();
        let tier = pgflex::domain::catalog::Tier::GeneralPurpose;
        let id = world.submit_create_in("shop", tier).await;
        let runner = world.runner().with_hook(kill_at(step.name, Point::Recorded));
        world.try_run_to_rest(&runner, &id).await.unwrap_err();
        back_up(&world, &folder).await;
        let made = world.run_to_rest(&world.runner(), &id).await;
        assert_eq!(made.status, OperationStatus::Succeeded);
        let shop = &made.server_id;

        let (_to, services) = recover_newest(&world).await;
        adopt::adopt(&services).await.unwrap();
        let settled = services.store.settle_recovery(world.clock.now(), "a test").await.unwrap();
        assert_eq!((settled.made, settled.parked), (1, 0), "{}", step.name);
        let ended = services.store.operation(&id).await.unwrap().unwrap();
        assert_eq!(ended.status, OperationStatus::Succeeded, "{}", step.name);
        let server = services.store.server(shop).await.unwrap().unwrap();
        assert_eq!((server.settled, server.active), (SettledState::Failed, None));
        let actor = pgflex::domain::activity::Actor::system();
        let parked = door(&services).abandon(&ended, &actor).await;
        assert!(parked.is_err(), "{}: nothing to abandon", step.name);
        let change = Change {
            kind: OperationKind::Create,
            input: crate::world::changes::input(OperationKind::Create),
        };
        let twice = door(&services).submit_change(change, shop, &actor, None).await;
        assert!(twice.is_err(), "{}: it is not made twice", step.name);
        let repair = try_on(&world, &services, OperationKind::Repair, shop).await;
        let server = services.store.server(shop).await.unwrap().unwrap();
        println!("{:>20}: {:?} {:?}", step.name, repair.status, repair.error);
        let has_all = ["reserve_placement", "ensure_image"].iter().all(|one| *one != step.name);
        if has_all {
            assert_eq!(repair.status, OperationStatus::Succeeded, "{}: {repair:?}", step.name);
            assert_eq!(server.settled, SettledState::Ready);
        }
        let calls = world.engine.calls();
        let removed: Vec<_> = calls.iter().filter(|call| call.contains("remove_volume")).collect();
        assert!(removed.is_empty(), "{}: {removed:?}", step.name);
        let member = world.services.store.members(shop).await.unwrap().remove(0);
        assert!(world.engine.has_volume(&member.volume()).await.unwrap(), "{}", step.name);
    }
}

/// A standby was built after the backup. It may be the primary by now: nobody is let in to the one on record.
#[tokio::test]
async fn a_member_that_the_backup_does_not_know_closes_the_server() {
    let world = World::new(testing::sqlite().await).await;
    let (shop, folder) = (create(&world, "shop").await, Folder::new());
    world.plant_pair(&shop).await;
    back_up(&world, &folder).await;
    do_on(&world, OperationKind::BuildStandby, &shop).await;
    let late = world.services.store.members(&shop).await.unwrap().remove(1);
    let (_to, services) = recover_newest(&world).await;
    let lines = adopt::adopt(&services).await.unwrap();
    let server = services.store.server(&shop).await.unwrap().unwrap();
    assert_eq!(server.settled, SettledState::Failed, "{lines:?}");
    let all = services.store.route_snapshot("test").await.unwrap().routes;
    let route = all.iter().find(|route| route.server_id == shop).unwrap();
    assert_eq!((route.state, route.target), (RouteState::Closed, None));
    let line = lines.iter().find(|line| line.contains("shop")).unwrap();
    assert!(line.contains(late.id.short()) && line.contains("host other"), "{line}");
}

/// The primary runs, but the other host is silent: whether the standby took over, nobody knows.
#[tokio::test]
async fn a_silent_host_makes_a_pair_unsure_until_a_person_says_that_it_is_lost() {
    let world = World::new(testing::sqlite().await).await;
    let (shop, folder) = (create(&world, "shop").await, Folder::new());
    world.plant_pair(&shop).await;
    do_on(&world, OperationKind::BuildStandby, &shop).await;
    back_up(&world, &folder).await;
    let primary = world.services.store.members(&shop).await.unwrap().remove(0).id;
    let silent = || {
        let gone = pgflex::engine::EngineError::Silent("gone".into());
        world.far.inject_everywhere(pgflex::engine::fake::Fault::Fail(gone));
    };
    for (lost, settled) in
        [(vec![], SettledState::Failed), (vec!["other".to_owned()], SettledState::Ready)]
    {
        world.far.heal();
        let (_to, services) = recover_newest(&world).await;
        silent();
        let lines = adopt::adopt_without(&services, &lost).await.unwrap();
        let server = services.store.server(&shop).await.unwrap().unwrap();
        assert_eq!(server.settled, settled, "{lines:?}");
        let row = services.store.ha(&shop).await.unwrap().unwrap();
        assert_eq!((row.primary.as_ref(), row.is_promotable), (Some(&primary), false));
    }
}

/// Half of a pair, whose other half lies where nobody looked, is no server.
#[tokio::test]
async fn labels_write_no_half_of_a_pair() {
    let world = World::new(testing::sqlite().await).await;
    let shop = create(&world, "shop").await;
    let member = world.services.store.members(&shop).await.unwrap().remove(0);
    let put = |path: &str, text: &str| FileSpec {
        path: path.into(),
        mode: 0o600,
        content: text.as_bytes().to_vec(),
    };
    let conf = world.engine.file(&member.volume(), "config/postgresql.conf").unwrap();
    let conf = String::from_utf8(conf).unwrap();
    let names = "synchronous_standby_names = 'FIRST 1 (\"x\")'\n";
    for (what, file) in [
        ("does not start again", None),
        ("names another member", Some(put("config/postgresql.conf", &format!("{conf}{names}")))),
        ("a standby", Some(put("data/standby.signal", ""))),
    ] {
        world.engine.set_restart(&member.container(), file.is_some()).await.unwrap();
        if let Some(file) = &file {
            world.engine.put_files(&member.container(), std::slice::from_ref(file)).await.unwrap();
        }
        let (_to, services) = blank(&world).await;
        let lines = rebuild::rebuild(&services, (20_000, 20_999)).await.unwrap();
        assert!(lines.iter().any(|line| line.contains(what)), "{what}: {lines:?}");
        assert!(services.store.server(&shop).await.unwrap().is_none(), "{what}");
    }
}

/// Two of one name: the one in use is written, the other is told of.
#[tokio::test]
async fn a_name_that_is_there_twice_does_not_stop_a_recovery_from_labels() {
    let world = World::new(testing::sqlite().await).await;
    let mut made = vec![];
    for _ in 0..2 {
        let shop = create(&world, "shop").await;
        // As on a host that was away while its server was deleted and made anew.
        let now = world.clock.now();
        let mut tx = world.services.store.begin_write(now).await.unwrap();
        tx.delete_server(&shop).await.unwrap();
        tx.commit(pgflex::store::Record::Nothing("a test")).await.unwrap();
        made.push(shop);
    }
    let running = made.iter().max_by_key(|id| id.to_string()).unwrap().clone();
    for container in world.engine.remaining() {
        let short = |id: &ServerId| id.to_string();
        let Some(spec) =
            container.strip_prefix("container ").and_then(|name| world.engine.spec(name))
        else {
            continue;
        };
        let of = spec.labels.get(pgflex::engine::label::SERVER);
        if of.is_some_and(|of| *of != short(&running)) {
            let grace = std::time::Duration::from_secs(1);
            world.engine.stop_container(&spec.name, grace).await.unwrap();
        }
    }
    let (_to, services) = blank(&world).await;
    let lines = rebuild::rebuild(&services, (20_000, 20_999)).await.unwrap();
    assert!(lines.iter().any(|line| line.contains("a second one of this name")), "{lines:?}");
    assert!(services.store.server(&running).await.unwrap().is_some(), "{lines:?}");
    assert_eq!(services.store.server_ids().await.unwrap().len(), 1);
}

/// Whose master key was lost has nothing left but the old backups and the hope to find it again.
#[tokio::test]
async fn a_portal_with_another_key_writes_over_no_backup() {
    let world = World::new(testing::sqlite().await).await;
    let (_, folder) = (create(&world, "shop").await, Folder::new());
    let install = world.services.settings.install_id.clone();
    let there = || async {
        pgflex::recover::find::backups_of_store(&places(&world), &install).await.unwrap()
    };
    assert_eq!(there().await, Vec::<String>::new());
    back_up(&world, &folder).await;
    assert_eq!(there().await.len(), 2, "it is seen whatever its key");
    let before = search(&world, None).await;
    let other = pgflex::secrets::Sealer::from_key([8; 32]);
    for engine in world.engines() {
        let slots = store_backup::all_slots(&other);
        store_backup::put(engine, &install, true, &slots, b"of another key").await.unwrap();
    }
    assert_eq!(search(&world, None).await.len(), before.len());
}

/// A mark is set by what was read back; a host without a server is not failing.
#[tokio::test]
async fn what_cannot_be_read_back_is_no_backup() {
    let world = World::new(testing::sqlite().await).await;
    let (_, folder) = (create(&world, "shop").await, Folder::new());
    let gone = pgflex::engine::EngineError::Silent("gone".into());
    world.engine.inject("get_file", 1, pgflex::engine::fake::Fault::Fail(gone));
    let none =
        pgflex::domain::host::EngineFacts { images: vec![], ..world.far.facts().await.unwrap() };
    world.far.set_facts(none);
    back_up(&world, &folder).await;
    let record = world.services.store.store_backups().await.unwrap();
    let hosts: Vec<_> = record.iter().filter(|place| !place.place.is_empty()).collect();
    assert_eq!(hosts.iter().filter(|place| place.is_failing()).count(), 1, "{hosts:?}");
    assert_eq!(hosts.iter().filter(|place| place.is_waiting()).count(), 1, "{hosts:?}");
    assert!(hosts.iter().all(|place| place.made_at.is_none()), "{hosts:?}");
}

/// Nothing of before is under way for good, and no link that was used since opens anything.
#[tokio::test]
async fn drills_and_invitations_of_before_are_over() {
    for test in testing::all().await {
        let (pool, now) = (super::raw(&test.url).await, super::clock().now());
        let later = now.timestamp_micros() + 1_000_000;
        for sql in [
            "INSERT INTO ha_drills (id, server_id, started_at, outcome) VALUES ('d', 's', 1, 'running')",
            "INSERT INTO restore_drills (operation_id, server_id, repository, label, started_at, outcome) VALUES ('o', 's', 1, 'l', 1, 'running')",
        ] {
            sqlx::query(sql).execute(&pool).await.unwrap();
        }
        sqlx::query("INSERT INTO invites (id, token_hash, role, created_by, created_at, expires_at) VALUES ('i', 't', 'Owner', 'u', 1, $1)")
            .bind(later)
            .execute(&pool)
            .await
            .unwrap();
        test.store.settle_recovery(now, "a test").await.unwrap();
        let (drills, invites): (i64, i64) = sqlx::query_as(
            "SELECT (SELECT COUNT(*) FROM ha_drills WHERE ended_at IS NOT NULL AND outcome LIKE '%recovered meanwhile%')
               + (SELECT COUNT(*) FROM restore_drills WHERE ended_at IS NOT NULL AND outcome LIKE '%recovered meanwhile%'),
               (SELECT COUNT(*) FROM invites WHERE expires_at <= $1)",
        )
        .bind(now.timestamp_micros())
        .fetch_one(&pool)
        .await
        .unwrap();
        assert_eq!((drills, invites), (2, 1), "{}", test.name);
    }
}
