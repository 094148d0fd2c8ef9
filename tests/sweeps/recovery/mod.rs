//! The portal's own store: dumped, sealed, found, loaded; on both databases and from each into the other.

mod doubts;
mod hosts;
mod refusals;

use pgflex::clock::{Clock, ManualClock};
use pgflex::operations::store_backup::{self, StoreFile};
use pgflex::recover;
use pgflex::secrets::Sealer;
use pgflex::secrets::stream::SealedLines;
use pgflex::store::Store;
use pgflex::store::dump::{Kind, LEFT_OUT, Table, latest_migration};
use pgflex::store::testing;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

fn sealer() -> Sealer {
    Sealer::from_key([7; 32])
}

fn clock() -> ManualClock {
    ManualClock::at(chrono::DateTime::from_timestamp(1_795_000_000, 0).unwrap())
}

async fn backup(store: &Store) -> StoreFile {
    store_backup::make(store, &sealer(), "an-install", clock().now()).await.unwrap()
}

/// A connection beside the store's own.
async fn raw(url: &str) -> sqlx::AnyPool {
    sqlx::any::install_default_drivers();
    sqlx::any::AnyPoolOptions::new().max_connections(1).connect(url).await.unwrap()
}

/// One more row of a table, with something in every column, and another with nothing where that is allowed.
async fn plant(pool: &sqlx::AnyPool, table: &Table) {
    let names: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
    let places: Vec<String> = (1..=names.len()).map(|nth| format!("${nth}")).collect();
    let (columns, places) = (names.join(", "), places.join(", "));
    let sql = format!("INSERT INTO {} ({columns}) VALUES ({places})", table.name);
    let mut statement = sqlx::query(sqlx::AssertSqlSafe(sql));
    for (nth, column) in table.columns.iter().enumerate() {
        statement = match column.kind {
            Kind::Text => statement.bind(format!("“ü\"\\\n{}{nth}'", table.name)),
            Kind::Integer => statement.bind(i64::MAX - nth as i64),
            Kind::Float => statement.bind(0.1 + 0.2),
            Kind::Bytes => statement.bind(vec![0_u8, 255, nth as u8]),
        };
    }
    statement.execute(pool).await.unwrap();
}

/// The lines of a backup by table, in an order that both databases agree on.
fn rows(file: &[u8]) -> BTreeMap<String, Vec<String>> {
    let checked = recover::verify(&sealer(), file).unwrap();
    let mut lines = SealedLines::new(&sealer(), file)
        .unwrap()
        .skip(1)
        .map(Result::unwrap)
        .collect::<Vec<_>>()
        .into_iter();
    let mut all = BTreeMap::new();
    for table in &checked.header.tables {
        let mut rows: Vec<String> = lines.by_ref().take(table.rows as usize).collect();
        // What a recovery itself writes.
        rows.retain(|row| !row.contains("recovery/unfinished"));
        rows.sort();
        all.insert(table.name.clone(), rows);
    }
    all
}

/// Names after CREATE TABLE in the migrations.
fn tables_of_migrations() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let texts =
        fs::read_dir(folder).unwrap().map(|entry| fs::read_to_string(entry.unwrap().path()));
    let texts: String = texts.map(Result::unwrap).collect();
    let names = texts.split("CREATE TABLE ").skip(1);
    names.map(|rest| rest.split_whitespace().next().unwrap().to_owned()).collect()
}

/// A table that is forgotten is missed on the worst day.
#[tokio::test]
async fn every_table_is_in_the_backup_or_left_out_for_a_reason() {
    let left_out: BTreeSet<String> = LEFT_OUT.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert!(LEFT_OUT.iter().all(|(_, why)| why.len() > 20));
    for test in testing::all().await {
        let header = backup(&test.store).await.header;
        let kept: BTreeSet<String> = header.tables.iter().map(|table| table.name.clone()).collect();
        assert!(kept.is_disjoint(&left_out), "{}", test.name);
        let all: BTreeSet<String> = kept.union(&left_out).cloned().collect();
        assert_eq!(all, tables_of_migrations(), "{}", test.name);
        assert_eq!(header.migration, latest_migration(), "{}", test.name);
    }
}

#[tokio::test]
async fn every_table_comes_back_as_it_was_on_either_database() {
    for from in testing::all().await {
        let pool = raw(&from.url).await;
        for table in &backup(&from.store).await.header.tables {
            plant(&pool, table).await;
        }
        for (name, _) in LEFT_OUT {
            let rest = [("sessions", 9), ("sign_in_failures", 4), ("gateways", 4)];
            assert!(rest.iter().any(|(known, _)| known == name), "plant {name} too");
        }
        sqlx::query("INSERT INTO sessions (key_hash, id, state, created_at, seen_at, expires_at) VALUES ('k', 'i', 's', 1, 1, 1)")
            .execute(&pool)
            .await
            .unwrap();
        let file = backup(&from.store).await;
        let before = rows(&file.content);
        assert!(before.values().all(|rows| !rows.is_empty()), "every table has a row");
        for to in testing::all().await {
            let way = format!("{} to {}", from.name, to.name);
            let checked = recover::verify(&sealer(), &file.content).unwrap();
            let store = recover::load(&to.url, &sealer(), &file.content, &checked).await.unwrap();
            assert!(store.is_recovery_unfinished().await.unwrap(), "{way}");
            assert_eq!(rows(&backup(&store).await.content), before, "{way}");
            let (sessions,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM sessions")
                .fetch_one(&raw(&to.url).await)
                .await
                .unwrap();
            assert_eq!(sessions, 0, "{way}: nobody stays signed in");
        }
    }
}

/// What later migrations do to rows they do to recovered rows too.
#[tokio::test]
async fn a_backup_of_an_older_version_is_brought_up_to_date() {
    for (from, to) in [(testing::blank_sqlite(), testing::blank_sqlite())] {
        let old = Store::open_empty(&from.url, 10).await.unwrap();
        let pool = raw(&from.url).await;
        sqlx::query("INSERT INTO operations (id, kind, lane, server_id, server_name, status, is_active, input, run_at, requested_by, requested_from, code_version, created_at, deadline_at) VALUES ('o', 'restart', 'change', 's', 'shop', 'succeeded', 0, '{}', 1, 'ada', '-', '1', 1, 1)")
            .execute(&pool)
            .await
            .unwrap();
        let file = backup(&old).await;
        assert_eq!(file.header.migration, 10);
        let checked = recover::verify(&sealer(), &file.content).unwrap();
        recover::load(&to.url, &sealer(), &file.content, &checked).await.unwrap();
        let (group,): (String,) = sqlx::query_as("SELECT group_id FROM operations WHERE id = 'o'")
            .fetch_one(&raw(&to.url).await)
            .await
            .unwrap();
        assert_eq!(group, "00000000-0000-7000-8000-000000000001", "migration 11 filled it in");
    }
}

/// A backup shows one moment, whatever is written while it is made.
#[tokio::test]
async fn a_backup_is_of_one_moment() {
    for test in testing::all().await {
        let store = test.store.clone();
        let writer = tokio::spawn(async move {
            for nth in 0..60 {
                // Two rows of two tables in one transaction: together or not at all.
                let now = clock().now();
                testing::server(&store, now, &format!("shop{nth}")).await;
            }
        });
        let mut seen = BTreeSet::new();
        while !writer.is_finished() {
            let file = backup(&test.store).await;
            let servers = file.header.rows_of("servers");
            let port = rows(&file.content)["settings"].iter().find_map(|row| {
                let row: Vec<String> = serde_json::from_str(row).unwrap();
                (row[0] == "last_port").then(|| row[1].parse::<i64>().unwrap())
            });
            assert_eq!(port.map_or(0, |port| port - 19_999), servers, "{}", test.name);
            seen.insert(servers);
        }
        writer.await.unwrap();
        assert!(seen.len() > 1, "{}: it was written meanwhile: {seen:?}", test.name);
    }
}
