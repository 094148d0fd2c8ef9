//! The story of a pair for people: the last change of primary second by second, those before, drills, and
//! every line that was written.

use super::ha_view::seconds_text;
use crate::domain::ha::Cause;
use crate::domain::ids::MemberId;
use crate::domain::operation::{Operation, OperationStatus, StepRecord, StepStatus};
use crate::domain::server::Member;
use crate::store::ha::{HaEvent, Promotion};
use crate::store::ha_story::{DRILL_RUNNING, HaDrill};
use crate::web::label::{Chip, Icon, Tone};
use crate::web::paths;
use crate::web::time::{ClockTime, Stamp, duration_text};
use chrono::{DateTime, Duration, Utc};

/// A change of primary in words.
pub struct Told {
    /// "Planned failover"
    pub title: &'static str,
    pub at: Stamp,
    /// "zone 1 to zone 2"; empty when the members are gone.
    pub way: String,
    /// From the first sign until clients were let in; empty while it is under way.
    pub took: String,
    pub epoch: i64,
    /// Path of the operation; empty without one.
    pub operation: String,
    pub lines: Vec<Line>,
}

/// One line of the story.
pub struct Line {
    pub at: ClockTime,
    /// What kind of thing: "Seen", "Decided", "Done".
    pub what: &'static str,
    pub text: String,
    /// Since the line before; empty for the first.
    pub after: String,
}

/// What a promotion was for.
pub fn cause_label(cause: Cause) -> &'static str {
    match cause {
        Cause::Automatic => "Automatic failover",
        Cause::Planned => "Planned failover",
        Cause::Forced => "Forced failover",
        Cause::ForcedWithLoss => "Forced failover, loss accepted",
        Cause::Maintenance => "Failover for a change of the server",
        Cause::Drill => "Failover drill",
    }
}

/// From the first sign until clients were let in.
pub fn gap(promotion: &Promotion) -> Option<Duration> {
    promotion.opened_at.map(|opened| opened - promotion.seen_at)
}

/// The median time of promotions of a cause that ended, and their number.
pub fn usual(promotions: &[Promotion], causes: &[Cause]) -> Option<(String, usize)> {
    let of_cause = promotions.iter().filter(|one| causes.contains(&one.cause));
    let mut gaps: Vec<Duration> = of_cause.filter_map(gap).collect();
    gaps.sort();
    let median = gaps.get(gaps.len() / 2)?;
    Some((duration_text(*median), gaps.len()))
}

/// One change of primary, with the steps of its operation.
pub fn told(promotion: &Promotion, members: &[Member], steps: &[StepRecord]) -> Told {
    let mut lines = vec![
        (promotion.seen_at, "Seen", promotion.reason.clone()),
        (promotion.decided_at, "Decided", decided(promotion)),
    ];
    lines.extend(steps.iter().filter_map(step_line));
    if let Some(opened) = promotion.opened_at {
        lines.push((opened, "Done", "Clients are let in to the new primary.".into()));
    }
    // A stable order keeps what was written first first.
    lines.sort_by_key(|(at, _, _)| *at);
    Told {
        title: cause_label(promotion.cause),
        at: Stamp(promotion.seen_at),
        way: way(promotion, members),
        took: gap(promotion).map_or(String::new(), duration_text),
        epoch: promotion.epoch,
        operation: promotion.operation_id.as_ref().map_or(String::new(), paths::operation),
        lines: with_gaps(lines),
    }
}

fn with_gaps(lines: Vec<(DateTime<Utc>, &'static str, String)>) -> Vec<Line> {
    let mut before: Option<DateTime<Utc>> = None;
    let mut told = vec![];
    for (at, what, text) in lines {
        let after =
            before.map_or(String::new(), |before| format!("+ {}", duration_text(at - before)));
        before = Some(at);
        told.push(Line { at: ClockTime(at), what, text, after });
    }
    told
}

fn decided(promotion: &Promotion) -> String {
    let mut text = format!("{}, epoch {}.", cause_label(promotion.cause), promotion.epoch);
    if let Some(received) = promotion.received_lsn {
        text.push_str(&format!(" The standby had received the log up to {received}"));
        match promotion.stopped_lsn {
            Some(stopped) => text.push_str(&format!("; the primary was stopped at {stopped}.")),
            None => text.push('.'),
        }
    }
    if let (Some(timeline), Some(fork)) = (promotion.timeline, promotion.fork_lsn) {
        text.push_str(&format!(" Timeline {timeline} begins at {fork}."));
    }
    text
}

fn step_line(step: &StepRecord) -> Option<(DateTime<Utc>, &'static str, String)> {
    let done = matches!(step.status, StepStatus::Done | StepStatus::Failed);
    let ended = step.ended_at.filter(|_| done)?;
    let failed = if step.status == StepStatus::Failed { " (failed)" } else { "" };
    Some((ended, "Done", format!("{}{failed}.", step.title)))
}

fn way(promotion: &Promotion, members: &[Member]) -> String {
    let zone = |id: &MemberId| {
        let member = members.iter().find(|member| member.id == *id)?;
        Some(member.zone.as_str()).filter(|zone| !zone.is_empty())
    };
    match (zone(&promotion.from_member), zone(&promotion.to_member)) {
        (Some(from), Some(to)) => format!("zone {from} to zone {to}"),
        (None, Some(to)) => format!("to zone {to}"),
        _ => String::new(),
    }
}

/// An operation on the pair that is under way, or that failed last.
pub struct Work {
    pub label: &'static str,
    pub chip: Chip,
    pub path: String,
    /// Why it failed and what to do; empty while it runs.
    pub note: String,
}

/// What is at work on a pair, newest first; without any, the last one if it failed.
pub fn works(operations: &[Operation]) -> Vec<Work> {
    let mut of_pair = operations.iter().filter(|one| one.kind.is_of_a_pair()).peekable();
    let failed = of_pair.peek().filter(|one| one.status == OperationStatus::Failed).copied();
    let open = of_pair.filter(|one| one.status.is_active());
    let open: Vec<Work> = open.map(work).collect();
    if open.is_empty() { failed.map(work).into_iter().collect() } else { open }
}

fn work(operation: &Operation) -> Work {
    let texts = [operation.error.as_deref(), operation.advice.as_deref()];
    Work {
        label: operation.kind.label(),
        chip: operation.status.into(),
        path: paths::operation(&operation.id),
        note: texts.into_iter().flatten().collect::<Vec<_>>().join(" "),
    }
}

/// A line of the timeline.
pub struct EventLine {
    pub at: Stamp,
    pub epoch: i64,
    pub text: String,
    pub operation: String,
}

pub fn event_line(event: &HaEvent) -> EventLine {
    EventLine {
        at: Stamp(event.at),
        epoch: event.epoch,
        text: event.detail.clone(),
        operation: event.operation_id.as_ref().map_or(String::new(), paths::operation),
    }
}

/// A drill as a row.
pub struct DrillLine {
    pub at: Stamp,
    pub chip: Chip,
    pub gap: String,
    pub writes: String,
    pub lost: String,
    pub operation: String,
    /// Why nothing was measured; empty otherwise.
    pub note: String,
}

pub fn drill_line(drill: &HaDrill) -> DrillLine {
    let is_running = drill.ended_at.is_none() && drill.outcome == DRILL_RUNNING;
    let measured = |text: String| if is_running { "not yet".into() } else { text };
    DrillLine {
        at: Stamp(drill.started_at),
        chip: drill_chip(drill, is_running),
        gap: match drill.gap_micros {
            Some(micros) => seconds_text(micros as f64 / 1_000_000.0),
            None => measured("not measured".into()),
        },
        writes: measured(drill.writes.to_string()),
        lost: measured(drill.lost.to_string()),
        operation: drill.operation_id.as_ref().map_or(String::new(), paths::operation),
        // A single word is the measurer's; a sentence is for people.
        note: Some(&drill.outcome).filter(|text| text.contains(' ')).cloned().unwrap_or_default(),
    }
}

fn drill_chip(drill: &HaDrill, is_running: bool) -> Chip {
    if is_running {
        Chip::new("Under way", Icon::Spinner, Tone::Busy)
    } else if drill.lost > 0 {
        Chip::new("Lost commits", Icon::Cross, Tone::Danger)
    } else if drill.gap_micros.is_some() && drill.outcome.contains(' ') {
        // It was measured, and did not go as it should: the note says how.
        Chip::new("Nothing lost, but", Icon::Warning, Tone::Warn)
    } else if drill.gap_micros.is_some() {
        Chip::new("Nothing lost", Icon::Check, Tone::Ok)
    } else {
        Chip::new("Not measured", Icon::Minus, Tone::Idle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ha::Lsn;
    use crate::domain::ids::ServerId;

    fn at(millis: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_790_000_000_000 + millis).unwrap()
    }

    fn promotion(cause: Cause, opened: Option<i64>) -> Promotion {
        let id = |end: &str| MemberId::parse(&format!("01890a5d-ac96-774b-bcce-b302099a80{end}"));
        Promotion {
            id: "p".into(),
            server_id: ServerId::parse("01890a5d-ac96-774b-bcce-b302099a8057").unwrap(),
            epoch: 2,
            cause,
            reason: "The primary's container has ended.".into(),
            from_member: id("01").unwrap(),
            to_member: id("02").unwrap(),
            parent_timeline: 1,
            timeline: Some(2),
            stopped_lsn: None,
            received_lsn: Some(Lsn(0x3000)),
            fork_lsn: Some(Lsn(0x3000)),
            operation_id: None,
            seen_at: at(0),
            decided_at: at(400),
            opened_at: opened.map(at),
        }
    }

    #[test]
    fn the_story_goes_from_the_first_sign_to_the_clients() {
        let told = told(&promotion(Cause::Automatic, Some(1600)), &[], &[]);
        assert_eq!((told.took.as_str(), told.title), ("1.6 s", "Automatic failover"));
        let what: Vec<_> = told.lines.iter().map(|line| (line.what, line.after.as_str())).collect();
        assert_eq!(what, [("Seen", ""), ("Decided", "+ 0.4 s"), ("Done", "+ 1.2 s")]);
        assert!(told.lines[1].text.contains("0/3000") && told.lines[1].text.contains("Timeline 2"));
        let open = super::told(&promotion(Cause::Planned, None), &[], &[]);
        assert_eq!((open.took.as_str(), open.lines.len()), ("", 2));
    }

    #[test]
    fn only_failovers_that_ended_count_as_measured() {
        let all = [promotion(Cause::Planned, None), promotion(Cause::Planned, Some(900))];
        assert_eq!(usual(&all, &[Cause::Planned]), Some(("0.9 s".into(), 1)));
        assert_eq!(usual(&all, &[Cause::Forced]), None);
    }

    #[test]
    fn a_drill_without_figures_shows_none() {
        let drill = HaDrill {
            operation_id: None,
            started_at: at(0),
            ended_at: None,
            writes: 0,
            lost: 0,
            gap_micros: None,
            outcome: DRILL_RUNNING.into(),
        };
        assert_eq!(drill_line(&drill).writes, "not yet");
        let ended = HaDrill {
            ended_at: Some(at(9)),
            gap_micros: Some(812_000),
            writes: 90,
            outcome: "passed".into(),
            ..drill.clone()
        };
        let line = drill_line(&ended);
        assert_eq!((line.gap.as_str(), line.chip.text), ("0.8 s", "Nothing lost"));
        let lost = HaDrill { lost: 1, ..ended };
        assert_eq!(drill_line(&lost).chip.text, "Lost commits");
        let given_up =
            HaDrill { ended_at: Some(at(9)), outcome: "The portal was ended.".into(), ..drill };
        let line = drill_line(&given_up);
        assert_eq!((line.chip.text, line.note.as_str()), ("Not measured", "The portal was ended."));
    }
}
