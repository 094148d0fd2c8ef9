//! Delete a backup that somebody asked for: exactly what goes with it, and what becomes of the moments.

use super::backups_facts::BackupFacts;
use super::nav::{self, Frame, Tab};
use super::overview_view::plural;
use super::storage_view::size_text;
use crate::clock::new_uuid;
use crate::domain::backup::{Backup, Protection, Window};
use crate::domain::operation::OperationKind;
use crate::operations::backup::delete::deletable;
use crate::operations::submit::SubmitError;
use crate::web::error::PageResult;
use crate::web::flash::Flash;
use crate::web::form::{FormState, Posted};
use crate::web::page::{self, Layout};
use crate::web::paths;
use crate::web::time::Stamp;
use crate::web::visit::{Contributor, Signed, Visit};
use actix_web::http::StatusCode;
use actix_web::web::{Path, Query};
use askama::Template;
use serde::Deserialize;

#[derive(Template)]
#[template(path = "servers/backups_delete.html")]
struct DeletePage {
    layout: Layout,
    frame: Frame,
    f: FormState,
    name: String,
    label: String,
    /// "Full backup “before the move”"
    what: String,
    ended: Stamp,
    /// "1.2 GiB"
    stored: String,
    /// What becomes of the restorable moments.
    effect: Effect,
    why_closed: Option<String>,
    key: String,
}

/// What can be restored afterwards.
struct Effect {
    text: String,
    is_danger: bool,
}

impl DeletePage {
    fn new(visit: &Visit, frame: Frame, f: FormState, facts: &BackupFacts, one: &Backup) -> Self {
        let why_not = deletable(&facts.protection, &one.label).err();
        Self {
            layout: frame.layout(visit, "Delete a backup"),
            name: one.name.clone(),
            label: one.label.clone(),
            effect: effect(&facts.protection, one),
            what: format!("{} backup “{}”", one.kind.label(), one.name),
            ended: Stamp(one.ended_at),
            stored: size_text(one.stored_bytes),
            why_closed: facts.why_closed(&frame, OperationKind::DeleteBackup).or(why_not),
            key: new_uuid(),
            f,
            frame,
        }
    }

    fn action(&self) -> String {
        paths::server_backup_delete(&self.frame.server.id, &self.label)
    }

    fn back(&self) -> String {
        paths::server_backups(&self.frame.server.id)
    }
}

fn effect(protection: &Protection, one: &Backup) -> Effect {
    let before = protection.window_of(one.repository);
    let mut left = protection.clone();
    left.backups.retain(|kept| kept.label != one.label || kept.repository != one.repository);
    compared(&before, &left.window_of(one.repository))
}

fn compared(before: &Window, after: &Window) -> Effect {
    let shown = |at: chrono::DateTime<chrono::Utc>| at.format("%Y-%m-%d %H:%M:%S UTC");
    let (text, is_danger) = match (before.earliest(), after.earliest(), after.latest()) {
        _ if before == after => {
            ("Every moment that can be restored now can be restored afterwards.".into(), false)
        }
        (_, None, _) => (
            "It is the last backup: nothing can be restored afterwards until the next one has ended.".into(),
            true,
        ),
        (Some(from), Some(earliest), Some(latest)) if earliest > from => (
            format!(
                "The earliest moment that can be restored becomes {}; it is {} now. The latest is {}.",
                shown(earliest),
                shown(from),
                shown(latest)
            ),
            true,
        ),
        _ => {
            let count = u32::try_from(after.spans.len().saturating_sub(1)).unwrap_or(u32::MAX);
            (format!("The restorable time has {} afterwards.", plural(count, "gap")), true)
        }
    };
    Effect { text, is_danger }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub struct DeleteQuery {
    backup: String,
}

/// The backup of a query, when a person asked for it; else why there is no page to delete it.
fn find<'a>(facts: &'a BackupFacts, label: &str) -> Result<&'a Backup, &'static str> {
    match facts.protection.backups.iter().find(|one| one.label == label) {
        Some(one) if one.is_on_demand() => Ok(one),
        Some(_) => Err(
            "This backup was taken by the schedule: it goes by itself when its time is over. Nothing was changed.",
        ),
        None => Err("There is no such backup any more. Nothing was changed."),
    }
}

/// Back to the list, with the reason.
fn back(visit: &Visit, frame: &Frame, why: &str) -> PageResult {
    page::see_with(visit, &paths::server_backups(&frame.server.id), &Flash::info(why))
}

/// `GET /servers/{id}/backups/delete`
pub async fn get(
    visit: Signed<Contributor>,
    id: Path<String>,
    query: Query<DeleteQuery>,
) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Backups).await? else {
        return nav::gone(&visit, &id).await;
    };
    let facts = BackupFacts::load(&visit, &frame.server).await?;
    match find(&facts, &query.backup) {
        Ok(one) => page::ok(&DeletePage::new(&visit, frame, FormState::new(), &facts, one)),
        Err(why) => back(&visit, &frame, why),
    }
}

/// `POST /servers/{id}/backups/delete`
pub async fn post(
    visit: Signed<Contributor>,
    id: Path<String>,
    query: Query<DeleteQuery>,
    posted: Posted,
) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Backups).await? else {
        return nav::gone(&visit, &id).await;
    };
    let key = nav::submission_key(&visit, &posted)?;
    if let Some(earlier) = visit.state.store.operation_by_key(&key).await? {
        return page::see(&paths::operation(&earlier.id));
    }
    let facts = BackupFacts::load(&visit, &frame.server).await?;
    let one = match find(&facts, &query.backup) {
        Ok(one) => one,
        Err(why) => return back(&visit, &frame, why),
    };
    let (door, id) = (nav::door(&visit.state), &frame.server.id);
    match door.delete_backup(id, &one.label, &visit.actor(), Some(&key)).await {
        Ok(operation) => page::see(&paths::operation(&operation)),
        Err(SubmitError::Store(error)) => Err(error.into()),
        Err(SubmitError::Refused(refusal)) => {
            let mut f = FormState::new();
            f.refuse(refusal);
            let frame = frame.renewed(&visit).await?;
            let facts = BackupFacts::load(&visit, &frame.server).await?;
            let page = DeletePage::new(&visit, frame, f, &facts, one);
            page::with_status(StatusCode::CONFLICT, &page)
        }
    }
}
