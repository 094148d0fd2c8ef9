//! The storage of a server, told and changed: measured, protected, grown by hand and by itself.

use crate::helpers::{Browser, Plant, TestApp, actor, each_database, facts};
use chrono::Duration;
use pgflex::clock::new_uuid;
use pgflex::domain::host::EngineFacts;
use pgflex::domain::ids::{OperationId, ServerId};
use pgflex::domain::operation::{OperationKind, OperationStatus};
use pgflex::domain::server::{Member, Server};
use pgflex::domain::storage::{RESERVE_BYTES, VolumeUsage};
use pgflex::engine::fake::Fault;
use pgflex::engine::{Engine, EngineError};
use pgflex::monitor;
use pgflex::store::operations::OperationFilter;

const GIB: u64 = 1 << 30;

/// A Ready server on the fake engine, and its owner's browser.
struct Story {
    plant: Plant,
    olga: Browser,
    id: ServerId,
}

impl Story {
    async fn new(app: &TestApp) -> Self {
        Self::on(app, |_| {}).await
    }

    async fn on(app: &TestApp, prepare: impl Fn(&Plant)) -> Self {
        let olga = app.set_up_owner().await;
        let plant = Plant::of(app).await;
        prepare(&plant);
        let create = plant.submit_create("shop").await;
        let made = plant.run(&create).await;
        assert_eq!(made.status, OperationStatus::Succeeded, "{:?}", made.error);
        Self { plant, olga, id: made.server_id }
    }

    async fn server(&self) -> Server {
        self.plant.services.store.server(&self.id).await.unwrap().unwrap()
    }

    async fn member(&self) -> Member {
        self.plant.services.store.members(&self.id).await.unwrap().remove(0)
    }

    fn path(&self, rest: &str) -> String {
        format!("/servers/{}{rest}", self.id)
    }

    async fn page(&mut self) -> String {
        let path = self.path("/storage");
        let answer = self.olga.get(&path).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    }

    /// So much is free from now on, and the monitor sees it; what it submits is done.
    async fn look(&self, total: u64, free: u64) -> Vec<OperationId> {
        let usage = VolumeUsage {
            total,
            free,
            used: total - free,
            wal: GIB,
            temporary: 1 << 20,
            reserve: RESERVE_BYTES,
        };
        self.plant.engine.set_usage(&self.member().await.volume(), usage);
        self.tick().await
    }

    async fn tick(&self) -> Vec<OperationId> {
        let before = self.operations().await;
        self.plant.app.wind(Duration::seconds(61));
        monitor::storage::tick(&self.plant.services).await.unwrap();
        let new: Vec<_> =
            self.operations().await.into_iter().filter(|id| !before.contains(id)).collect();
        for id in &new {
            self.plant.run(id).await;
        }
        new
    }

    async fn operations(&self) -> Vec<OperationId> {
        let filter = OperationFilter { server_id: Some(self.id.clone()), ..Default::default() };
        let all = self.plant.services.store.operations(&filter).await.unwrap();
        all.into_iter().map(|operation| operation.id).collect()
    }

    async fn autogrow(&mut self, word: &str) {
        let path = self.path("/storage/autogrow");
        let answer = self.olga.press(&path, &[("autogrow", word)]).await;
        assert_eq!(answer.status, 303, "{}", answer.body);
    }
}

#[actix_web::test]
async fn a_page_says_how_full_it_is_and_how_the_size_is_kept() {
    each_database(async |app| {
        let mut story = Story::new(&app).await;
        let page = story.page().await;
        assert!(page.contains("Not measured yet") && page.contains("Enforced by a file system"));
        assert_eq!(story.look(32 * GIB, 16 * GIB).await, vec![]);
        app.wind(Duration::seconds(5));
        let page = story.page().await;
        for part in [
            "<strong>16 GiB</strong> of 32 GiB used",
            "16 GiB free",
            "50 % full",
            "measured 5 s ago",
            "Write-ahead log <span class=\"muted\">1 GiB",
            "Temporary files",
            "Set aside for emergencies",
            "below 5 GiB free",
            "From 6 GiB free",
            "64 GiB",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
        let path = story.path("");
        let overview = story.olga.get(&path).await.body;
        assert!(overview.contains("16 GiB used, 50 % full"), "{overview}");
        let mut rita = app.person(&mut story.olga, "rita", "Reader").await;
        let page = rita.get(&story.path("/storage")).await.body;
        assert!(page.contains("50 % full") && !page.contains("Grow storage"), "{page}");
    })
    .await;
}

#[actix_web::test]
async fn a_host_without_sized_disks_is_told_and_its_volume_is_measured() {
    each_database(async |app| {
        let refuse = |plant: &Plant| plant.engine.refuse_disks("loop devices <b>are not to be had");
        let mut story = Story::on(&app, refuse).await;
        let page = story.page().await;
        assert!(page.contains("Measured, not enforced"), "{page}");
        assert!(page.contains("loop devices &#60;b&#62;are not to be had"), "{page}");
        let left = story.plant.engine.remaining();
        assert!(!left.contains(&format!("volume {}", story.member().await.disk_volume())));
        // 30 GiB used of 32, on a host with plenty.
        assert_eq!(story.look(1000 * GIB, 970 * GIB).await.len(), 1);
        assert!(story.server().await.configuration.write_protected);
    })
    .await;
}

#[actix_web::test]
async fn protection_comes_and_goes_by_itself_and_says_what_to_do() {
    each_database(async |app| {
        let mut story = Story::new(&app).await;
        assert_eq!(story.look(32 * GIB, 4 * GIB).await.len(), 1);
        assert!(story.server().await.configuration.write_protected);
        let page = story.page().await;
        assert!(page.contains("new transactions are read-only"), "{page}");
        assert!(page.contains("SET default_transaction_read_only = off;"), "{page}");
        assert_eq!(story.tick().await, vec![], "once");
        assert_eq!(story.look(32 * GIB, 5 * GIB).await, vec![], "not to and fro");
        assert_eq!(story.look(32 * GIB, 10 * GIB).await.len(), 1);
        assert!(!story.server().await.configuration.write_protected);
        assert!(!story.page().await.contains("new transactions are read-only."));
    })
    .await;
}

/// The full disk brought PostgreSQL down: nothing runs that could be asked.
#[actix_web::test]
async fn a_protection_that_failed_is_tried_again_after_a_pause() {
    each_database(async |app| {
        let story = Story::new(&app).await;
        let refused = EngineError::Refused("no space left".into());
        story.plant.engine.inject("put_files", 9, Fault::Fail(refused));
        assert_eq!(story.look(32 * GIB, GIB).await.len(), 1);
        assert_eq!(story.look(32 * GIB, GIB).await, vec![], "a minute later");
        assert_eq!(story.look(32 * GIB, GIB).await.len(), 1, "after the pause");
    })
    .await;
}

#[actix_web::test]
async fn a_server_that_is_down_on_a_full_disk_is_helped_up() {
    each_database(async |app| {
        let story = Story::new(&app).await;
        let member = story.member().await;
        story.plant.engine.crash(&member.container(), 1);
        assert_eq!(story.look(32 * GIB, 1 << 20).await.len(), 1);
        assert!(!story.plant.engine.has_reserve(&member.disk_volume()), "given up");
        let container = story.plant.engine.container(&member.container()).await.unwrap().unwrap();
        assert_eq!(container.state, "running");
        assert_eq!(story.look(32 * GIB, 20 * GIB).await.len(), 1);
        assert!(story.plant.engine.has_reserve(&member.disk_volume()), "set aside again");
    })
    .await;
}

#[actix_web::test]
async fn it_grows_by_hand_to_larger_standard_sizes_only() {
    each_database(async |app| {
        let mut story = Story::new(&app).await;
        let page = story.page().await;
        assert!(page.contains("+ € 3.52 / month") && page.contains("4 TiB"), "{page}");
        assert!(page.contains("Needs 8 TiB; 4096 GiB are left."), "twice its 2 TiB: {page}");
        let (path, key) = (story.path("/storage"), new_uuid());
        for bad in ["", "32", "33", "x", "-64", "99999999999"] {
            let pairs = [("to_gib", bad), ("idempotency_key", &*key)];
            let answer = story.olga.press(&path, &pairs).await;
            assert_eq!(answer.status, 422, "{bad}: {}", answer.body);
        }
        let pairs = [("to_gib", "64"), ("idempotency_key", &*key)];
        let answer = story.olga.press(&path, &pairs).await;
        assert_eq!(answer.status, 303, "{}", answer.body);
        let again = story.olga.press(&path, &pairs).await;
        assert_eq!(again.location(), answer.location(), "once however often it is sent");
        let other = new_uuid();
        let pairs = [("to_gib", "128"), ("idempotency_key", &*other)];
        assert_eq!(story.olga.press(&path, &pairs).await.status, 409, "one at a time");
        let id = story.operations().await.remove(0);
        let grown = story.plant.run(&id).await;
        assert_eq!(
            (grown.kind, grown.status),
            (OperationKind::GrowStorage, OperationStatus::Succeeded)
        );
        assert_eq!(story.server().await.spec.storage_gib, 64);
        let holder = story.member().await.disk_volume();
        assert_eq!(story.plant.engine.disk_bytes(&holder), Some(64 * GIB));
    })
    .await;
}

async fn store_host(story: &Story, facts: &EngineFacts) {
    let (store, now) = (&story.plant.services.store, story.plant.app.state.now());
    store.observe_host(&story.plant.host, now, facts, &[]).await.unwrap();
}

#[actix_web::test]
async fn it_grows_by_itself_when_told_to_and_says_why_when_it_cannot() {
    each_database(async |app| {
        let mut story = Story::new(&app).await;
        assert_eq!(story.look(32 * GIB, 6 * GIB).await, vec![], "off");
        let path = story.path("/storage/autogrow");
        assert_eq!(story.olga.press(&path, &[("autogrow", "maybe")]).await.status, 400);
        story.autogrow("on").await;
        assert!(story.page().await.contains("Switch off"));
        assert_eq!(story.look(32 * GIB, 6 * GIB).await.len(), 1);
        assert_eq!(story.server().await.spec.storage_gib, 64);
        let lines = app.activities().await;
        assert!(lines.iter().any(|line| line.action == "server.autogrow" && line.detail == "on"));
        assert!(lines.iter().any(|line| line.detail == "to 64 GiB, by itself"));

        // A growth that fails is not tried again at once, and the protection takes over.
        let fault = Fault::Fail(EngineError::Refused("xfs says no".into()));
        story.plant.engine.inject("grow_disk", 1, fault);
        assert_eq!(story.look(64 * GIB, 4 * GIB).await.len(), 1);
        assert_eq!(story.server().await.spec.storage_gib, 64, "taken back");
        assert_eq!(story.look(64 * GIB, 4 * GIB).await.len(), 1);
        assert!(story.server().await.configuration.write_protected);
        let page = story.page().await;
        assert!(page.contains("should grow by itself and cannot") && page.contains("xfs says no"));

        // A host that is full: said, not tried.
        let mut small = facts();
        small.storage_total_bytes = Some(40 * GIB);
        store_host(&story, &small).await;
        assert_eq!(story.look(64 * GIB, 4 * GIB).await, vec![]);
        assert!(story.page().await.contains("The host cannot hold 128 GiB"));
        story.autogrow("off").await;
        assert!(story.page().await.contains("Switch on"));

        // There is room on the disk again, and none under it: still read-only, and the page says why.
        small.storage_free_bytes = Some(3 * GIB);
        store_host(&story, &small).await;
        assert_eq!(story.look(64 * GIB, 40 * GIB).await, vec![]);
        assert!(story.page().await.contains("only 3 GiB are free there"));
        store_host(&story, &facts()).await;
        assert_eq!(story.look(64 * GIB, 40 * GIB).await.len(), 1);
        assert!(!story.server().await.configuration.write_protected);
    })
    .await;
}

#[actix_web::test]
async fn a_disk_that_is_not_attached_is_attached_by_a_restart_and_never_mistaken() {
    each_database(async |app| {
        let story = Story::new(&app).await;
        let (engine, member) = (&story.plant.engine, story.member().await);
        engine.reboot();
        assert!(engine.start_container(&member.container()).await.is_err(), "nothing to mount");
        engine.take_loop_device(member.loop_minor().unwrap());
        let submit = async || {
            let (door, actor) = (story.plant.door(), actor());
            let id = door.submit(OperationKind::Restart, &story.id, &actor, None).await.unwrap();
            story.plant.run(&id).await
        };
        let refused = submit().await;
        assert_eq!(refused.status, OperationStatus::Failed);
        assert!(refused.error.unwrap().contains("No data was touched"));
        engine.reboot();
        assert_eq!(submit().await.status, OperationStatus::Succeeded);
    })
    .await;
}
