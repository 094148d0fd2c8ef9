//! Whether a server is protected, in words: pure functions from what is on record.

use super::backups_facts::BackupFacts;
use super::backups_places as repository;
use super::overview_view::plural;
use crate::domain::backup::{BackupType, Protection, Repository, Window, room};
use crate::web::label::{Chip, Icon, Tone};
use crate::web::time::{Stamp, ago_text, duration_text};
use chrono::{DateTime, Duration, Timelike, Utc};

/// A server on which nothing happens is given a marker after five minutes, which then has to arrive and to be seen: what
/// is older than this is late.
const BEHIND_AFTER: Duration = Duration::minutes(10);
/// A look older than this says nothing about now.
const STALE_AFTER: Duration = Duration::minutes(3);

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
    /// Which of two repositories the moments are of; empty with one.
    pub of: String,
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
        of: repository::which(facts),
        text: String::new(),
    }
}

fn unprotected(facts: &BackupFacts) -> Answer {
    let text = if facts.is_backing_up() {
        "The first backup is under way. When it has ended and every file of it was read again, the server can be restored."
    } else if facts.is_stopped {
        "No backup was taken before the server was stopped. The first one is taken by itself after the start."
    } else if !facts.protection.backups.is_empty() {
        "None of the backups on record can be used; the list says why. Another one is taken by itself; if it fails, it is tried again."
    } else {
        "There is no backup yet. The first one is taken by itself; if it fails, it is tried again, and the reason stands below."
    };
    let chip = if facts.is_backing_up() {
        Chip::new("Not yet protected", Icon::Spinner, Tone::Busy)
    } else {
        Chip::new("Not yet protected", Icon::Cross, Tone::Danger)
    };
    let class = if facts.is_backing_up() { "banner-info" } else { "banner-danger" };
    let (ends, gaps, looked, of) = (None, String::new(), String::new(), String::new());
    Answer { chip, class, ends, gaps, looked, of, text: text.into() }
}

/// Everything that stands against a green mark, the worst first.
pub fn alarms(facts: &BackupFacts) -> Vec<Alarm> {
    if facts.window().spans.is_empty() {
        return failing(&facts.protection).into_iter().chain(unusable(facts, true)).collect();
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
    all.extend(repository::alarms(facts));
    all.extend(no_room(facts));
    all.extend(unusable(facts, false));
    all
}

fn unusable(facts: &BackupFacts, is_danger: bool) -> Option<Alarm> {
    let bad = facts.protection.backups.iter().filter(|one| !one.is_good()).count();
    let count = plural(u32::try_from(bad).unwrap_or(u32::MAX), "backup");
    (bad > 0).then(|| Alarm {
        title: format!("{count} cannot be used."),
        text: "The list says what was found. They count for nothing here.".into(),
        is_danger,
    })
}

/// What the monitor holds a full backup back for.
fn no_room(facts: &BackupFacts) -> Option<Alarm> {
    let lacks = |one: &&Repository| {
        let seen = facts.load_of(&one.host_id).filter(|_| !one.is_in_object_storage());
        let seen = seen.and_then(|load| load.facts.as_ref());
        let free = seen.and_then(|facts| facts.storage_free_bytes);
        let good = facts.protection.good_in(one.number);
        room::is_too_little(free, room::expected(BackupType::Full, good))
    };
    let one = facts.protection.repositories.iter().find(lacks)?;
    Some(Alarm {
        title: format!("The host of repository {} has too little free storage.", one.number),
        text: "The next full backup would not fit, by what the last one took, and is held back. Free storage on that host.".into(),
        is_danger: true,
    })
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
    all
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
