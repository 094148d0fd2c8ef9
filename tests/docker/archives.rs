//! T13: a piece of the log is missing in the middle of the archive. What PostgreSQL still has is archived again; what it has
//! not is a gap, into which nothing is restored. A backup that somebody removed is told.

use crate::backups::{created, docker, until};
use crate::portal::{PASSWORD, Portal};
use crate::support::{has_engine, timed};
use chrono::{DateTime, Duration as Span, Utc};
use pgflex::domain::activity::Actor;
use pgflex::domain::backup::{ArchiveCheck, Protection, RestoreTarget, stanza_of};
use pgflex::domain::ids::{GroupId, ServerId};
use pgflex::domain::names::ServerName;
use pgflex::domain::network::Access;
use pgflex::operations::ask_restore::NewRestore;
use pgflex::operations::backup::take_ready::NEAR;
use pgflex::secrets::{Secret, scram_verifier};
use pgflex::store::Record;

struct Shop {
    portal: Portal,
    id: ServerId,
    container: String,
    image: String,
    volume: String,
}

impl Shop {
    async fn sql(&self, sql: &str) -> String {
        self.portal.psql(&self.id, sql).await.unwrap_or_else(|why| panic!("{sql}: {why}"))
    }

    /// A row is committed, the piece with it is ended and archived: its name, and a moment behind the commit.
    async fn piece(&self, row: u32) -> (String, DateTime<Utc>) {
        self.sql(&format!("CREATE TABLE IF NOT EXISTS t (a int); INSERT INTO t VALUES ({row})"))
            .await;
        let name = self.sql("SELECT pg_walfile_name(pg_current_wal_lsn())").await;
        let at = self.sql("SELECT extract(epoch FROM clock_timestamp())::bigint + 1").await;
        tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
        // More than what a piece holds ends it.
        self.sql("SELECT pg_logical_emit_message(false, 'fill', repeat('x', 17000000)) IS NULL")
            .await;
        let is_there = format!("SELECT last_archived_wal >= '{name}' FROM pg_stat_archiver");
        for _ in 0..300 {
            if self.sql(&is_there).await == "t" {
                return (name, DateTime::from_timestamp(at.parse().unwrap(), 0).unwrap());
            }
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
        panic!("{name} is never archived\n{}", self.portal.log());
    }

    /// In the repository, whose folder is at `/r`.
    fn in_repository(&self, script: &str) -> String {
        let volume = format!("{}:/r", self.volume);
        let words =
            ["run", "--rm", "-u", "0", "-v", &volume, "--entrypoint", "sh", &self.image, "-c"];
        let (is_done, text) = docker(&[&words[..], &[script]].concat());
        assert!(is_done, "{script}: {text}");
        text
    }

    fn find(&self, piece: &str) -> String {
        let folder = format!("/r/archive/{}", stanza_of(&self.id));
        self.in_repository(&format!("find {folder} -name '{piece}-*'"))
    }

    fn lose(&self, piece: &str) {
        let folder = format!("/r/archive/{}", stanza_of(&self.id));
        self.in_repository(&format!("find {folder} -name '{piece}-*' -delete"));
        assert_eq!(self.find(piece).trim(), "");
    }

    /// The next look is due now, and what it finds is newer than this.
    async fn look(&self) -> DateTime<Utc> {
        let (store, now) = (&self.portal.app.store, self.portal.app.clock.now());
        let at = now - Span::hours(2);
        let check = ArchiveCheck { repository: NEAR, at, needed: 0, missing: 0, log_bytes: 0 };
        let mut tx = store.begin_write(now).await.unwrap();
        tx.put_archive_check(&self.id, &check).await.unwrap();
        tx.commit(Record::Nothing("time passes")).await.unwrap();
        now
    }

    async fn refusal(&self, at: DateTime<Utc>) -> String {
        let verifier = scram_verifier(&Secret::new(PASSWORD));
        let new = NewRestore {
            source: &self.id,
            repository: NEAR,
            target: &RestoreTarget::Moment { at },
            set: None,
            name: &ServerName::parse("again").unwrap(),
            zone: "1",
            access: Access::Public,
            network: None,
            admin_verifier: &verifier,
            ports: self.portal.ports,
            idempotency_key: None,
        };
        let (group, sealer) = (GroupId::default_group(), &self.portal.app.sealer);
        let asked = self.portal.door().restore(&group, sealer, &new, &Actor::system()).await;
        asked.unwrap_err().to_string()
    }
}

fn is_whole(seen: &Protection, since: DateTime<Utc>) -> bool {
    seen.checks.iter().any(|check| check.at > since && check.missing == 0 && check.needed > 0)
}

#[tokio::test]
async fn a_piece_that_is_missing_in_the_middle_is_found() {
    if !has_engine() {
        return;
    }
    let mut portal = Portal::new().await;
    portal.start(&[]);
    portal.wait_line("http");
    let id = created(&portal, "shop").await;
    let member = portal.app.store.members(&id).await.unwrap().remove(0);
    let volume = format!("pgflex-{}-repository", member.host_id.short());
    let shop = Shop { container: member.container(), image: member.image, portal, id, volume };
    let (portal, id) = (&shop.portal, &shop.id);
    let begun = portal.app.clock.now() - Span::hours(1);
    let first = until(portal, id, "the first look", |seen| is_whole(seen, begun));
    timed("the archive was looked at", first).await;

    let (_, before) = shop.piece(1).await;
    let (lost, _) = shop.piece(2).await;
    let (_, inside) = shop.piece(3).await;
    shop.lose(&lost);
    let now = shop.look().await;
    let healed = until(portal, id, "archived again", |seen| is_whole(seen, now));
    let healed = timed("a piece that PostgreSQL has is archived again", healed).await;
    assert_ne!(shop.find(&lost).trim(), "", "it is there again");
    assert_eq!(healed.gaps, []);

    forget(&shop, &lost).await;
    shop.lose(&lost);
    shop.look().await;
    let has_gap = |seen: &Protection| seen.gaps.iter().any(|gap| gap.reason.contains(&lost));
    let seen = timed("the gap is on record", until(portal, id, "a gap", has_gap)).await;
    let gap = &seen.gaps[0];
    assert!(gap.began_at < inside && gap.ended_at.is_some(), "{gap:?}");
    let refusal = shop.refusal(gap.ended_at.unwrap() - Span::milliseconds(1)).await;
    assert!(refusal.contains("gap") || refusal.contains("is after"), "{refusal}");
    assert!(before < gap.ended_at.unwrap());

    let label = seen.backups.last().unwrap().label.clone();
    let is_again = |seen: &Protection| {
        seen.good_in(NEAR).any(|one| one.label != label && Some(one.started_at) >= gap.ended_at)
    };
    timed("a full backup behind the gap", until(portal, id, "a backup", is_again)).await;
    shop.in_repository(&format!("rm -r /r/backup/{}/{label}", stanza_of(id)));
    shop.look().await;
    let is_told = |seen: &Protection| {
        let one = seen.backups.iter().find(|one| one.label == label);
        one.is_none_or(|one| one.failure.contains("not in the repository any more"))
    };
    let told = until(portal, id, "the removed backup", is_told);
    timed("a backup that was removed by hand is told", told).await;
    shop.portal.finish().await;
}

/// PostgreSQL does not have the piece any more.
async fn forget(shop: &Shop, piece: &str) {
    for row in 10..40 {
        let path = format!("/var/lib/pgflex/data/pg_wal/{piece}");
        if !docker(&["exec", &shop.container, "test", "-e", &path]).0 {
            return;
        }
        shop.sql("CHECKPOINT").await;
        shop.piece(row).await;
    }
    panic!("{piece} is never removed");
}
