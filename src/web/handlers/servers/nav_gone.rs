//! The page of a server that was deleted.

use crate::domain::ids::ServerId;
use crate::domain::operation::Operation;
use crate::store::operations::OperationFilter;
use crate::web::error::{PageError, PageResult};
use crate::web::label::Chip;
use crate::web::page::{self, Layout, Nav};
use crate::web::paths;
use crate::web::time::Stamp;
use crate::web::visit::Visit;
use actix_web::http::StatusCode;
use askama::Template;

/// The page of a server that was deleted.
#[derive(Template)]
#[template(path = "servers/frame_gone.html")]
struct GonePage {
    layout: Layout,
    name: String,
    operation: Operation,
    operation_path: String,
    /// Until when its backups are kept, and the way back; `None` when nothing of it can be restored.
    kept: Option<(Stamp, String)>,
}

impl GonePage {
    fn chip(&self) -> Chip {
        self.operation.status.into()
    }

    fn ended(&self) -> Option<Stamp> {
        self.operation.ended_at.map(Stamp)
    }
}

/// The answer where no server is: 404, with the last operation when there once was one.
///
/// # Errors
/// Not found when there never was such a server.
pub async fn gone(visit: &Visit, id: &str) -> PageResult {
    let id = ServerId::parse(id).ok_or(PageError::NotFound)?;
    let filter = OperationFilter {
        server_id: Some(id.clone()),
        viewer: visit.viewer()?,
        ..Default::default()
    };
    let last = visit.state.store.operations(&filter).await?.into_iter().next();
    let operation = last.ok_or(PageError::NotFound)?;
    let kept = visit.state.store.deleted_server(&id, &visit.viewer()?).await?;
    let kept = kept.filter(|one| one.erased_at.is_none() && one.erase_after > visit.now);
    let gone = GonePage {
        kept: kept.map(|one| (Stamp(one.erase_after), paths::deleted_restore(&one.id))),
        layout: visit.layout("There is no such server any more", Nav::Servers),
        name: operation.server_name.clone(),
        operation_path: paths::operation(&operation.id),
        operation,
    };
    page::with_status(StatusCode::NOT_FOUND, &gone)
}
