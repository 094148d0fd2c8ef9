//! Backups on a real engine: the first one by itself, the log, a differential one, one that is asked for and deleted;
//! what lies in the repository, and who is let into it.

use crate::portal::Portal;
use crate::support::{has_engine, timed};
use pgflex::domain::activity::Actor;
use pgflex::domain::backup::{BackupType, Protection, stanza_of};
use pgflex::domain::ids::ServerId;
use pgflex::domain::operation::OperationStatus;
use pgflex::engine::Engine;
use pgflex::operations::backup::take_ready::NEAR;
use std::process::Command;
use std::time::{Duration, Instant};

const MARKER: &str = "walnut-marmalade-0815";

pub(crate) async fn created(portal: &Portal, name: &str) -> ServerId {
    let id = portal.submit_create(name).await;
    let operation = portal.wait_settled(&id).await;
    assert_eq!(operation.status, OperationStatus::Succeeded, "{:?}", operation.error);
    operation.server_id
}

/// Waits until what is on record of the server's backups is so.
pub(crate) async fn until(
    portal: &Portal,
    server: &ServerId,
    what: &str,
    is_so: impl Fn(&Protection) -> bool,
) -> Protection {
    let end = Instant::now() + Duration::from_secs(240);
    loop {
        let seen = portal.app.store.protection(server).await.unwrap();
        if is_so(&seen) {
            return seen;
        }
        assert!(Instant::now() < end, "{what}: {seen:?}\n{}", portal.tail());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn take(portal: &Portal, server: &ServerId, kind: BackupType, name: &str) -> String {
    let (door, actor) = (portal.door(), Actor::system());
    let asked = door.take_backup(server, (kind, name), &actor, None).await.unwrap();
    let operation = portal.wait_settled(&asked).await;
    assert_eq!(operation.status, OperationStatus::Succeeded, "{:?}", operation.error);
    let seen = portal.app.store.protection(server).await.unwrap();
    let taken = seen.backups.iter().find(|one| one.name == name).unwrap();
    assert_eq!((taken.kind, taken.is_good()), (kind, true), "{taken:?}");
    assert!(taken.verified_at.is_some());
    taken.label.clone()
}

async fn delete(portal: &Portal, server: &ServerId, label: &str) {
    let asked = portal.door().delete_backup(server, label, &Actor::system(), None).await.unwrap();
    let operation = portal.wait_settled(&asked).await;
    assert_eq!(operation.status, OperationStatus::Succeeded, "{:?}", operation.error);
    let seen = portal.app.store.protection(server).await.unwrap();
    assert!(seen.backups.iter().all(|one| one.label != label), "{:?}", seen.backups);
}

/// Runs a program in a container of the engine: whether it ended well, and all it wrote.
pub(crate) fn docker(words: &[&str]) -> (bool, String) {
    let output = Command::new("docker").args(words).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[tokio::test]
async fn a_server_is_backed_up_by_itself_and_nobody_else_reads_it() {
    if !has_engine() {
        return;
    }
    let mut portal = Portal::new().await;
    portal.start(&[]);
    portal.wait_line("http");
    let shop = created(&portal, "shop").await;
    let sql = format!(
        "CREATE TABLE t AS SELECT n, '{MARKER}' AS word FROM generate_series(1, 2000) AS n"
    );
    portal.psql(&shop, &sql).await.unwrap();
    let first = until(&portal, &shop, "the first backup", |seen| seen.good_in(NEAR).count() == 1);
    let first = timed("first backup listed", first).await;
    assert_eq!(first.backups[0].kind, BackupType::Full);
    assert!(first.backups[0].verified_at.is_some());
    let wrote = pgflex::clock::Clock::now(&*portal.app.clock);
    let reaches = until(&portal, &shop, "the archive", |seen| seen.archive.until > Some(wrote));
    let reaches = timed("what was written is archived", reaches).await;
    assert_eq!(reaches.archive.failure, "");

    take(&portal, &shop, BackupType::Differential, "daily").await;
    let asked = take(&portal, &shop, BackupType::Full, "before release 2").await;
    let (door, actor) = (portal.door(), Actor::system());
    let again = (BackupType::Full, "daily");
    assert!(door.take_backup(&shop, again, &actor, None).await.is_err(), "the name is taken");
    delete(&portal, &shop, &asked).await;

    let other = created(&portal, "other").await;
    until(&portal, &other, "the first backup", |seen| seen.good_in(NEAR).count() == 1).await;
    nobody_reads(&portal, &shop, &other).await;
    no_helper_is_left(&portal).await;
    removal(&portal, &other).await;
    portal.finish().await;
}

/// In the repository lies nothing that can be read without the key, and another server's certificate opens nothing.
async fn nobody_reads(portal: &Portal, shop: &ServerId, other: &ServerId) {
    let members = portal.app.store.members(other).await.unwrap();
    let volume = format!("pgflex-{}-repository:/r:ro", members[0].host_id.short());
    let image = members[0].image.as_str();
    let (_, found) = docker(&["run", "--rm", "-v", &volume, image, "grep", "-rlaF", MARKER, "/r"]);
    assert_eq!(found.trim(), "");
    // Of each file the first bytes: what OpenSSL puts before what it encrypts. In a bundle pgBackRest leaves that out.
    let script = "find /r/backup /r/archive -type f -not -path '*/bundle/*' | while read f; do head -c 8 \"$f\"; echo; done | sort | uniq -c";
    let (_, heads) = docker(&["run", "--rm", "-v", &volume, image, "sh", "-c", script]);
    let kinds: Vec<&str> = heads.lines().filter(|line| !line.trim().is_empty()).collect();
    assert!(kinds.len() == 1 && kinds[0].contains("Salted__"), "{heads}");

    let container = members[0].container();
    let read = |stanza: &str| {
        let (stanza, path) = (format!("--stanza={stanza}"), format!("archive/{stanza}"));
        let config = "--config=/var/lib/pgflex/config/archive.conf";
        let words = ["exec", &container, "pgbackrest", config, &stanza, "repo-ls", &path];
        docker(&words)
    };
    let (is_read, own) = read(&stanza_of(other));
    assert!(is_read && own.contains("archive.info"), "its own: {own}");
    let (is_read, foreign) = read(&stanza_of(shop));
    assert!(!is_read && foreign.contains("access denied"), "another's: {foreign}");
}

async fn no_helper_is_left(portal: &Portal) {
    let owned = portal.engine().owned().await.unwrap();
    let left: Vec<_> = owned
        .iter()
        .filter(|object| object.name.ends_with("-backup") || object.name.ends_with("-tool"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// A server goes with its network, though the repository was in it, and the repository stays.
async fn removal(portal: &Portal, server: &ServerId) {
    let kind = pgflex::domain::operation::OperationKind::Delete;
    let id = portal.door().submit(kind, server, &Actor::system(), None).await.unwrap();
    let operation = portal.wait_settled(&id).await;
    assert_eq!(operation.status, OperationStatus::Succeeded, "{:?}", operation.error);
    let owned = portal.engine().owned().await.unwrap();
    assert!(owned.iter().any(|one| one.kind == "volume" && one.name.ends_with("-repository")));
}
