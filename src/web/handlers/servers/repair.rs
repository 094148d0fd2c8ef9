//! Repair: what it does and what it never does, then the operation.

use super::nav::{self, Frame, Tab};
use crate::clock::new_uuid;
use crate::domain::operation::OperationKind;
use crate::operations::submit::Change;
use crate::web::error::PageResult;
use crate::web::form::{FormState, Posted};
use crate::web::page::{self, Layout};
use crate::web::paths;
use crate::web::visit::{Contributor, Signed, Visit};
use actix_web::http::StatusCode;
use actix_web::web::Path;
use askama::Template;

#[derive(Template)]
#[template(path = "servers/repair.html")]
struct RepairPage {
    layout: Layout,
    frame: Frame,
    f: FormState,
    key: String,
}

impl RepairPage {
    fn new(visit: &Visit, frame: Frame, f: FormState) -> Self {
        Self { layout: frame.layout(visit, "Repair"), frame, f, key: new_uuid() }
    }

    fn why_closed(&self) -> Option<String> {
        self.frame.why_closed(OperationKind::Repair)
    }

    fn action(&self) -> String {
        paths::server_repair(&self.frame.server.id)
    }

    fn back(&self) -> String {
        paths::server(&self.frame.server.id)
    }
}

/// `GET /servers/{id}/repair`
pub async fn get(visit: Signed<Contributor>, id: Path<String>) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Action).await? else {
        return nav::gone(&visit, &id).await;
    };
    page::ok(&RepairPage::new(&visit, frame, FormState::new()))
}

/// `POST /servers/{id}/repair`
pub async fn post(visit: Signed<Contributor>, id: Path<String>, posted: Posted) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Action).await? else {
        return nav::gone(&visit, &id).await;
    };
    let change = Change::plain(OperationKind::Repair);
    match nav::submit(&visit, &frame.server.id, &posted, change).await? {
        Ok(way) => Ok(way),
        Err(refusal) => {
            let mut f = FormState::new();
            f.refuse(refusal);
            let frame = frame.renewed(&visit).await?;
            page::with_status(StatusCode::CONFLICT, &RepairPage::new(&visit, frame, f))
        }
    }
}
