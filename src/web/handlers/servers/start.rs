//! Start: what begins again, then the operation.

use super::nav::{self, Frame, Tab};
use super::stop::{Costs, usual};
use crate::clock::new_uuid;
use crate::domain::operation::OperationKind;
use crate::operations::submit::Change;
use crate::web::error::{PageError, PageResult};
use crate::web::form::{FormState, Posted};
use crate::web::page::{self, Layout};
use crate::web::paths;
use crate::web::visit::{Contributor, Signed, Visit};
use actix_web::http::StatusCode;
use actix_web::web::Path;
use askama::Template;

#[derive(Template)]
#[template(path = "servers/start.html")]
struct StartPage {
    layout: Layout,
    frame: Frame,
    f: FormState,
    costs: Costs,
    /// How long it took before; `None` when it was not measured yet.
    usual: Option<String>,
    key: String,
}

impl StartPage {
    async fn new(visit: &Visit, frame: Frame, f: FormState) -> Result<Self, PageError> {
        Ok(Self {
            layout: frame.layout(visit, "Start"),
            costs: Costs::of(visit, &frame),
            usual: usual(visit, OperationKind::Start).await?,
            key: new_uuid(),
            frame,
            f,
        })
    }

    fn why_closed(&self) -> Option<String> {
        self.frame.why_closed(OperationKind::Start)
    }

    fn action(&self) -> String {
        paths::server_start(&self.frame.server.id)
    }

    fn back(&self) -> String {
        paths::server(&self.frame.server.id)
    }
}

/// `GET /servers/{id}/start`
pub async fn get(visit: Signed<Contributor>, id: Path<String>) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Action).await? else {
        return nav::gone(&visit, &id).await;
    };
    page::ok(&StartPage::new(&visit, frame, FormState::new()).await?)
}

/// `POST /servers/{id}/start`
pub async fn post(visit: Signed<Contributor>, id: Path<String>, posted: Posted) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Action).await? else {
        return nav::gone(&visit, &id).await;
    };
    let change = Change::plain(OperationKind::Start);
    match nav::submit(&visit, &frame.server.id, &posted, change).await? {
        Ok(way) => Ok(way),
        Err(refusal) => {
            let mut f = FormState::new();
            f.refuse(refusal);
            page::with_status(StatusCode::CONFLICT, &StartPage::new(&visit, frame, f).await?)
        }
    }
}
