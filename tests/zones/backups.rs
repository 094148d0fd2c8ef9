//! Backups in two zones: they follow the primary, and outlive the zone of their server.

use crate::engines::Zones;
use crate::pair::Pair;
use crate::portal::{PASSWORD, Portal, here};
use pgflex::domain::activity::Actor;
use pgflex::domain::backup::{
    BackupPolicy, BackupType, CopiedFrom, Redundancy, Repository, RestoreTarget, stanza_of,
};
use pgflex::domain::ha::MemberRole;
use pgflex::domain::ids::{GroupId, ServerId};
use pgflex::domain::names::ServerName;
use pgflex::domain::network::Access;
use pgflex::domain::operation::OperationKind;
use pgflex::operations::ask_restore::NewRestore;
use pgflex::operations::backup::take::Asked;
use pgflex::operations::submit::Change;
use pgflex::secrets::{Secret, scram_verifier};
use pgflex::store::Record;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What may take as long as the portal's looks are apart.
const PATIENCE: Duration = Duration::from_secs(150);

/// Backups in two zones are asked for.
async fn ask_for_two(portal: &Portal, server: &ServerId) {
    let policy = BackupPolicy { redundancy: Redundancy::Zone, ..BackupPolicy::default() };
    let mut tx = portal.app.store.begin_write(portal.app.clock.now()).await.unwrap();
    tx.set_backup_policy(server, &policy).await.unwrap();
    tx.commit(Record::Nothing("as the page does")).await.unwrap();
}

/// Takes a full backup into a repository, as soon as the one that the portal takes by itself lets it.
async fn back_up(portal: &Portal, server: &ServerId, repository: i64) {
    let input = Asked::new(BackupType::Full, "").into_repository(repository);
    let end = Instant::now() + PATIENCE;
    loop {
        let input = serde_json::to_value(&input).unwrap();
        let change = Change { kind: OperationKind::Backup, input };
        match portal.door().submit_change(change, server, &Actor::system(), None).await {
            Ok(id) => {
                portal.succeed(&id).await;
                return;
            }
            Err(why) => assert!(Instant::now() < end, "{why}"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The newest backup of a repository was copied from the standby, wherever primary, standby and repository are, and every
/// way to a member's data is closed again.
async fn assert_from_standby(portal: &Portal, server: &ServerId, repository: i64) {
    let seen = portal.app.store.protection(server).await.unwrap();
    let newest = seen.good_in(repository).next().unwrap();
    let mut told = String::new();
    if let Some(id) = &newest.operation_id {
        let lines = portal.app.store.operation_log(id, 1000).await.unwrap();
        told = lines.into_iter().map(|line| line.text + "\n").collect();
    }
    assert_eq!(newest.copied_from, Some(CopiedFrom::Standby), "{told}");
    assert!(told.contains("replay on the standby reached"), "{told}");
    for zone in 1..=3 {
        let left = portal.zones.docker(zone, &["ps", "-a", "--format", "{{.Names}}"]);
        assert!(!left.contains("-door"), "{left}");
    }
}

/// A row is committed, and every repository has the log to it.
async fn write(portal: &Portal, server: &ServerId, row: u32) {
    let sql = format!("CREATE TABLE IF NOT EXISTS t (a int); INSERT INTO t VALUES ({row})");
    portal.psql(server, &sql).await.unwrap();
    let piece = "SELECT pg_walfile_name(pg_current_wal_lsn())";
    let piece = portal.psql(server, piece).await.unwrap();
    // More than what a piece holds ends it.
    let fill = "SELECT pg_logical_emit_message(false, 'fill', repeat('x', 17000000)) IS NULL";
    portal.psql(server, fill).await.unwrap();
    let is_there = format!("SELECT last_archived_wal >= '{piece}' FROM pg_stat_archiver");
    let archived =
        async |portal: &Portal| portal.psql(server, &is_there).await.is_ok_and(|yes| yes == "t");
    portal.until("the log arrives", archived).await;
}

async fn repositories(portal: &Portal, server: &ServerId) -> Vec<Repository> {
    portal.app.store.repositories(server).await.unwrap()
}

async fn zone_of(portal: &Portal, repository: &Repository) -> u8 {
    let host = portal.app.store.host(&repository.host_id).await.unwrap().unwrap();
    host.name.trim_start_matches("zone-").parse().unwrap()
}

async fn restore(
    portal: &Portal,
    source: &ServerId,
    (name, zone, repository): (&str, u8, i64),
    target: &RestoreTarget,
) -> String {
    let new = NewRestore {
        source,
        repository,
        target,
        set: None,
        name: &ServerName::parse(name).unwrap(),
        zone: &zone.to_string(),
        access: Access::Public,
        network: None,
        admin_verifier: &scram_verifier(&Secret::new(PASSWORD)),
        ports: portal.ports,
        idempotency_key: None,
    };
    let group = GroupId::default_group();
    let asked = portal.door().restore(&group, &portal.app.sealer, &new, &Actor::system()).await;
    let id = portal.succeed(&asked.unwrap()).await.server_id;
    let mut tx = portal.app.store.begin_write(portal.app.clock.now()).await.unwrap();
    tx.save_firewall_rule(&id, &here()).await.unwrap();
    tx.commit(Record::Nothing("as the page does")).await.unwrap();
    let sql = "SELECT string_agg(a::text, ',' ORDER BY a) FROM t";
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        match portal.psql(&id, sql).await {
            Ok(rows) => return rows,
            Err(why) => assert!(Instant::now() < end, "{why}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Every piece of the log is in the repository once, on one line or the other.
async fn assert_whole(portal: &Portal, server: &ServerId, repository: &Repository) {
    let zone = zone_of(portal, repository).await;
    let name = format!("pgflex-{}-repository-17", repository.host_id.short());
    let part = if repository.number == 1 { "" } else { "/2" };
    let folder = format!("/var/lib/pgbackrest{part}/archive/{}", stanza_of(server));
    let found = portal.zones.docker(zone, &["exec", &name, "find", &folder, "-type", "f"]);
    let mut seen = BTreeSet::new();
    for path in found.lines() {
        let file = path.rsplit('/').next().unwrap();
        if file.as_bytes().get(24) != Some(&b'-') {
            continue;
        }
        let part = |from: usize| u64::from_str_radix(&file[from..from + 8], 16).unwrap();
        assert!(seen.insert((part(8) * 256 + part(16), part(0))), "{file} is there twice");
    }
    // From the oldest backup on: what a new primary hands over once more may be older.
    let protection = portal.app.store.protection(server).await.unwrap();
    let oldest = protection.good_in(repository.number).map(|one| one.wal.0.clone()).min().unwrap();
    let from = u64::from_str_radix(&oldest[16..24], 16).unwrap();
    seen.retain(|(number, _)| *number >= from);
    let numbers: BTreeSet<u64> = seen.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers.first(), Some(&from), "the log of the oldest backup: {seen:?}");
    let (first, last) = (*numbers.first().unwrap(), *numbers.last().unwrap());
    assert_eq!(numbers.len() as u64, last - first + 1, "no piece is missing: {seen:?}");
    let lines: BTreeSet<u64> = seen.iter().map(|(_, line)| *line).collect();
    assert_eq!(lines.len(), 2, "of both lines: {seen:?}");
    println!("  repository {} in zone {zone}: {} pieces", repository.number, seen.len());
}

/// The primary cannot hand its log over any more; whoever takes over can.
fn keep_from_archive(zones: &Zones, (zone, container): (u8, &str)) {
    let file = "/var/lib/pgflex/config/archive.conf";
    zones.docker(zone, &["exec", container, "chmod", "000", file]);
}

/// A row is committed and some pieces of the log are filled behind it, wherever they go.
async fn write_alone(portal: &Portal, server: &ServerId, row: u32) {
    portal.psql(server, &format!("INSERT INTO t VALUES ({row})")).await.unwrap();
    let fill = "SELECT pg_logical_emit_message(false, 'fill', repeat('x', 17000000)) IS NULL";
    for _ in 0..2 {
        portal.psql(server, fill).await.unwrap();
    }
}

/// The server's time in whole seconds, a second away from every commit before and behind it.
async fn moment(portal: &Portal, server: &ServerId) -> chrono::DateTime<chrono::Utc> {
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let text = portal.psql(server, "SELECT extract(epoch FROM now())::bigint").await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    chrono::DateTime::from_timestamp(text.parse().unwrap(), 0).unwrap()
}

/// Every repository was looked at since, nothing is missing, and the window has no gap.
async fn is_whole_since(portal: &Portal, server: &ServerId, since: chrono::DateTime<chrono::Utc>) {
    let end = Instant::now() + Duration::from_secs(300);
    loop {
        let seen = portal.app.store.protection(server).await.unwrap();
        let is_whole = |number: i64| {
            let check = seen.checks.iter().find(|check| check.repository == number);
            check.is_some_and(|check| check.at > since && check.missing == 0)
                && seen.window_of(number).spans.len() == 1
        };
        if seen.gaps.is_empty() && is_whole(1) && is_whole(2) {
            println!("  nothing is missing: {:?}", seen.checks);
            return;
        }
        assert!(Instant::now() < end, "{seen:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// T9, T10, T11: the archive goes on from the new primary into both repositories, the next backup is taken of it, and a
/// moment on either side of the fork can be restored.
pub async fn backups_follow_the_primary(zones: Arc<Zones>) {
    let pair = Pair::create(Portal::start(&zones).await, "shop").await;
    let (portal, server) = (&pair.portal, &pair.server);
    ask_for_two(portal, server).await;
    back_up(portal, server, 1).await;
    assert_from_standby(portal, server, 1).await;
    back_up(portal, server, 2).await;
    assert_from_standby(portal, server, 2).await;
    write(portal, server, 1).await;
    let before = moment(portal, server).await;
    write(portal, server, 2).await;

    // From here on nothing of the primary is archived.
    let first = pair.place(MemberRole::Primary).await;
    keep_from_archive(&zones, (first.zone, &first.container));
    write_alone(portal, server, 3).await;
    let late = moment(portal, server).await;
    write_alone(portal, server, 4).await;
    zones.kill_container(first.zone, &first.container);
    pair.changes(2, "the primary was killed").await;
    pair.healthy("the primary was killed").await;
    write(portal, server, 5).await;
    is_whole_since(portal, server, late).await;
    for one in repositories(portal, server).await {
        assert_whole(portal, server, &one).await;
    }
    back_up(portal, server, 1).await;
    assert_from_standby(portal, server, 1).await;
    println!("  taken of the new pair");

    let rows = restore(portal, server, ("newest", 3, 1), &RestoreTarget::Latest).await;
    assert_eq!(rows, "1,2,3,4,5");
    let end = Instant::now() + PATIENCE;
    while portal.app.store.protection(server).await.unwrap().archive.until < Some(before) {
        assert!(Instant::now() < end, "never known to be archived");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let target = RestoreTarget::Moment { at: before };
    assert_eq!(restore(portal, server, ("past", 3, 2), &target).await, "1");
    let target = RestoreTarget::Moment { at: late };
    assert_eq!(restore(portal, server, ("late", 3, 1), &target).await, "1,2,3");
    pair.portal.finish().await;
}

/// T25: the zone of a server is gone with its first repository. It is restored from the second, in a third zone.
pub async fn a_lost_zone_is_restored_in_another(zones: Arc<Zones>) {
    let portal = Portal::start(&zones).await;
    let server = portal.create("solo", 1).await;
    ask_for_two(&portal, &server).await;
    back_up(&portal, &server, 1).await;
    back_up(&portal, &server, 2).await;
    write(&portal, &server, 7).await;
    let second = repositories(&portal, &server).await.remove(1);
    let kept_in = zone_of(&portal, &second).await;
    assert_ne!(kept_in, 1, "another zone than the server's");
    zones.lose(1);
    let other = if kept_in == 2 { 3 } else { 2 };
    let rows = restore(&portal, &server, ("again", other, 2), &RestoreTarget::Latest).await;
    assert_eq!(rows, "7");
    println!("  restored in zone {other} from the repository in zone {kept_in}");
    zones.restore(1);
    portal.finish().await;
}
