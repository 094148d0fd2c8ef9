//! A backup of a pair on the real engine: pgBackRest copies from the standby, and what is restored from it has the rows.

use crate::restores::Shop;
use crate::support::has_engine;
use pgflex::clock::{Clock, SystemClock};
use pgflex::domain::backup::{Backup, CopiedFrom, RestoreTarget};
use pgflex::domain::ha::{Durability, HaMode, HighAvailability, ReplicationState};
use pgflex::engine::Engine;
use pgflex::store::Record;
use std::time::{Duration, Instant};

/// The server gets a standby on the same engine, by the portal itself.
async fn pair(shop: &Shop) {
    let store = &shop.portal.app.store;
    let (mode, durability) = (HaMode::SameZone, Durability::Preferred);
    let row =
        HighAvailability::asked(shop.id.clone(), mode, durability, "1".into(), SystemClock.now());
    let primary = store.members(&shop.id).await.unwrap().remove(0).id;
    let mut tx = store.begin_write(SystemClock.now()).await.unwrap();
    tx.insert_ha(&HighAvailability { primary: Some(primary), ..row }).await.unwrap();
    tx.commit(Record::Nothing("as the page does")).await.unwrap();
    let end = Instant::now() + Duration::from_secs(120);
    while store.ha(&shop.id).await.unwrap().unwrap().state != ReplicationState::Sync {
        assert!(Instant::now() < end, "never in sync\n{}", shop.portal.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn told(shop: &Shop, backup: &Backup) -> String {
    let id = backup.operation_id.clone().unwrap();
    let lines = shop.portal.app.store.operation_log(&id, 1000).await.unwrap();
    lines.into_iter().map(|line| line.text + "\n").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_pair_reads_the_standby_and_is_restored() {
    if !has_engine() {
        return;
    }
    let shop = Shop::open().await;
    shop.sql("CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    pair(&shop).await;
    shop.sql("INSERT INTO t SELECT generate_series(2, 5)").await;
    let begun = Instant::now();
    let backup = shop.backup().await;
    println!("{:>7} ms  backed up", begun.elapsed().as_millis());
    let told = told(&shop, &backup).await;
    assert_eq!(backup.copied_from, Some(CopiedFrom::Standby), "{told}");
    // pgBackRest's own words.
    assert!(told.contains("wait for replay on the standby to reach"), "{told}");
    assert!(told.contains("replay on the standby reached"), "{told}");
    let row = shop.portal.app.store.ha(&shop.id).await.unwrap().unwrap();
    assert_eq!((row.epoch, row.state), (1, ReplicationState::Sync), "the standby is as it was");
    let owned = shop.portal.engine().owned().await.unwrap();
    let is_helper = |name: &str| name.ends_with("-backup") || name.ends_with("-door");
    assert!(owned.iter().all(|object| !is_helper(&object.name)), "{owned:?}");

    shop.sql("INSERT INTO t VALUES (6)").await;
    let newest = shop.restore(&shop.id, "newest", &RestoreTarget::Latest).await;
    assert_eq!(shop.rows(&newest).await, "1,2,3,4,5,6");
    let target = RestoreTarget::Backup { label: backup.label };
    let exact = shop.restore(&shop.id, "exact", &target).await;
    assert_eq!(shop.rows(&exact).await, "1,2,3,4,5");
    shop.portal.finish().await;
}
