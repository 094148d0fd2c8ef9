//! How an operation ended, in words: what happened, what was left, what to do.

use super::facts::Facts;
use super::words;
use crate::domain::operation::{Operation, OperationKind, OperationStatus, StepRecord, StepStatus};
use crate::operations::kinds;
use crate::web::paths;

/// The panel at the top of an operation that has ended or waits for a person.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Class of the banner.
    pub class: &'static str,
    pub title: String,
    /// Pairs of a term and its text; without a term it is a plain sentence.
    pub lines: Vec<(&'static str, String)>,
    pub links: Vec<Link>,
}

/// Where to go on.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    pub label: &'static str,
    pub href: String,
    pub is_primary: bool,
}

/// The panel; `None` while the operation goes on by itself.
pub fn of(facts: &Facts) -> Option<Outcome> {
    match facts.operation.status {
        OperationStatus::Queued | OperationStatus::Running | OperationStatus::Undoing => None,
        OperationStatus::Succeeded => Some(succeeded(facts)),
        OperationStatus::Failed => Some(failed(facts)),
        OperationStatus::Cancelled => Some(cancelled(facts)),
        OperationStatus::NeedsAttention => Some(needs_attention(facts)),
    }
}

fn succeeded(facts: &Facts) -> Outcome {
    let id = &facts.operation.server_id;
    let link = |label, href, is_primary| Link { label, href, is_primary };
    let overview = |is_primary| link("Go to the server", paths::server(id), is_primary);
    let list = || link("Go to the list of servers", paths::servers(), true);
    let (text, links) = match facts.operation.kind {
        OperationKind::Delete => (words::of(OperationKind::Delete).succeeded, vec![list()]),
        _ if facts.server.is_none() => ("The server was deleted since.", vec![list()]),
        OperationKind::Create => (
            words::of(OperationKind::Create).succeeded,
            vec![link("Connect", paths::server_connect(id), true), overview(false)],
        ),
        kind => (words::of(kind).succeeded, vec![overview(true)]),
    };
    Outcome {
        class: "banner-ok",
        title: "It succeeded.".into(),
        lines: vec![("", text.into())],
        links,
    }
}

fn failed(facts: &Facts) -> Outcome {
    let mut lines = vec![("What happened", what_happened(facts)), ("What was left", left(facts))];
    lines.push(("What to do", what_to_do(facts)));
    Outcome { class: "banner-danger", title: failed_title(facts), lines, links: server_link(facts) }
}

/// The advice, and what a retry means: nothing is done twice, but nothing is promised to go on half way.
fn what_to_do(facts: &Facts) -> String {
    let advice = facts.operation.advice.as_deref().unwrap_or(NO_ADVICE);
    let has_undone = facts.steps.iter().any(|step| step.status == StepStatus::Undone);
    let retry = match (facts.server.is_some() && facts.successor.is_none(), has_undone) {
        (false, _) => "",
        (true, true) => {
            " A retry is a new operation from the first step, because what this one did was taken back."
        }
        (true, false) => {
            " A retry is a new operation; its steps find what is right already and go on at once to what failed."
        }
    };
    format!("{}{retry}", sentence(advice))
}

const NO_ADVICE: &str = "Look at the log below, mend what it names, then retry.";

fn failed_title(facts: &Facts) -> String {
    match failed_title_of(facts) {
        Some(title) => format!("It failed at “{title}”."),
        None => "It failed.".into(),
    }
}

/// Words of the step that failed.
fn failed_title_of(facts: &Facts) -> Option<&str> {
    let name = facts.operation.failed_step.as_deref()?;
    Some(facts.steps.iter().find(|step| step.name == name)?.title.as_str())
}

fn what_happened(facts: &Facts) -> String {
    facts.operation.error.as_deref().map_or_else(|| "No reason was recorded.".into(), sentence)
}

/// A reason as a sentence: errors of programs begin small and end without a point.
pub fn sentence(text: &str) -> String {
    let text = text.trim();
    let first_word = text.split(char::is_whitespace).next().unwrap_or_default();
    let is_word = first_word.chars().all(|c| c.is_ascii_lowercase());
    let mut said = match text.chars().next() {
        Some(first) if is_word => format!("{}{}", first.to_uppercase(), &text[first.len_utf8()..]),
        _ => text.to_owned(),
    };
    if said.ends_with(|c: char| c.is_alphanumeric() || c == ')' || c == '”') {
        said.push('.');
    }
    said
}

fn cancelled(facts: &Facts) -> Outcome {
    let lines = vec![("What was left", left(facts))];
    let title = "It was cancelled.".into();
    Outcome { class: "banner-info", title, lines, links: server_link(facts) }
}

fn needs_attention(facts: &Facts) -> Outcome {
    let stuck_undo = facts.steps.iter().find(|step| step.status == StepStatus::Undoing);
    let mut lines = vec![("What happened", what_happened(facts))];
    lines.extend(
        stuck_undo
            .and_then(|step| step.note.as_deref())
            .map(|note| ("Why it cannot be undone", sentence(note))),
    );
    lines.push(("What was left", half_way(stuck_undo)));
    lines.push(("What to do", choice(facts, stuck_undo)));
    let title = match failed_title_of(facts) {
        Some(step) => format!("It needs your decision: “{step}” failed."),
        None => "It needs your decision.".into(),
    };
    Outcome { class: "banner-danger", title, lines, links: server_link(facts) }
}

/// Where a parked operation stands.
fn half_way(stuck_undo: Option<&StepRecord>) -> String {
    let holds = "Nothing more happens by itself, and nothing else can change the server meanwhile.";
    match stuck_undo {
        Some(step) => format!(
            "Taking back “{}” does not work either; it was tried many times. What was begun before it is still there. {holds}",
            step.title
        ),
        None => format!(
            "The step failed after the point of no return: it can only go forward. The steps shown as done stay done. {holds}"
        ),
    }
}

/// Advice on the first failure is no help while its undo is stuck: that comes first.
fn choice(facts: &Facts, stuck_undo: Option<&StepRecord>) -> String {
    match stuck_undo {
        Some(step) => format!(
            "Mend what keeps it from being undone, then retry: it goes on with taking back “{}”. Abandon gives up and may leave things behind.",
            step.title
        ),
        None => format!(
            "{} Retry goes on from the failed step; the steps before it are not run again. Abandon gives up and may leave things behind.",
            facts.operation.advice.as_deref().unwrap_or_default()
        )
        .trim()
        .to_owned(),
    }
}

fn server_link(facts: &Facts) -> Vec<Link> {
    let link = |server: &crate::domain::server::Server| Link {
        label: "Go to the server",
        href: paths::server(&server.id),
        is_primary: false,
    };
    facts.server.iter().map(link).collect()
}

/// What is there after an operation that did not succeed.
fn left(facts: &Facts) -> String {
    let kind = facts.operation.kind;
    let gone = facts.server.is_none();
    let text = match (kind, is_given_up(&facts.operation, &facts.steps)) {
        (OperationKind::Create | OperationKind::Restore, true) if gone => "It was given up.",
        (kind, true) => words::of(kind).given_up,
        (kind, false) => words::of(kind).taken_back,
    };
    format!("{text}{}", server_stays(kind, gone))
}

fn server_stays(kind: OperationKind, gone: bool) -> &'static str {
    match (kind, gone) {
        (_, true) => " The server was deleted since.",
        (OperationKind::Create | OperationKind::Restore, false) => {
            " The server stays on the list with its settings, so that it can be tried again or deleted."
        }
        _ => "",
    }
}

/// Whether it ended without being taken back: a person abandoned it. Then a step that was begun and
/// could be undone is not undone, or one without return is done.
pub fn is_given_up(operation: &Operation, steps: &[StepRecord]) -> bool {
    let done = steps.iter().filter(|step| step.status == StepStatus::Done);
    let finished = done.map(|step| step.ordinal + 1).max().unwrap_or(0);
    let left = |step: &&StepRecord| {
        step.started_at.is_some()
            && step.status != StepStatus::Undone
            && kinds::has_undo(operation, &step.name)
    };
    kinds::is_past_return(operation, finished) || steps.iter().any(|step| left(&step))
}

#[cfg(test)]
mod tests {
    use super::super::samples::{facts, now};
    use super::*;
    use crate::domain::operation::OperationStatus::*;

    fn text(outcome: &Outcome) -> String {
        let lines: Vec<_> =
            outcome.lines.iter().map(|(term, text)| format!("{term}: {text}")).collect();
        format!("{} {}", outcome.title, lines.join(" "))
    }

    #[test]
    fn an_operation_under_way_has_no_outcome() {
        for status in [Queued, Running, Undoing] {
            assert_eq!(of(&facts(OperationKind::Create, status)), None);
        }
    }

    #[test]
    fn a_failure_says_which_step_why_what_is_left_and_what_to_do() {
        let mut failed = facts(OperationKind::Create, Failed);
        failed.operation.failed_step = Some("create_volume".into());
        failed.operation.error = Some("the host has no space left".into());
        failed.operation.advice = Some("Free disk space on the host, then retry.".into());
        for step in &mut failed.steps[..5] {
            step.started_at = Some(now());
            step.status = StepStatus::Undone;
        }
        let said = text(&of(&failed).unwrap());
        for part in [
            "“Create the data volume”",
            "no space left",
            "no container, volume or network is left",
            "Free disk space",
        ] {
            assert!(said.contains(part), "{part} in {said}");
        }
        // Given up half way, the same must not be promised.
        failed.steps[4].status = StepStatus::Undoing;
        let said = text(&of(&failed).unwrap());
        assert!(said.contains("given up") && !said.contains("Everything it made"), "{said}");
    }

    #[test]
    fn reasons_become_sentences() {
        assert_eq!(sentence("the host has no space left"), "The host has no space left.");
        assert_eq!(sentence("pgflex-1-data exists"), "pgflex-1-data exists.");
        assert_eq!(sentence("It ended."), "It ended.");
        assert_eq!(sentence(""), "");
    }

    #[test]
    fn a_parked_operation_says_what_it_means() {
        let mut parked = facts(OperationKind::Delete, NeedsAttention);
        assert!(text(&of(&parked).unwrap()).contains("point of no return"));
        parked.steps[1].status = StepStatus::Undoing;
        let said = text(&of(&parked).unwrap());
        assert!(said.contains("Taking back “Close the way in” does not work either"), "{said}");
    }

    #[test]
    fn success_leads_on_to_where_the_server_is() {
        let made = of(&facts(OperationKind::Create, Succeeded)).unwrap();
        assert!(made.links.iter().any(|link| link.href.ends_with("/connect")));
        let deleted = of(&facts(OperationKind::Delete, Succeeded)).unwrap();
        assert_eq!(deleted.links[0].href, "/servers");
    }
}
