//! A pair on one engine, by the real portal: built, its primary killed, failed over, brought back, switched over,
//! removed. No row that was acknowledged is missing at any time.

use crate::portal::Portal;
use crate::support::{has_engine, objects_of_servers};
use pgflex::clock::{Clock, SystemClock};
use pgflex::domain::activity::Actor;
use pgflex::domain::ha::{Durability, HaMode, HighAvailability, ReplicationState};
use pgflex::domain::ids::ServerId;
use pgflex::domain::operation::{OperationKind, OperationStatus};
use pgflex::domain::server::Member;
use pgflex::engine::Engine;
use pgflex::operations::submit::Change;
use pgflex::store::Record;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

struct Story {
    portal: Portal,
    server: ServerId,
    rows: i64,
}

impl Story {
    async fn begin() -> Self {
        let mut portal = Portal::new().await;
        portal.start(&[]);
        portal.wait_line("pgflex is at");
        let begun = Instant::now();
        let looked = async || {
            let seen = portal.app.store.host_observations().await.unwrap();
            seen.iter().any(|seen| seen.facts.is_some())
        };
        while !looked().await {
            assert!(begun.elapsed() < Duration::from_secs(30), "{}", portal.tail());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        println!("{:>7} ms  first look at the host", begun.elapsed().as_millis());
        let create = portal.submit_create("shop").await;
        let created = portal.wait_settled(&create).await;
        assert_eq!(created.status, OperationStatus::Succeeded, "{:?}", created.error);
        let server = created.server_id;
        portal.psql(&server, "CREATE TABLE kept (id bigserial PRIMARY KEY)").await.unwrap();
        Self { portal, server, rows: 0 }
    }

    async fn ask(&self) {
        let (mode, durability) = (HaMode::SameZone, Durability::Preferred);
        let id = self.server.clone();
        let row = HighAvailability::asked(id, mode, durability, "1".into(), SystemClock.now());
        let primary = self.members().await.first().map(|member| member.id.clone());
        let row = HighAvailability { primary, ..row };
        let mut tx = self.portal.app.store.begin_write(SystemClock.now()).await.unwrap();
        tx.insert_ha(&row).await.unwrap();
        tx.commit(Record::Nothing("as the page does")).await.unwrap();
    }

    async fn row(&self) -> HighAvailability {
        self.portal.app.store.ha(&self.server).await.unwrap().unwrap()
    }

    async fn members(&self) -> Vec<Member> {
        self.portal.app.store.members(&self.server).await.unwrap()
    }

    /// Until the row is so. What follows from what is seen the portal submits by itself.
    async fn until(&self, what: &str, is_so: impl Fn(&HighAvailability) -> bool) {
        let begun = Instant::now();
        while !is_so(&self.row().await) {
            let row = self.row().await;
            assert!(
                begun.elapsed() < Duration::from_secs(120),
                "{what}: {row:?}\n{}",
                self.events().await
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        println!("{:>7} ms  {what}", begun.elapsed().as_millis());
    }

    async fn in_sync(&self, epoch: i64) {
        let what = format!("in sync in epoch {epoch}");
        self.until(&what, |row| row.epoch == epoch && row.state == ReplicationState::Sync).await;
    }

    async fn events(&self) -> String {
        let events = self.portal.app.store.ha_events(&self.server, 100).await.unwrap();
        let lines = events.iter().rev().map(|event| {
            format!("{} epoch {} {}: {}", event.at.time(), event.epoch, event.kind, event.detail)
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Rows whose insertion was acknowledged.
    async fn write(&mut self, rows: i64) {
        for _ in 0..rows {
            let text = "INSERT INTO kept DEFAULT VALUES";
            self.portal.psql(&self.server, text).await.unwrap();
            self.rows += 1;
        }
    }

    async fn assert_rows(&self) {
        let found = self.portal.psql_when_open(&self.server, "SELECT count(*) FROM kept").await;
        assert!(found.parse::<i64>().unwrap() >= self.rows, "{found} of {}", self.rows);
    }

    /// Submits, or finds that the portal did so itself.
    async fn submit(&self, kind: OperationKind, input: Value) {
        let change = Change { kind, input };
        let (door, actor) = (self.portal.door(), Actor::system());
        match door.submit_change(change, &self.server, &actor, None).await {
            Err(why) => println!("{kind:?}: {why}"),
            Ok(id) => {
                let ended = self.portal.wait_settled(&id).await;
                let what = (ended.failed_step, ended.error);
                assert_eq!(
                    ended.status,
                    OperationStatus::Succeeded,
                    "{what:?}\n{}",
                    self.events().await
                );
            }
        }
    }

    /// What a change of primary took, by what is on record of it.
    async fn tell_promotion(&self) {
        let last = self.portal.app.store.promotions(&self.server, 1).await.unwrap().remove(0);
        let took = |end: chrono::DateTime<chrono::Utc>, begin: chrono::DateTime<chrono::Utc>| {
            (end - begin).num_milliseconds()
        };
        let opened = last.opened_at.unwrap();
        println!(
            "{:>7} ms  {:?}: seen to open, {} ms of it from the decision",
            took(opened, last.seen_at),
            last.cause,
            took(opened, last.decided_at)
        );
        println!(
            "            stopped {:?} received {:?} fork {:?}",
            last.stopped_lsn, last.received_lsn, last.fork_lsn
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_is_built_fails_over_and_switches_over_without_losing_a_row() {
    if !has_engine() {
        return;
    }
    let mut story = Story::begin().await;
    story.ask().await;
    story.in_sync(1).await;
    story.write(20).await;

    let old = story.members().await.remove(0);
    let engine = story.portal.engine();
    engine.signal_container(&old.container(), "SIGKILL").await.unwrap();
    story
        .until("failed over", |row| row.epoch == 2 && row.state != ReplicationState::Promoting)
        .await;
    story.assert_rows().await;
    story.tell_promotion().await;
    story.write(5).await;

    story.in_sync(2).await;
    let until = Instant::now() + Duration::from_secs(30);
    while story.members().await.iter().any(|member| member.id == old.id) {
        assert!(Instant::now() < until, "the old primary is removed");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    story.write(5).await;

    let before: Vec<_> = story.members().await.into_iter().map(|member| member.id).collect();
    story.submit(OperationKind::Switchover, json!({ "cause": "Planned" })).await;
    assert_eq!(story.row().await.epoch, 3);
    story.tell_promotion().await;
    story.assert_rows().await;
    story.in_sync(3).await;
    let mut after: Vec<_> = story.members().await.into_iter().map(|member| member.id).collect();
    after.reverse();
    assert_eq!(
        before,
        after,
        "the old primary follows with the data it has\n{}",
        story.events().await
    );
    story.write(5).await;

    let begun = Instant::now();
    while story.portal.app.store.ha(&story.server).await.unwrap().is_some() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", story.events().await);
        story.submit(OperationKind::RemoveStandby, Value::Null).await;
    }
    println!("{}", story.events().await);
    assert_eq!(story.members().await.len(), 1);
    story.write(5).await;
    story.assert_rows().await;
    let owned = objects_of_servers(&engine).await;
    let containers = owned.iter().filter(|object| object.kind == "container").count();
    assert_eq!(containers, 1, "{owned:?}");
    story.portal.finish().await;
}
