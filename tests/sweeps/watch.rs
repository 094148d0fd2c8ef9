//! What the monitor makes of a pair that something happens to. Members, engines and the store are real enough to run it as it
//! is; operations are only submitted, nobody works on them.

use crate::world::World;
use pgflex::clock::{Clock, new_id};
use pgflex::domain::catalog::Tier;
use pgflex::domain::ha::{
    Durability, HaLook, HaMode, HighAvailability, Lsn, MemberRole, OBSERVATION, ReplicationState,
};
use pgflex::domain::ids::{MemberId, OperationId, ServerId};
use pgflex::domain::operation::{Operation, OperationKind, OperationStatus};
use pgflex::domain::server::{Member, internal_name};
use pgflex::engine::blueprint::Blueprint;
use pgflex::engine::fake::Fault;
use pgflex::engine::{ContainerSpec, Engine, EngineError, FileSpec};
use pgflex::monitor::events::{self, Bell};
use pgflex::monitor::ha::{self, Pace};
use pgflex::operations::access;
use pgflex::postgres::conf::Source;
use pgflex::postgres::replication::{REPLICATION_ROLE, Replication};
use pgflex::store::Record;
use pgflex::store::operations::OperationFilter;
use pgflex::store::testing;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Longest wait for what must come.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time in which what must not come would have come: many looks.
const CALM: Duration = Duration::from_millis(600);

/// Looks so often that a test need not wait, and trusts a silence at once.
fn pace() -> Pace {
    Pace {
        look_every: Duration::from_millis(20),
        engine_every: Duration::from_millis(40),
        follow_every: Duration::from_millis(20),
        show_every: Duration::from_millis(40),
        settle: Duration::ZERO,
    }
}

struct Pair {
    world: World,
    server: ServerId,
    primary: Member,
    standby: Member,
}

fn file(path: &str, text: String) -> FileSpec {
    FileSpec { path: path.into(), mode: 0o600, content: text.into_bytes() }
}

impl Pair {
    /// A pair in sync, both members on one host.
    async fn in_sync(durability: Durability) -> Self {
        let world = World::new(testing::sqlite().await).await;
        let create = world.submit_create_in("shop", Tier::GeneralPurpose).await;
        let made = world.run_to_rest(&world.runner(), &create).await;
        assert_eq!(made.status, OperationStatus::Succeeded, "{:?}", made.error);
        let server = made.server_id;
        let primary = world.services.store.members(&server).await.unwrap().remove(0);
        let id = new_id(MemberId::parse);
        let standby = Member { id, role: MemberRole::Standby, ..primary.clone() };
        let pair = Self { world, server, primary, standby };
        pair.build_standby().await;
        pair.record(durability).await;
        pair
    }

    fn name(&self) -> String {
        HighAvailability::standby_name(&self.standby.id)
    }

    async fn build_standby(&self) {
        let (world, engine) = (&self.world, &self.world.engine);
        let server = world.services.store.server(&self.server).await.unwrap().unwrap();
        let blueprint = Blueprint {
            install_id: &world.services.settings.install_id,
            server: &server,
            member: &self.standby,
            operation: &new_id(OperationId::parse),
            is_test: true,
        };
        // The primary lets it in and waits for it.
        let (volume, name) = (self.primary.volume(), self.name());
        let configuration = engine.file(&volume, "config/postgresql.conf").unwrap();
        let configuration = String::from_utf8(configuration).unwrap();
        let waits =
            format!("{configuration}\nsynchronous_standby_names = 'FIRST 1 (\"{name}\")'\n");
        let rules = format!("hostssl replication {REPLICATION_ROLE} all cert\n");
        let files =
            [file("config/postgresql.conf", waits), file("config/pg_hba.conf", rules.clone())];
        engine.put_files(&self.primary.container(), &files).await.unwrap();
        engine.reload(&self.primary.container());
        engine.set_restart(&self.primary.container(), false).await.unwrap();
        let shared: std::sync::Arc<dyn Engine> = std::sync::Arc::new(engine.clone());
        let address = access::address_of(&shared, &self.primary).await.unwrap().unwrap();
        let target = access::target(&world.services, &server, address).await.unwrap();
        world.postgres.ensure_replication_role(&target).await.unwrap();
        world.postgres.ensure_slot(&target, &name).await.unwrap();
        // It is a copy that follows.
        let source = Source { name: internal_name(&self.server), address };
        let conninfo = source.conninfo(&name);
        engine.ensure_volume(&blueprint.volume()).await.unwrap();
        let copy = blueprint.copy_container(&self.primary.image, &conninfo, &name);
        let tls = ["config/root.crt", "config/replication.crt", "config/replication.key"];
        let tls = tls.map(|path| file(path, "x".into()));
        run(engine, &copy, &tls).await;
        engine.remove_container(&copy.name).await.unwrap();
        let quoted = conninfo.replace('\'', "''");
        let follows = format!("primary_conninfo = '{quoted}'\nprimary_slot_name = '{name}'\n");
        let files = [file("config/postgresql.conf", follows), file("config/pg_hba.conf", rules)];
        run(engine, &blueprint.paired_container(&self.primary.image, None), &files).await;
    }

    async fn record(&self, durability: Durability) {
        let now = self.world.clock.now();
        let asked = HighAvailability::asked(
            self.server.clone(),
            HaMode::SameZone,
            durability,
            "1".into(),
            now,
        );
        let row = HighAvailability {
            primary: Some(self.primary.id.clone()),
            standby: Some(self.standby.id.clone()),
            state: ReplicationState::Sync,
            is_promotable: true,
            armed_lsn: Some(Lsn(1)),
            timeline: 1,
            ..asked
        };
        let mut tx = self.world.services.store.begin_write(now).await.unwrap();
        tx.insert_member(&self.standby).await.unwrap();
        tx.set_member_image(&self.standby.id, &self.primary.image, "17.6").await.unwrap();
        tx.insert_ha(&row).await.unwrap();
        tx.commit(Record::Nothing("a story begins")).await.unwrap();
    }

    async fn change_row(&self, change: impl Fn(HighAvailability) -> HighAvailability) {
        let store = &self.world.services.store;
        let mut tx = store.begin_write(self.world.clock.now()).await.unwrap();
        let row = tx.ha(&self.server).await.unwrap().unwrap();
        tx.replace_ha(&change(row)).await.unwrap();
        tx.commit(Record::Nothing("a story goes on")).await.unwrap();
    }

    /// A process that watches, until it is dropped.
    fn watched(&self) -> Watching {
        let (stop, stopped) = watch::channel(false);
        let (services, bell) = (&self.world.services, Bell::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(events::run(services.clone(), bell.clone(), stopped.clone()));
        tasks.spawn(ha::run(services.clone(), bell, pace(), stopped));
        Watching { _stop: stop, _tasks: tasks }
    }

    async fn submitted(&self) -> Vec<Operation> {
        let filter = OperationFilter { server_id: Some(self.server.clone()), ..Default::default() };
        let mut all = self.world.services.store.operations(&filter).await.unwrap();
        all.retain(|operation| operation.kind != OperationKind::Create);
        all
    }

    async fn kinds(&self) -> Vec<OperationKind> {
        self.submitted().await.iter().map(|operation| operation.kind).collect()
    }

    async fn look(&self) -> Option<HaLook> {
        let store = &self.world.services.store;
        let look = store.server_observation::<HaLook>(&self.server, OBSERVATION).await.unwrap();
        look.map(|look| look.facts)
    }

    /// Waits until the look that is kept is so.
    async fn seen(&self, what: &str, is_so: impl Fn(&HaLook) -> bool) -> HaLook {
        let begun = Instant::now();
        loop {
            let look = self.look().await;
            match look {
                Some(look) if is_so(&look) => return look,
                other => assert!(begun.elapsed() < PATIENCE, "never seen: {what}: {other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn healthy(&self) -> HaLook {
        let both = |look: &HaLook| {
            look.primary.answers == Some(true)
                && look.sync_state == "sync"
                && look.standby.as_ref().is_some_and(|standby| standby.answers == Some(true))
        };
        self.seen("both members, in sync", both).await
    }

    /// Waits until exactly this is submitted, and sees that nothing else follows.
    async fn only(&self, kind: OperationKind) -> Operation {
        let begun = Instant::now();
        while self.kinds().await.is_empty() {
            assert!(begun.elapsed() < PATIENCE, "nothing is submitted: {:?}", self.look().await);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tokio::time::sleep(CALM).await;
        assert_eq!(self.kinds().await, [kind], "{:?}", self.look().await);
        self.submitted().await.remove(0)
    }

    async fn nothing(&self) {
        tokio::time::sleep(CALM).await;
        assert_eq!(self.kinds().await, [], "{:?}", self.look().await);
    }
}

/// Ends with the process that it stands for.
struct Watching {
    _stop: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

async fn run(engine: &impl Engine, spec: &ContainerSpec, files: &[FileSpec]) {
    engine.ensure_container(spec).await.unwrap();
    engine.put_files(&spec.name, files).await.unwrap();
    engine.start_container(&spec.name).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_dies_is_failed_over_from_once_although_two_processes_watch() {
    let pair = Pair::in_sync(Durability::Preferred).await;
    let _two = (pair.watched(), pair.watched());
    let look = pair.healthy().await;
    assert_eq!((look.action.as_str(), look.lag_bytes), ("Nothing", Some(0)));
    pair.nothing().await;
    pair.world.engine.crash(&pair.primary.container(), 137);
    let failover = pair.only(OperationKind::Failover).await;
    let reason = failover.input["reason"].as_str().unwrap();
    assert!(reason.contains("does not run, as its engine says"), "{reason}");
    assert_eq!(failover.input["cause"], "Automatic");
    let look = pair.seen("the silence", |look| look.primary.answers == Some(false)).await;
    assert_eq!(look.primary.container, "exited");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_silent_alone_changes_nothing() {
    let pair = Pair::in_sync(Durability::Preferred).await;
    let _watching = pair.watched();
    pair.healthy().await;
    let silent = EngineError::Silent("connection refused".into());
    pair.world.engine.inject_everywhere(Fault::Fail(silent));
    let look = pair.seen("a silent engine", |look| look.primary.container.is_empty()).await;
    assert_eq!(look.primary.answers, Some(true), "its session is open");
    pair.nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_whose_postgresql_is_silent_three_times_is_failed_over_from() {
    let pair = Pair::in_sync(Durability::Preferred).await;
    let _watching = pair.watched();
    pair.healthy().await;
    pair.world.postgres.silence(&pair.primary.container());
    let failover = pair.only(OperationKind::Failover).await;
    let reason = failover.input["reason"].as_str().unwrap();
    assert!(reason.contains("although its container runs"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_is_gone_is_done_without_unless_durability_is_required() {
    let pair = Pair::in_sync(Durability::Preferred).await;
    let _watching = pair.watched();
    pair.healthy().await;
    pair.world.engine.crash(&pair.standby.container(), 137);
    pair.only(OperationKind::Disarm).await;

    let pair = Pair::in_sync(Durability::Required).await;
    let _watching = pair.watched();
    pair.healthy().await;
    pair.world.engine.crash(&pair.standby.container(), 137);
    pair.only(OperationKind::BuildStandby).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_alone_gets_a_standby() {
    let pair = Pair::in_sync(Durability::Preferred).await;
    pair.change_row(|row| HighAvailability {
        state: ReplicationState::Single,
        standby: None,
        is_promotable: false,
        ..row
    })
    .await;
    let _watching = pair.watched();
    pair.only(OperationKind::BuildStandby).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_ready_is_not_watched() {
    let pair = Pair::in_sync(Durability::Preferred).await;
    let now = pair.world.clock.now();
    let mut tx = pair.world.services.store.begin_write(now).await.unwrap();
    let stopped = pgflex::domain::server::SettledState::Stopped;
    tx.set_settled(&pair.server, stopped).await.unwrap();
    tx.commit(Record::Nothing("a story goes on")).await.unwrap();
    let _watching = pair.watched();
    pair.world.engine.crash(&pair.primary.container(), 137);
    pair.nothing().await;
    assert_eq!(pair.look().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_of_before_that_runs_again_is_stopped_and_the_primary_never_is() {
    let pair = Pair::in_sync(Durability::Preferred).await;
    // The epoch after a failover: the standby of before is the primary, and the old one comes back.
    let engine = &pair.world.engine;
    engine.stop_container(&pair.primary.container(), Duration::ZERO).await.unwrap();
    let server = pair.world.services.store.server(&pair.server).await.unwrap().unwrap();
    let shared: std::sync::Arc<dyn Engine> = std::sync::Arc::new(engine.clone());
    let address = access::address_of(&shared, &pair.standby).await.unwrap().unwrap();
    let target = access::target(&pair.world.services, &server, address).await.unwrap();
    pair.world.postgres.promote(&target).await.unwrap();
    pair.change_row(|row| HighAvailability {
        epoch: 2,
        primary: row.standby,
        standby: None,
        state: ReplicationState::Single,
        is_promotable: false,
        timeline: 2,
        ..row
    })
    .await;
    let _watching = pair.watched();
    pair.seen("the new primary", |look| look.primary.answers == Some(true)).await;
    engine.start_container(&pair.primary.container()).await.unwrap();
    let state =
        async |member: &Member| engine.container(&member.container()).await.unwrap().unwrap().state;
    let begun = Instant::now();
    while state(&pair.primary).await == "running" {
        assert!(begun.elapsed() < PATIENCE, "it runs beside the primary of now");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let story = async || pair.world.services.store.ha_events(&pair.server, 10).await.unwrap();
    while !story().await.iter().any(|event| event.kind == "fenced") {
        assert!(begun.elapsed() < PATIENCE, "nobody told");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(CALM).await;
    assert_eq!(state(&pair.standby).await, "running", "it is the primary of now");
}
