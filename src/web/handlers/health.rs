//! Small answers for machines: is it up, can it work, which root certificate, where does it start.

use crate::web::error::PageResult;
use crate::web::page;
use crate::web::paths;
use crate::web::visit::Anyone;
use actix_web::HttpResponse;
use actix_web::http::header::CACHE_CONTROL;

/// `GET /`
pub async fn home() -> PageResult {
    page::see(&paths::servers())
}

/// `GET /healthz`: the process answers.
pub async fn healthz() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("ok\n")
}

/// `GET /readyz`: the store answers too.
pub async fn readyz(visit: Anyone) -> PageResult {
    visit.state.store.has_users().await?;
    Ok(HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("ready\n"))
}

/// `GET /ca.pem`: the installation's root certificate, for `sslrootcert`.
pub async fn ca_pem(visit: Anyone) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/x-pem-file")
        .insert_header(("Content-Disposition", "attachment; filename=\"pgflex-ca.pem\""))
        .insert_header((CACHE_CONTROL, "no-cache"))
        .body(visit.state.ca_certificate.clone())
}
