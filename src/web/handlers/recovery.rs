//! `GET /settings/recovery`: where the portal's own record is backed up, from when, and how to come back from it. For owners.

use crate::domain::host::{Host, HostOrigin};
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
    /// The newest on a host where a recovery looks, in words; empty when none is there or it is old.
    newest: String,
    /// Whether one was tried at all.
    has_any: bool,
    /// The portal's data folder.
    data: String,
    /// When this store was itself recovered.
    recovered: Option<Stamp>,
}

/// A place as a row.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    place: String,
    /// Whether a recovery looks there without being told to.
    is_found: bool,
    chip: Chip,
    made_at: Option<Stamp>,
    ago: String,
    size: String,
    /// Why the last try failed, with its time.
    failure: String,
    tried_at: Option<Stamp>,
}

/// `GET /settings/recovery`
pub async fn get(who: Signed<Owner>) -> PageResult {
    let store = &who.state.store;
    let places = places(store.store_backups().await?, store.hosts().await?);
    let recovered = store.setting("recovery/at").await?.and_then(|text| text.parse().ok());
    let newest = newest_safe(&places, who.now);
    page::ok(&RecoveryPage {
        layout: who.layout("Recovery of the portal", Nav::Hosts),
        newest: newest.map(|at| ago_text(at, who.now)).unwrap_or_default(),
        has_any: places.iter().any(|place| place.record.is_some()),
        rows: places.iter().map(|place| row(place, who.now)).collect(),
        data: who.state.config.args.data.display().to_string(),
        recovered: recovered.and_then(DateTime::from_timestamp_micros).map(Stamp),
    })
}

/// A host or the portal's own folder, with what is known of the backup there.
struct Kept {
    /// The host's name; `None` for the own folder.
    host: Option<String>,
    /// Whether a recovery looks there without being told to.
    is_found: bool,
    record: Option<StoreBackup>,
}

/// The own folder and every host, also those where none was tried yet.
fn places(record: Vec<StoreBackup>, hosts: Vec<Host>) -> Vec<Kept> {
    let mut by_place: HashMap<String, StoreBackup> =
        record.into_iter().map(|place| (place.place.clone(), place)).collect();
    let own = Kept { host: None, is_found: true, record: by_place.remove("") };
    let of_host = |host: Host| Kept {
        record: by_place.remove(host.id.as_str()),
        is_found: host.origin == HostOrigin::File,
        host: Some(host.name),
    };
    let mut all = vec![own];
    all.extend(hosts.into_iter().map(of_host));
    all
}

/// The newest backup that survives the loss of this machine and that a recovery finds: on a host of the configuration file,
/// young, and read back.
fn newest_safe(places: &[Kept], now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let is_safe = |place: &&Kept| {
        place.host.is_some() && place.is_found && state(place.record.as_ref(), now) == State::Fine
    };
    places.iter().filter(is_safe).filter_map(|place| place.record.as_ref()?.made_at).max()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Fine,
    Never,
    Waiting,
    Failing,
    Old,
}

fn state(place: Option<&StoreBackup>, now: DateTime<Utc>) -> State {
    let Some(place) = place else { return State::Never };
    match place.made_at {
        _ if place.is_failing() => State::Failing,
        _ if place.is_waiting() => State::Waiting,
        None => State::Never,
        Some(at) if now - at > OLD_AFTER => State::Old,
        Some(_) => State::Fine,
    }
}

fn row(place: &Kept, now: DateTime<Utc>) -> Row {
    let record = place.record.as_ref();
    let made_at = record.and_then(|record| record.made_at);
    let bytes = record.and_then(|record| u64::try_from(record.bytes?).ok());
    let failure = record.filter(|record| record.is_failing());
    Row {
        place: match &place.host {
            None => "The portal's data folder".into(),
            Some(name) => format!("Host {name}"),
        },
        is_found: place.is_found,
        chip: match state(record, now) {
            State::Fine => Chip::new("Backed up, read back", Icon::Check, Tone::Ok),
            State::Never => Chip::new("Never yet", Icon::Ring, Tone::Idle),
            State::Waiting => Chip::new("Waiting for its first server", Icon::Ring, Tone::Idle),
            State::Failing => Chip::new("Failing", Icon::Warning, Tone::Danger),
            State::Old => Chip::new("Too old", Icon::Warning, Tone::Warn),
        },
        made_at: made_at.map(Stamp),
        ago: made_at.map(|at| ago_text(at, now)).unwrap_or_default(),
        size: bytes.map_or("–".into(), bytes_text),
        failure: failure.map(|record| record.failure.clone()).unwrap_or_default(),
        tried_at: record.map(|record| Stamp(record.tried_at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::store_backups::WAITING;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_790_000_000, 0).unwrap()
    }

    fn place(age: Option<i64>, failure: &str) -> StoreBackup {
        StoreBackup {
            place: "h".into(),
            tried_at: now(),
            made_at: age.map(|minutes| now() - Duration::minutes(minutes)),
            bytes: Some(7),
            failure: failure.into(),
        }
    }

    #[test]
    fn a_place_is_fine_only_with_a_young_backup_and_no_failure() {
        let state = |place: StoreBackup| state(Some(&place), now());
        assert_eq!(state(place(Some(61), "")), State::Fine);
        assert_eq!(state(place(Some(121), "")), State::Old);
        assert_eq!(state(place(Some(1), "full")), State::Failing);
        assert_eq!(state(place(None, WAITING)), State::Waiting);
        assert_eq!(state(place(None, "")), State::Never);
        let rack =
            Kept { host: Some("rack".into()), is_found: true, record: Some(place(Some(61), "")) };
        let shown = row(&rack, now());
        assert_eq!((shown.place.as_str(), shown.size.as_str()), ("Host rack", "7 bytes"));
    }

    /// The green mark and its time are of a host where a recovery looks, and of nothing else.
    #[test]
    fn only_a_host_where_a_recovery_looks_makes_it_safe() {
        let kept = |host: Option<&str>, is_found, record| Kept {
            host: host.map(Into::into),
            is_found,
            record: Some(record),
        };
        let own = || kept(None, true, place(Some(1), ""));
        let added = || kept(Some("added"), false, place(Some(2), ""));
        let failing = || kept(Some("full"), true, place(Some(3), "full"));
        assert_eq!(newest_safe(&[own(), added(), failing()], now()), None);
        let rack = kept(Some("rack"), true, place(Some(61), ""));
        let at = now() - Duration::minutes(61);
        assert_eq!(newest_safe(&[own(), added(), failing(), rack], now()), Some(at));
    }
}
