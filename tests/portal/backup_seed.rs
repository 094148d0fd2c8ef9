//! Backups as the pages find them: rows written through the store, no engine.

use crate::helpers::TestApp;
use crate::server_seed::Seeded;
use chrono::{DateTime, Duration, Utc};
use pgflex::clock::{Clock, new_id};
use pgflex::domain::backup::{
    Archive, Backup, BackupPolicy, BackupType, Gap, Redundancy, Repository, RepositoryState,
    Retention, stanza_of,
};
use pgflex::domain::ha::Lsn;
use pgflex::domain::ids::{HostId, OperationId};
use pgflex::domain::version::Major;
use pgflex::store::Record;
use pgflex::store::restore_drills::Found;

/// What pgBackRest calls a backup that began then.
pub fn label(at: DateTime<Utc>, full: Option<DateTime<Utc>>) -> String {
    let stamp = |at: DateTime<Utc>| at.format("%Y%m%d-%H%M%S").to_string();
    match full {
        None => format!("{}F", stamp(at)),
        Some(full) => format!("{}F_{}D", stamp(full), stamp(at)),
    }
}

/// A good backup that took two minutes and was verified a minute later.
pub fn backup(started_at: DateTime<Utc>, full: Option<DateTime<Utc>>) -> Backup {
    let ended_at = started_at + Duration::minutes(2);
    let place = u64::try_from(started_at.timestamp()).unwrap();
    Backup {
        repository: 1,
        label: label(started_at, full),
        kind: if full.is_none() { BackupType::Full } else { BackupType::Differential },
        name: String::new(),
        started_at,
        ended_at,
        bytes: 5 << 30,
        stored_bytes: 1 << 30,
        wal: ("0000000100000001000000A1".into(), "0000000100000001000000A3".into()),
        lsn: (Lsn(place), Lsn(place + 100)),
        based_on: full.map(|full| label(full, None)),
        verified_at: Some(ended_at + Duration::minutes(1)),
        failure: String::new(),
        operation_id: None,
        copied_from: None,
    }
}

/// The whole second that the story's clock shows.
pub fn now(app: &TestApp) -> DateTime<Utc> {
    DateTime::from_timestamp(app.clock.now().timestamp(), 0).unwrap()
}

/// What is on record about a server's backups.
pub struct Plan {
    pub days: i64,
    pub redundancy: Redundancy,
    pub backups: Vec<Backup>,
    pub gaps: Vec<Gap>,
    pub archive: Archive,
}

impl Plan {
    /// A full backup nine and two days ago, and one each day; archived until ten seconds ago, looked at two seconds ago.
    pub fn usual(app: &TestApp) -> Self {
        let now = now(app);
        let (first, second) = (now - Duration::days(9), now - Duration::days(2));
        let daily = |full, count: i64| {
            (1..=count).map(move |day| backup(full + Duration::days(day), Some(full)))
        };
        let fulls = [backup(first, None), backup(second, None)];
        Self {
            days: 7,
            redundancy: Redundancy::Local,
            backups: fulls.into_iter().chain(daily(first, 6)).chain(daily(second, 1)).collect(),
            gaps: vec![],
            archive: Archive {
                since: Some(first - Duration::minutes(5)),
                until: Some(now - Duration::seconds(10)),
                looked_at: Some(now - Duration::seconds(2)),
                ..Archive::default()
            },
        }
    }

    /// The same with a gap of five hours, from four days and a half ago.
    pub fn with_gap(app: &TestApp) -> Self {
        let mut plan = Self::usual(app);
        let began_at = now(app) - Duration::hours(108);
        plan.gaps.push(Gap {
            repository: 1,
            began_at,
            ended_at: Some(began_at + Duration::hours(5)),
            reason: "the repository could not be reached".into(),
        });
        plan
    }

    pub async fn write(&self, app: &TestApp, server: &Seeded) {
        let (store, now) = (&app.state.store, app.clock.now());
        let host_id = store.members(&server.id).await.unwrap().remove(0).host_id;
        let policy = BackupPolicy {
            retention: Retention::days(self.days).unwrap(),
            redundancy: self.redundancy,
        };
        let loads = store.host_loads().await.unwrap();
        if loads.iter().any(|load| load.host.id == host_id && load.facts.is_none()) {
            store.observe_host(&host_id, now, &crate::helpers::facts(), &[]).await.unwrap();
        }
        let mut tx = store.begin_write(now).await.unwrap();
        tx.set_backup_policy(&server.id, &policy).await.unwrap();
        tx.set_archive(&server.id, &self.archive).await.unwrap();
        tx.put_repository(&repository(server, host_id, now)).await.unwrap();
        tx.replace_backups(&server.id, 1, &self.backups).await.unwrap();
        for gap in &self.gaps {
            tx.put_backup_gap(&server.id, gap).await.unwrap();
        }
        tx.commit(Record::Nothing("a story begins")).await.unwrap();
    }
}

fn repository(server: &Seeded, host_id: HostId, now: DateTime<Utc>) -> Repository {
    Repository {
        server_id: server.id.clone(),
        number: 1,
        host_id,
        location: None,
        stanza: stanza_of(&server.id),
        major: Major::V17,
        state: RepositoryState::Active,
        since: now - Duration::days(9),
        looked_at: Some(now - Duration::seconds(2)),
        bytes: Some(9 << 30),
    }
}

/// The same backups in a second repository on another host, an hour younger.
pub async fn second(app: &TestApp, server: &Seeded, host_id: HostId, state: RepositoryState) {
    beside(app, server, repository_two(app, server, host_id), state).await;
}

/// The same in object storage.
pub async fn stored(app: &TestApp, server: &Seeded, location: &str, state: RepositoryState) {
    let host_id = app.state.store.members(&server.id).await.unwrap().remove(0).host_id;
    let row = repository_two(app, server, host_id);
    let row = Repository { number: 3, location: Some(location.into()), ..row };
    beside(app, server, row, state).await;
}

fn repository_two(app: &TestApp, server: &Seeded, host_id: HostId) -> Repository {
    Repository { number: 2, ..repository(server, host_id, now(app)) }
}

async fn beside(app: &TestApp, server: &Seeded, row: Repository, state: RepositoryState) {
    let (now, number) = (now(app), row.number);
    let mut plan = Plan::usual(app);
    for one in &mut plan.backups {
        let later = Duration::hours(1);
        let (began, full) = (one.started_at + later, one.based_on.is_some());
        *one = Backup {
            label: label(began, None),
            started_at: began,
            ended_at: one.ended_at + later,
            ..one.clone()
        };
        one.kind = if full { BackupType::Differential } else { BackupType::Full };
        one.repository = number;
    }
    let mut row = Repository { state, ..row };
    if state != RepositoryState::Active {
        row.since = now - Duration::minutes(25);
    }
    let mut tx = app.state.store.begin_write(now).await.unwrap();
    tx.put_repository(&row).await.unwrap();
    if state != RepositoryState::Planned {
        tx.replace_backups(&server.id, number, &plan.backups).await.unwrap();
    }
    if state == RepositoryState::Suspended {
        let reason = "Its host has not answered for 10 minutes.".into();
        let gap = Gap {
            repository: number,
            began_at: now - Duration::minutes(35),
            ended_at: None,
            reason,
        };
        tx.put_backup_gap(&server.id, &gap).await.unwrap();
    }
    tx.commit(Record::Nothing("a story goes on")).await.unwrap();
}

/// A drill of an hour ago that passed.
pub async fn drill(app: &TestApp, server: &Seeded, outcome: &str) {
    let id: OperationId = new_id(OperationId::parse);
    let mut tx = app.state.store.begin_write(app.clock.now()).await.unwrap();
    tx.open_restore_drill(&id, &server.id, 1, "20261123-160800F").await.unwrap();
    let found = Found {
        restore_micros: Some(41_000_000),
        replay_micros: Some(7_000_000),
        bytes: Some(5 << 30),
        databases: Some(2),
        tables: Some(12),
        rows: Some(1204),
        checked_relations: Some(48),
        last_commit_at: Some(app.clock.now()),
        data_age_micros: Some(34_000_000),
    };
    let found = if outcome == "passed" { found } else { Found::default() };
    tx.close_restore_drill(&id, &found, outcome).await.unwrap();
    tx.commit(Record::Nothing("a story goes on")).await.unwrap();
}
