//! Looks at what a repository really has: holes, what is handed over again, and what somebody removed.

use super::*;
use chrono::Duration;
use pgflex::clock::Clock;
use pgflex::domain::activity::Actor;
use pgflex::domain::backup::{BackupType, Gap, Protection, stanza_of};
use pgflex::domain::ids::{HostId, ServerId};
use pgflex::domain::meter::Meter;
use pgflex::engine::Engine;
use pgflex::monitor::archive_checks::Watch;
use pgflex::operations::backup::repository;
use pgflex::store::Record;
use std::collections::HashSet;

const FIFTH: &str = "000000010000000000000005";

struct Story {
    world: World,
    watch: Watch,
    server: ServerId,
    host: HostId,
    volume: String,
    stanza: String,
}

impl Story {
    /// A server with one backup, which began in the second piece of nine.
    async fn begin() -> Self {
        let world = world().await;
        let asked = world.submit(OperationKind::Backup).await;
        let operation = world.run_to_rest(&world.runner(), &asked).await;
        assert_eq!(operation.status, OperationStatus::Succeeded, "{:?}", operation.error);
        let server = operation.server_id;
        let host = world.services.store.repositories(&server).await.unwrap().remove(0).host_id;
        let volume = repository::blueprint(&world.services, &host).volume_name();
        let stanza = stanza_of(&server);
        Self { world, watch: Watch::default(), server, host, volume, stanza }
    }

    async fn look(&mut self) -> Protection {
        self.watch.tick(&self.world.services, &HashSet::new()).await.unwrap();
        let left = self.world.engine.remaining();
        assert!(!left.iter().any(|name| name.contains("-archive")), "{left:?}");
        self.seen().await
    }

    async fn look_later(&mut self) -> Protection {
        self.world.clock.wind(Duration::minutes(61));
        self.look().await
    }

    async fn seen(&self) -> Protection {
        self.world.services.store.protection(&self.server).await.unwrap()
    }
}

fn counts(seen: &Protection) -> (u64, u64) {
    let [check] = seen.checks[..] else { panic!("{:?}", seen.checks) };
    (check.needed, check.missing)
}

#[tokio::test]
async fn a_hole_in_the_middle_is_found_by_the_next_look_and_not_told_before() {
    let mut story = Story::begin().await;
    assert_eq!(counts(&story.look().await), (8, 0));
    story.world.engine.lose_piece(&story.volume, &story.stanza, FIFTH);
    story.world.clock.wind(Duration::minutes(30));
    assert_eq!(counts(&story.look().await), (8, 0), "an hour is not over");
    let seen = story.look_later().await;
    assert_eq!(counts(&seen), (8, 1));
    assert!(seen.gaps[0].reason.contains(FIFTH), "{:?}", seen.gaps);
    let again = story.look_later().await;
    assert_eq!(again.gaps, seen.gaps, "the same gap, and one");
    assert!(seen.backups[0].is_good(), "the end of the backup can be restored all the same");
}

/// What is beyond as many GiB as are provisioned is counted from the look that finds it to the one that does not.
#[tokio::test]
async fn what_backups_take_beyond_the_allowance_is_metered() {
    let mut story = Story::begin().await;
    let (server, gib) = (story.server.clone(), 1_u64 << 30);
    let provisioned =
        story.world.services.store.server(&server).await.unwrap().unwrap().spec.storage_gib;
    let metered = async |story: &Story| {
        let all = story.world.services.store.server_meters(&server).await.unwrap();
        let open = all.into_iter().find(|one| one.meter == Meter::Backup && one.ended_at.is_none());
        open.map(|one| one.quantity)
    };
    assert_eq!(story.look().await.checks[0].log_bytes, 9 * 70, "nine pieces of 70 bytes");
    assert_eq!(metered(&story).await, None);
    let take = async |story: &Story, bytes: u64| {
        let (store, now) = (&story.world.services.store, story.world.clock.now());
        let mut tx = store.begin_write(now).await.unwrap();
        tx.note_repository(&server, 1, now, bytes).await.unwrap();
        tx.commit(Record::Nothing("as a backup does")).await.unwrap();
    };
    take(&story, u64::from(provisioned) * gib + gib * 5 / 2).await;
    story.look_later().await;
    assert_eq!(metered(&story).await.as_deref(), Some("2.5"));
    take(&story, gib).await;
    story.look_later().await;
    assert_eq!(metered(&story).await, None);
}

#[tokio::test]
async fn what_the_primary_still_has_is_handed_over_again() {
    let mut story = Story::begin().await;
    story.look().await;
    story.world.engine.lose_piece(&story.volume, &story.stanza, FIFTH);
    story.world.postgres.set_kept(&[FIFTH, "000000010000000000000007"]);
    let seen = story.look_later().await;
    assert_eq!(story.world.postgres.handed_over(), [FIFTH], "that alone which is missing");
    assert_eq!(seen.gaps, [], "nothing is told before it had time to arrive");
    story.world.engine.archive_again(&story.volume, &story.stanza, &[FIFTH.to_owned()]);
    story.world.clock.wind(Duration::seconds(30));
    let seen = story.look().await;
    assert_eq!((counts(&seen), seen.gaps.len()), ((8, 0), 0));
    // What never arrives is a gap in the end.
    story.world.engine.lose_piece(&story.volume, &story.stanza, FIFTH);
    assert_eq!(story.look_later().await.gaps, []);
    story.world.clock.wind(Duration::minutes(6));
    assert_eq!(story.look().await.gaps.len(), 1);
}

#[tokio::test]
async fn a_gap_that_was_assumed_goes_when_the_archive_is_seen_whole() {
    let mut story = Story::begin().await;
    story.look().await;
    let now = story.world.clock.now();
    let assumed = Gap {
        repository: 1,
        began_at: now - Duration::minutes(2),
        ended_at: Some(now),
        reason:
            "The primary changed. Whether the old one had archived all of its log is not known."
                .into(),
    };
    let open = Gap { ended_at: None, began_at: now, ..assumed.clone() };
    let mut tx = story.world.services.store.begin_write(now).await.unwrap();
    tx.put_backup_gap(&story.server, &assumed).await.unwrap();
    tx.put_backup_gap(&story.server, &open).await.unwrap();
    tx.commit(Record::Nothing("as the monitor does")).await.unwrap();
    story.world.clock.wind(Duration::seconds(30));
    assert_eq!(story.look().await.gaps, [open], "and what goes on stays");
}

#[tokio::test]
async fn backups_that_somebody_removed_count_for_nothing() {
    let mut story = Story::begin().await;
    let label = story.look().await.backups[0].label.clone();
    story.world.engine.empty_backup(&story.volume, &story.stanza, &label);
    let seen = story.look_later().await;
    assert!(seen.backups[0].failure.contains("not in the repository any more"), "{seen:?}");
    assert!(seen.window_of(1).spans.is_empty());
}

/// The volume itself is gone: it is not made anew by a look, and every backup in it is told as lost.
#[tokio::test]
async fn a_repository_that_was_removed_is_noticed_when_it_is_put_right() {
    let mut story = Story::begin().await;
    story.look().await;
    for major in pgflex::domain::version::Major::ALL {
        let server = repository::blueprint(&story.world.services, &story.host).server_name(major);
        story.world.engine.remove_container(&server).await.unwrap();
    }
    story.world.engine.remove_volume(&story.volume).await.unwrap();
    story.world.clock.wind(Duration::seconds(30));
    assert!(story.look().await.backups[0].is_good(), "no reason to look");
    let host = HashSet::from([story.host.clone()]);
    story.watch.tick(&story.world.services, &host).await.unwrap();
    assert!(!story.seen().await.backups[0].is_good());
    let volumes = story.world.engine.remaining();
    assert!(!volumes.contains(&format!("volume {}", story.volume)), "{volumes:?}");
}

/// A list that no answer holds is read in parts, and a helper that takes its time is waited for.
#[tokio::test]
async fn long_lists_are_read_in_parts_over_many_ticks() {
    let mut story = Story::begin().await;
    story.world.engine.lengthen_lists(&story.volume, &story.stanza);
    story.world.engine.lose_piece(&story.volume, &story.stanza, FIFTH);
    assert_eq!(counts(&story.look().await), (8, 1));
}

/// While a backup is at work nothing is compared: what is listed and what is there change one after the other.
#[tokio::test]
async fn nothing_is_compared_while_a_backup_is_at_work() {
    let mut story = Story::begin().await;
    let (door, actor) = (story.world.door(), Actor::system());
    let wanted = (BackupType::Full, "another");
    let asked = door.take_backup(&story.server, wanted, &actor, None).await.unwrap();
    assert_eq!(story.look().await.checks, []);
    story.world.run_to_rest(&story.world.runner(), &asked).await;
    assert_eq!(story.look().await.checks.len(), 1);
}
