//! Deleted servers whose backups are kept: until when, and the way back.

use super::backups_view::earliest;
use crate::store::deleted_servers::DeletedServer;
use crate::web::error::{PageError, PageResult};
use crate::web::page::{self, Layout, Nav};
use crate::web::paths;
use crate::web::time::{Stamp, duration_text};
use crate::web::visit::{Reader, Signed, Visit};
use askama::Template;

#[derive(Template)]
#[template(path = "servers/deleted.html")]
struct DeletedPage {
    layout: Layout,
    rows: Vec<DeletedRow>,
}

/// A deleted server.
struct DeletedRow {
    name: String,
    version: String,
    size: String,
    region: String,
    deleted: Stamp,
    by: String,
    kept: Stamp,
    /// "6 d 4 h left"
    left: String,
    /// Earliest and latest moment.
    ends: Option<(Stamp, Stamp)>,
    restore: String,
    activity: String,
}

/// `GET /servers/deleted`
pub async fn get(visit: Signed<Reader>) -> PageResult {
    let found = visit.state.store.deleted_servers(&visit.viewer()?, visit.now).await?;
    let mut rows = vec![];
    for one in &found {
        rows.push(row(&visit, one).await?);
    }
    page::ok(&DeletedPage { layout: visit.layout("Deleted servers", Nav::Servers), rows })
}

async fn row(visit: &Visit, one: &DeletedServer) -> Result<DeletedRow, PageError> {
    let protection = visit.state.store.protection(&one.id).await?;
    let window = protection.window_of(protection.to_restore_from(|_| false));
    let region = visit.state.config.region(&one.spec.region);
    Ok(DeletedRow {
        name: one.name.clone(),
        version: format!("PostgreSQL {}", one.spec.major.number()),
        size: format!("{}, {}", one.spec.sku().short_name(), one.spec.storage().label()),
        region: region.map_or_else(|| one.spec.region.clone(), |region| region.label.clone()),
        deleted: Stamp(one.deleted_at),
        by: one.deleted_by.clone(),
        kept: Stamp(one.erase_after),
        left: format!("{} left", duration_text(one.erase_after - visit.now)),
        ends: earliest(&window).zip(window.latest()).map(|(from, to)| (Stamp(from), Stamp(to))),
        restore: paths::deleted_restore(&one.id),
        activity: paths::server(&one.id),
    })
}
