//! Server parameters: the list with tabs and search, the edits of a page, their review, and saving them.

use super::nav::{self, Frame, Tab};
use super::pair_words;
use super::parameters_edit::{self as edit, Edit, Edits};
use super::parameters_view::{Filter, List};
use crate::clock::new_uuid;
use crate::domain::operation::OperationKind;
use crate::domain::parameters::{Catalogue, OBSERVATION};
use crate::domain::refusal::Refusal;
use crate::operations::submit::Change;
use crate::store::observations::Observed;
use crate::web::error::{PageError, PageResult};
use crate::web::flash::Flash;
use crate::web::form::Posted;
use crate::web::page::{self, Layout};
use crate::web::time::ago_text;
use crate::web::visit::{Contributor, Reader, Signed, Visit};
use crate::web::{paths, query};
use actix_web::http::StatusCode;
use actix_web::web::Path;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;

#[derive(Template)]
#[template(path = "servers/parameters.html")]
struct ParametersPage {
    layout: Layout,
    frame: Frame,
    /// `None` before the first look.
    list: Option<List>,
    /// "2 min ago"
    seen: String,
}

#[derive(Template)]
#[template(path = "servers/parameters_review.html")]
struct ReviewPage {
    layout: Layout,
    frame: Frame,
    edits: Edits,
    /// Why it was not saved, beside the faults of single values.
    refusal: Option<String>,
    /// What “Save and restart” does to a pair; `None` without high availability.
    pair: Option<String>,
    key: String,
}

impl ParametersPage {
    fn why_closed(&self) -> Option<String> {
        self.frame.why_closed(OperationKind::ChangeParameters)
    }

    fn may_edit(&self) -> bool {
        self.frame.may_change() && self.why_closed().is_none()
    }

    fn action(&self) -> String {
        paths::server_parameters(&self.frame.server.id)
    }

    fn modified(&self) -> usize {
        self.frame.server.configuration.parameters.len()
    }
}

impl ReviewPage {
    fn action(&self) -> String {
        paths::server_parameters_save(&self.frame.server.id)
    }

    fn back(&self) -> String {
        paths::server_parameters(&self.frame.server.id)
    }

    fn faults(&self) -> usize {
        self.edits.rows.iter().filter(|row| row.fault().is_some()).count()
    }
}

/// `GET /servers/{id}/parameters`
pub async fn get(visit: Signed<Reader>, id: Path<String>, request: HttpRequest) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Parameters).await? else {
        return nav::gone(&visit, &id).await;
    };
    let look = look(&visit, &frame).await?;
    let asked = query::of(&request);
    let base = paths::server_parameters(&frame.server.id);
    let server = &frame.server;
    let list = look.as_ref().map(|look| {
        List::new(
            &look.facts,
            &server.configuration.parameters,
            &Filter::read(&asked, base),
            server.spec.major.number(),
        )
    });
    let seen = look.map_or_else(String::new, |look| ago_text(look.at, visit.now));
    page::ok(&ParametersPage {
        layout: frame.layout(&visit, "Server parameters"),
        frame,
        list,
        seen,
    })
}

async fn look(visit: &Visit, frame: &Frame) -> Result<Option<Observed<Catalogue>>, PageError> {
    Ok(visit.state.store.server_observation(&frame.server.id, OBSERVATION).await?)
}

/// `POST /servers/{id}/parameters`: the edits of a page, to be looked at before they are saved.
pub async fn review(visit: Signed<Contributor>, id: Path<String>, posted: Posted) -> PageResult {
    let (frame, edits) = match edits_of(&visit, &id, &posted).await? {
        Ok(found) => found,
        Err(answer) => return Ok(answer),
    };
    page::ok(&review_page(&visit, frame, edits, None).await?)
}

/// `POST /servers/{id}/parameters/save`
pub async fn save(visit: Signed<Contributor>, id: Path<String>, posted: Posted) -> PageResult {
    let (frame, edits) = match edits_of(&visit, &id, &posted).await? {
        Ok(found) => found,
        Err(answer) => return Ok(answer),
    };
    if !edits.can_be_saved() {
        return page::invalid(&review_page(&visit, frame, edits, None).await?);
    }
    if edits.rows.iter().any(Edit::is_overtaken) {
        let text = "Somebody changed one of these parameters meanwhile. Nothing was saved. Look at the values below, then save again.";
        let page = review_page(&visit, frame, edits, Some(text.into())).await?;
        return page::with_status(StatusCode::CONFLICT, &page);
    }
    let change = edits.change(posted.has("save_restart"));
    let change = Change::new(OperationKind::ChangeParameters, &edits.about(), &change);
    match nav::submit(&visit, &frame.server.id, &posted, change).await? {
        Ok(way) => Ok(way),
        Err(Refusal { text, .. }) => {
            let page = review_page(&visit, frame, edits, Some(text)).await?;
            page::with_status(StatusCode::CONFLICT, &page)
        }
    }
}

async fn review_page(
    visit: &Visit,
    frame: Frame,
    edits: Edits,
    refusal: Option<String>,
) -> Result<ReviewPage, PageError> {
    let layout = frame.layout(visit, "Review of parameters");
    let input = serde_json::to_value(edits.change(true)).unwrap_or_default();
    let pair = pair_words::of(visit, &frame, OperationKind::ChangeParameters, &input).await?;
    Ok(ReviewPage { layout, frame, edits, refusal, pair, key: new_uuid() })
}

/// The server and what was edited; an answer instead where there is nothing to look at.
async fn edits_of(
    visit: &Signed<Contributor>,
    id: &str,
    posted: &Posted,
) -> Result<Result<(Frame, Edits), HttpResponse>, PageError> {
    let Some(frame) = nav::frame(visit, id, Tab::Parameters).await? else {
        return nav::gone(visit, id).await.map(Err);
    };
    let list = paths::server_parameters(&frame.server.id);
    let Some(look) = look(visit, &frame).await? else {
        return page::see(&list).map(Err);
    };
    let edits = edit::read(&look.facts, &frame.server, frame.ha.is_some(), posted);
    if edits.rows.is_empty() {
        let flash = Flash::info("Nothing was changed: every value is as it was.");
        return page::see_with(visit, &list, &flash).map(Err);
    }
    Ok(Ok((frame, edits)))
}
