//! Backups of the portal's own store: every hour, and within a minute after a server came or went, because from then on its keys
//! are worth more than the hour. They go to every host and into the portal's own folder.
//!
//! This changes hosts without an operation: it writes only files of its own, into a volume of its own, and there is no server
//! that an operation could belong to. Two processes that do it at once write the same names with backups of the same
//! store: the later one stays.

use crate::operations::context::Services;
use crate::operations::runner::chain;
use crate::operations::store_backup::{self, Put, StoreFile};
use crate::store::StoreError;
use crate::store::store_backups::{StoreBackup, WAITING};
use chrono::{DateTime, Duration, Utc};
use futures_util::future::join_all;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::watch;

/// Time between two backups when nothing happens.
const EVERY: Duration = Duration::hours(1);
/// After the start of the portal it is looked whether the last one is old, not before: a portal that is started again and
/// again has other worries.
const SETTLE: Duration = Duration::minutes(5);
/// Time until a place that refused is tried again for the first time.
const AGAIN: Duration = Duration::minutes(5);
/// Time between two looks at whether one is due.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_secs(15);
/// Place of the portal's own folder in the record.
pub const OWN_FOLDER: &str = "";
/// Setting that keeps the mark of the last backup.
const MARK: &str = "store_backup/mark";

/// Runs until `stop` is set. `folder`: where the portal's own copies go.
pub async fn run(services: Arc<Services>, folder: PathBuf, mut stop: watch::Receiver<bool>) {
    let mut state = State::new(services.clock.now(), 0);
    while !*stop.borrow() {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            _ = stop.changed() => return,
        }
        if let Err(error) = tick(&services, &folder, &mut state).await {
            tracing::warn!(error = %chain(&error), "the store was not backed up; the next look tries again");
        }
    }
}

/// What one process remembers between looks.
#[derive(Debug, Clone)]
pub struct State {
    pub started_at: DateTime<Utc>,
    /// Backups made so far.
    pub turn: u64,
    /// Failures in a row, by place.
    failures: BTreeMap<String, u32>,
}

impl State {
    /// Of a process that started at this moment and made so many backups.
    pub fn new(started_at: DateTime<Utc>, turn: u64) -> Self {
        Self { started_at, turn, failures: BTreeMap::new() }
    }

    fn note(&mut self, place: &str, went: bool) {
        if went {
            self.failures.remove(place);
        } else {
            *self.failures.entry(place.to_owned()).or_default() += 1;
        }
    }

    /// Time until a place that refused is tried again: longer each time, never longer than the usual.
    fn patience(&self, place: &str) -> Duration {
        let times = self.failures.get(place).copied().unwrap_or(1).clamp(1, 5) - 1;
        (AGAIN * (1 << times)).min(EVERY)
    }
}

/// Where a backup is due.
#[derive(Debug, PartialEq, Eq)]
enum Due {
    Nowhere,
    Everywhere,
    /// Where the last try failed: the others have theirs.
    In(BTreeSet<String>),
}

impl Due {
    fn is_in(&self, place: &str) -> bool {
        match self {
            Due::Nowhere => false,
            Due::Everywhere => true,
            Due::In(places) => places.contains(place),
        }
    }
}

/// Makes a backup if one is due.
///
/// # Errors
/// When the store does not answer. A host that does not is in the record.
pub async fn tick(services: &Services, folder: &Path, state: &mut State) -> Result<(), StoreError> {
    let now = services.clock.now();
    let mark = services.store.store_mark().await?;
    let kept = services.store.setting_or_insert(now, MARK, "").await?;
    let record = services.store.store_backups().await?;
    let due = due(now, state, kept != mark, &record);
    if due == Due::Nowhere {
        return Ok(());
    }
    let made =
        store_backup::make(&services.store, &services.sealer, &services.settings.install_id, now);
    let file = match made.await {
        Ok(file) => file,
        Err(error) => {
            state.note(OWN_FOLDER, false);
            let why = Err(chain(&error).to_string());
            return services.store.note_store_backup(now, OWN_FOLDER, why).await;
        }
    };
    let anywhere = spread(services, folder, &file, (now, &due), state).await?;
    state.turn += 1;
    if anywhere && due == Due::Everywhere {
        services.store.set_setting(now, MARK, &mark).await?;
    }
    services.store.forget_stray_store_backups(now).await
}

fn due(now: DateTime<Utc>, state: &State, has_news: bool, record: &[StoreBackup]) -> Due {
    let is_old = |place: &StoreBackup| place.made_at.is_none_or(|at| now - at >= EVERY);
    let own = record.iter().find(|place| place.place == OWN_FOLDER);
    let is_late = now - state.started_at >= SETTLE && own.is_none_or(is_old);
    let is_ripe = |place: &StoreBackup| now - place.tried_at >= state.patience(&place.place);
    let own_fails = own.filter(|own| own.is_failing());
    let tried_lately = own_fails.is_some_and(|own| now - own.tried_at < AGAIN);
    let is_unripe = own_fails.is_some_and(|own| !is_ripe(own));
    if (has_news && !tried_lately) || (is_late && !is_unripe) {
        return Due::Everywhere;
    }
    let failed = record.iter().filter(|place| place.is_failing() && is_ripe(place));
    let places: BTreeSet<String> = failed.map(|place| place.place.clone()).collect();
    if places.is_empty() { Due::Nowhere } else { Due::In(places) }
}

/// Whether it got anywhere.
async fn spread(
    services: &Services,
    folder: &Path,
    file: &StoreFile,
    (now, due): (DateTime<Utc>, &Due),
    state: &mut State,
) -> Result<bool, StoreError> {
    let slots = store_backup::slots(&services.sealer, now, state.turn);
    let settings = &services.settings;
    let mut anywhere = false;
    if due.is_in(OWN_FOLDER) {
        let local = put_local(folder, &slots, file).await;
        anywhere = local.is_ok();
        state.note(OWN_FOLDER, local.is_ok());
        services.store.note_store_backup(now, OWN_FOLDER, local).await?;
    }
    // At once: an engine that hangs holds up nobody.
    let wanted = services.engines.iter().filter(|(host, _)| due.is_in(host.as_str()));
    let puts = wanted.map(|(host, engine)| {
        let slots = &slots;
        async move {
            let content = file.content.as_slice();
            let put =
                store_backup::put(&*engine, &settings.install_id, settings.is_test, slots, content);
            (host, put.await)
        }
    });
    for (host, put) in join_all(puts).await {
        state.note(host.as_str(), put.is_ok());
        let outcome = match put {
            Ok(Put::Kept) => Ok(file.content.len()),
            Ok(Put::Waiting) => Err(WAITING.to_owned()),
            Err(error) => Err(error.to_string()),
        };
        anywhere |= outcome.is_ok();
        services.store.note_store_backup(now, host.as_str(), outcome).await?;
    }
    Ok(anywhere)
}

async fn put_local(folder: &Path, slots: &[String; 3], file: &StoreFile) -> Result<usize, String> {
    let (folder, slots, content) = (folder.to_owned(), slots.clone(), file.content.clone());
    let bytes = content.len();
    let put =
        tokio::task::spawn_blocking(move || store_backup::put_local(&folder, &slots, &content));
    match put.await {
        Ok(Ok(())) => Ok(bytes),
        Ok(Err(error)) => Err(format!("the portal's data folder: {error}")),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(minutes_ago: i64, failure: &str) -> StoreBackup {
        let at = now() - Duration::minutes(minutes_ago);
        let made_at = failure.is_empty().then_some(at);
        let bytes = made_at.map(|_| 7);
        StoreBackup { place: String::new(), tried_at: at, made_at, bytes, failure: failure.into() }
    }

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_790_000_000, 0).unwrap()
    }

    #[test]
    fn it_is_due_with_news_each_hour_and_after_a_failure() {
        let (early, long_ago) = (now() - Duration::minutes(1), now() - Duration::hours(9));
        let is_due = |started, news, record: &[StoreBackup]| {
            due(now(), &State::new(started, 0), news, record) != Due::Nowhere
        };
        assert!(!is_due(early, false, &[]), "not right after the start");
        assert!(is_due(long_ago, false, &[]), "there is none yet");
        assert!(is_due(early, true, &[place(1, "")]), "a server came");
        assert!(!is_due(long_ago, false, &[place(59, "")]));
        assert!(is_due(long_ago, false, &[place(60, "")]));
        assert!(!is_due(early, false, &[place(4, "full")]));
        assert!(is_due(early, false, &[place(5, "full")]), "tried again");
        assert!(!is_due(early, true, &[place(1, "full")]), "not every fifteen seconds");
        assert!(
            !is_due(early, false, &[place(9, WAITING)]),
            "no host fails that has no server yet"
        );
    }

    /// A host that is away for a day costs the others nothing, and itself a try each hour.
    #[test]
    fn a_place_that_fails_is_tried_alone_and_ever_more_rarely() {
        let host = |minutes| StoreBackup { place: "h".into(), ..place(minutes, "gone") };
        let mut state = State::new(now() - Duration::hours(9), 7);
        for minutes in [5, 10, 20, 40, 60, 60, 60] {
            state.note("h", false);
            let of = |minutes| due(now(), &state, false, &[place(30, ""), host(minutes)]);
            assert_eq!(of(minutes - 1), Due::Nowhere, "{minutes}");
            assert_eq!(of(minutes), Due::In(BTreeSet::from(["h".to_owned()])), "{minutes}");
        }
        state.note("h", true);
        assert_eq!(state.patience("h"), AGAIN);
    }
}
