//! `GET /operations`: every operation, newest first.

use crate::domain::ids::OperationId;
use crate::domain::operation::{Operation, OperationKind, OperationStatus};
use crate::store::operations::OperationFilter;
use crate::web::error::{PageError, PageResult};
use crate::web::form::{Choice, FormState, Posted};
use crate::web::label::Chip;
use crate::web::page::{self, Layout, Nav};
use crate::web::paths;
use crate::web::query;
use crate::web::time::{Stamp, duration_text};
use crate::web::visit::{Reader, Signed};
use actix_web::HttpRequest;
use askama::Template;
use chrono::{DateTime, Utc};
use std::collections::HashSet;

#[derive(Template)]
#[template(path = "operations/list.html")]
struct ListPage {
    layout: Layout,
    f: FormState,
    statuses: Vec<Choice>,
    kinds: Vec<Choice>,
    rows: Vec<Row>,
    is_filtered: bool,
    newer: String,
    older: String,
}

impl ListPage {
    /// Whether something on the page goes on, so that it is fetched again now and then.
    fn is_live(&self) -> bool {
        self.rows.iter().any(|row| row.is_live)
    }
}

struct Row {
    path: String,
    kind: &'static str,
    chip: Chip,
    /// Link to the server, while it is on record.
    server: Option<String>,
    server_name: String,
    asked_by: String,
    asked_at: Stamp,
    took: String,
    is_live: bool,
}

/// `GET /operations`
pub async fn get(who: Signed<Reader>, request: HttpRequest) -> PageResult {
    let typed = query::of(&request);
    let filter = OperationFilter { viewer: who.viewer()?, ..filter(&typed) };
    let store = &who.state.store;
    let operations = store.operations(&filter).await?;
    let servers = store.server_ids().await?;
    let (newer, older) = pager(&who, &filter, &operations).await?;
    page::ok(&ListPage {
        layout: who.layout("Operations", Nav::Operations),
        f: FormState::keep(&typed),
        statuses: statuses(),
        kinds: kinds(),
        rows: operations.iter().map(|operation| row(operation, &servers, who.now)).collect(),
        is_filtered: filter.status.is_some() || filter.kind.is_some(),
        newer,
        older,
    })
}

fn filter(typed: &Posted) -> OperationFilter {
    OperationFilter {
        server_id: None,
        status: OperationStatus::parse(typed.text("status")),
        kind: OperationKind::parse(typed.text("kind")),
        before: OperationId::parse(typed.text("before")),
        ..OperationFilter::default()
    }
}

fn statuses() -> Vec<Choice> {
    let one = |status: OperationStatus| Choice::new(status.key(), status.label());
    [Choice::new("", "Any status")].into_iter().chain(OperationStatus::ALL.map(one)).collect()
}

fn kinds() -> Vec<Choice> {
    let one = |kind: OperationKind| Choice::new(kind.key(), kind.label());
    [Choice::new("", "Any kind")].into_iter().chain(OperationKind::ALL.map(one)).collect()
}

fn row(operation: &Operation, servers: &HashSet<String>, now: DateTime<Utc>) -> Row {
    let is_there = servers.contains(operation.server_id.as_str());
    let took = operation.ended_at.unwrap_or(now) - operation.created_at;
    Row {
        path: paths::operation(&operation.id),
        kind: operation.kind.label(),
        chip: Chip::from(operation.status),
        server: is_there.then(|| paths::server(&operation.server_id)),
        server_name: operation.server_name.clone(),
        asked_by: operation.requested_by.clone(),
        asked_at: Stamp(operation.created_at),
        took: duration_text(took),
        is_live: !operation.status.is_settled(),
    }
}

/// Links to the newer and the older page; empty where there is none.
async fn pager(
    who: &Signed<Reader>,
    filter: &OperationFilter,
    page: &[Operation],
) -> Result<(String, String), PageError> {
    let url = |before: &str| {
        let status = filter.status.map_or("", OperationStatus::key);
        let kind = filter.kind.map_or("", OperationKind::key);
        query::url(&paths::operations(), &[("status", status), ("kind", kind), ("before", before)])
    };
    let (Some(first), Some(last)) = (page.first(), page.last()) else {
        let newer = if filter.before.is_some() { url("") } else { String::new() };
        return Ok((newer, String::new()));
    };
    let around = who.state.store.operation_neighbours(filter, &first.id, &last.id).await?;
    let newer = match (&filter.before, &around.newer_before) {
        (None, _) => String::new(),
        (Some(_), before) => url(before.as_ref().map_or("", |id| id.as_str())),
    };
    let older = if around.older { url(last.id.as_str()) } else { String::new() };
    Ok((newer, older))
}
