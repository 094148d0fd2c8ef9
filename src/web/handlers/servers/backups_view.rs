//! Whether a server is protected, in words: pure functions from what is on record.

use super::backups_facts::BackupFacts;
use super::ha_zones::{self, Truth};
use super::overview_view::plural;
use super::storage_view::size_text;
use crate::domain::backup::{Protection, Repository, RepositoryState, Window};
use crate::web::label::{Chip, Icon, Tone};
use crate::web::paths;
use crate::web::time::{Stamp, ago_text, duration_text};
use chrono::{DateTime, Duration, Timelike, Utc};

/// A server on which nothing happens is given a marker after five minutes, which then has to arrive and to be seen: what
/// is older than this is late.
const BEHIND_AFTER: Duration = Duration::minutes(10);
/// A look older than this says nothing about now.
const STALE_AFTER: Duration = Duration::minutes(3);
/// A day between backups and two hours for taking one.
const BACKUP_AFTER: Duration = Duration::hours(26);

/// The first thing on the page.
pub struct Answer {
    pub chip: Chip,
    /// CSS class of the banner.
    pub class: &'static str,
    /// Earliest and latest moment; `None` while nothing can be restored.
    pub ends: Option<(Stamp, Stamp)>,
    /// "2 gaps"; empty without.
    pub gaps: String,
    /// "12 s ago"; empty while nobody looked.
    pub looked: String,
    /// What there is instead of moments, and what comes next.
    pub text: String,
}

/// Something that is not as it should be.
pub struct Alarm {
    pub title: String,
    pub text: String,
    pub is_danger: bool,
}

/// The earliest moment as people see it: in whole seconds none of which is too early.
pub fn earliest(window: &Window) -> Option<DateTime<Utc>> {
    let span = window.spans.first()?;
    let whole = span.from.with_nanosecond(0)?;
    let up = if whole < span.from { whole + Duration::seconds(1) } else { whole };
    Some(if up <= span.to { up } else { span.from })
}

/// Whether, and for which moments.
pub fn answer(facts: &BackupFacts, alarms: &[Alarm]) -> Answer {
    let window = facts.window();
    let Some((first, last)) = earliest(&window).zip(window.latest()) else {
        return unprotected(facts);
    };
    let gaps = u32::try_from(window.spans.len().saturating_sub(1)).unwrap_or(u32::MAX);
    let (chip, class) = match (alarms.iter().any(|one| one.is_danger), alarms.is_empty()) {
        (true, _) => (Chip::new("Needs attention", Icon::Warning, Tone::Danger), "banner-warn"),
        (false, false) => {
            (Chip::new("Protected, but look", Icon::Warning, Tone::Warn), "banner-warn")
        }
        (false, true) if gaps > 0 => {
            (Chip::new("Protected, with gaps", Icon::Warning, Tone::Warn), "banner-warn")
        }
        (false, true) => (Chip::new("Protected", Icon::Check, Tone::Ok), "banner-ok"),
    };
    Answer {
        chip,
        class,
        ends: Some((Stamp(first), Stamp(last))),
        gaps: if gaps == 0 { String::new() } else { plural(gaps, "gap") },
        looked: facts
            .protection
            .archive
            .looked_at
            .map_or(String::new(), |at| ago_text(at, facts.now)),
        text: String::new(),
    }
}

fn unprotected(facts: &BackupFacts) -> Answer {
    let text = if facts.is_backing_up() {
        "The first backup is under way. When it has ended and every file of it was read again, the server can be restored."
    } else if facts.is_stopped {
        "No backup was taken before the server was stopped. The first one is taken by itself after the start."
    } else {
        "There is no backup yet. The first one is taken by itself; if it fails, it is tried again, and the reason stands below."
    };
    let chip = if facts.is_backing_up() {
        Chip::new("Not yet protected", Icon::Spinner, Tone::Busy)
    } else {
        Chip::new("Not yet protected", Icon::Cross, Tone::Danger)
    };
    let class = if facts.is_backing_up() { "banner-info" } else { "banner-danger" };
    let (ends, gaps, looked) = (None, String::new(), String::new());
    Answer { chip, class, ends, gaps, looked, text: text.into() }
}

/// Everything that stands against a green mark, the worst first.
pub fn alarms(facts: &BackupFacts) -> Vec<Alarm> {
    if facts.window().spans.is_empty() {
        return failing(&facts.protection).into_iter().collect();
    }
    let (archive, now) = (&facts.protection.archive, facts.now);
    let mut all: Vec<Alarm> = failing(&facts.protection).into_iter().collect();
    if archive.since.is_none() {
        all.push(Alarm {
            title: "The log is not archived.".into(),
            text: "Only the moments at which backups ended can be restored. If archiving was never switched on in this server, it needs one restart.".into(),
            is_danger: true,
        });
    }
    // A stopped server writes nothing that could be late.
    if !facts.is_stopped {
        all.extend(late(facts, now));
    }
    let suspended = |one: &&Repository| one.state == RepositoryState::Suspended;
    if let Some(one) = facts.protection.repositories.iter().find(suspended) {
        all.push(Alarm {
            title: format!("Repository {} is suspended.", one.number),
            text: "It could not be reached for so long that the log does not wait for it any more. It has a gap from then on until its next full backup.".into(),
            is_danger: true,
        });
    }
    let bad = facts.protection.backups.iter().filter(|one| !one.is_good()).count();
    if bad > 0 {
        let bad = plural(u32::try_from(bad).unwrap_or(u32::MAX), "backup");
        all.push(Alarm {
            title: format!("{bad} cannot be used."),
            text: "The list says what was found. They count for nothing here.".into(),
            is_danger: false,
        });
    }
    all
}

fn failing(protection: &Protection) -> Option<Alarm> {
    let archive = &protection.archive;
    let since = archive.failing_since?;
    let told = if archive.failure.is_empty() {
        String::new()
    } else {
        format!(" The last refusal: {}", archive.failure)
    };
    Some(Alarm {
        title: format!("Archiving has failed since {}.", since.format("%Y-%m-%d %H:%M:%S UTC")),
        text: format!(
            "What is committed from then on is on the server's own disk only. PostgreSQL keeps its log until it is archived, which takes storage.{told}"
        ),
        is_danger: true,
    })
}

fn late(facts: &BackupFacts, now: DateTime<Utc>) -> Vec<Alarm> {
    let archive = &facts.protection.archive;
    let mut all = vec![];
    let is_seen = archive.looked_at.is_some_and(|at| now - at <= STALE_AFTER);
    if let (true, None, Some(until)) = (is_seen, archive.failing_since, archive.until)
        && now - until > BEHIND_AFTER
    {
        all.push(Alarm {
            title: format!("Archiving is {} behind.", duration_text(now - until)),
            text: "What was committed since then is on the server's own disk only.".into(),
            is_danger: true,
        });
    }
    if archive.since.is_some() && !is_seen {
        let when = archive.looked_at.map_or("never".into(), |at| ago_text(at, now));
        all.push(Alarm {
            title: format!("The archive was last looked at {when}."),
            text: "What stands here is of then; how it is now is not known.".into(),
            is_danger: false,
        });
    }
    if let Some(newest) = facts.newest().filter(|one| now - one.ended_at > BACKUP_AFTER) {
        all.push(Alarm {
            title: format!("No good backup for {}.", duration_text(now - newest.ended_at)),
            text: "One is due every day. The log since the last one can still be replayed; it only takes longer.".into(),
            is_danger: false,
        });
    }
    all
}

/// Where backups lie.
pub struct PlaceRow {
    pub number: i64,
    pub host: String,
    pub host_path: String,
    /// Where in the object storage; `None` for one that is on the host.
    pub location: Option<String>,
    pub zones: String,
    /// What is lost together with what.
    pub truth: &'static str,
    pub chip: Chip,
    pub since: Stamp,
    /// "1.2 GiB, as measured 12 s ago"
    pub used: String,
}

pub fn places(facts: &BackupFacts, region: &str, zones: &[String]) -> Vec<PlaceRow> {
    let row = |one: &Repository| {
        let load = facts.load_of(&one.host_id);
        let served = |zone: &&String| load.is_some_and(|load| load.host.serves(region, zone));
        let zones: Vec<&str> = zones.iter().filter(served).map(String::as_str).collect();
        PlaceRow {
            number: one.number,
            host: load.map_or("not known any more".into(), |load| load.host.name.clone()),
            host_path: paths::host(&one.host_id),
            location: one.location.clone(),
            zones: match zones.as_slice() {
                [] => "not known".into(),
                [zone] => format!("zone {zone}"),
                many => format!("zones {}", many.join(", ")),
            },
            truth: truth(facts, one),
            chip: state_chip(one.state),
            since: Stamp(one.since),
            used: match (one.bytes, one.looked_at) {
                (Some(bytes), Some(at)) => {
                    format!("{}, measured {}", size_text(bytes), ago_text(at, facts.now))
                }
                (Some(bytes), None) => size_text(bytes),
                (None, _) => "not measured yet".into(),
            },
        }
    };
    facts.protection.repositories.iter().map(row).collect()
}

fn state_chip(state: RepositoryState) -> Chip {
    match state {
        RepositoryState::Planned => Chip::new("Being prepared", Icon::Ring, Tone::Idle),
        RepositoryState::Active => Chip::new("In use", Icon::Check, Tone::Ok),
        RepositoryState::Suspended => Chip::new("Suspended", Icon::Pause, Tone::Danger),
    }
}

/// Whether the loss of the server's host takes the backups along, by what the engines said of themselves.
fn truth(facts: &BackupFacts, repository: &Repository) -> &'static str {
    if repository.is_in_object_storage() {
        return "Outside of every host: it survives the loss of all of them, and is lost with the storage.";
    }
    let Some(primary) = facts.primary() else { return "The server is on no host." };
    match ha_zones::of_hosts(&facts.loads, &primary.host_id, &repository.host_id) {
        Truth::OneEngine => {
            "On the same host as the server: lost with it. It protects against mistakes in the data, not against the loss of the host or its disk."
        }
        Truth::OneMachine => {
            "On another Docker Engine of the same machine, by its address: lost with the machine."
        }
        Truth::Apart => {
            "On another host than the server: it survives the loss of the server's host."
        }
        Truth::MayShare | Truth::Unknown => {
            "Whether it is on the server's machine is not known: one of the engines has not answered yet."
        }
    }
}

/// One line for the overview.
pub struct Line {
    pub chip: Chip,
    pub until: Option<Stamp>,
    /// "12 s ago", of the latest restorable moment.
    pub ago: String,
    pub text: String,
}

pub fn line(facts: &BackupFacts) -> Line {
    let answer = answer(facts, &alarms(facts));
    let latest = facts.window().latest();
    Line {
        chip: answer.chip,
        until: latest.map(Stamp),
        ago: latest.map_or(String::new(), |at| ago_text(at, facts.now)),
        text: answer.text,
    }
}
