//! What a person does with an operation: retry, cancel, abandon. Each goes through the door that
//! decides again, so that a page which is a minute old can do no harm.

use super::view::headline;
use super::{facts, words};
use crate::domain::ids::OperationId;
use crate::domain::operation::{Operation, OperationKind, OperationStatus};
use crate::domain::refusal::Refusal;
use crate::domain::server::network_name;
use crate::operations::kinds;
use crate::operations::submit::SubmitError;
use crate::web::error::{PageError, PageResult};
use crate::web::flash::Flash;
use crate::web::form::Posted;
use crate::web::handlers::servers::nav::{door, submission_key};
use crate::web::page::{self, Layout, Nav};
use crate::web::paths;
use crate::web::state::AppState;
use crate::web::visit::{Contributor, Signed};
use actix_web::web;
use askama::Template;

/// The page that asks before an operation is given up.
#[derive(Template)]
#[template(path = "operations/abandon.html")]
struct AbandonPage {
    layout: Layout,
    id: OperationId,
    headline: String,
    path: String,
    means: String,
    /// Kind, name and host of what may be left.
    left: Vec<(&'static str, String, String)>,
}

impl AbandonPage {
    fn action(&self) -> String {
        paths::operation_abandon(&self.id)
    }
}

/// `POST /operations/{id}/retry`
pub async fn retry(who: Signed<Contributor>, id: web::Path<String>, posted: Posted) -> PageResult {
    let operation = facts::find(&who.state.store, &id, &who.viewer()?).await?;
    let key = submission_key(&who, &posted)?;
    match door(&who.state).retry(&operation, &who.actor(), Some(&key)).await {
        Ok(next) => page::see(&paths::operation(&next)),
        Err(error) => refused(&who, &operation, error),
    }
}

/// `POST /operations/{id}/cancel`
pub async fn cancel(who: Signed<Contributor>, id: web::Path<String>) -> PageResult {
    let operation = facts::find(&who.state.store, &id, &who.viewer()?).await?;
    if kinds::is_past_return(&operation, operation.cursor) {
        let refusal = "It is past the point of no return and can no longer be cancelled. It goes on to its end.";
        return refused(&who, &operation, Refusal::whole(refusal).into());
    }
    match door(&who.state).cancel(&operation, &who.actor()).await {
        Ok(()) => {
            let text = "It was asked to cancel. It stops when the step at work has ended, and takes back what it did.";
            page::see_with(&who, &paths::operation(&operation.id), &Flash::info(text))
        }
        Err(error) => refused(&who, &operation, error),
    }
}

/// `GET /operations/{id}/abandon`
pub async fn ask_abandon(who: Signed<Contributor>, id: web::Path<String>) -> PageResult {
    let operation = facts::find(&who.state.store, &id, &who.viewer()?).await?;
    if operation.status != OperationStatus::NeedsAttention {
        let text =
            "There is nothing to abandon: only an operation that needs attention can be given up.";
        return page::see_with(&who, &paths::operation(&operation.id), &Flash::info(text));
    }
    page::ok(&AbandonPage {
        layout: who.layout(format!("Abandon: {}", headline(&operation)), Nav::Operations),
        id: operation.id.clone(),
        headline: headline(&operation),
        path: paths::operation(&operation.id),
        means: means(operation.kind),
        left: what_may_be_left(&who.state, &operation).await?,
    })
}

/// `POST /operations/{id}/abandon`
pub async fn abandon(who: Signed<Contributor>, id: web::Path<String>) -> PageResult {
    let operation = facts::find(&who.state.store, &id, &who.viewer()?).await?;
    match door(&who.state).abandon(&operation, &who.actor()).await {
        Ok(()) => {
            let text = "The operation was abandoned. What it left behind is for you to look after.";
            page::see_with(&who, &paths::operation(&operation.id), &Flash::done(text))
        }
        Err(error) => refused(&who, &operation, error),
    }
}

fn refused(who: &Signed<Contributor>, operation: &Operation, error: SubmitError) -> PageResult {
    match error {
        SubmitError::Refused(refusal) => {
            page::see_with(who, &paths::operation(&operation.id), &Flash::refused(&refusal))
        }
        SubmitError::Store(error) => Err(error.into()),
    }
}

fn means(kind: OperationKind) -> String {
    let stays = match kind {
        OperationKind::Create | OperationKind::Restore => {
            " The server stays on the list as Failed."
        }
        _ => "",
    };
    format!(
        "The operation ends as Failed.{stays} {}",
        words::of(kind).given_up.trim_start_matches("It was given up. ")
    )
}

async fn what_may_be_left(
    state: &AppState,
    operation: &Operation,
) -> Result<Vec<(&'static str, String, String)>, PageError> {
    let hosts = state.store.hosts().await?;
    let mut left = vec![];
    for member in state.store.members(&operation.server_id).await? {
        let host = hosts.iter().find(|host| host.id == member.host_id);
        let host = host.map_or_else(|| "unknown".to_owned(), |host| host.name.clone());
        left.push(("Container", member.container(), host.clone()));
        left.push(("Data volume", member.volume(), host.clone()));
        if member.loop_minor().is_some() {
            left.push(("Disk image volume", member.disk_volume(), host.clone()));
        }
        left.push(("Network", network_name(&operation.server_id), host));
    }
    Ok(left)
}
