//! `GET /activity` and `GET /servers/{id}/activity`: who asked for what, when, from where, and how it ended.

pub mod csv;
pub mod list;
pub mod words;

use crate::domain::ids::ServerId;
use crate::web::error::{PageError, PageResult};
use crate::web::handlers::servers::nav::{self, Frame, Tab};
use crate::web::page::{self, Layout, Nav};
use crate::web::paths;
use crate::web::query;
use crate::web::visit::{Reader, Signed};
use actix_web::{HttpRequest, web};
use askama::Template;
use list::List;

#[derive(Template)]
#[template(path = "activity/log.html")]
struct LogPage {
    layout: Layout,
    list: List,
}

#[derive(Template)]
#[template(path = "activity/server.html")]
struct ServerPage {
    layout: Layout,
    frame: Frame,
    list: List,
}

/// `GET /activity`
pub async fn get(who: Signed<Reader>, request: HttpRequest) -> PageResult {
    let typed = query::of(&request);
    let filter = list::filter(&typed, None, who.viewer()?);
    let list = list::read(&who.state.store, paths::activity(), &typed, &filter, true).await?;
    page::ok(&LogPage { layout: who.layout("Activity log", Nav::Activity), list })
}

/// `GET /servers/{id}/activity`: a tab of the server. The lines of a deleted server are in the whole log.
pub async fn server(
    who: Signed<Reader>,
    id: web::Path<String>,
    request: HttpRequest,
) -> PageResult {
    let id = ServerId::parse(&id).ok_or(PageError::NotFound)?;
    let Some(frame) = nav::frame(&who, id.as_str(), Tab::Activity).await? else {
        return nav::gone(&who, id.as_str()).await;
    };
    let typed = query::of(&request);
    let path = paths::server_activity(&id);
    let filter = list::filter(&typed, Some(id), who.viewer()?);
    let list = list::read(&who.state.store, path, &typed, &filter, false).await?;
    page::ok(&ServerPage { layout: frame.layout(&who, "Activity"), frame, list })
}
