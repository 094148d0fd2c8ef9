//! Exactness of restores on the real engine, all from one backup of one server: a place in the log, a named point, a moment
//! between two commits of one second; many files and what `pg_dump` says of them; keys and parts of the repository that
//! are not the server's; pgBackRest killed in the middle of a copy.

use crate::backups::{docker, until};
use crate::portal::{ADMIN, PASSWORD};
use crate::restores::{Shop, succeeded};
use crate::support::{has_engine, timed};
use chrono::{DateTime, Utc};
use pgflex::domain::activity::Actor;
use pgflex::domain::backup::{Backup, BackupType, Repository, RestoreTarget, stanza_of};
use pgflex::domain::ids::ServerId;
use pgflex::domain::operation::{Operation, OperationKind, OperationStatus};
use pgflex::domain::server::SettledState;
use pgflex::operations::access::{sealed_place, secret};
use pgflex::operations::backup::take_ready::NEAR;
use pgflex::store::Record;
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use std::time::{Duration, Instant};

/// Tables of the many; each has an index and a sequence besides.
const TABLES: usize = 500;
/// The many, with three rows each.
const CONTENT: &str = "DO $$ BEGIN FOR i IN 1..500 LOOP \
    EXECUTE format('CREATE TABLE many.t%s (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, word text)', i); \
    EXECUTE format('INSERT INTO many.t%s (word) SELECT md5(%s::text || n) FROM generate_series(1, 3) AS n', i, i); \
    END LOOP; END $$";

/// T3, T4, T7, T26 and T28; T16 and T17 in between, and T20 at the end.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_restored_exactly_and_by_its_own_key_alone() {
    if !has_engine() {
        return;
    }
    let mut shop = Shop::open().await;
    // Has its own first backup taken meanwhile.
    let other = shop.portal.submit_create("other").await;
    fill(&shop).await;
    timed("backup", shop.backup()).await;
    let places = Places::make(&shop).await;
    let other = succeeded(&shop.portal, &other).await;
    until(&shop.portal, &other, "its backup", |seen| seen.good_in(NEAR).count() == 1).await;
    // From here on nobody looks: the monitor would find by itself that the repository is not what is on record.
    shop.portal.kill();
    shop.portal.start(&["--roles=web,runner,gateway"]);
    shop.portal.wait_line("pgflex is at");
    timed("keys", wrong_keys(&shop)).await;
    timed("stanzas", another_part(&shop, &other)).await;
    timed("restores", exact(&shop, &places)).await;
    timed("kill", killed_copy(&shop)).await;
    shop.portal.finish().await;
}

async fn fill(shop: &Shop) {
    shop.sql("CREATE SCHEMA many").await;
    shop.sql(CONTENT).await;
    shop.sql("CREATE TABLE t (a int PRIMARY KEY)").await;
    shop.sql("CREATE TABLE said (at timestamptz)").await;
    shop.sql("CREATE UNLOGGED TABLE brief AS SELECT 1 AS a").await;
    shop.sql("CREATE ROLE waiter LOGIN PASSWORD 'Table-for-4-please'").await;
    shop.sql("SELECT lo_from_bytea(0, decode(repeat('cafe', 5000), 'hex'))").await;
}

/// Where the server was, and what it had there.
struct Places {
    place: RestoreTarget,
    moment: RestoreTarget,
    point: RestoreTarget,
    /// Of the moment when the point was named.
    dump: String,
}

impl Places {
    async fn make(shop: &Shop) -> Self {
        shop.sql("INSERT INTO t VALUES (1)").await;
        let place = RestoreTarget::place(&shop.sql("SELECT pg_current_wal_lsn()").await).unwrap();
        shop.sql("INSERT INTO t VALUES (2)").await;
        let moment = RestoreTarget::Moment { at: within_a_second(shop).await };
        shop.sql("INSERT INTO t VALUES (5)").await;
        let dump = dump(shop, &shop.id).await;
        shop.sql("SELECT pg_create_restore_point('before the sale')").await;
        let point = RestoreTarget::point("before the sale").unwrap();
        shop.sql("INSERT INTO t VALUES (6)").await;
        shop.sql("DROP TABLE many.t1, many.t500").await;
        shop.archive().await;
        Self { place, moment, point, dump }
    }
}

/// Commits 3 and 4 about 300 ms apart, within one second of the server's own clock where it keeps up: a moment between.
async fn within_a_second(shop: &Shop) -> DateTime<Utc> {
    shop.sql(
        "DO $$ DECLARE between timestamptz; BEGIN \
         PERFORM pg_sleep(1.2 - extract(epoch FROM clock_timestamp()) % 1); \
         INSERT INTO t VALUES (3); COMMIT; PERFORM pg_sleep(0.15); between := clock_timestamp(); \
         PERFORM pg_sleep(0.15); INSERT INTO t VALUES (4); COMMIT; \
         INSERT INTO said VALUES (between); END $$",
    )
    .await;
    let text =
        "SELECT to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') FROM said";
    shop.sql(text).await.parse().unwrap()
}

async fn container(shop: &Shop, server: &ServerId) -> String {
    shop.portal.app.store.members(server).await.unwrap().remove(0).container()
}

/// All that `pg_dump` says of the database but for what is unlogged. The keys of its `\restrict` are new each time.
async fn dump(shop: &Shop, server: &ServerId) -> String {
    let (container, password) = (container(shop, server).await, format!("PGPASSWORD={PASSWORD}"));
    let target = format!("host=127.0.0.1 user={ADMIN} dbname=postgres sslmode=require");
    let words = ["exec", "-e", &password, &container, "pg_dump", "-T", "brief", &target];
    let (is_done, text) = docker(&words);
    assert!(is_done, "{text}");
    let is_key = |line: &&str| line.starts_with("\\restrict") || line.starts_with("\\unrestrict");
    text.lines().filter(|line| !is_key(line)).collect::<Vec<_>>().join("\n")
}

/// The three at once, from one backup.
async fn exact(shop: &Shop, places: &Places) {
    let restore = |name: &'static str, target| shop.restore(&shop.id, name, target);
    let (place, moment, point) = tokio::join!(
        restore("place", &places.place),
        restore("moment", &places.moment),
        restore("point", &places.point)
    );
    assert_eq!(shop.rows(&place).await, "1", "T3");
    assert_eq!(shop.rows(&moment).await, "1,2,3", "T7");
    assert_eq!(shop.rows(&point).await, "1,2,3,4,5", "T4");
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'many'";
    assert_eq!(shop.portal.psql(&point, tables).await.unwrap(), TABLES.to_string(), "T26");
    assert_eq!(shop.sql(tables).await, "498");
    let restored = dump(shop, &point).await;
    let differs = places.dump.lines().zip(restored.lines()).find(|(one, two)| one != two);
    assert_eq!(differs, None, "T28");
    assert_eq!(restored.len(), places.dump.len());
    assert!(restored.contains("cafecafe") && restored.contains("COPY many.t500"));
    let brief = shop.portal.psql(&point, "SELECT count(*) FROM brief").await;
    assert_eq!(brief.unwrap(), "0", "T27: what is unlogged is empty");
    let collation = "SELECT datcollversion IS NOT DISTINCT FROM pg_database_collation_actual_version(oid) FROM pg_database WHERE datname = 'postgres'";
    assert_eq!(shop.portal.psql(&point, collation).await.unwrap(), "t");
    // A role has its password of then.
    let container = container(shop, &point).await;
    let target = "host=127.0.0.1 user=waiter dbname=postgres sslmode=require";
    let password = "PGPASSWORD=Table-for-4-please";
    let (is_in, said) =
        docker(&["exec", "-e", password, &container, "psql", "-Atc", "SELECT 1", target]);
    assert!(is_in, "{said}");
}

/// What the key of the server's backups is replaced by: sealed, or nothing.
async fn put_key(shop: &Shop, sealed: Option<Vec<u8>>) {
    let (store, now) = (&shop.portal.app.store, shop.portal.app.clock.now());
    let Some(sealed) = sealed else {
        // The store itself never forgets the key of a server that is there.
        let options = SqliteConnectOptions::new().filename(shop.portal.folder.join("pgflex.db"));
        let mut database = options.connect().await.unwrap();
        let forget = "DELETE FROM server_secrets WHERE server_id = $1 AND name = $2";
        let forget = sqlx::query(forget).bind(shop.id.as_str()).bind(secret::BACKUP_CIPHER);
        assert_eq!(forget.execute(&mut database).await.unwrap().rows_affected(), 1);
        return;
    };
    let mut tx = store.begin_write(now).await.unwrap();
    tx.put_server_secret(&shop.id, secret::BACKUP_CIPHER, sealed, None).await.unwrap();
    tx.commit(Record::Nothing("a test")).await.unwrap();
}

/// Every container, volume and network of the installation.
async fn everything(shop: &Shop) -> Vec<String> {
    let mut all = shop.objects("").await;
    all.sort();
    all
}

/// A restore that must fail, with what it said; nothing of it is left.
async fn fails(shop: &Shop, name: &str) -> Operation {
    let before = everything(shop).await;
    // No log is waited for.
    let label = shop.portal.app.store.protection(&shop.id).await.unwrap().backups[0].label.clone();
    let asked = shop.ask(&shop.id, name, &RestoreTarget::Backup { label }).await.unwrap();
    let ended = shop.portal.wait_settled(&asked).await;
    println!("{name}: {:?}: {:?} {:?}", ended.failed_step, ended.error, ended.advice);
    assert_eq!(ended.status, OperationStatus::Failed, "{name}");
    let store = &shop.portal.app.store;
    let server = store.server(&ended.server_id).await.unwrap().unwrap();
    assert_eq!(server.settled, SettledState::Failed, "{name}: never listed as one that is there");
    assert_eq!(store.members(&server.id).await.unwrap(), [], "{name}");
    assert_eq!(everything(shop).await, before, "{name}");
    // Its port is kept until somebody has read what is the matter.
    let (door, actor) = (shop.portal.door(), Actor::system());
    let delete = door.submit(OperationKind::Delete, &server.id, &actor, None).await.unwrap();
    succeeded(&shop.portal, &delete).await;
    ended
}

/// T16: with a key that is not the right one, is cut off, or is not there, a restore says so and leaves nothing behind.
async fn wrong_keys(shop: &Shop) {
    let (store, sealer) = (&shop.portal.app.store, &shop.portal.app.sealer);
    let (id, name) = (&shop.id, secret::BACKUP_CIPHER);
    let (place, right) = (sealed_place(id, name), store.server_secret(id, name).await.unwrap());
    let right = right.unwrap();
    let plain = sealer.open(&place, &right).unwrap();
    let seal = |key: &[u8]| sealer.seal(&place, key).unwrap();
    let another: Vec<u8> = plain.iter().rev().copied().collect();
    for (case, sealed) in
        [("another", seal(&another)), ("shorter", seal(&plain[..plain.len() / 2]))]
    {
        put_key(shop, Some(sealed)).await;
        let ended = fails(shop, case).await;
        let (what, advice) = (ended.error.unwrap(), ended.advice.unwrap());
        assert!(what.contains("is not the key"), "{case}: {what}");
        assert!(advice.contains("copy of the portal's own store"), "{case}: {advice}");
    }
    put_key(shop, Some(right[..right.len() - 5].to_vec())).await;
    let ended = fails(shop, "unsealed").await;
    assert!(ended.advice.unwrap().contains("master key"));
    put_key(shop, None).await;
    let ended = fails(shop, "none").await;
    assert!(ended.error.unwrap().contains("key of the backups is missing"));
    assert!(ended.advice.unwrap().contains("copy of the portal's own store"));
    put_key(shop, Some(right)).await;
}

async fn put_stanza(shop: &Shop, repository: &Repository, stanza: &str) {
    let (store, now) = (&shop.portal.app.store, shop.portal.app.clock.now());
    let mut tx = store.begin_write(now).await.unwrap();
    let one = Repository { stanza: stanza.into(), ..repository.clone() };
    tx.put_repository(&one).await.unwrap();
    tx.commit(Record::Nothing("a test")).await.unwrap();
}

async fn put_backups(shop: &Shop, all: &[Backup]) {
    let (store, now) = (&shop.portal.app.store, shop.portal.app.clock.now());
    let mut tx = store.begin_write(now).await.unwrap();
    tx.replace_backups(&shop.id, NEAR, all).await.unwrap();
    tx.commit(Record::Nothing("a test")).await.unwrap();
}

/// T17: the record names another server's part of the repository. Without that one's key nothing of it is read; with it
/// too, no backup is taken into it, as it is of another system.
async fn another_part(shop: &Shop, other: &ServerId) {
    let (app, name) = (&shop.portal.app, secret::BACKUP_CIPHER);
    let before = app.store.protection(&shop.id).await.unwrap();
    let repository = before.repositories[0].clone();
    put_stanza(shop, &repository, &stanza_of(other)).await;
    let ended = fails(shop, "foreign").await;
    assert!(ended.error.unwrap().contains("is not the key"));

    let right = app.store.server_secret(&shop.id, name).await.unwrap().unwrap();
    let theirs = app.store.server_secret(other, name).await.unwrap().unwrap();
    let theirs = app.sealer.open(&sealed_place(other, name), &theirs).unwrap();
    put_key(shop, Some(app.sealer.seal(&sealed_place(&shop.id, name), &theirs).unwrap())).await;
    // Labels are seconds: the other's could well be the same.
    let label = app.store.protection(other).await.unwrap().backups[0].label.clone();
    let same = before.backups.iter().map(|one| Backup { label: label.clone(), ..one.clone() });
    put_backups(shop, &same.take(1).collect::<Vec<_>>()).await;
    let ended = fails(shop, "opened").await;
    assert!(ended.error.unwrap().contains("is not the one on record"));
    put_backups(shop, &before.backups).await;
    let asked = (BackupType::Full, "misled");
    let asked =
        shop.portal.door().take_backup(&shop.id, asked, &Actor::system(), None).await.unwrap();
    let ended = shop.portal.wait_settled(&asked).await;
    println!("misled: {:?}: {:?} {:?}", ended.failed_step, ended.error, ended.advice);
    assert_eq!(ended.status, OperationStatus::Failed);
    assert_eq!(ended.failed_step.as_deref(), Some("make_stanza"));
    assert!(ended.error.unwrap().contains("do not match the database"));

    put_key(shop, Some(right)).await;
    put_stanza(shop, &repository, &repository.stanza).await;
    let after = app.store.protection(&shop.id).await.unwrap();
    assert_eq!(after.backups, before.backups, "the list is as it was");
    let theirs = app.store.protection(other).await.unwrap();
    assert_eq!(theirs.good_in(NEAR).count(), 1, "and so is the other's");
}

/// Labels of what lies in the server's part of the repository and has a manifest, as a backup that has ended has.
async fn whole_sets(shop: &Shop) -> Vec<String> {
    let member = shop.portal.app.store.members(&shop.id).await.unwrap().remove(0);
    let volume = format!("pgflex-{}-repository:/r:ro", member.host_id.short());
    let folder = format!("/r/backup/{}", stanza_of(&shop.id));
    let find = ["find", &folder, "-mindepth", "2", "-name", "backup.manifest"];
    let (is_done, text) =
        docker(&[&["run", "--rm", "-u", "0", "-v", &volume, &member.image][..], &find].concat());
    assert!(is_done, "{text}");
    let label = |line: &str| line.rsplit('/').nth(1).map(str::to_owned);
    let mut labels: Vec<String> = text.lines().filter_map(label).collect();
    labels.sort();
    labels
}

async fn listed(shop: &Shop) -> Vec<String> {
    let seen = shop.portal.app.store.protection(&shop.id).await.unwrap();
    assert!(seen.backups.iter().all(|one| one.is_good()), "{:?}", seen.backups);
    let mut labels: Vec<String> = seen.backups.into_iter().map(|one| one.label).collect();
    labels.sort();
    labels
}

/// T20: SIGKILL of pgBackRest itself while it copies. Nothing half is listed or lies there as a backup; the next is good.
async fn killed_copy(shop: &Shop) {
    // About 200 MB that do not get smaller.
    shop.sql(
        "CREATE TABLE large AS SELECT n, md5(n::text) || md5((n + 1)::text) || md5((n + 2)::text) || md5((n + 3)::text) \
         || md5((n + 4)::text) || md5((n + 5)::text) AS word FROM generate_series(1, 900000) AS n",
    )
    .await;
    let before = listed(shop).await;
    let (door, actor) = (shop.portal.door(), Actor::system());
    let asked = door.take_backup(&shop.id, (BackupType::Full, "cut off"), &actor, None).await;
    let asked = asked.unwrap();
    kill_while_it_copies(shop).await;
    let ended = shop.portal.wait_settled(&asked).await;
    println!("killed: {:?}: {:?} {:?}", ended.failed_step, ended.error, ended.advice);
    assert_eq!(ended.status, OperationStatus::Failed);
    assert_eq!(ended.failed_step.as_deref(), Some("copy"));
    assert!(ended.error.unwrap().contains("was killed (code 137)"));
    assert_eq!((listed(shop).await, whole_sets(shop).await), (before.clone(), before.clone()));
    assert_eq!(shop.objects("-backup").await, Vec::<String>::new());

    let next = (BackupType::Full, "the next");
    let next = door.take_backup(&shop.id, next, &actor, None).await.unwrap();
    succeeded(&shop.portal, &next).await;
    let after = listed(shop).await;
    assert_eq!((after.len(), whole_sets(shop).await), (before.len() + 1, after));
}

/// The helper has copied some megabytes into a set that has no manifest yet, and has more to copy.
async fn kill_while_it_copies(shop: &Shop) {
    let member = shop.portal.app.store.members(&shop.id).await.unwrap().remove(0);
    let (name, end) = (member.backup_container(), Instant::now() + Duration::from_secs(60));
    let sets = format!("/var/lib/pgbackrest/backup/{}/2*F", stanza_of(&shop.id));
    let script = format!(
        "for set in {sets}; do test -e $set/backup.manifest || du -sk $set | cut -f 1; done"
    );
    loop {
        let (_, said) = docker(&["exec", &name, "sh", "-c", &script]);
        if said.trim().parse::<u64>().is_ok_and(|kib| kib > 8 << 10) {
            break;
        }
        assert!(Instant::now() < end, "it never copies: {said}\n{}", shop.portal.tail());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Who has it reads and removes it at once.
    let (_, said) = docker(&["logs", &name]);
    assert!(said.contains("backup start archive") && !said.contains("backup stop"), "{said}");
    let (is_killed, said) = docker(&["kill", "-s", "KILL", &name]);
    assert!(is_killed, "it had ended before: {said}");
}
