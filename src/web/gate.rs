//! The one place where a request is let in: who is it, does the route table admit them, and was an
//! unsafe request sent from a page of ours (Origin and form token).

use crate::domain::account::Role;
use crate::web::authorise;
use crate::web::body;
use crate::web::error::PageError;
use crate::web::flash::{self, Flash};
use crate::web::form::Posted;
use crate::web::pace::{self, Who};
use crate::web::paths;
use crate::web::routes::{self, Access};
use crate::web::session;
use crate::web::state::AppState;
use crate::web::token;
use crate::web::visit::{Arrival, Person, Visit, check_role};
use actix_session::{Session, SessionExt};
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HOST, HeaderMap, ORIGIN, USER_AGENT};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, ResponseError, web};
use std::net::IpAddr;
use std::rc::Rc;

/// The middleware.
///
/// # Errors
/// None of its own: every refusal is a response.
pub async fn gate(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    match admit(&mut request).await {
        Ok(()) => next.call(request).await.map(ServiceResponse::map_into_boxed_body),
        Err(refusal) => Ok(request.into_response(refusal.error_response())),
    }
}

async fn admit(request: &mut ServiceRequest) -> Result<(), PageError> {
    let state = request
        .app_data::<web::Data<AppState>>()
        .cloned()
        .ok_or_else(|| PageError::internal("the application has no state"))?;
    let pattern = request.match_pattern();
    let visit = Rc::new(visit(request, pattern.as_deref().unwrap_or(""), state).await?);
    request.extensions_mut().insert(visit.clone());
    if body::is_announced_too_large(request.headers()) {
        return Err(PageError::TooLarge);
    }
    let is_unsafe = !request.method().is_safe();
    if is_unsafe {
        check_origin(request.headers(), &visit.state)?;
    }
    check_pace(request, &visit, pattern.as_deref())?;
    let Some(route) = pattern.as_deref().and_then(|p| routes::find(request.method(), p)) else {
        // No such path or method: the router answers, no handler runs.
        return Ok(());
    };
    if let Some(role) = least_role(route.access) {
        check_role(&visit, role).map_err(|error| after_post(error, is_unsafe))?;
    }
    check_second_factor(&visit, route.pattern).await?;
    if is_unsafe { check_form(request, &visit).await } else { Ok(()) }
}

/// Where everybody needs a second factor, a person without one can set one up and leave, nothing else.
async fn check_second_factor(visit: &Visit, pattern: &str) -> Result<(), PageError> {
    let Some(person) = &visit.person else { return Ok(()) };
    let may = ["/account/second-factor", "/confirm-password", "/sign-out", "/sign-in", "/static/"];
    if person.user.has_second_factor
        || may.iter().any(|start| pattern.starts_with(start))
        || !visit.state.store.second_factor_required().await?
    {
        return Ok(());
    }
    Err(PageError::See(paths::second_factor()))
}

/// Signed-in people are counted by themselves, wherever they are; everybody else by address.
fn check_pace(
    request: &ServiceRequest,
    visit: &Visit,
    pattern: Option<&str>,
) -> Result<(), PageError> {
    let Some(weight) = pace::weight(request.method(), pattern.unwrap_or("")) else { return Ok(()) };
    let who = match &visit.person {
        Some(person) => Who::User(person.user.id.to_string()),
        None => Who::address(&visit.address),
    };
    visit.state.pace.admit(&who, weight, visit.now)
}

fn least_role(access: Access) -> Option<Role> {
    match access {
        Access::Anonymous => None,
        Access::Reader => Some(Role::Reader),
        Access::Contributor => Some(Role::Contributor),
        Access::Owner => Some(Role::Owner),
    }
}

/// A form whose session has ended cannot be come back to by GET: go on at the start.
fn after_post(error: PageError, is_unsafe: bool) -> PageError {
    match error {
        PageError::See(_) if is_unsafe => PageError::See(paths::sign_in()),
        other => other,
    }
}

async fn visit(
    request: &ServiceRequest,
    pattern: &str,
    state: web::Data<AppState>,
) -> Result<Visit, PageError> {
    let is_https = state.config.is_https();
    let cookie = |name: &str| {
        let cookie = request.cookie(&session::cookie_name(name, is_https));
        cookie.map(|cookie| cookie.value().to_owned())
    };
    let header = |name| header_text(request.headers(), name).to_owned();
    let arrival = Arrival {
        now: state.now(),
        address: client_address(request, &state.config.args.trusted_proxies),
        user_agent: header(USER_AGENT.as_str()),
        path: request.uri().path_and_query().map_or("/".into(), ToString::to_string),
        flash: cookie(flash::COOKIE).and_then(|value| Flash::from_cookie(&value, &state.sealer)),
        form_cookie: cookie(token::COOKIE).filter(|value| value.len() <= 100),
        state,
    };
    let session = request.get_session();
    let person = person(&session, &arrival.state, pattern, request.path()).await?;
    let notice = match person {
        Some(_) => arrival.state.store.engine_silence().await?,
        None => None,
    };
    Ok(Visit::new(arrival, person, notice))
}

/// The person of the session: loaded anew for every request, so that a new role, here or in a
/// group, and a disabled account count at once.
async fn person(
    session: &Session,
    state: &AppState,
    pattern: &str,
    path: &str,
) -> Result<Option<Person>, PageError> {
    let Some(facts) = session::facts(session) else { return Ok(None) };
    match state.store.user(&facts.user_id).await? {
        Some(user) if !user.disabled => {
            let standing = authorise::standing(&state.store, &user, pattern, path).await?;
            Ok(Some(Person { user, session: facts, standing }))
        }
        _ => {
            session.purge();
            Ok(None)
        }
    }
}

/// The peer's address; behind a trusted proxy, the last address that no trusted proxy has.
fn client_address(request: &ServiceRequest, trusted: &[IpAddr]) -> String {
    let Some(peer) = request.peer_addr().map(|address| address.ip().to_canonical()) else {
        return "-".into();
    };
    if !trusted.contains(&peer) {
        return peer.to_string();
    }
    let forwarded: Vec<&str> = request
        .headers()
        .get_all("x-forwarded-for")
        .filter_map(|value| value.to_str().ok())
        .collect();
    last_untrusted(&forwarded.join(","), trusted).unwrap_or(peer).to_string()
}

fn last_untrusted(forwarded: &str, trusted: &[IpAddr]) -> Option<IpAddr> {
    let mut last = None;
    for part in forwarded.rsplit(',') {
        let Ok(address) = part.trim().parse::<IpAddr>() else { break };
        last = Some(address.to_canonical());
        if !trusted.contains(&address.to_canonical()) {
            break;
        }
    }
    last
}

fn header_text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
}

/// Browsers say where an unsafe request comes from; whoever does not is no browser of today.
fn check_origin(headers: &HeaderMap, state: &AppState) -> Result<(), PageError> {
    let origin = header_text(headers, ORIGIN.as_str());
    let site = header_text(headers, "sec-fetch-site");
    let site_is_ours = matches!(site, "" | "same-origin" | "none");
    let origin_is_ours = if origin.is_empty() {
        !site.is_empty()
    } else {
        let host = header_text(headers, HOST.as_str());
        let scheme = if state.config.is_https() { "https" } else { "http" };
        origin == state.config.public_url() || origin == format!("{scheme}://{host}")
    };
    if site_is_ours && origin_is_ours {
        return Ok(());
    }
    Err(PageError::Forbidden("The request was not sent from a page of this portal.".into()))
}

/// Reads the form, checks its token and leaves it for the handler.
async fn check_form(request: &mut ServiceRequest, visit: &Visit) -> Result<(), PageError> {
    let body = body::read(request.take_payload()).await?;
    let posted = Posted::parse(&body)
        .ok_or_else(|| PageError::Bad("What was sent is not a form of this portal.".into()))?;
    if !visit.owns_token(posted.text(token::FIELD)) {
        return Err(PageError::Forbidden(
            "The page that the form was on is too old or belongs to another session. Reload it and send the form again.".into(),
        ));
    }
    request.extensions_mut().insert(posted);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forwarded_addresses_count_only_up_to_the_first_stranger() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let trusted = [ip("10.0.0.1"), ip("10.0.0.2")];
        assert_eq!(last_untrusted("6.6.6.6, 1.2.3.4, 10.0.0.2", &trusted), Some(ip("1.2.3.4")));
        assert_eq!(last_untrusted("junk, 10.0.0.2", &trusted), Some(ip("10.0.0.2")));
        assert_eq!(last_untrusted("", &trusted), None);
    }
}
