//! What the page of a pair says: pure functions from the row and from what was last seen.

use super::ha_zones::Truth;
use super::overview_view::grouped;
use crate::domain::ha::{
    Durability, HaLook, HaMode, HaState, HighAvailability, LookMember, ReplicationState,
};
use crate::domain::server::{Member, MemberObservation};
use crate::store::ha::HaEvent;
use crate::web::label::{Chip, Icon, Tone};
use crate::web::time::{Stamp, ago_text, duration_text};
use chrono::{DateTime, Duration, Utc};

/// A look older than this says nothing about now.
const STALE_AFTER: Duration = Duration::seconds(60);

/// Whether a look still says something about now.
pub fn is_fresh(at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    now - at <= STALE_AFTER
}

/// The state with its shape.
pub fn chip(state: HaState, row: Option<&HighAvailability>) -> Chip {
    if row.is_some_and(|row| row.state == ReplicationState::Blocked) {
        return Chip::new("Needs a person", Icon::Warning, Tone::Danger);
    }
    let (icon, tone) = match state {
        HaState::NotEnabled => (Icon::Minus, Tone::Idle),
        HaState::Healthy => (Icon::Check, Tone::Ok),
        HaState::CreatingStandby | HaState::ReplicatingData | HaState::RemovingStandby => {
            (Icon::Spinner, Tone::Busy)
        }
        HaState::FailingOver => (Icon::Undo, Tone::Warn),
        HaState::RecreatingStandby => (Icon::Spinner, Tone::Warn),
    };
    Chip::new(state.label(), icon, tone)
}

/// On how many hosts commits are, since when, and what follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commits {
    /// CSS class of the box.
    pub class: &'static str,
    /// "Commits are on 2 hosts now"
    pub lead: String,
    pub since: Stamp,
    /// "3 h 2 min"
    pub length: String,
    /// Why there are not more; empty on two hosts.
    pub because: String,
    /// What comes next; empty when nothing does.
    pub next: &'static str,
    /// What the portal decided from its last look; empty on two hosts, where nothing is to be done.
    pub told: String,
}

/// What the sentence is made of.
pub struct Known<'a> {
    pub row: &'a HighAvailability,
    pub truth: Option<Truth>,
    pub look: Option<&'a HaLook>,
    /// When commits came to be on as many hosts as now.
    pub since: DateTime<Utc>,
    pub now: DateTime<Utc>,
}

/// The sentence that people come for.
pub fn commits(known: &Known<'_>) -> Commits {
    let Known { row, truth, since, now, .. } = known;
    let length = length_text(*since, *now);
    let (class, lead) = match (row.is_promotable, truth) {
        (true, Some(Truth::OneEngine)) => {
            ("banner-warn", "Commits are in 2 containers on 1 host now".to_owned())
        }
        (true, Some(Truth::OneMachine)) => {
            ("banner-warn", "Commits are in 2 containers on 1 machine now".to_owned())
        }
        // What the engines said of themselves is not known now: then no number of hosts is claimed.
        (true, Some(Truth::Unknown)) => ("banner-ok", "Commits are on both members now".to_owned()),
        (true, _) => ("banner-ok", "Commits are on 2 hosts now".to_owned()),
        (false, _) if row.state == ReplicationState::Blocked => {
            ("banner-danger", "Nothing is committed now".to_owned())
        }
        (false, _) if row.state == ReplicationState::Promoting => {
            ("banner-warn", "No commits are taken now".to_owned())
        }
        (false, _) if waits(row) => {
            ("banner-danger", "Writes wait: no commit is acknowledged now".to_owned())
        }
        (false, _) => ("banner-warn", "Commits are on 1 host".to_owned()),
    };
    let (because, next) = if row.is_promotable { ready(row) } else { why(row) };
    let told = known.look.map(|look| look.reason.trim()).filter(|_| !row.is_promotable);
    Commits {
        class,
        lead,
        since: Stamp(*since),
        length,
        because: because.into(),
        next,
        told: told.unwrap_or_default().to_owned(),
    }
}

/// "3 h 2 min"; what has just begun has no length yet.
fn length_text(since: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let length = Duration::seconds((now - since).num_seconds());
    if length < Duration::seconds(1) { "just now".into() } else { duration_text(length) }
}

/// Whether writes wait for a standby that is not there. Before the first one they never do: the server could
/// not even be set up.
fn waits(row: &HighAvailability) -> bool {
    let is_alone = matches!(
        row.state,
        ReplicationState::Single
            | ReplicationState::Building
            | ReplicationState::CatchUp
            | ReplicationState::Disarming
    );
    row.durability == Durability::Required && row.had_standby() && is_alone
}

fn ready(row: &HighAvailability) -> (&'static str, &'static str) {
    match row.state {
        ReplicationState::Restarting => (
            "",
            "The primary is being started again in place; connections are let in when it answers.",
        ),
        ReplicationState::Switching => ("", "A planned change of primary is under way."),
        ReplicationState::Stopped => {
            ("", "The server is stopped; both members are started together.")
        }
        _ => ("", ""),
    }
}

/// Why commits are on one host, and what comes next.
fn why(row: &HighAvailability) -> (&'static str, &'static str) {
    match row.state {
        ReplicationState::Single => (
            "there is no standby",
            "A standby is made by itself as soon as the primary answers and the host has room.",
        ),
        ReplicationState::Building => (
            "the standby is being made from a copy of the primary",
            "Then it follows, and commits are made to wait for it.",
        ),
        ReplicationState::CatchUp => (
            "the standby follows and has not everything yet",
            "Commits wait for it once it has caught up.",
        ),
        ReplicationState::Arming => (
            "commits are just being made to wait for the standby",
            "It counts once a commit has come back from it.",
        ),
        ReplicationState::Disarming => (
            "the standby no longer counts",
            "Commits go on without it, and a standby is made anew.",
        ),
        ReplicationState::Promoting => (
            "the standby of before is being made the primary",
            "Clients are let in, then a standby is made in the zone of the old primary.",
        ),
        ReplicationState::Blocked => (
            "no member is provably complete",
            "A person must decide: bring the old primary's host back, or force a failover and accept what may be lost.",
        ),
        ReplicationState::Stopped => (
            "the server was stopped without a standby that had everything",
            "After the start a standby is made anew.",
        ),
        ReplicationState::Sync | ReplicationState::Restarting | ReplicationState::Switching => {
            ("the standby does not count", "")
        }
    }
}

/// When commits came to be on as many hosts as now: the first line of the story since it is so. Without one
/// it is the last change of the row.
pub fn since(row: &HighAvailability, story: &[HaEvent]) -> DateTime<Utc> {
    let armed = story.iter().position(|event| event.kind == "armed");
    let found = match (row.is_promotable, armed) {
        (true, Some(at)) => story.get(at),
        // Newest first: the line after the arming is the one before it in the list.
        (false, Some(at)) => story
            .get(..at)
            .and_then(|later| later.iter().rev().find(|event| ENDS.contains(&event.kind.as_str()))),
        (false, None) => story.iter().find(|event| event.kind == "enabled"),
        (true, None) => None,
    };
    let at = found.map_or(row.changed_at, |event| event.at);
    // Writes began to wait with the choice, where there was no standby already.
    match story.iter().find(|event| event.kind == "durability") {
        Some(chosen) if waits(row) => at.max(chosen.at),
        _ => at,
    }
}

/// Kinds of lines with which a standby no longer counts.
const ENDS: &[&str] = &["disarming", "disarmed", "promoting", "promoted", "blocked"];

/// One member in the picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberCard {
    /// "Primary"
    pub role: &'static str,
    /// What that means.
    pub purpose: &'static str,
    pub zone: String,
    pub host: String,
    pub container: String,
    pub version: String,
    pub chip: Chip,
    /// "for 3 h 2 min", "seen 8 s ago"; empty while nobody looked.
    pub seen: String,
}

/// What a card is made of.
pub struct MemberFacts<'a> {
    pub member: &'a Member,
    pub zone: &'a str,
    pub host: Option<&'a str>,
    pub look: Option<&'a LookMember>,
    pub observation: Option<&'a MemberObservation>,
    pub now: DateTime<Utc>,
}

pub fn member_card(
    role: &'static str,
    purpose: &'static str,
    facts: &MemberFacts<'_>,
) -> MemberCard {
    let (chip, seen) = answer(facts);
    let version = match facts.member.postgres_version.as_str() {
        "" => "PostgreSQL, version not read yet".to_owned(),
        version => format!("PostgreSQL {version}"),
    };
    MemberCard {
        role,
        purpose,
        zone: facts.zone.to_owned(),
        host: facts.host.unwrap_or("not known").to_owned(),
        container: facts.member.container(),
        version,
        chip,
        seen,
    }
}

const UNKNOWN: Chip = Chip::new("Not known now", Icon::Ring, Tone::Warn);
const ANSWERS: Chip = Chip::new("Answers", Icon::Check, Tone::Ok);
const SILENT: Chip = Chip::new("Does not answer", Icon::Cross, Tone::Danger);

/// Whether its PostgreSQL answers: by the look at the pair, else by the look at its container.
fn answer(facts: &MemberFacts<'_>) -> (Chip, String) {
    let of = |answers| if answers { ANSWERS } else { SILENT };
    let now = facts.now;
    if let Some((answers, since)) =
        facts.look.and_then(|look| look.answers.zip(Some(look.answers_since_micros)))
    {
        let length =
            since.and_then(DateTime::from_timestamp_micros).map(|at| match length_text(at, now) {
                now if now == "just now" => "since just now".to_owned(),
                length => format!("for {length}"),
            });
        return (of(answers), length.unwrap_or_default());
    }
    match facts.observation.filter(|look| is_fresh(look.observed_at, now)) {
        Some(look) => {
            let seen = format!("seen {}", ago_text(look.observed_at, now));
            match look.facts.accepts_queries {
                Some(answers) => (of(answers), seen),
                None => (UNKNOWN, format!("container is {}, {seen}", look.facts.container_state)),
            }
        }
        None => (UNKNOWN, "nobody has looked lately".into()),
    }
}

/// What goes from the primary to the standby.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub chip: Chip,
    /// "0 bytes behind"
    pub bytes: String,
    /// "0 s behind"; empty when not measured.
    pub seconds: String,
    /// Whether something flows, for the drawing of the arrow.
    pub flows: bool,
    /// "seen 2 s ago"
    pub seen: String,
}

pub fn link(
    row: &HighAvailability,
    look: Option<(&HaLook, DateTime<Utc>)>,
    now: DateTime<Utc>,
) -> Link {
    let Some(standby) = &row.standby else {
        return unmeasured(Chip::new("No standby yet", Icon::Minus, Tone::Idle), "");
    };
    // A look at another standby says nothing of this one.
    let is_of_it =
        |look: &HaLook| look.standby.as_ref().is_some_and(|seen| seen.member == standby.as_str());
    let fresh = look.filter(|(look, at)| is_fresh(*at, now) && is_of_it(look));
    let Some((look, at)) = fresh else {
        return unmeasured(
            Chip::new("Not measured now", Icon::Ring, Tone::Idle),
            "lag not measured",
        );
    };
    let flows = !look.sync_state.is_empty();
    let chip = match (flows, row.is_promotable, look.sync_state.as_str()) {
        (false, _, _) => Chip::new("Does not stream", Icon::Cross, Tone::Danger),
        (true, true, "sync" | "quorum") => Chip::new("Synchronous", Icon::Check, Tone::Ok),
        (true, _, "sync" | "quorum") => {
            Chip::new("Synchronous, does not count now", Icon::Ring, Tone::Busy)
        }
        (true, _, _) => Chip::new("Follows, commits do not wait", Icon::Spinner, Tone::Busy),
    };
    Link {
        chip,
        bytes: look
            .lag_bytes
            .map_or("lag not measured".into(), |lag| format!("{} behind", bytes_text(lag))),
        seconds: look
            .lag_seconds
            .map_or(String::new(), |lag| format!("{} behind", seconds_text(lag))),
        flows,
        seen: format!("seen {}", ago_text(at, now)),
    }
}

fn unmeasured(chip: Chip, text: &str) -> Link {
    Link { chip, bytes: text.into(), seconds: String::new(), flows: false, seen: String::new() }
}

/// "0 bytes", "1,024 bytes", "12.5 MiB"
pub fn bytes_text(bytes: u64) -> String {
    const KIB: f64 = 1024.0;
    let size = bytes as f64;
    match bytes {
        0..=99_999 => format!("{} bytes", grouped(u32::try_from(bytes).unwrap_or(u32::MAX))),
        100_000..=1_048_575 => format!("{:.0} KiB", size / KIB),
        1_048_576..=1_073_741_823 => format!("{:.1} MiB", size / (KIB * KIB)),
        _ => format!("{:.1} GiB", size / (KIB * KIB * KIB)),
    }
}

pub fn seconds_text(seconds: f64) -> String {
    if seconds < 0.05 {
        "0 s".into()
    } else {
        duration_text(Duration::milliseconds((seconds * 1000.0) as i64))
    }
}

/// The mode and the durability in words.
pub fn settings(row: &HighAvailability) -> [(&'static str, String, &'static str); 2] {
    let mode = match row.mode {
        HaMode::SameZone => "the standby is in the primary's zone",
        HaMode::ZoneRedundant => "the standby is in another zone",
    };
    let durability = match row.durability {
        Durability::Preferred => "if the standby is lost, writes go on after about 3 s on one host",
        Durability::Required => {
            "if the standby is lost, writes wait until there is a standby again"
        }
    };
    [
        ("Mode", row.mode.label().into(), mode),
        ("Durability", row.durability.key().into(), durability),
    ]
}

#[cfg(test)]
#[path = "ha_view_tests.rs"]
mod tests;
