//! The own account: password and sessions.

use crate::domain::account::{Role, SessionInfo, check_portal_password};
use crate::domain::ids::SessionId;
use crate::domain::refusal::Refusal;
use crate::store::Record;
use crate::web::error::{PageError, PageResult};
use crate::web::flash::Flash;
use crate::web::form::{FormState, Posted};
use crate::web::handlers::account::confirm::check_password;
use crate::web::label::{Chip, Icon, Tone};
use crate::web::page::{self, Layout, Nav};
use crate::web::paths;
use crate::web::session;
use crate::web::time::{Stamp, ago_text};
use crate::web::visit::{Reader, Signed};
use actix_session::Session;
use actix_web::web;
use askama::Template;

#[derive(Template)]
#[template(path = "account/own.html")]
struct AccountPage {
    layout: Layout,
    f: FormState,
    login: String,
    role: Role,
    password_changed: Stamp,
    has_factor: bool,
    factor: Chip,
    sessions: Vec<SessionView>,
}

struct SessionView {
    is_current: bool,
    browser: String,
    address: String,
    signed_in: Stamp,
    seen: String,
    end_path: String,
}

/// `GET /account`
pub async fn get(visit: Signed<Reader>) -> PageResult {
    page::ok(&account_page(&visit, FormState::new()).await?)
}

/// `POST /account/password`
pub async fn change_password(
    visit: Signed<Reader>,
    session: Session,
    posted: Posted,
) -> PageResult {
    let mut f = FormState::keep(&posted);
    let new = posted.secret("new_password");
    f.check(check_portal_password(new.reveal(), &visit.user.login).map_err(at_new_password));
    if new.reveal() != posted.secret("new_password_again").reveal() {
        f.refuse(Refusal::at("new_password_again", "The two passwords are not the same."));
    }
    if f.is_valid() {
        f.check(check_password(&visit, &posted, "current_password").await?);
    }
    if !f.is_valid() {
        return page::invalid(&account_page(&visit, f).await?);
    }
    let phc = visit.state.hash(new).await?;
    let mut tx = visit.state.store.begin_write(visit.now).await?;
    tx.set_password(&visit.user.id, &phc).await?;
    let ended = tx.end_sessions(&visit.user.id, Some(&visit.session.id)).await?;
    let line = visit.activity("user.password_change", &visit.user.login);
    tx.commit(Record::activity(line)).await?;
    session::confirm(&session, &visit.session, visit.now)?;
    let text = format!("Your password was changed. {}", ended_text(ended));
    page::see_with(&visit, &paths::account(), &Flash::done(text))
}

/// `POST /account/sessions/{session}/end`
pub async fn end_session(visit: Signed<Reader>, id: web::Path<String>) -> PageResult {
    let id = SessionId::parse(&id).ok_or(PageError::NotFound)?;
    let mut tx = visit.state.store.begin_write(visit.now).await?;
    if !tx.end_session(&visit.user.id, &id).await? {
        return Err(PageError::NotFound);
    }
    let line = visit.activity("user.session_end", &visit.user.login);
    tx.commit(Record::activity(line)).await?;
    page::see_with(&visit, &paths::account(), &Flash::done("The session was ended."))
}

/// `POST /account/sessions/end-others`
pub async fn end_other_sessions(visit: Signed<Reader>) -> PageResult {
    let mut tx = visit.state.store.begin_write(visit.now).await?;
    let ended = tx.end_sessions(&visit.user.id, Some(&visit.session.id)).await?;
    let line = visit.activity("user.session_end", &visit.user.login);
    tx.commit(Record::activity(line)).await?;
    page::see_with(&visit, &paths::account(), &Flash::done(ended_text(ended)))
}

fn at_new_password(refusal: Refusal) -> Refusal {
    Refusal::at("new_password", refusal.text)
}

fn ended_text(ended: u64) -> String {
    match ended {
        0 => "There was no other session.".into(),
        1 => "One other session was ended.".into(),
        n => format!("{n} other sessions were ended."),
    }
}

async fn account_page(visit: &Signed<Reader>, f: FormState) -> Result<AccountPage, PageError> {
    let sessions = visit.state.store.sessions_of(&visit.user.id, visit.now).await?;
    Ok(AccountPage {
        layout: visit.layout("Your account", Nav::Account),
        f,
        login: visit.user.login.clone(),
        role: visit.user.role,
        password_changed: visit.user.password_changed_at.into(),
        has_factor: visit.user.has_second_factor,
        factor: factor_chip(visit.user.has_second_factor),
        sessions: sessions.iter().map(|info| session_view(visit, info)).collect(),
    })
}

/// Whether a code is asked beside the password.
pub fn factor_chip(is_on: bool) -> Chip {
    if is_on {
        Chip::new("On", Icon::Check, Tone::Ok)
    } else {
        Chip::new("Off", Icon::Minus, Tone::Idle)
    }
}

fn session_view(visit: &Signed<Reader>, info: &SessionInfo) -> SessionView {
    SessionView {
        is_current: info.id == visit.session.id,
        browser: browser_name(&info.user_agent),
        address: info.address.clone(),
        signed_in: info.created_at.into(),
        seen: ago_text(info.seen_at, visit.now),
        end_path: paths::account_session_end(&info.id),
    }
}

/// What a user agent is, in words that its owner recognises.
fn browser_name(agent: &str) -> String {
    let find = |list: &[(&str, &'static str)]| {
        list.iter().find(|(mark, _)| agent.contains(mark)).map(|(_, name)| *name)
    };
    let browser = find(&[
        ("Edg/", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
        ("curl/", "curl"),
    ]);
    let system = find(&[
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Windows", "Windows"),
        ("Mac OS X", "macOS"),
        ("Linux", "Linux"),
    ]);
    match (browser, system) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(name), None) | (None, Some(name)) => name.into(),
        (None, None) => "Unknown browser".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_have_names() {
        let edge = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0 Safari/537.36 Edg/156.0";
        assert_eq!(browser_name(edge), "Edge on Windows");
        assert_eq!(browser_name("curl/8.0"), "curl");
        assert_eq!(browser_name(""), "Unknown browser");
    }
}
