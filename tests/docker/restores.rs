//! Restores on the real engine, by a real portal: each target of a living server, a deleted one, a grandchild; what
//! cannot be reached is refused before anything is made; drills that pass, and one that must not.

use crate::portal::{ADMIN, PASSWORD, Portal, here};
use crate::support::{has_engine, objects_of_servers};
use chrono::{DateTime, Duration as Span, Utc};
use pgflex::domain::activity::Actor;
use pgflex::domain::backup::{Archive, Backup, RestoreTarget};
use pgflex::domain::ids::{GroupId, OperationId, ServerId};
use pgflex::domain::names::ServerName;
use pgflex::domain::network::Access;
use pgflex::domain::operation::{OperationKind, OperationStatus};
use pgflex::domain::server::{SettledState, internal_name};
use pgflex::engine::Engine;
use pgflex::operations::access::{sealed_place, secret};
use pgflex::operations::ask_restore::NewRestore;
use pgflex::operations::submit::{Change, SubmitError};
use pgflex::postgres::Target;
use pgflex::postgres::archive::Archiving;
use pgflex::postgres::client::TlsPostgres;
use pgflex::secrets::{Secret, scram_verifier};
use pgflex::store::Record;
use pgflex::store::restore_drills::PASSED;
use pgflex::store::restores::Origin;
use pgflex::store::scope::Viewer;
use serde_json::json;
use std::process::Command;
use std::time::Duration;

/// A portal with a server "shop" in it.
pub struct Shop {
    pub portal: Portal,
    pub id: ServerId,
}

impl Shop {
    pub async fn open() -> Self {
        let mut portal = Portal::new().await;
        portal.start(&[]);
        portal.wait_line("pgflex is at");
        let create = portal.submit_create("shop").await;
        let id = succeeded(&portal, &create).await;
        Self { portal, id }
    }

    pub async fn sql(&self, sql: &str) -> String {
        self.portal.psql(&self.id, sql).await.unwrap_or_else(|why| panic!("{sql}: {why}"))
    }

    /// The server's own time, between two commits.
    pub async fn moment(&self) -> DateTime<Utc> {
        let text = self
            .sql("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
            .await;
        text.parse().unwrap()
    }

    pub async fn backup(&self) -> Backup {
        let change =
            Change { kind: OperationKind::Backup, input: json!({ "type": "full", "name": "" }) };
        // The schedule may be at one of its own.
        let (door, actor) = (self.portal.door(), Actor::system());
        let id = loop {
            match door.submit_change(change.clone(), &self.id, &actor, None).await {
                Ok(id) => break id,
                Err(SubmitError::Refused(_)) => tokio::time::sleep(Duration::from_secs(1)).await,
                Err(other) => panic!("{other}"),
            }
        };
        succeeded(&self.portal, &id).await;
        self.portal.app.store.protection(&self.id).await.unwrap().backups.remove(0)
    }

    /// Has all of the log archived and notes until when, as the monitor does.
    pub async fn archive(&self) -> DateTime<Utc> {
        let target = self.target().await;
        let marker = TlsPostgres.end_piece(&target).await.unwrap();
        for _ in 0..200 {
            let look = TlsPostgres.archiver(&target).await.unwrap();
            let name = look.archived.map(|(name, _)| name).unwrap_or_default();
            let piece = pgflex::domain::backup::Piece::archived(&name, look.piece_bytes);
            if piece.is_some_and(|piece| piece.end(look.piece_bytes) >= marker.lsn) {
                let (app, now) = (&self.portal.app, self.portal.app.clock.now());
                let mut archive = app.store.protection(&self.id).await.unwrap().archive;
                archive = Archive { until: Some(marker.at), since: Some(now), ..archive };
                let mut tx = app.store.begin_write(now).await.unwrap();
                tx.set_archive(&self.id, &archive).await.unwrap();
                tx.commit(Record::Nothing("as the monitor does")).await.unwrap();
                return marker.at;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("nothing is archived: {:?}", TlsPostgres.archiver(&target).await);
    }

    async fn target(&self) -> Target {
        let app = &self.portal.app;
        let member = app.store.members(&self.id).await.unwrap().remove(0);
        let facts = self.portal.engine().container(&member.container()).await.unwrap().unwrap();
        let open = async |name: &str| {
            let sealed = app.store.server_secret(&self.id, name).await.unwrap().unwrap();
            let plain = app.sealer.open(&sealed_place(&self.id, name), &sealed).unwrap();
            String::from_utf8(plain.to_vec()).unwrap()
        };
        Target {
            address: format!("{}:5432", facts.address.unwrap()).parse().unwrap(),
            server_name: internal_name(&self.id),
            root_certificate: app.authority.certificate.clone(),
            client_certificate: open(secret::CONTROL_CERTIFICATE).await,
            client_key: Secret::new(open(secret::CONTROL_KEY).await),
        }
    }

    pub async fn ask(
        &self,
        source: &ServerId,
        name: &str,
        target: &RestoreTarget,
    ) -> Result<OperationId, SubmitError> {
        let (name, verifier) =
            (ServerName::parse(name).unwrap(), scram_verifier(&Secret::new(PASSWORD)));
        let new = NewRestore {
            source,
            repository: 1,
            target,
            set: None,
            name: &name,
            zone: "1",
            access: Access::Public,
            network: None,
            admin_verifier: &verifier,
            ports: self.portal.ports,
            idempotency_key: None,
        };
        let (group, sealer) = (GroupId::default_group(), &self.portal.app.sealer);
        self.portal.door().restore(&group, sealer, &new, &Actor::system()).await
    }

    /// A restored server that lets this machine in.
    pub async fn restore(&self, source: &ServerId, name: &str, target: &RestoreTarget) -> ServerId {
        let operation = self.ask(source, name, target).await.unwrap();
        let id = succeeded(&self.portal, &operation).await;
        let app = &self.portal.app;
        let mut tx = app.store.begin_write(app.clock.now()).await.unwrap();
        tx.save_firewall_rule(&id, &here()).await.unwrap();
        tx.commit(Record::Nothing("as the page does")).await.unwrap();
        app.poke.routes();
        id
    }

    /// The numbers in the table of a restored server.
    pub async fn rows(&self, server: &ServerId) -> String {
        self.portal
            .psql_when_open(
                server,
                "SELECT coalesce(string_agg(a::text, ',' ORDER BY a), '') FROM t",
            )
            .await
    }

    pub async fn origin(&self, server: &ServerId) -> Origin {
        self.portal.app.store.origin(server).await.unwrap().unwrap()
    }

    async fn drill(&self) -> (OperationStatus, pgflex::store::restore_drills::RestoreDrill) {
        let (door, actor) = (self.portal.door(), Actor::system());
        let id = door.submit(OperationKind::RestoreDrill, &self.id, &actor, None).await.unwrap();
        let status = self.portal.wait_settled(&id).await.status;
        let drills = self.portal.app.store.restore_drills(&self.id, 1).await.unwrap();
        (status, drills.into_iter().next().unwrap())
    }

    pub async fn objects(&self, of: &str) -> Vec<String> {
        let owned = self.portal.engine().owned().await.unwrap();
        owned.into_iter().map(|object| object.name).filter(|name| name.contains(of)).collect()
    }

    async fn log_of(&self, operation: &OperationId) -> String {
        let steps = self.portal.app.store.operation_steps(operation).await.unwrap();
        format!("{steps:#?}")
    }
}

pub async fn succeeded(portal: &Portal, id: &OperationId) -> ServerId {
    let ended = portal.wait_settled(id).await;
    assert_eq!(
        ended.status,
        OperationStatus::Succeeded,
        "{:?} {:?} {:?}\n{}",
        ended.failed_step,
        ended.error,
        ended.advice,
        portal.tail()
    );
    ended.server_id
}

fn latest() -> RestoreTarget {
    RestoreTarget::Latest
}

/// T1, T2, T3, T5, T6, T8 and T12.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_restored_to_every_target_and_its_child_is_restored_again() {
    if !has_engine() {
        return;
    }
    let shop = Shop::open().await;
    shop.sql("CREATE TABLE t (a int PRIMARY KEY)").await;
    shop.sql("INSERT INTO t VALUES (1)").await;
    let first = shop.backup().await;
    shop.sql("INSERT INTO t VALUES (2)").await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let between = shop.moment().await;
    shop.sql("INSERT INTO t VALUES (3)").await;
    shop.sql("CREATE ROLE waiter LOGIN").await;
    let until = shop.archive().await;

    // To the latest moment: also what was committed since anybody looked at the archive.
    shop.sql("INSERT INTO t VALUES (4)").await;
    let newest = shop.restore(&shop.id, "newest", &latest()).await;
    assert_eq!(shop.rows(&newest).await, "1,2,3,4");
    let origin = shop.origin(&newest).await;
    assert!(origin.reached.unwrap().at.unwrap() > until && origin.ended_at.is_some(), "{origin:?}");
    let server = shop.portal.app.store.server(&newest).await.unwrap().unwrap();
    assert_eq!(server.settled, SettledState::Ready);
    assert!(shop.portal.psql(&newest, "SELECT 'waiter'::regrole").await.is_ok());
    // It runs as a server of its own: nothing of the recovery is in force, and it survives a restart.
    let settings = "SELECT string_agg(setting, ',') FROM pg_settings WHERE name IN ('recovery_target_time', 'restore_command') OR pending_restart";
    assert_eq!(shop.portal.psql(&newest, settings).await.unwrap(), ",");
    let key = shop.portal.engine();
    let member = shop.portal.app.store.members(&newest).await.unwrap().remove(0);
    assert!(key.container(&member.container()).await.unwrap().unwrap().restarts_by_itself);

    // To a moment between two commits.
    let moment = RestoreTarget::Moment { at: between };
    let past = shop.restore(&shop.id, "past", &moment).await;
    assert_eq!(shop.rows(&past).await, "1,2");
    assert!(shop.origin(&past).await.reached.unwrap().at.unwrap() <= between);

    // To one backup.
    let target = RestoreTarget::Backup { label: first.label.clone() };
    let early = shop.restore(&shop.id, "early", &target).await;
    assert_eq!(shop.rows(&early).await, "1");

    // Outside of the window: refused, and nothing was made.
    // What looks at archives and disks meanwhile comes and goes by itself.
    let objects = async || objects_of_servers(&shop.portal.engine()).await.len();
    let before = objects().await;
    let now = shop.portal.app.clock.now();
    for at in [first.ended_at - Span::seconds(60), now + Span::seconds(600)] {
        let refused = shop.ask(&shop.id, "never", &RestoreTarget::Moment { at }).await;
        let Err(SubmitError::Refused(refusal)) = refused else { panic!("{refused:?}") };
        assert!(refusal.text.contains("nearest moment"), "{refusal}");
    }
    assert_eq!(objects().await, before);

    // A restored server is restored again, from its own part of the repository.
    let child = Shop { portal: shop.portal, id: newest };
    child.sql("INSERT INTO t VALUES (5)").await;
    child.backup().await;
    child.sql("INSERT INTO t VALUES (6)").await;
    let grandchild = child.restore(&child.id, "grandchild", &latest()).await;
    assert_eq!(child.rows(&grandchild).await, "1,2,3,4,5,6");
    child.portal.finish().await;
}

/// T8: an idle server that is stopped has no commit behind the moment, and nobody can make one.
#[tokio::test(flavor = "multi_thread")]
async fn a_moment_behind_which_nothing_came_is_the_end_of_the_log() {
    if !has_engine() {
        return;
    }
    let shop = Shop::open().await;
    shop.sql("CREATE TABLE t (a int)").await;
    shop.backup().await;
    shop.sql("INSERT INTO t VALUES (1), (2)").await;
    let until = shop.archive().await;
    let (door, actor) = (shop.portal.door(), Actor::system());
    let stop = door.submit(OperationKind::Stop, &shop.id, &actor, None).await.unwrap();
    succeeded(&shop.portal, &stop).await;
    // The marker itself is the last commit; claim that the archive covers a later moment, as it does.
    let app = &shop.portal.app;
    let mut tx = app.store.begin_write(app.clock.now()).await.unwrap();
    tx.raise_archived_until(&shop.id, until + Span::seconds(5)).await.unwrap();
    tx.commit(Record::Nothing("a test")).await.unwrap();
    let moment = RestoreTarget::Moment { at: until + Span::seconds(4) };
    let operation = shop.ask(&shop.id, "idle", &moment).await.unwrap();
    let id = succeeded(&shop.portal, &operation).await;
    let mut tx = app.store.begin_write(app.clock.now()).await.unwrap();
    tx.save_firewall_rule(&id, &here()).await.unwrap();
    tx.commit(Record::Nothing("as the page does")).await.unwrap();
    app.poke.routes();
    assert_eq!(shop.rows(&id).await, "1,2");
    let missing = RestoreTarget::Point { name: "never made".into() };
    let operation = shop.ask(&shop.id, "nowhere", &missing).await.unwrap();
    let ended = shop.portal.wait_settled(&operation).await;
    assert_eq!(ended.status, OperationStatus::Failed, "{}", shop.log_of(&operation).await);
    assert!(ended.error.unwrap().contains("has no such place"), "{:?}", ended.failed_step);
    assert_eq!(shop.objects(ended.server_id.short()).await, Vec::<String>::new());
    shop.portal.finish().await;
}

/// T24 in parts: a deleted server is restored, and erased when its time is over.
#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_server_can_be_restored_until_it_is_erased() {
    if !has_engine() {
        return;
    }
    let shop = Shop::open().await;
    shop.sql("CREATE TABLE t (a int)").await;
    shop.backup().await;
    shop.sql("INSERT INTO t VALUES (7)").await;
    let (door, actor) = (shop.portal.door(), Actor::system());
    let delete = door.submit(OperationKind::Delete, &shop.id, &actor, None).await.unwrap();
    succeeded(&shop.portal, &delete).await;
    let (store, now) = (&shop.portal.app.store, shop.portal.app.clock.now());
    let deleted = store.deleted_servers(&Viewer::Portal, now).await.unwrap().remove(0);
    assert_eq!((deleted.id.clone(), deleted.name.as_str()), (shop.id.clone(), "shop"));
    assert!(deleted.archived_until.is_some() && deleted.erase_after > now + Span::days(4));
    assert!(store.server_secret(&shop.id, secret::ADMIN_VERIFIER).await.unwrap().is_none());
    assert!(store.server_secret(&shop.id, secret::BACKUP_CIPHER).await.unwrap().is_some());
    let again = shop.restore(&shop.id, "shop", &latest()).await;
    assert_eq!(shop.rows(&again).await, "7");
    shop.portal.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_passes_and_finds_every_kind_of_damage() {
    if !has_engine() {
        return;
    }
    let shop = Shop::open().await;
    shop.sql("CREATE TABLE t (a int PRIMARY KEY)").await;
    shop.sql("INSERT INTO t SELECT generate_series(1, 1000)").await;
    shop.sql("CREATE DATABASE \"we'ird \\ db=1\"").await;
    shop.backup().await;
    shop.sql("INSERT INTO t SELECT generate_series(1001, 1500)").await;
    shop.archive().await;
    let (status, drill) = shop.drill().await;
    assert_eq!((status, drill.outcome.as_str()), (OperationStatus::Succeeded, PASSED));
    let found = drill.found;
    assert_eq!(
        (found.tables, found.rows, found.databases),
        (Some(1), Some(1500), Some(3)),
        "{found:?}"
    );
    assert!(found.checked_relations.unwrap() > 100 && found.restore_micros.unwrap() > 0);
    assert!(found.last_commit_at.is_some() && found.data_age_micros.unwrap() < 600_000_000);
    assert_eq!(shop.objects("-drill").await, Vec::<String>::new());

    // A byte of the last WAL file: PostgreSQL itself takes that for the end of the log.
    let repository = shop.objects("-repository").await;
    let volume = repository.iter().min_by_key(|name| name.len()).unwrap().clone();
    spoil(&volume, "ls /r/archive/*/*/*/*-*.zst | tail -n 1");
    let (status, drill) = shop.drill().await;
    assert_eq!(status, OperationStatus::Failed);
    assert!(drill.outcome.contains("WAL file in the repository is damaged"), "{}", drill.outcome);
    assert_eq!(shop.objects("-drill").await, Vec::<String>::new());

    // The files of the backup.
    spoil(&volume, "find /r/backup -type f -path '*/bundle/*' | head -n 1");
    let (status, drill) = shop.drill().await;
    assert_eq!(status, OperationStatus::Failed);
    assert!(drill.outcome.starts_with("The backup could not be restored"), "{}", drill.outcome);
    let restore = shop.ask(&shop.id, "broken", &latest()).await.unwrap();
    let ended = shop.portal.wait_settled(&restore).await;
    assert_eq!(ended.status, OperationStatus::Failed);
    assert_eq!(ended.failed_step.as_deref(), Some("restore_data"), "{:?}", ended.error);
    assert_eq!(shop.objects(ended.server_id.short()).await, Vec::<String>::new());
    let server = shop.portal.app.store.server(&ended.server_id).await.unwrap().unwrap();
    assert_eq!(server.settled, SettledState::Failed, "never listed as one that is there");
    assert_eq!(shop.sql("SELECT count(*) FROM t").await, "1500", "{ADMIN} works on");
    shop.portal.finish().await;
}

/// Overwrites bytes in the middle of a file of the repository, which `find` names.
fn spoil(volume: &str, find: &str) {
    let script = format!(
        "f=$({find}); size=$(stat -c %s $f); printf DAMAGED | dd of=$f bs=1 seek=$((size / 2)) conv=notrunc 2>/dev/null; echo $f"
    );
    let mount = format!("{volume}:/r");
    let done = Command::new("docker")
        .args([
            "run",
            "--rm",
            "-u",
            "0",
            "--network",
            "none",
            "-v",
            &mount,
            "pgflex/postgres:17-r3",
            "sh",
            "-euc",
            &script,
        ])
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    println!("damaged {}", String::from_utf8_lossy(&done.stdout).trim());
}
