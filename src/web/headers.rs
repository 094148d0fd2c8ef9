//! The outermost middleware: every response, whatever it is, gets the security headers, and every
//! error becomes a page with a reference to the log.

use crate::clock::new_uuid;
use crate::web::error::ErrorDetail;
use crate::web::flash;
use crate::web::handlers::errors;
use crate::web::session::cookie_name;
use crate::web::state::AppState;
use crate::web::token;
use crate::web::visit::Visit;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpResponse, web};
use std::rc::Rc;

const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types pgflex";
const CSP_HTTPS: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types pgflex; upgrade-insecure-requests";
/// A download is never a page.
const CSP_DOWNLOAD: &str = "sandbox; default-src 'none'; frame-ancestors 'none'";

/// What every response carries. `same-origin` and not `no-referrer`: with the latter browsers send
/// `Origin: null` with our own forms, and the Origin check would have nothing to check.
const FIXED: &[(&str, &str)] = &[
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "same-origin"),
    ("x-frame-options", "DENY"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    (
        "permissions-policy",
        "accelerometer=(), autoplay=(), camera=(), clipboard-read=(), display-capture=(), encrypted-media=(), fullscreen=(), geolocation=(), gyroscope=(), hid=(), idle-detection=(), magnetometer=(), microphone=(), midi=(), payment=(), picture-in-picture=(), publickey-credentials-get=(), screen-wake-lock=(), serial=(), usb=(), xr-spatial-tracking=()",
    ),
];

/// The middleware.
///
/// # Errors
/// What inner middleware fails with, with the same headers.
pub async fn finish(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let is_https =
        request.app_data::<web::Data<AppState>>().is_some_and(|state| state.config.is_https());
    match next.call(request).await {
        Ok(response) => {
            let mut response = with_error_page(response.map_into_boxed_body());
            add_cookies(&mut response, is_https);
            harden(response.headers_mut(), is_https);
            Ok(response)
        }
        Err(error) => Err(bare_failure(error, is_https)),
    }
}

/// An error of inner middleware (the session's row could not be read): no visitor is known.
fn bare_failure(error: Error, is_https: bool) -> Error {
    let reference = new_reference();
    tracing::error!(reference, cause = %error, "a request failed before its page");
    let status = match error.as_response_error().status_code() {
        StatusCode::INTERNAL_SERVER_ERROR => StatusCode::SERVICE_UNAVAILABLE,
        other => other,
    };
    let mut response = HttpResponse::build(status).content_type("text/plain; charset=utf-8").body(
        format!("pgflex cannot answer now. Managed servers are not affected. Try again in a minute. Reference: {reference}\n"),
    );
    harden(response.headers_mut(), is_https);
    InternalError::from_response(error, response).into()
}

/// A short name of one failure, on the page and in the log.
fn new_reference() -> String {
    let id = new_uuid();
    id.get(id.len().saturating_sub(12)..).unwrap_or(&id).to_owned()
}

fn with_error_page(mut response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    let status = response.status();
    let detail = response.response_mut().extensions_mut().remove::<ErrorDetail>();
    if !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let has_page = response.headers().contains_key(header::CONTENT_TYPE);
    let Some(detail) = detail.or_else(|| (!has_page).then(|| errors::plain_detail(status))) else {
        return response;
    };
    let reference = new_reference();
    log_failure(&response, &detail, &reference);
    let visit = response.request().extensions().get::<Rc<Visit>>().cloned();
    let page = errors::draw(visit.as_deref(), status, &detail, &reference);
    let (request, old) = response.into_parts();
    let mut page = page;
    for (name, value) in old.headers() {
        if name != header::CONTENT_LENGTH {
            page.headers_mut().append(name.clone(), value.clone());
        }
    }
    ServiceResponse::new(request, page)
}

fn log_failure(response: &ServiceResponse<BoxBody>, detail: &ErrorDetail, reference: &str) {
    // The pattern, where there is one: a path may have a link's token in it.
    let pattern = response.request().match_pattern();
    let path = pattern.as_deref().unwrap_or_else(|| response.request().path());
    let status = response.status().as_u16();
    match &detail.cause {
        Some(cause) => tracing::error!(reference, status, path, cause, "a page failed"),
        None => {
            tracing::info!(reference, status, path, what = detail.what, "a request was refused");
        }
    }
}

/// A cookie that only our pages see.
pub fn cookie(name: &str, value: String, is_https: bool) -> Cookie<'static> {
    Cookie::build(cookie_name(name, is_https), value)
        .path("/")
        .secure(is_https)
        .http_only(true)
        .same_site(SameSite::Lax)
        .finish()
}

fn add_cookies(response: &mut ServiceResponse<BoxBody>, is_https: bool) {
    let Some(visit) = response.request().extensions().get::<Rc<Visit>>().cloned() else { return };
    if let Some(value) = visit.new_form_cookie() {
        // A cookie of plain characters is always accepted.
        let _ =
            response.response_mut().add_cookie(&cookie(token::COOKIE, value.to_owned(), is_https));
    }
    if visit.flash_was_shown() {
        let mut gone = cookie(flash::COOKIE, String::new(), is_https);
        gone.set_max_age(Duration::ZERO);
        let _ = response.response_mut().add_cookie(&gone);
    }
}

fn harden(headers: &mut HeaderMap, is_https: bool) {
    for (name, value) in FIXED {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let is_download = headers
        .get(header::CONTENT_DISPOSITION)
        .is_some_and(|value| value.as_bytes().starts_with(b"attachment"));
    let csp = match (is_download, is_https) {
        (true, _) => CSP_DOWNLOAD,
        (false, true) => CSP_HTTPS,
        (false, false) => CSP,
    };
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(csp));
    if is_https {
        let year = HeaderValue::from_static("max-age=31536000; includeSubDomains");
        headers.insert(header::STRICT_TRANSPORT_SECURITY, year);
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}
