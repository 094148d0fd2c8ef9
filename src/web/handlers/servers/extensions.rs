//! Extensions: what may be created on the server, what is installed where, creating and updating.

use super::extensions_view::{self as view, ExtensionsView};
use super::nav::{self, Frame, Tab};
use crate::clock::new_uuid;
use crate::domain::extensions::{
    AllowedChange, ExtensionAction, ExtensionChange, ExtensionLook, OBSERVATION,
};
use crate::domain::operation::OperationKind;
use crate::domain::refusal::Refusal;
use crate::operations::submit::Change;
use crate::store::observations::Observed;
use crate::web::error::{PageError, PageResult};
use crate::web::flash::Flash;
use crate::web::form::{FormState, Posted};
use crate::web::page::{self, Layout};
use crate::web::paths;
use crate::web::time::ago_text;
use crate::web::visit::{Contributor, Reader, Signed, Visit};
use actix_web::http::StatusCode;
use actix_web::web::Path;
use askama::Template;

#[derive(Template)]
#[template(path = "servers/extensions.html")]
struct ExtensionsPage {
    layout: Layout,
    frame: Frame,
    /// `None` before the first look.
    view: Option<ExtensionsView>,
    f: FormState,
    /// "2 min ago"
    seen: String,
    key: String,
}

impl ExtensionsPage {
    async fn new(visit: &Visit, frame: Frame, f: FormState) -> Result<Self, PageError> {
        let look = look(visit, &frame).await?;
        let allowed = &frame.server.configuration.extensions;
        let view = look.as_ref().map(|look| ExtensionsView::new(&look.facts, allowed, &f));
        let seen = look.map_or_else(String::new, |look| ago_text(look.at, visit.now));
        let layout = frame.layout(visit, "Extensions");
        Ok(Self { layout, frame, view, f, seen, key: new_uuid() })
    }

    fn why_closed(&self) -> Option<String> {
        self.frame.why_closed(OperationKind::ChangeExtension)
    }

    fn may_edit(&self) -> bool {
        self.frame.may_change() && self.why_closed().is_none()
    }

    fn action(&self, part: &str) -> String {
        paths::server_extensions_part(&self.frame.server.id, part)
    }

    /// The list as this page was made from, to notice another person's change.
    fn was(&self) -> String {
        view::listed(&self.frame.server.configuration.extensions)
    }
}

pub(super) async fn look(
    visit: &Visit,
    frame: &Frame,
) -> Result<Option<Observed<ExtensionLook>>, PageError> {
    Ok(visit.state.store.server_observation(&frame.server.id, OBSERVATION).await?)
}

/// `GET /servers/{id}/extensions`
pub async fn get(visit: Signed<Reader>, id: Path<String>) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Extensions).await? else {
        return nav::gone(&visit, &id).await;
    };
    page::ok(&ExtensionsPage::new(&visit, frame, FormState::new()).await?)
}

/// `POST /servers/{id}/extensions/allowed`: the whole list.
pub async fn allow(visit: Signed<Contributor>, id: Path<String>, posted: Posted) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Extensions).await? else {
        return nav::gone(&visit, &id).await;
    };
    let before = &frame.server.configuration.extensions;
    if posted.text("was") != view::listed(before) {
        let text = "Somebody changed the list meanwhile. Nothing was saved. This is the list as it is now.";
        return refused(
            &visit,
            frame,
            FormState::new(),
            Refusal::whole(text),
            StatusCode::CONFLICT,
        )
        .await;
    }
    let seen = look(&visit, &frame).await?.map(|look| look.facts).unwrap_or_default();
    let allowed = posted.all("allow").map(str::to_owned).collect();
    if allowed == *before {
        let back = paths::server_extensions(&frame.server.id);
        return page::see_with(
            &visit,
            &back,
            &Flash::info("Nothing was changed: the list is as it was."),
        );
    }
    if let Err(refusal) = view::check_list(before, &allowed, &seen) {
        let mut f = FormState::keep(&posted);
        f.set("edited", "1");
        return refused(&visit, frame, f, refusal, StatusCode::UNPROCESSABLE_ENTITY).await;
    }
    let about = view::difference(before, &allowed);
    let change = AllowedChange { allowed, restart: posted.has("save_restart") };
    let change = Change::new(OperationKind::AllowExtensions, &about, &change);
    match nav::submit(&visit, &frame.server.id, &posted, change).await? {
        Ok(way) => Ok(way),
        Err(refusal) => {
            let f = FormState::keep(&posted);
            refused(&visit, frame, f, refusal, StatusCode::CONFLICT).await
        }
    }
}

/// `POST /servers/{id}/extensions/create`
pub async fn create(visit: Signed<Contributor>, id: Path<String>, posted: Posted) -> PageResult {
    change(visit, id, posted, ExtensionAction::Create).await
}

/// `POST /servers/{id}/extensions/update`
pub async fn update(visit: Signed<Contributor>, id: Path<String>, posted: Posted) -> PageResult {
    change(visit, id, posted, ExtensionAction::Update).await
}

async fn change(
    visit: Signed<Contributor>,
    id: Path<String>,
    posted: Posted,
    action: ExtensionAction,
) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Extensions).await? else {
        return nav::gone(&visit, &id).await;
    };
    let mut f = FormState::keep(&posted);
    let seen = look(&visit, &frame).await?.map(|look| look.facts).unwrap_or_default();
    let allowed = &frame.server.configuration.extensions;
    let asked = ExtensionChange {
        database: posted.text("database").to_owned(),
        extension: posted.text("extension").to_owned(),
        action,
    };
    if let Err(refusal) = view::check_change(&asked, allowed, &seen) {
        f.refuse(refusal);
        let page = ExtensionsPage::new(&visit, frame, f).await?;
        return page::invalid(&page);
    }
    let about = format!("{} in {}", asked.extension, asked.database);
    let change = Change::new(OperationKind::ChangeExtension, &about, &asked);
    match nav::submit(&visit, &frame.server.id, &posted, change).await? {
        Ok(way) => Ok(way),
        Err(refusal) => refused(&visit, frame, f, refusal, StatusCode::CONFLICT).await,
    }
}

async fn refused(
    visit: &Visit,
    frame: Frame,
    mut f: FormState,
    refusal: Refusal,
    status: StatusCode,
) -> PageResult {
    f.refuse(refusal);
    page::with_status(status, &ExtensionsPage::new(visit, frame, f).await?)
}
