//! The plan of an operation as a list of steps: how each stands, how long it took and usually takes.

use super::facts::Usual;
use super::outcome::sentence;
use crate::domain::operation::{Operation, OperationStatus, StepRecord, StepStatus};
use crate::web::label::{Chip, Icon, Tone};
use crate::web::time::{ClockTime, duration_text};
use chrono::{DateTime, Duration, Utc};

/// One step as the page shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct StepView {
    pub chip: Chip,
    pub title: String,
    /// When it began, where that tells something: the list of quick steps reads better without.
    pub started: Option<ClockTime>,
    /// Time it took, or takes up to now; empty before it began and once it was taken back.
    pub took: String,
    /// "usually 1.4 s" or "not measured yet"; empty for a step that will not run any more.
    pub usual: String,
    /// Why it waits or failed.
    pub note: String,
    pub attempts: i64,
    /// Whether this is the step at work.
    pub is_current: bool,
}

impl StepView {
    pub fn class(&self) -> &'static str {
        self.chip.tone.class()
    }
}

/// The steps of an operation, in order.
pub fn views(
    operation: &Operation,
    steps: &[StepRecord],
    usual: &Usual,
    now: DateTime<Utc>,
) -> Vec<StepView> {
    steps.iter().map(|step| view(operation, step, usual, now)).collect()
}

fn view(operation: &Operation, step: &StepRecord, usual: &Usual, now: DateTime<Utc>) -> StepView {
    let has_failed = operation.failed_step.as_deref() == Some(step.name.as_str());
    StepView {
        chip: chip(operation.status, step.status, has_failed),
        title: step.title.clone(),
        started: step.started_at.filter(|_| tells_its_begin(operation, step, now)).map(ClockTime),
        took: took(step, now).map(duration_text).unwrap_or_default(),
        usual: usual_text(operation, step, usual),
        note: note(operation, step, has_failed),
        // The undo counts as a begin of the step too; what it did is no attempt.
        attempts: if matches!(step.status, StepStatus::Undoing | StepStatus::Undone) {
            1
        } else {
            step.attempts
        },
        is_current: is_current(operation.status, step.status),
    }
}

/// Word and shape. A step that failed and was taken back says both; an undo that is stuck says so.
fn chip(operation: OperationStatus, step: StepStatus, has_failed: bool) -> Chip {
    match (operation, step) {
        (OperationStatus::NeedsAttention, StepStatus::Undoing) => {
            Chip::new("Undo is stuck", Icon::Warning, Tone::Danger)
        }
        (_, StepStatus::Undone) if has_failed => {
            Chip::new("Failed, undone", Icon::Cross, Tone::Danger)
        }
        (_, StepStatus::Undoing) if has_failed => {
            Chip::new("Failed, undoing", Icon::Undo, Tone::Danger)
        }
        (OperationStatus::Failed | OperationStatus::Cancelled, StepStatus::Skipped) => {
            Chip::new("Not reached", Icon::Minus, Tone::Idle)
        }
        (status, StepStatus::Running | StepStatus::Waiting | StepStatus::Undoing)
            if status.is_settled() =>
        {
            Chip::new("Not finished", Icon::Warning, Tone::Warn)
        }
        _ => Chip::from(step),
    }
}

fn is_current(operation: OperationStatus, step: StepStatus) -> bool {
    !operation.is_settled()
        && matches!(step, StepStatus::Running | StepStatus::Waiting | StepStatus::Undoing)
}

/// What the step itself noted; for a failed one the operation's reason, which survives the undo.
fn note(operation: &Operation, step: &StepRecord, has_failed: bool) -> String {
    let own = step.note.clone().filter(|text| !text.is_empty());
    let reason = operation.error.clone().filter(|_| has_failed);
    own.or(reason).map(|text| sentence(&text)).unwrap_or_default()
}

/// Shorter steps say how long they took, not when they began.
const QUICK: Duration = Duration::seconds(1);

fn tells_its_begin(operation: &Operation, step: &StepRecord, now: DateTime<Utc>) -> bool {
    let has_failed = operation.failed_step.as_deref() == Some(step.name.as_str());
    let is_open = matches!(
        step.status,
        StepStatus::Running | StepStatus::Waiting | StepStatus::Undoing | StepStatus::Failed
    );
    let has_waited = step.attempts > 1 && step.status != StepStatus::Undone;
    let is_long = took(step, now).is_some_and(|length| length >= QUICK);
    has_failed || is_open || has_waited || is_long
}

fn took(step: &StepRecord, now: DateTime<Utc>) -> Option<Duration> {
    let started = step.started_at?;
    match step.status {
        StepStatus::Running | StepStatus::Waiting => Some(now - started),
        StepStatus::Done | StepStatus::Failed => Some(step.ended_at? - started),
        // Their end is the end of the undo: the length would mean nothing.
        StepStatus::Undoing | StepStatus::Undone | StepStatus::Pending | StepStatus::Skipped => {
            None
        }
    }
}

fn usual_text(operation: &Operation, step: &StepRecord, usual: &Usual) -> String {
    let has_run = matches!(step.status, StepStatus::Done | StepStatus::Failed);
    if operation.status.is_settled() && !has_run {
        return String::new();
    }
    match usual.get(&step.name) {
        Some(seconds) => format!("usually {}", duration_text(length(*seconds))),
        // Where nothing was measured yet, the elapsed time says so once instead of every line.
        None if usual.is_empty() => String::new(),
        None => "not measured yet".into(),
    }
}

fn length(seconds: f64) -> Duration {
    // A step takes minutes, not ages: the cast cannot overflow in practice, and saturates anyhow.
    Duration::milliseconds((seconds * 1000.0) as i64)
}

/// How many steps are done.
pub fn done(steps: &[StepRecord]) -> usize {
    steps.iter().filter(|step| step.status == StepStatus::Done).count()
}

/// The number, counted from one, of the last step that was begun.
pub fn last_begun(steps: &[StepRecord]) -> usize {
    steps.iter().rposition(|step| step.started_at.is_some()).map_or(0, |at| at + 1)
}

/// How many begun steps are still to be taken back.
pub fn to_take_back(steps: &[StepRecord]) -> usize {
    steps
        .iter()
        .filter(|step| step.started_at.is_some() && step.status != StepStatus::Undone)
        .count()
}

/// The rest of the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// From what the steps usually take.
    About(Duration),
    /// Not all of it was measured before.
    Unmeasured,
    /// The step at work takes much longer than usual: what comes next is no guide.
    Overdue,
}

/// A step is overdue after twice its usual time and this.
const GRACE: Duration = Duration::seconds(3);

/// The rest of the way, told only when earlier operations allow it.
pub fn rest(steps: &[StepRecord], usual: &Usual, now: DateTime<Utc>) -> Rest {
    let mut rest = Duration::zero();
    let open = |step: &&StepRecord| {
        matches!(step.status, StepStatus::Pending | StepStatus::Running | StepStatus::Waiting)
    };
    for step in steps.iter().filter(open) {
        let Some(seconds) = usual.get(&step.name) else { return Rest::Unmeasured };
        let (usual, spent) = (length(*seconds), now - step.started_at.unwrap_or(now));
        if spent > usual * 2 + GRACE {
            return Rest::Overdue;
        }
        rest += (usual - spent).max(Duration::zero());
    }
    Rest::About(rest)
}

#[cfg(test)]
mod tests {
    use super::super::samples::{now, operation, step};
    use super::*;

    #[test]
    fn a_step_says_how_long_it_takes_and_usually_takes() {
        let operation = operation(OperationStatus::Running);
        let steps =
            [step(0, StepStatus::Done), step(1, StepStatus::Running), step(2, StepStatus::Pending)];
        let usual = Usual::from([("step_0".into(), 1.44), ("step_1".into(), 5.0)]);
        let views = views(&operation, &steps, &usual, now());
        assert_eq!((views[0].took.as_str(), views[0].usual.as_str()), ("2.0 s", "usually 1.4 s"));
        assert!(views[1].is_current && views[1].took == "3.0 s");
        assert_eq!((views[2].took.as_str(), views[2].usual.as_str()), ("", "not measured yet"));
    }

    #[test]
    fn only_a_step_that_took_its_time_says_when_it_began() {
        let operation = operation(OperationStatus::Running);
        let mut quick = step(0, StepStatus::Done);
        quick.ended_at = quick.started_at.map(|at| at + Duration::milliseconds(300));
        let started = |step: &StepRecord| view(&operation, step, &Usual::new(), now()).started;
        assert!(started(&quick).is_none());
        let again = StepRecord { attempts: 2, ..quick.clone() };
        assert!(started(&again).is_some());
        assert!(started(&step(1, StepStatus::Running)).is_some());
        assert!(started(&step(1, StepStatus::Undone)).is_none());
        let mut failed = operation.clone();
        failed.failed_step = Some(quick.name.clone());
        assert!(view(&failed, &quick, &Usual::new(), now()).started.is_some());
    }

    #[test]
    fn the_rest_is_told_only_when_all_of_it_was_measured() {
        let steps =
            [step(0, StepStatus::Done), step(1, StepStatus::Running), step(2, StepStatus::Pending)];
        let mut usual = Usual::from([("step_1".into(), 5.0)]);
        assert_eq!(rest(&steps, &usual, now()), Rest::Unmeasured);
        usual.insert("step_2".into(), 4.0);
        assert_eq!(rest(&steps, &usual, now()), Rest::About(Duration::seconds(6)));
        let late = now() + Duration::minutes(1);
        assert_eq!(rest(&steps, &usual, late), Rest::Overdue);
    }

    #[test]
    fn a_failed_step_stays_failed_after_its_undo() {
        let mut failed = operation(OperationStatus::Failed);
        failed.failed_step = Some("step_0".into());
        failed.error = Some("no space".into());
        let view = &views(&failed, &[step(0, StepStatus::Undone)], &Usual::new(), now())[0];
        assert_eq!((view.chip.text, view.note.as_str()), ("Failed, undone", "No space."));
        let parked = operation(OperationStatus::NeedsAttention);
        let view = &views(&parked, &[step(0, StepStatus::Undoing)], &Usual::new(), now())[0];
        assert_eq!(view.chip.text, "Undo is stuck");
        assert!(!view.is_current);
    }
}
