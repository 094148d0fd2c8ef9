//! The repositories of a server in words: where each is, how it stands, what can be restored from it, and what is wrong.

use super::backups_facts::BackupFacts;
use super::backups_view::{Alarm, earliest};
use super::ha_zones::{self, Truth};
use super::overview_view::plural;
use super::storage_view::size_text;
use crate::domain::backup::{Redundancy, Repository, RepositoryState};
use crate::web::label::{Chip, Icon, Tone};
use crate::web::paths;
use crate::web::time::{Stamp, ago_text, duration_text};
use chrono::Duration;

/// A day between backups and two hours for taking one.
const BACKUP_AFTER: Duration = Duration::hours(26);

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
    /// How it stands, and what comes next; empty for one in use.
    pub state: String,
    /// Earliest and latest moment; `None` while nothing can be restored from it.
    pub ends: Option<(Stamp, Stamp)>,
    /// "2 gaps"; empty without.
    pub gaps: String,
    /// "1.2 GiB in 9 backups, by the list of 12 s ago"
    pub used: String,
}

/// The zones of the region that a host serves: "zone 2", "zones 2, 3".
fn zones_of(facts: &BackupFacts, one: &Repository, region: &str, zones: &[String]) -> String {
    let load = facts.load_of(&one.host_id);
    let served = |zone: &&String| load.is_some_and(|load| load.host.serves(region, zone));
    let zones: Vec<&str> = zones.iter().filter(served).map(String::as_str).collect();
    match zones.as_slice() {
        [] => "zone not known".into(),
        [zone] => format!("zone {zone}"),
        many => format!("zones {}", many.join(", ")),
    }
}

pub fn places(facts: &BackupFacts, region: &str, zones: &[String]) -> Vec<PlaceRow> {
    let row = |one: &Repository| {
        let window = facts.protection.window_of(one.number);
        let gaps = u32::try_from(window.spans.len().saturating_sub(1)).unwrap_or(u32::MAX);
        PlaceRow {
            number: one.number,
            host: facts.host_name(&one.host_id),
            host_path: paths::host(&one.host_id),
            location: one.location.clone(),
            zones: zones_of(facts, one, region, zones),
            truth: truth(facts, one),
            chip: state_chip(facts, one),
            since: Stamp(one.since),
            state: state(facts, one),
            ends: earliest(&window).zip(window.latest()).map(|(a, b)| (Stamp(a), Stamp(b))),
            gaps: if gaps == 0 { String::new() } else { plural(gaps, "gap") },
            used: used(facts, one) + &compared(facts, one.number),
        }
    };
    facts.protection.repositories.iter().map(row).collect()
}

fn is_log_measured(facts: &BackupFacts, number: i64) -> bool {
    facts.protection.checks.iter().any(|check| check.repository == number)
}

/// The sum of the backups. The log between them is measured by what compares it with them.
fn used(facts: &BackupFacts, one: &Repository) -> String {
    let count =
        facts.protection.backups.iter().filter(|each| each.repository == one.number).count();
    let backups = plural(u32::try_from(count).unwrap_or(u32::MAX), "backup");
    match (one.bytes, one.looked_at) {
        (Some(bytes), Some(at)) => format!(
            "{backups}, {} in all, by its list as read {}.{}",
            size_text(bytes),
            ago_text(at, facts.now),
            if is_log_measured(facts, one.number) {
                ""
            } else {
                " The log after them comes on top; it is not measured yet."
            }
        ),
        _ => "What it takes is not measured yet: its list was not read.".into(),
    }
}

/// What the last comparison of its log with what the backups need came to; empty before the first.
fn compared(facts: &BackupFacts, number: i64) -> String {
    let check = facts.protection.checks.iter().find(|check| check.repository == number);
    let Some(check) = check else { return String::new() };
    let count = |number: u64| plural(u32::try_from(number).unwrap_or(u32::MAX), "WAL file");
    let found = match check.missing {
        0 => format!("{} needed, none missing", count(check.needed)),
        missing => format!("{} missing", count(missing)),
    };
    format!(
        " Its log takes {}: {found}, compared {}.",
        size_text(check.log_bytes),
        ago_text(check.at, facts.now)
    )
}

/// The reason of the gap that goes on.
fn open_gap(facts: &BackupFacts, number: i64) -> Option<&str> {
    let mut open = facts.protection.gaps.iter().filter(|gap| gap.ended_at.is_none());
    open.find(|gap| gap.repository == number).map(|gap| gap.reason.as_str())
}

fn state(facts: &BackupFacts, one: &Repository) -> String {
    let protection = &facts.protection;
    if !protection.asks_for(one.number) {
        return match (one.state, protection.kept_until(one)) {
            (RepositoryState::Active, _) => {
                "It is not asked for any more. Within a minute the log goes into it no more.".into()
            }
            (_, Some(at)) if at > facts.now => format!(
                "It is not asked for any more: neither log nor backups go into it. What is there can be restored from until {}, and is removed then by itself.",
                at.format("%Y-%m-%d %H:%M:%S UTC")
            ),
            _ => format!(
                "It is not asked for any more. What is left there is removed by itself when {} answers.",
                what_answers(one)
            ),
        };
    }
    match one.state {
        RepositoryState::Active => String::new(),
        RepositoryState::Planned => {
            "The first backup into it makes its place there and has the log handed over.".into()
        }
        RepositoryState::Suspended => format!(
            "{} A full backup takes it up again by itself when {} answers.",
            open_gap(facts, one.number).unwrap_or("The log is not handed to it."),
            what_answers(one)
        ),
    }
}

/// Who must answer before a suspended repository is taken up again.
fn what_answers(one: &Repository) -> &'static str {
    if one.is_in_object_storage() { "the storage" } else { "its host" }
}

fn state_chip(facts: &BackupFacts, one: &Repository) -> Chip {
    match one.state {
        RepositoryState::Active if facts.is_away(one) => {
            Chip::new("Host does not answer", Icon::Warning, Tone::Warn)
        }
        _ if !facts.protection.asks_for(one.number) => {
            Chip::new("Not asked for any more", Icon::Pause, Tone::Idle)
        }
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
            "Whether it is on the server's machine is not known: one of the engines does not answer."
        }
    }
}

/// Which of two the answer is about; empty with one.
pub fn which(facts: &BackupFacts) -> String {
    let (all, number) = (&facts.protection.repositories, facts.repository());
    let holding = all.iter().filter(|one| facts.protection.good_in(one.number).next().is_some());
    match (holding.count(), all.iter().find(|one| one.number == number)) {
        (2.., Some(one)) if !facts.loads.is_empty() => {
            format!("From repository {number}, {}.", facts.where_is(one))
        }
        _ => String::new(),
    }
}

/// What is wrong with those that are asked for.
pub fn alarms(facts: &BackupFacts) -> Vec<Alarm> {
    let protection = &facts.protection;
    let asked = protection.repositories.iter().filter(|one| protection.asks_for(one.number));
    let is_two = protection.repositories.len() > 1;
    let mut all: Vec<Alarm> = asked.filter_map(|one| of_one(facts, one, is_two)).collect();
    let redundancy = protection.policy.redundancy;
    if redundancy.second().is_some_and(|number| protection.good_in(number).next().is_none()) {
        let title = match redundancy {
            Redundancy::ObjectStorage => "Nothing is in the object storage yet.",
            _ => "Not zone redundant yet.",
        };
        all.push(Alarm {
            title: title.into(),
            text: "The second repository holds no good backup. Its first one is taken by itself once the first repository has a good one; if it fails, the reason stands below.".into(),
            is_danger: false,
        });
    }
    all
}

fn of_one(facts: &BackupFacts, one: &Repository, is_two: bool) -> Option<Alarm> {
    let alarm = |title: String, text: String, is_danger| Some(Alarm { title, text, is_danger });
    let others = facts.protection.repositories.iter().filter(|other| other.number != one.number);
    let has_other = others.into_iter().any(|other| other.state == RepositoryState::Active);
    let since = |at: chrono::DateTime<chrono::Utc>| at.format("%Y-%m-%d %H:%M:%S UTC").to_string();
    if one.state == RepositoryState::Suspended {
        let rest = if has_other {
            "The log goes into the other repository alone."
        } else {
            "The log is kept nowhere: what is committed from then on cannot be restored."
        };
        let title = format!("Repository {} is suspended since {}.", one.number, since(one.since));
        let why = open_gap(facts, one.number).unwrap_or_default();
        return alarm(
            title,
            format!(
                "{why} {rest} When {} answers again, a full backup takes it up by itself; the time between is a gap.",
                what_answers(one)
            ),
            true,
        );
    }
    if one.state == RepositoryState::Active && facts.is_away(one) {
        let title = format!("The host of repository {} does not answer.", one.number);
        let rest = "WAL files wait for it on the server's disk. After 10 minutes, or earlier when the disk fills, it is suspended and waited for no more.";
        return alarm(title, rest.into(), true);
    }
    // A stopped server writes nothing that could be late.
    let newest = facts.protection.good_in(one.number).map(|each| each.ended_at).max()?;
    if facts.is_stopped || facts.now - newest <= BACKUP_AFTER {
        return None;
    }
    let place = if is_two { format!(" in repository {}", one.number) } else { String::new() };
    let title = format!("No good backup{place} for {}.", duration_text(facts.now - newest));
    let text = "One is due every day. The log since the last one can still be replayed; it only takes longer.";
    alarm(title, text.into(), false)
}
