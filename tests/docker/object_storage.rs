//! Backups in object storage on the real engine: a storage that fails and comes back (T32), what lies in it, who knows
//! its key, and a restore and a drill from it alone.

use crate::object_storage_server::{BUCKET, KEY_ID, Mood, ObjectServer, SECRET};
use crate::portal::{PASSWORD, Portal, here};
use crate::support::{has_engine, timed};
use chrono::{DateTime, Utc};
use pgflex::domain::activity::Actor;
use pgflex::domain::backup::{
    BackupPolicy, BackupType, Protection, Redundancy, RestoreTarget, stanza_of,
};
use pgflex::domain::ids::{GroupId, OperationId, ServerId};
use pgflex::domain::names::ServerName;
use pgflex::domain::network::Access;
use pgflex::domain::operation::{OperationKind, OperationStatus};
use pgflex::domain::server::network_name;
use pgflex::engine::Engine;
use pgflex::operations::ask_restore::NewRestore;
use pgflex::operations::backup::object_storage::NUMBER;
use pgflex::operations::backup::take::Asked;
use pgflex::operations::submit::{Change, SubmitError};
use pgflex::secrets::{Secret, scram_verifier};
use pgflex::store::Record;
use std::process::Command;
use std::time::{Duration, Instant};

const MARKER: &str = "walnut-marmalade-0815";

fn docker(words: &[&str]) -> (bool, String) {
    let output = Command::new("docker").args(words).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// Address at which containers with a way out reach this machine.
fn this_machine() -> String {
    let format = "{{(index .IPAM.Config 0).Gateway}}";
    let (_, text) = docker(&["network", "inspect", "bridge", "-f", format]);
    text.trim().to_owned()
}

/// As an administrator writes it.
fn configure(portal: &Portal, address: &str, storage: &ObjectServer) {
    let path = |name: &str| portal.folder.join(name);
    std::fs::write(path("s3-ca.pem"), &storage.authority).unwrap();
    std::fs::write(path("s3-secret"), SECRET).unwrap();
    let text = format!(
        "[object_storage]\nendpoint = 'https://{address}:{}'\nbucket = '{BUCKET}'\nregion = 'test-1'\nprefix = 'pgflex/test'\n\
         ca = '{}'\nkey_id = '{KEY_ID}'\nsecret_key_file = '{}'\n",
        storage.port,
        path("s3-ca.pem").display(),
        path("s3-secret").display(),
    );
    std::fs::write(path("pgflex.toml"), text).unwrap();
}

async fn ask(
    portal: &Portal,
    kind: OperationKind,
    server: &ServerId,
    input: serde_json::Value,
) -> OperationId {
    let (door, actor) = (portal.door(), Actor::system());
    loop {
        let change = Change { kind, input: input.clone() };
        match door.submit_change(change, server, &actor, None).await {
            Ok(id) => return id,
            Err(SubmitError::Refused(_)) => tokio::time::sleep(Duration::from_secs(1)).await,
            Err(other) => panic!("{other}"),
        }
    }
}

async fn succeeded(portal: &Portal, id: &OperationId) -> ServerId {
    let ended = portal.wait_settled(id).await;
    let steps = portal.app.store.operation_steps(id).await.unwrap();
    let why = format!("{:?} {:?}\n{steps:#?}\n{}", ended.failed_step, ended.error, portal.log());
    assert_eq!(ended.status, OperationStatus::Succeeded, "{why}");
    ended.server_id
}

async fn until(
    portal: &Portal,
    server: &ServerId,
    what: &str,
    is_so: impl Fn(&Protection) -> bool,
) -> Protection {
    let end = Instant::now() + Duration::from_secs(400);
    loop {
        let seen = portal.app.store.protection(server).await.unwrap();
        if is_so(&seen) {
            return seen;
        }
        assert!(Instant::now() < end, "{what}: {seen:?}\n{}", portal.log());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn archived_past(portal: &Portal, server: &ServerId, moment: DateTime<Utc>) {
    until(portal, server, "the archive", |seen| seen.archive.until > Some(moment)).await;
}

fn now(portal: &Portal) -> DateTime<Utc> {
    pgflex::clock::Clock::now(&*portal.app.clock)
}

#[tokio::test]
async fn a_storage_that_fails_loses_nothing_and_is_restored_from_alone() {
    if !has_engine() {
        return;
    }
    let address = this_machine();
    let storage = ObjectServer::start(&address);
    let mut portal = Portal::new().await;
    configure(&portal, &address, &storage);
    portal.start(&[]);
    portal.wait_line("pgflex is at");
    let shop = succeeded(&portal, &portal.submit_create("shop").await).await;
    let mut tx = portal.app.store.begin_write(now(&portal)).await.unwrap();
    let policy = BackupPolicy { redundancy: Redundancy::ObjectStorage, ..BackupPolicy::default() };
    tx.set_backup_policy(&shop, &policy).await.unwrap();
    tx.commit(Record::Nothing("as the page does")).await.unwrap();
    let sql = |sql: String| {
        let (portal, shop) = (&portal, &shop);
        async move { portal.psql(shop, &sql).await.unwrap() }
    };
    sql("CREATE TABLE t (a int, word text)".into()).await;
    sql(format!("INSERT INTO t VALUES (1, '{MARKER}')")).await;
    let first = until(&portal, &shop, "the first backup", |seen| seen.good_in(1).count() == 1);
    timed("first backup listed", first).await;
    let asked = Asked::new(BackupType::Full, "").into_repository(NUMBER);
    let asked = serde_json::to_value(asked).unwrap();
    let taken = ask(&portal, OperationKind::Backup, &shop, asked.clone()).await;
    timed("backup into object storage", succeeded(&portal, &taken)).await;
    let seen = portal.app.store.protection(&shop).await.unwrap();
    assert!(seen.good_in(NUMBER).next().unwrap().verified_at.is_some(), "{seen:?}");
    nobody_knows_the_key(&portal, &shop).await;

    fails_and_comes_back(&portal, &shop, &storage).await;
    let differential = Asked::new(BackupType::Differential, "").into_repository(NUMBER);
    let differential = serde_json::to_value(differential).unwrap();
    let taken = ask(&portal, OperationKind::Backup, &shop, differential).await;
    succeeded(&portal, &taken).await;
    nothing_is_plain(&storage, &shop);

    let drill = serde_json::json!({ "repository": NUMBER });
    let drill = ask(&portal, OperationKind::RestoreDrill, &shop, drill).await;
    timed("drill from object storage", succeeded(&portal, &drill)).await;
    lose_the_near_one(&portal, &shop).await;
    let copy = timed("restore from object storage", restored(&portal, &shop)).await;
    let rows = "SELECT string_agg(a::text, ',' ORDER BY a) FROM t";
    assert_eq!(portal.psql_when_open(&copy, rows).await, "1,2,3,4,5,6");
    portal.finish().await;
}

/// The storage's key is known to the server of the repository; a member has neither the key nor a way to the storage.
async fn nobody_knows_the_key(portal: &Portal, shop: &ServerId) {
    let member = portal.app.store.members(shop).await.unwrap().remove(0);
    let container = member.container();
    let find = ["exec", &container, "grep", "-rlF", SECRET, "/var/lib/pgflex", "/proc/1/environ"];
    assert_eq!(docker(&find).1.trim(), "");
    // The storage of this test is on this very machine, which no network of the engine keeps anybody from; so it is asked
    // of the network itself.
    let format = "{{.Internal}}";
    let own = network_name(shop);
    assert_eq!(docker(&["network", "inspect", &own, "-f", format]).1.trim(), "true");
    let networks = "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}";
    assert_eq!(docker(&["inspect", &container, "-f", networks]).1.trim(), own);
    assert!(!portal.log().contains(SECRET));
    let inspected = docker(&["inspect", &container]).1;
    assert!(inspected.contains(&container) && !inspected.contains(SECRET));
    let owned = portal.engine().owned().await.unwrap();
    let is_helper = |name: &str| {
        name.ends_with("-backup") || name.ends_with("-tool") || name.ends_with("-door")
    };
    let left: Vec<_> = owned.iter().filter(|object| is_helper(&object.name)).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// T32: every way to fail, one after the other, with commits in each; afterwards all of it is archived.
async fn fails_and_comes_back(portal: &Portal, shop: &ServerId, storage: &ObjectServer) {
    let moods = [Mood::Errors, Mood::SlowDown, Mood::Cuts, Mood::Denies];
    for (mood, row) in moods.into_iter().zip(2..) {
        let before = storage.refused();
        storage.set_mood(mood);
        portal.psql(shop, &format!("INSERT INTO t VALUES ({row}, '{MARKER}')")).await.unwrap();
        let end = Instant::now() + Duration::from_secs(150);
        // `archive_timeout` ends the piece; its refusals are counted.
        while storage.refused() < before + 2 {
            assert!(Instant::now() < end, "{mood:?}: nothing was refused\n{}", portal.log());
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
    let failing =
        until(portal, shop, "refusals", |seen| seen.archive.failing_since.is_some()).await;
    assert!(failing.archive.failure.contains("was refused"), "{failing:?}");
    storage.set_mood(Mood::Well);
    portal.psql(shop, &format!("INSERT INTO t VALUES (6, '{MARKER}')")).await.unwrap();
    timed("archived again", archived_past(portal, shop, now(portal))).await;
    let seen =
        until(portal, shop, "no refusals", |seen| seen.archive.failing_since.is_none()).await;
    assert!(seen.gaps.is_empty(), "nothing was given up: {:?}", seen.gaps);
}

fn nothing_is_plain(storage: &ObjectServer, shop: &ServerId) {
    let objects = storage.objects();
    let stanza = stanza_of(shop);
    assert!(objects.keys().all(|key| key.starts_with("pgflex/test/")), "{:?}", objects.keys());
    assert!(objects.keys().all(|key| key.contains(&stanza)), "{:?}", objects.keys());
    let is_log = |key: &&String| key.starts_with(&format!("pgflex/test/archive/{stanza}/17-1/0"));
    assert!(objects.keys().filter(is_log).count() > 3, "{:?}", objects.keys());
    for (key, bytes) in &objects {
        let is_there = |word: &[u8]| bytes.windows(word.len()).any(|part| part == word);
        assert!(!is_there(MARKER.as_bytes()) && !is_there(b"[backrest]"), "{key}");
        // In a bundle pgBackRest leaves out what OpenSSL puts before what it encrypts.
        assert!(key.contains("/bundle/") || bytes.starts_with(b"Salted__"), "{key}");
    }
}

/// What lay on the host is gone.
async fn lose_the_near_one(portal: &Portal, shop: &ServerId) {
    let member = portal.app.store.members(shop).await.unwrap().remove(0);
    let volume = format!("pgflex-{}-repository:/r", member.host_id.short());
    let script = "rm -rf /r/archive /r/backup; ls /r";
    let (is_done, text) = docker(&[
        "run",
        "--rm",
        "--user",
        "0",
        "-v",
        &volume,
        "--entrypoint",
        "sh",
        &member.image,
        "-c",
        script,
    ]);
    assert!(is_done && !text.contains("archive"), "{text}");
}

async fn restored(portal: &Portal, source: &ServerId) -> ServerId {
    let (name, verifier) =
        (ServerName::parse("copy").unwrap(), scram_verifier(&Secret::new(PASSWORD)));
    let new = NewRestore {
        source,
        repository: NUMBER,
        target: &RestoreTarget::Latest,
        set: None,
        name: &name,
        zone: "1",
        access: Access::Public,
        network: None,
        admin_verifier: &verifier,
        ports: portal.ports,
        idempotency_key: None,
    };
    let (group, app) = (GroupId::default_group(), &portal.app);
    let asked = portal.door().restore(&group, &app.sealer, &new, &Actor::system()).await.unwrap();
    let id = succeeded(portal, &asked).await;
    let mut tx = app.store.begin_write(now(portal)).await.unwrap();
    tx.save_firewall_rule(&id, &here()).await.unwrap();
    tx.commit(Record::Nothing("as the page does")).await.unwrap();
    app.poke.routes();
    id
}
