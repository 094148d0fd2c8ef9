//! Style sheet, script and icon: part of the binary, under names that carry their content's hash,
//! so that browsers may keep them for ever and never show an old one.

use crate::web::error::{PageError, PageResult};
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{HttpResponse, web};
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

struct Asset {
    name: String,
    content_type: &'static str,
    body: Vec<u8>,
}

impl Asset {
    /// `parts` are put one behind the other.
    fn new(stem: &str, extension: &str, content_type: &'static str, parts: &[&str]) -> Self {
        let body = parts.concat().into_bytes();
        let hash: String =
            Sha256::digest(&body).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        Self { name: format!("{stem}-{hash}.{extension}"), content_type, body }
    }

    fn path(&self) -> String {
        format!("/static/{}", self.name)
    }
}

/// The style sheet: the common one first, then one for each area that has its own.
static CSS: LazyLock<Asset> = LazyLock::new(|| {
    let parts = [
        include_str!("../../static/app.css"),
        include_str!("../../static/css/access.css"),
        include_str!("../../static/css/account.css"),
        include_str!("../../static/css/backups.css"),
        include_str!("../../static/css/compute.css"),
        include_str!("../../static/css/cost.css"),
        include_str!("../../static/css/create.css"),
        include_str!("../../static/css/data.css"),
        include_str!("../../static/css/ha.css"),
        include_str!("../../static/css/networks.css"),
        include_str!("../../static/css/operations.css"),
        include_str!("../../static/css/server.css"),
        include_str!("../../static/css/parameters.css"),
        include_str!("../../static/css/storage.css"),
    ];
    Asset::new("app", "css", "text/css; charset=utf-8", &parts)
});
/// The script: helpers first, as functions of the one module.
static JS: LazyLock<Asset> = LazyLock::new(|| {
    let parts = [
        include_str!("../../static/js/morph.js"),
        include_str!("../../static/app.js"),
        include_str!("../../static/js/restore.js"),
        include_str!("../../static/js/unsaved.js"),
    ];
    Asset::new("app", "js", "text/javascript; charset=utf-8", &parts)
});
static ICON: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("icon", "svg", "image/svg+xml", &[include_str!("../../static/icon.svg")])
});

/// URL of the style sheet.
pub fn css() -> String {
    CSS.path()
}

/// URL of the script.
pub fn js() -> String {
    JS.path()
}

/// URL of the icon.
pub fn icon() -> String {
    ICON.path()
}

/// `GET /static/{file}`.
pub async fn get(file: web::Path<String>) -> PageResult {
    let assets = [&*CSS, &*JS, &*ICON];
    let asset = assets.into_iter().find(|asset| asset.name == *file).ok_or(PageError::NotFound)?;
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, asset.content_type))
        .insert_header((CACHE_CONTROL, "public, max-age=31536000, immutable"))
        .body(asset.body.as_slice()))
}
