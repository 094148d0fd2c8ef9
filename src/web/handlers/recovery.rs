//! `GET /settings/recovery`: where the portal's own record is backed up, from when, and how to come back from it. For owners.

use crate::store::store_backups::StoreBackup;
use crate::web::error::PageResult;
use crate::web::handlers::servers::ha_view::bytes_text;
use crate::web::label::{Chip, Icon, Tone};
use crate::web::page::{self, Layout, Nav};
use crate::web::time::{Stamp, ago_text};
use crate::web::visit::{Owner, Signed};
use askama::Template;
use chrono::{DateTime, Duration, Utc};
use std::collections::HashMap;

/// A backup is made every hour: one that is older than this says that something is wrong.
const OLD_AFTER: Duration = Duration::hours(2);

#[derive(Template)]
#[template(path = "recovery.html")]
struct RecoveryPage {
    layout: Layout,
    rows: Vec<Row>,
    /// The newest anywhere, in words; empty when there is none.
    newest: String,
    /// Whether any host has one that is not old.
    is_safe: bool,
    /// The portal's data folder.
    data: String,
    /// When this store was itself recovered.
    recovered: Option<Stamp>,
}

/// A place as a row.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    place: String,
    chip: Chip,
    made_at: Option<Stamp>,
    ago: String,
    size: String,
    /// Why the last try failed, with its time.
    failure: String,
    tried_at: Stamp,
}

/// `GET /settings/recovery`
pub async fn get(who: Signed<Owner>) -> PageResult {
    let store = &who.state.store;
    let record = store.store_backups().await?;
    let hosts = store.hosts().await?;
    let names: HashMap<String, String> =
        hosts.into_iter().map(|host| (host.id.to_string(), host.name)).collect();
    let recovered = store.setting("recovery/at").await?.and_then(|text| text.parse().ok());
    let newest = record.iter().filter_map(|place| place.made_at).max();
    let is_on_a_host = |place: &&StoreBackup| !place.place.is_empty();
    page::ok(&RecoveryPage {
        layout: who.layout("Recovery of the portal", Nav::Hosts),
        is_safe: record
            .iter()
            .filter(is_on_a_host)
            .any(|place| state(place, who.now) == State::Fine),
        newest: newest.map(|at| ago_text(at, who.now)).unwrap_or_default(),
        rows: record.iter().map(|place| row(place, &names, who.now)).collect(),
        data: who.state.config.args.data.display().to_string(),
        recovered: recovered.and_then(DateTime::from_timestamp_micros).map(Stamp),
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Fine,
    Never,
    Failing,
    Old,
}

fn state(place: &StoreBackup, now: DateTime<Utc>) -> State {
    match place.made_at {
        _ if !place.failure.is_empty() => State::Failing,
        None => State::Never,
        Some(at) if now - at > OLD_AFTER => State::Old,
        Some(_) => State::Fine,
    }
}

fn row(place: &StoreBackup, names: &HashMap<String, String>, now: DateTime<Utc>) -> Row {
    let host = || names.get(&place.place).cloned().unwrap_or_else(|| place.place.clone());
    Row {
        place: if place.place.is_empty() {
            "The portal's data folder".into()
        } else {
            format!("Host {}", host())
        },
        chip: match state(place, now) {
            State::Fine => Chip::new("Backed up", Icon::Check, Tone::Ok),
            State::Never => Chip::new("Never yet", Icon::Ring, Tone::Idle),
            State::Failing => Chip::new("Failing", Icon::Warning, Tone::Danger),
            State::Old => Chip::new("Too old", Icon::Warning, Tone::Warn),
        },
        made_at: place.made_at.map(Stamp),
        ago: place.made_at.map(|at| ago_text(at, now)).unwrap_or_default(),
        size: place
            .bytes
            .and_then(|bytes| u64::try_from(bytes).ok())
            .map_or("–".into(), bytes_text),
        failure: place.failure.clone(),
        tried_at: Stamp(place.tried_at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_fine_only_with_a_young_backup_and_no_failure() {
        let now = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        let place = |age: Option<i64>, failure: &str| StoreBackup {
            place: "h".into(),
            tried_at: now,
            made_at: age.map(|minutes| now - Duration::minutes(minutes)),
            bytes: Some(7),
            failure: failure.into(),
        };
        assert_eq!(state(&place(Some(61), ""), now), State::Fine);
        assert_eq!(state(&place(Some(121), ""), now), State::Old);
        assert_eq!(state(&place(Some(1), "full"), now), State::Failing);
        assert_eq!(state(&place(None, ""), now), State::Never);
        let shown = row(&place(Some(61), ""), &HashMap::from([("h".into(), "rack".into())]), now);
        assert_eq!((shown.place.as_str(), shown.size.as_str()), ("Host rack", "7 bytes"));
    }
}
