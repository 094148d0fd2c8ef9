//! Backups of the portal's own store: every hour, and within a minute after a server came or went, because from then on its keys
//! are worth more than the hour. They go to every host and into the portal's own folder.
//!
//! This changes hosts without an operation: it writes only files of its own, into a volume of its own, and there is no server
//! that an operation could belong to. Two processes that do it at once write the same names with backups of the same
//! store: the later one stays.

use crate::operations::context::Services;
use crate::operations::runner::chain;
use crate::operations::store_backup::{self, StoreFile};
use crate::store::StoreError;
use crate::store::store_backups::StoreBackup;
use chrono::{DateTime, Duration, Utc};
use futures_util::future::join_all;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::watch;

/// Time between two backups when nothing happens.
const EVERY: Duration = Duration::hours(1);
/// After the start of the portal it is looked whether the last one is old, not before: a portal that is started again and
/// again has other worries.
const SETTLE: Duration = Duration::minutes(5);
/// Time until a place that refused is tried again.
const AGAIN: Duration = Duration::minutes(5);
/// Time between two looks at whether one is due.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_secs(15);
/// Place of the portal's own folder in the record.
pub const OWN_FOLDER: &str = "";
/// Setting that keeps the mark of the last backup.
const MARK: &str = "store_backup/mark";

/// Runs until `stop` is set. `folder`: where the portal's own copies go.
pub async fn run(services: Arc<Services>, folder: PathBuf, mut stop: watch::Receiver<bool>) {
    let mut state = State { started_at: services.clock.now(), turn: 0 };
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
#[derive(Debug, Clone, Copy)]
pub struct State {
    pub started_at: DateTime<Utc>,
    /// Backups made so far.
    pub turn: u64,
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
    if !is_due(now, state.started_at, kept != mark, &record) {
        return Ok(());
    }
    let made =
        store_backup::make(&services.store, &services.sealer, &services.settings.install_id, now);
    let file = match made.await {
        Ok(file) => file,
        Err(error) => {
            let why = Err(chain(&error).to_string());
            return services.store.note_store_backup(now, OWN_FOLDER, why).await;
        }
    };
    let anywhere = spread(services, folder, &file, now, state.turn).await?;
    state.turn += 1;
    if anywhere {
        services.store.set_setting(now, MARK, &mark).await?;
    }
    services.store.forget_stray_store_backups(now).await
}

fn is_due(
    now: DateTime<Utc>,
    started_at: DateTime<Utc>,
    has_news: bool,
    record: &[StoreBackup],
) -> bool {
    let is_old = |place: &StoreBackup| place.made_at.is_none_or(|at| now - at >= EVERY);
    let own = record.iter().find(|place| place.place == OWN_FOLDER);
    let is_late = now - started_at >= SETTLE && own.is_none_or(is_old);
    let failed = |place: &StoreBackup| !place.failure.is_empty() && now - place.tried_at >= AGAIN;
    let tried_lately = own.is_some_and(|own| !own.failure.is_empty() && now - own.tried_at < AGAIN);
    (has_news && !tried_lately) || is_late || record.iter().any(failed)
}

/// Whether it got anywhere.
async fn spread(
    services: &Services,
    folder: &Path,
    file: &StoreFile,
    now: DateTime<Utc>,
    turn: u64,
) -> Result<bool, StoreError> {
    let slots = store_backup::slots(now, turn);
    let settings = &services.settings;
    let local = put_local(folder, &slots, file).await;
    let mut anywhere = local.is_ok();
    services.store.note_store_backup(now, OWN_FOLDER, local).await?;
    // At once: an engine that hangs holds up nobody.
    let puts = services.engines.iter().map(|(host, engine)| {
        let slots = &slots;
        async move {
            let content = file.content.as_slice();
            let put =
                store_backup::put(&*engine, &settings.install_id, settings.is_test, slots, content);
            (host, put.await)
        }
    });
    for (host, put) in join_all(puts).await {
        anywhere |= put.is_ok();
        let outcome = put.map(|()| file.content.len()).map_err(|error| error.to_string());
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
        let due = |started, news, record: &[StoreBackup]| is_due(now(), started, news, record);
        assert!(!due(early, false, &[]), "not right after the start");
        assert!(due(long_ago, false, &[]), "there is none yet");
        assert!(due(early, true, &[place(1, "")]), "a server came");
        assert!(!due(long_ago, false, &[place(59, "")]));
        assert!(due(long_ago, false, &[place(60, "")]));
        assert!(!due(early, false, &[place(4, "full")]));
        assert!(due(early, false, &[place(5, "full")]), "tried again");
        assert!(!due(early, true, &[place(1, "full")]), "not every fifteen seconds");
    }
}
