//! A page of the activity log as rows with its filters: the part that the whole log and the log of one
//! server share.

use super::words;
use crate::domain::activity::{Activity, ActivityOutcome};
use crate::domain::ids::{ActivityId, ServerId};
use crate::domain::operation::OperationStatus;
use crate::store::Store;
use crate::store::activity::ActivityFilter;
use crate::store::scope::Viewer;
use crate::web::error::PageError;
use crate::web::form::{Choice, FormState, Posted};
use crate::web::label::Chip;
use crate::web::paths;
use crate::web::query;
use crate::web::time::{Stamp, duration_text};
use std::collections::HashSet;

/// Longest text a filter looks for.
const TEXT_MAX: usize = 100;

/// What the templates of the log draw.
pub struct List {
    /// Path of the page itself, where the filters are sent.
    pub path: String,
    pub f: FormState,
    pub actions: Vec<Choice>,
    pub outcomes: Vec<Choice>,
    pub rows: Vec<Row>,
    pub newer: String,
    pub older: String,
    /// The same lines as a file.
    pub csv: String,
    pub is_filtered: bool,
    /// Whether lines are of different things, so that a column says of which.
    pub with_subject: bool,
}

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub at: Stamp,
    pub who: String,
    pub address: String,
    pub action: String,
    pub detail: String,
    pub subject: String,
    /// Link to the server, while it is on record.
    pub server: Option<String>,
    pub outcome: Chip,
    /// How long it took, when that is known.
    pub took: String,
    pub operation: Option<String>,
}

/// Reads the filters of a query; what makes no sense does not filter.
pub fn filter(typed: &Posted, server: Option<ServerId>, viewer: Viewer) -> ActivityFilter {
    let text = |name| typed.text(name).chars().take(TEXT_MAX).collect::<String>();
    ActivityFilter {
        server_id: server.or_else(|| ServerId::parse(typed.text("server"))),
        actor: text("who").to_lowercase(),
        action: words::known(typed.text("action")),
        subject: text("subject"),
        outcome: ActivityOutcome::parse(typed.text("outcome")),
        before: ActivityId::parse(typed.text("before")),
        viewer,
    }
}

/// Reads a page of the log.
///
/// # Errors
/// When the store does not answer.
pub async fn read(
    store: &Store,
    path: String,
    typed: &Posted,
    filter: &ActivityFilter,
    with_subject: bool,
) -> Result<List, PageError> {
    let lines = store.activities(filter).await?;
    let servers = store.server_ids().await?;
    let (newer, older) = pager(store, &path, filter, &lines, with_subject).await?;
    Ok(List {
        f: FormState::keep(typed),
        actions: words::choices(),
        outcomes: outcomes(),
        rows: lines.iter().map(|line| row(line, &servers)).collect(),
        newer,
        older,
        csv: url(&paths::activity_csv(), filter, true, ""),
        is_filtered: !pairs(filter, false).iter().all(|(_, value)| value.is_empty()),
        with_subject,
        path,
    })
}

fn outcomes() -> Vec<Choice> {
    let words = |outcome| match outcome {
        // Those that need attention are among them.
        ActivityOutcome::Started => "Not ended yet",
        outcome => Chip::from(outcome).text,
    };
    let one = |outcome: ActivityOutcome| Choice::new(outcome.key(), words(outcome));
    [Choice::new("", "Any outcome")].into_iter().chain(ActivityOutcome::ALL.map(one)).collect()
}

/// A parked operation is not under way: it waits for a person.
fn chip(line: &Activity) -> Chip {
    if line.needs_attention {
        Chip::from(OperationStatus::NeedsAttention)
    } else {
        Chip::from(line.outcome)
    }
}

fn row(line: &Activity, servers: &HashSet<String>) -> Row {
    let server = line.server_id.as_ref().filter(|id| servers.contains(id.as_str()));
    Row {
        at: Stamp(line.at),
        who: line.actor_name.clone(),
        address: line.address.clone(),
        action: words::words(&line.action).to_owned(),
        detail: line.detail.clone(),
        subject: line.subject.clone(),
        server: server.map(paths::server),
        outcome: chip(line),
        took: line.ended_at.map(|ended| duration_text(ended - line.at)).unwrap_or_default(),
        operation: line.operation_id.as_ref().map(paths::operation),
    }
}

/// The filter as pairs of a query; the server only where the path does not say it.
fn pairs(filter: &ActivityFilter, with_server: bool) -> Vec<(&'static str, &str)> {
    let server = filter.server_id.as_ref().filter(|_| with_server);
    vec![
        ("server", server.map_or("", |id| id.as_str())),
        ("who", &filter.actor),
        ("action", &filter.action),
        ("subject", &filter.subject),
        ("outcome", filter.outcome.map_or("", ActivityOutcome::key)),
    ]
}

fn url(path: &str, filter: &ActivityFilter, with_server: bool, before: &str) -> String {
    let mut pairs = pairs(filter, with_server);
    pairs.push(("before", before));
    query::url(path, &pairs)
}

/// Links to the newer and the older page; empty where there is none.
async fn pager(
    store: &Store,
    path: &str,
    filter: &ActivityFilter,
    lines: &[Activity],
    with_server: bool,
) -> Result<(String, String), PageError> {
    let url = |before: &str| url(path, filter, with_server, before);
    let (Some(first), Some(last)) = (lines.first(), lines.last()) else {
        let newer = if filter.before.is_some() { url("") } else { String::new() };
        return Ok((newer, String::new()));
    };
    let around = store.activity_neighbours(filter, &first.id, &last.id).await?;
    let newer = match (&filter.before, &around.newer_before) {
        (None, _) => String::new(),
        (Some(_), before) => url(before.as_ref().map_or("", |id| id.as_str())),
    };
    let older = if around.older { url(last.id.as_str()) } else { String::new() };
    Ok((newer, older))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(query: &str) -> Posted {
        Posted::parse(query.as_bytes()).unwrap()
    }

    #[test]
    fn filters_come_from_the_query_and_go_back_into_it() {
        let found = filter(
            &typed("who=Ada&action=user.&subject=a%25b&outcome=Failed&before=x"),
            None,
            Viewer::Portal,
        );
        assert_eq!((found.actor.as_str(), found.before.is_none()), ("ada", true));
        assert_eq!(
            url("/activity", &found, true, "z"),
            "/activity?who=ada&action=user.&subject=a%25b&outcome=Failed&before=z"
        );
        let nonsense = filter(&typed("action=%25&outcome=x&server=1"), None, Viewer::Portal);
        assert_eq!(url("/activity", &nonsense, true, ""), "/activity");
    }
}
