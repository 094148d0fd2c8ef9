//! The page of one operation as a view-model: pure functions of what the store says and the time.

use super::facts::Facts;
use super::log::{self, LogView};
use super::outcome::{self, Outcome};
use super::steps::{self, Rest, StepView};
use crate::domain::activity::Actor;
use crate::domain::ids::OperationId;
use crate::domain::operation::{Operation, OperationKind, OperationStatus};
use crate::operations::kinds;
use crate::web::label::Chip;
use crate::web::paths;
use crate::web::time::{Stamp, duration_text};
use chrono::{DateTime, Duration, Utc};

/// A queued operation that nobody takes for this long deserves a word.
const QUEUE_SLOW: Duration = Duration::seconds(10);

/// The page without its frame.
#[derive(Debug, Clone, PartialEq)]
pub struct OperationView {
    pub id: OperationId,
    pub path: String,
    pub headline: String,
    pub chip: Chip,
    pub server_name: String,
    /// Link to the server, while it is on record.
    pub server: Option<String>,
    pub asked_by: String,
    /// Address it was asked from; empty when the portal itself asked.
    pub asked_from: String,
    pub asked_at: Stamp,
    pub ended_at: Option<Stamp>,
    /// What clients notice while it goes on; empty once it has settled.
    pub availability: &'static str,
    pub progress: Progress,
    pub steps: Vec<StepView>,
    pub log: Vec<LogView>,
    pub warnings: Vec<String>,
    pub outcome: Option<Outcome>,
    pub controls: Controls,
    pub retry_of: Option<String>,
    pub successor: Option<String>,
    /// Where changes come from while it goes on; empty when it has settled.
    pub events: String,
    /// One sentence for people who do not see the list; changes with each step, not with each second.
    pub summary: String,
}

impl OperationView {
    pub fn retry_path(&self) -> String {
        paths::operation_retry(&self.id)
    }

    pub fn cancel_path(&self) -> String {
        paths::operation_cancel(&self.id)
    }

    pub fn abandon_path(&self) -> String {
        paths::operation_abandon(&self.id)
    }
}

/// How far it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// Whether a bar says something true: not after what was done is taken back.
    pub has_bar: bool,
    pub done: usize,
    pub total: usize,
    pub text: String,
    pub elapsed: String,
    /// What is left, from earlier operations; empty when there is nothing to say.
    pub rest: String,
}

/// What a person may do now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Controls {
    /// Words of the retry button; empty for none.
    pub retry: &'static str,
    pub cancel: bool,
    pub abandon: bool,
    /// Way to delete what a failed creation left on record.
    pub delete: Option<String>,
    /// Why something that a person may look for is not offered.
    pub note: String,
}

impl Controls {
    /// Whether there is any button.
    pub fn any(&self) -> bool {
        !self.retry.is_empty() || self.cancel || self.abandon || self.delete.is_some()
    }
}

/// The page of an operation for somebody who may or may not change servers.
pub fn view(facts: &Facts, may_change: bool, now: DateTime<Utc>) -> OperationView {
    let operation = &facts.operation;
    let progress = progress(facts, now);
    let steps = steps::views(operation, &facts.steps, &facts.usual, now);
    OperationView {
        id: operation.id.clone(),
        path: paths::operation(&operation.id),
        headline: headline(operation),
        chip: Chip::from(operation.status),
        server_name: operation.server_name.clone(),
        server: facts.server.as_ref().map(|server| paths::server(&server.id)),
        asked_by: operation.requested_by.clone(),
        asked_from: asked_from(operation),
        asked_at: Stamp(operation.created_at),
        ended_at: operation.ended_at.map(Stamp),
        availability: if operation.status.is_settled() {
            ""
        } else {
            operation.kind.availability()
        },
        summary: summary(operation, &progress, &steps),
        progress,
        steps,
        log: log::views(&facts.log),
        warnings: warnings(operation, now),
        outcome: outcome::of(facts),
        controls: controls(facts, may_change),
        retry_of: operation.retry_of.as_ref().map(paths::operation),
        successor: facts.successor.as_ref().map(paths::operation),
        events: events(operation),
    }
}

fn asked_from(operation: &Operation) -> String {
    let address = &operation.requested_from;
    if *address == Actor::system().address { String::new() } else { address.clone() }
}

/// "Create server shop", "Scale compute to D4ds_v5 · shop".
pub fn headline(operation: &Operation) -> String {
    let (label, name) = (operation.kind.label(), &operation.server_name);
    match operation.about() {
        "" if label.ends_with("server") => format!("{label} {name}"),
        "" => format!("{label} of {name}"),
        about => format!("{label} {about} · {name}"),
    }
}

fn events(operation: &Operation) -> String {
    if operation.status.is_settled() {
        String::new()
    } else {
        paths::operation_events(&operation.id)
    }
}

fn progress(facts: &Facts, now: DateTime<Utc>) -> Progress {
    let operation = &facts.operation;
    let (done, total) = (steps::done(&facts.steps), facts.steps.len());
    let text = match operation.status {
        OperationStatus::Undoing => match steps::to_take_back(&facts.steps) {
            1 => "Taking back: 1 step left".into(),
            left => format!("Taking back: {left} steps left"),
        },
        OperationStatus::Failed | OperationStatus::Cancelled => {
            format!("ended at step {} of {total}", steps::last_begun(&facts.steps))
        }
        _ => format!("{done} of {total} steps"),
    };
    let has_bar = !matches!(operation.status, OperationStatus::Failed | OperationStatus::Cancelled);
    let elapsed = operation.ended_at.unwrap_or(now) - operation.created_at;
    Progress { has_bar, done, total, text, elapsed: duration_text(elapsed), rest: rest(facts, now) }
}

fn rest(facts: &Facts, now: DateTime<Utc>) -> String {
    if !matches!(facts.operation.status, OperationStatus::Queued | OperationStatus::Running) {
        return String::new();
    }
    match steps::rest(&facts.steps, &facts.usual, now) {
        Rest::Unmeasured => "time left: not measured yet".into(),
        Rest::Overdue => "longer than usual".into(),
        Rest::About(rest) if rest < Duration::milliseconds(100) => "should end any moment".into(),
        Rest::About(rest) => format!("about {} left", duration_text(rest)),
    }
}

fn summary(operation: &Operation, progress: &Progress, steps: &[StepView]) -> String {
    let at = steps.iter().find(|step| step.is_current);
    let at = at.map_or(String::new(), |step| format!(", now: {}", step.title));
    format!("{}: {}, {}{at}.", headline(operation), operation.status.label(), progress.text)
}

fn warnings(operation: &Operation, now: DateTime<Utc>) -> Vec<String> {
    let mut warnings = vec![];
    let waited = now - operation.created_at;
    if operation.status == OperationStatus::Queued && waited > QUEUE_SLOW {
        warnings.push(format!(
            "No runner has taken it for {}. It is kept and starts by itself; check that a pgflex process with the role “runner” is up.",
            duration_text(waited)
        ));
    }
    if !operation.status.is_settled() && now > operation.deadline_at {
        warnings.push(format!(
            "This takes longer than expected: it should have ended within {} and has been going on for {}. It goes on trying. Look at the step at work and at the log below, and at the Hosts page.",
            duration_text(operation.kind.deadline()),
            duration_text(waited)
        ));
    }
    warnings
}

fn controls(facts: &Facts, may_change: bool) -> Controls {
    let offered = offered(facts);
    if may_change || !offered.any() {
        return offered;
    }
    Controls {
        note: "Your role is Reader. A Contributor can act on this operation.".into(),
        ..Controls::default()
    }
}

fn offered(facts: &Facts) -> Controls {
    match facts.operation.status {
        OperationStatus::Succeeded | OperationStatus::Undoing => Controls::default(),
        OperationStatus::Queued | OperationStatus::Running => while_running(&facts.operation),
        OperationStatus::NeedsAttention => {
            Controls { retry: "Retry from the failed step", abandon: true, ..Controls::default() }
        }
        OperationStatus::Failed | OperationStatus::Cancelled => after_failure(facts),
    }
}

fn while_running(operation: &Operation) -> Controls {
    let note = match (
        kinds::is_past_return(operation, operation.cursor),
        operation.cancel_requested,
    ) {
        (true, true) => {
            "The request to cancel came after the point of no return. It goes on to its end."
        }
        (true, false) => "It is past the point of no return and can no longer be cancelled.",
        (false, true) => {
            "It was asked to cancel. It stops when the step at work has ended, and takes back what it did."
        }
        (false, false) => return Controls { cancel: true, ..Controls::default() },
    };
    Controls { note: note.into(), ..Controls::default() }
}

/// Nothing is left half done, so there is no step to go on from.
const RETRY: &str = "Retry as a new operation";

fn after_failure(facts: &Facts) -> Controls {
    // A later try speaks for itself; without the server there is nothing to try.
    let Some(server) = facts.server.as_ref().filter(|_| facts.successor.is_none()) else {
        return Controls::default();
    };
    if let Err(refusal) = facts.operation.kind.check_legal(server.settled, server.active) {
        let note = format!("It cannot be tried again now. {}", refusal.text);
        return Controls { note, ..Controls::default() };
    }
    let is_create = facts.operation.kind == OperationKind::Create;
    let delete = is_create.then(|| paths::server_delete(&server.id));
    Controls { retry: RETRY, delete, ..Controls::default() }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{facts, now};
    use super::*;
    use crate::domain::operation::OperationStatus::*;
    use crate::domain::operation::StepStatus;

    #[test]
    fn buttons_follow_the_status_and_the_role() {
        let shown = |status| view(&facts(OperationKind::Create, status), true, now()).controls;
        assert!(shown(Running).cancel && shown(Queued).cancel);
        assert!(!shown(Undoing).any() && !shown(Succeeded).any());
        assert!(shown(Failed).retry == RETRY && shown(Failed).delete.is_some());
        assert!(shown(NeedsAttention).abandon && !shown(NeedsAttention).cancel);
        let reader = view(&facts(OperationKind::Create, Failed), false, now()).controls;
        assert!(!reader.any() && reader.note.contains("Contributor"));
    }

    #[test]
    fn past_the_point_of_no_return_there_is_no_cancel() {
        let mut delete = facts(OperationKind::Delete, Running);
        assert!(view(&delete, true, now()).controls.cancel);
        delete.operation.cursor = 4;
        let controls = view(&delete, true, now()).controls;
        assert!(!controls.cancel && controls.note.contains("point of no return"));
    }

    #[test]
    fn what_takes_too_long_is_said() {
        let mut late = facts(OperationKind::Create, Running);
        assert!(view(&late, true, now()).warnings.is_empty());
        late.operation.deadline_at = now() - Duration::minutes(1);
        assert!(view(&late, true, now()).warnings[0].contains("longer than expected"));
        let mut queued = facts(OperationKind::Create, Queued);
        queued.operation.created_at = now() - Duration::minutes(1);
        assert!(view(&queued, true, now()).warnings[0].contains("No runner"));
    }

    #[test]
    fn progress_counts_steps_and_the_summary_names_the_one_at_work() {
        let mut running = facts(OperationKind::Create, Running);
        running.steps[0].status = StepStatus::Done;
        running.steps[1].status = StepStatus::Running;
        let view = view(&running, true, now());
        assert_eq!(view.progress.text, "1 of 11 steps");
        assert_eq!(
            view.summary,
            "Create server shop: Running, 1 of 11 steps, now: Have the PostgreSQL image ready."
        );
        assert!(view.events.ends_with("/events"));
    }
}
