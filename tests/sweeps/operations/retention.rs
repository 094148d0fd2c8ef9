//! T18 and T19: forty days of backups by the schedule itself, with what pgBackRest removes, and a retention that is lowered
//! and raised again. Every moment that is promised on any of the days can be restored from what lies in the repository.

use super::*;
use chrono::{DateTime, Duration, Utc};
use pgflex::clock::Clock;
use pgflex::domain::activity::Actor;
use pgflex::domain::backup::{
    BackupPolicy, BackupType, Protection, RestoreTarget, Retention, choose, stanza_of,
};
use pgflex::domain::ha::Lsn;
use pgflex::domain::ids::ServerId;
use pgflex::engine::Engine;
use pgflex::engine::fake::FakeSet;
use pgflex::monitor::backups::Watch;
use pgflex::operations::backup::repository;
use pgflex::postgres::archive::{ArchiverLook, RecoveryLook};

const NEAR: i64 = 1;
/// Between two looks of the monitor. It looks each minute; a backup is late by so much here.
const LOOK_EVERY: i64 = 5;

struct Calendar {
    world: World,
    watch: Watch,
    server: ServerId,
    volume: String,
    begin: DateTime<Utc>,
}

impl Calendar {
    /// A server of which the schedule has just taken the first backup.
    async fn begin(days: i64) -> Self {
        let world = world().await;
        let create = world.submit(OperationKind::Create).await;
        let server = world.run_to_rest(&world.runner(), &create).await.server_id;
        let host = world.services.store.members(&server).await.unwrap().remove(0).host_id;
        let volume = repository::blueprint(&world.services, &host).volume_name();
        let begin = world.clock.now();
        let mut calendar = Self { world, watch: Watch::default(), server, volume, begin };
        calendar.keep_for(days).await;
        calendar.look().await;
        assert_eq!(calendar.seen().await.good_in(NEAR).count(), 1, "at once");
        calendar
    }

    /// As a person does on the page.
    async fn keep_for(&self, days: i64) {
        let (seen, actor) = (self.seen().await, Actor::system());
        let retention = Retention::days(days).unwrap();
        let to = BackupPolicy { retention, ..seen.policy };
        let door = self.world.door();
        door.change_backup_policy(&self.server, to, seen.version, &actor).await.unwrap();
    }

    async fn seen(&self) -> Protection {
        self.world.services.store.protection(&self.server).await.unwrap()
    }

    /// What really lies in the repository.
    fn there(&self) -> Vec<FakeSet> {
        self.world.engine.backups(&self.volume, &stanza_of(&self.server))
    }

    fn now(&self) -> DateTime<Utc> {
        self.world.clock.now()
    }

    /// One look of the monitor, and all that it submits.
    async fn look(&mut self) {
        let now = self.now();
        self.world.engine.set_backup_time(now);
        let usual = ArchiverLook {
            is_on: true,
            archived: Some(("000000010000000000000009".into(), now)),
            at: now,
            written: Lsn(0x0900_0000),
            timeline: 1,
            piece_bytes: 16 << 20,
            ..ArchiverLook::default()
        };
        self.world.postgres.set_archiver(Some(usual));
        self.watch.tick(&self.world.services).await.unwrap();
        self.rest().await;
    }

    async fn rest(&self) {
        let runner = self.world.runner();
        for _ in 0..2_000 {
            if runner.tick().await.unwrap() {
                continue;
            }
            let Some(due) = self.world.services.store.next_operation_due().await.unwrap() else {
                return;
            };
            self.world.clock.wind((due - self.now()).max(Duration::milliseconds(1)));
        }
        panic!("it never comes to rest");
    }

    /// So many days of looks, each day with all that must be true then.
    async fn days(&mut self, days: i64) {
        for _ in 0..days {
            let next = self.now() + Duration::days(1);
            while self.now() < next {
                self.world.clock.wind(Duration::hours(LOOK_EVERY));
                self.look().await;
            }
            // What was archived since the backup ended.
            self.world.clock.wind(Duration::minutes(1));
            self.look().await;
            self.assert_every_promise().await;
        }
    }

    /// What is listed is there. Of what is promised the first moment, the last and one between lead to a backup that is there
    /// with all that it rests on; a moment before the first does not.
    async fn assert_every_promise(&self) {
        let (seen, there) = (self.seen().await, self.there());
        let day = (self.now() - self.begin).num_days();
        let mut listed: Vec<_> = seen.good_in(NEAR).map(|one| one.label.clone()).collect();
        listed.reverse();
        let labels: Vec<_> = there.iter().map(|set| set.label.clone()).collect();
        assert_eq!(listed, labels, "day {day}");
        let window = seen.window_of(NEAR);
        let (first, last) = (window.earliest().unwrap(), window.latest().unwrap());
        assert_eq!(window.spans.len(), 1, "day {day}");
        assert!(self.now() - last < Duration::hours(1), "day {day}: {last}");
        let chosen = |at| choose(&seen, NEAR, &RestoreTarget::Moment { at }, None);
        for at in [first, first + (last - first) / 2, last] {
            let label = chosen(at).unwrap().label;
            let set = there.iter().find(|set| set.label == label).unwrap();
            assert!(set.ended_at <= at.timestamp(), "day {day}: {at} from {label}");
            let base = set.based_on.as_ref();
            assert!(base.is_none_or(|base| labels.contains(base)), "day {day}: {label}");
        }
        assert!(chosen(first - Duration::seconds(1)).is_err(), "day {day}");
    }

    /// How long ago the oldest promised moment was.
    async fn reach(&self) -> Duration {
        self.now() - self.seen().await.window_of(NEAR).earliest().unwrap()
    }

    /// Really restores to the oldest promised moment, and deletes the restored server.
    async fn restore_oldest(&self) {
        let at = self.seen().await.window_of(NEAR).earliest().unwrap();
        let target = RestoreTarget::Moment { at };
        let reached = RecoveryLook {
            is_under_way: false,
            reached_at: Some(at),
            reached: Some(Lsn(0x0900_0000)),
            timeline: 2,
        };
        self.world.postgres.set_recovery(Some(reached));
        let id = self.world.submit_restore(&self.server, &target).await.unwrap();
        let copy = self.world.run_to_rest(&self.world.runner(), &id).await;
        assert_eq!(copy.status, OperationStatus::Succeeded, "{:?}", copy.error);
        let id = self.world.submit_on(OperationKind::Delete, &copy.server_id).await;
        self.world.run_to_rest(&self.world.runner(), &id).await;
    }
}

/// A full backup is kept until another is as old as the retention, and that one was due after seven days: one cycle more,
/// and the day until the next backup removes it.
fn most(days: i64) -> Duration {
    Duration::days(days + 7) + Duration::days(1) + Duration::hours(2 * LOOK_EVERY)
}

/// T18.
#[tokio::test]
async fn of_forty_days_everything_within_the_retention_is_there_and_nothing_more() {
    let mut calendar = Calendar::begin(7).await;
    for day in 1..=40 {
        calendar.days(1).await;
        let reach = calendar.reach().await;
        let least = Duration::days(day.min(7)) - Duration::hours(1);
        assert!(reach >= least && reach <= most(7), "day {day}: {reach}");
        if day % 13 == 0 {
            calendar.restore_oldest().await;
        }
    }
    let seen = calendar.seen().await;
    let fulls = seen.good_in(NEAR).filter(|one| one.kind == BackupType::Full).count();
    let all = seen.good_in(NEAR).count();
    assert!((2..=3).contains(&fulls) && (8..=17).contains(&all), "{fulls} of {all}");
    let member = calendar.world.services.store.members(&calendar.server).await.unwrap().remove(0);
    let helper = calendar.world.engine.container(&member.backup_container()).await.unwrap();
    assert!(helper.is_none());
}

/// T19.
#[tokio::test]
async fn a_retention_that_is_lowered_and_raised_promises_nothing_that_is_gone() {
    let mut calendar = Calendar::begin(35).await;
    calendar.days(40).await;
    let reach = calendar.reach().await;
    assert!(reach >= Duration::days(35) && reach <= most(35), "{reach}");
    calendar.restore_oldest().await;

    // What is too old now is there, and promised, until the next backup removes it.
    calendar.keep_for(7).await;
    calendar.assert_every_promise().await;
    calendar.days(2).await;
    let reach = calendar.reach().await;
    assert!(reach >= Duration::days(7) && reach <= most(7), "{reach}");

    let first = calendar.now() - reach;
    calendar.keep_for(35).await;
    calendar.assert_every_promise().await;
    assert!(calendar.reach().await <= most(7), "nothing comes back");
    calendar.days(20).await;
    let seen = calendar.seen().await;
    let earliest = seen.window_of(NEAR).earliest().unwrap();
    assert!((earliest - first).abs() < Duration::seconds(1), "and nothing more goes: {earliest}");
    calendar.restore_oldest().await;
}
