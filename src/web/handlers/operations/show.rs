//! `GET /operations/{id}`: the page of one operation. Its live part is one block of the template, so
//! that the page, the events and the fragment draw the same.

use super::facts::{self, Facts};
use super::view::{OperationView, view};
use crate::clock::new_uuid;
use crate::web::error::PageResult;
use crate::web::page::{self, Layout, Nav};
use crate::web::query;
use crate::web::visit::{Reader, Signed};
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use chrono::{DateTime, Utc};

/// The page; `as_live` is the part that changes.
#[derive(Template)]
#[template(path = "operations/operation.html", blocks = ["live"])]
pub struct OperationPage {
    pub layout: Layout,
    pub view: OperationView,
    /// Guards the retry button against a double press.
    pub key: String,
    /// Whether the reader asked for a page that does not reload by itself.
    pub still: bool,
}

impl OperationPage {
    pub fn new(layout: Layout, facts: &Facts, now: DateTime<Utc>) -> Self {
        let view = view(facts, layout.may_change_servers(), now);
        Self { layout, view, key: new_uuid(), still: false }
    }

    /// Whether the page reloads by itself where there is no script.
    fn reloads(&self) -> bool {
        !self.still && !self.view.events.is_empty()
    }
}

/// `GET /operations/{id}`
pub async fn get(who: Signed<Reader>, id: web::Path<String>, request: HttpRequest) -> PageResult {
    let facts = read(&who, &id).await?;
    let title = super::view::headline(&facts.operation);
    let page = OperationPage::new(who.layout(title, Nav::Operations), &facts, who.now);
    page::ok(&OperationPage { still: query::of(&request).has("still"), ..page })
}

/// `GET /operations/{id}/fragment`: only the part that changes, for polling.
pub async fn fragment(who: Signed<Reader>, id: web::Path<String>) -> PageResult {
    let facts = read(&who, &id).await?;
    let page = OperationPage::new(frame(&who), &facts, who.now);
    Ok(HttpResponse::Ok().content_type("text/html; charset=utf-8").body(page.as_live().render()?))
}

/// The frame of a fragment: the same person and token, and no message, which stays for the next page.
pub fn frame(who: &Signed<Reader>) -> Layout {
    Layout {
        title: String::new(),
        nav: Nav::Operations,
        user: Some(who.user.clone()),
        may_change: who.may_change(),
        csrf: who.session.csrf.clone(),
        flash: None,
        engine_notice: None,
        path: who.path.clone(),
    }
}

async fn read(who: &Signed<Reader>, id: &str) -> Result<Facts, crate::web::error::PageError> {
    let store = &who.state.store;
    let operation = facts::find(store, id, &who.viewer()?).await?;
    let usual = facts::usual(store, &operation).await?;
    facts::load(store, operation, usual).await
}
