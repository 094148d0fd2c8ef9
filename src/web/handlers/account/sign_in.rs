//! Signing in and out.

use crate::domain::account::User;
use crate::domain::activity::ActivityOutcome;
use crate::domain::refusal::Refusal;
use crate::secrets::Secret;
use crate::store::Record;
use crate::web::error::{PageError, PageResult};
use crate::web::flash::Flash;
use crate::web::form::{FormState, Posted};
use crate::web::handlers::account::{half_open, throttle};
use crate::web::headers;
use crate::web::page::{self, Layout};
use crate::web::paths;
use crate::web::session::{self, cookie_name};
use crate::web::visit::{Anyone, Reader, Signed, Visit};
use actix_session::Session;
use actix_web::cookie::time::Duration as CookieDuration;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;

#[derive(Template)]
#[template(path = "account/sign_in.html")]
struct SignInPage {
    layout: Layout,
    f: FormState,
    /// Nobody can sign in yet: the set-up link comes first.
    is_new: bool,
}

/// The page to go on to.
#[derive(Debug, Deserialize, Default)]
pub struct Onward {
    #[serde(default)]
    pub return_to: String,
}

/// `GET /sign-in`
pub async fn get(visit: Anyone, onward: web::Query<Onward>) -> PageResult {
    let return_to = paths::local_or_home(&onward.return_to);
    if visit.person.is_some() {
        return page::see(&return_to);
    }
    let is_new = !visit.state.store.has_users().await?;
    let f = FormState::new().with("return_to", return_to);
    page::ok(&SignInPage { layout: visit.layout_with_form("Sign in"), f, is_new })
}

/// `POST /sign-in`
pub async fn post(
    visit: Anyone,
    session: Session,
    posted: Posted,
    request: HttpRequest,
) -> PageResult {
    let login = posted.text("login").to_lowercase();
    let known = visit.state.store.user_by_login(&login).await?;
    let key = guess_key(&visit, &request, &login, known.as_ref().map(|(user, _)| user));
    if let Err(refusal) = throttle::admit(&visit, &key).await? {
        return refuse(&visit, &posted, refusal).await;
    }
    let phc = known.as_ref().map(|(_, phc)| phc.clone());
    let is_right = visit.state.verify(posted.secret("password"), phc).await?;
    match known {
        Some((user, phc)) if is_right && !user.disabled => {
            rehash(&visit, &user, &phc, posted.secret("password")).await?;
            throttle::forgive(&visit, &key).await?;
            if user.has_second_factor {
                return half_open::begin(&visit, &user, posted.text("return_to"));
            }
            welcome(&visit, &session, &user, posted.text("return_to")).await
        }
        known => {
            note_failure(&visit, known.as_ref().map(|(user, _)| user)).await?;
            refuse(&visit, &posted, Refusal::whole("Login or password is wrong.")).await
        }
    }
}

/// `POST /sign-out`
pub async fn sign_out(visit: Signed<Reader>, session: Session) -> PageResult {
    let tx = visit.state.store.begin_write(visit.now).await?;
    tx.commit(Record::activity(visit.activity("user.sign_out", &visit.user.login))).await?;
    session.purge();
    page::see_with(&visit, &paths::sign_in(), &Flash::done("You are signed out."))
}

fn guess_key(visit: &Visit, request: &HttpRequest, login: &str, known: Option<&User>) -> String {
    let name = cookie_name(throttle::DEVICE_COOKIE, visit.state.config.is_https());
    known
        .zip(request.cookie(&name))
        .and_then(|(user, cookie)| {
            throttle::device_key(&visit.state.sealer, cookie.value(), &user.id)
        })
        .unwrap_or_else(|| throttle::account_key(login))
}

async fn refuse(visit: &Visit, posted: &Posted, refusal: Refusal) -> PageResult {
    let mut f = FormState::keep(posted);
    f.refuse(refusal);
    let is_new = !visit.state.store.has_users().await?;
    page::invalid(&SignInPage { layout: visit.layout_with_form("Sign in"), f, is_new })
}

/// What was typed is written only where it is a login of ours: people type passwords there too.
async fn note_failure(visit: &Visit, known: Option<&User>) -> Result<(), PageError> {
    let name = known.map_or("unknown login", |user| user.login.as_str());
    let mut line = visit.anonymous_activity("user.sign_in", name);
    line.outcome = ActivityOutcome::Refused;
    line.detail = match known {
        Some(user) if user.disabled => "the account is disabled".into(),
        Some(_) => "wrong password".into(),
        None => "no such login".into(),
    };
    let tx = visit.state.store.begin_write(visit.now).await?;
    Ok(tx.commit(Record::activity(line)).await?)
}

/// Passwords hashed at an earlier, lower cost are hashed again while they are at hand.
async fn rehash(visit: &Visit, user: &User, old: &str, password: Secret) -> Result<(), PageError> {
    if !visit.state.is_weaker(old) {
        return Ok(());
    }
    let new = visit.state.hash(password).await?;
    let mut tx = visit.state.store.begin_write(visit.now).await?;
    tx.rehash_password(&user.id, old, &new).await?;
    Ok(tx.commit(Record::Nothing("the password stays the same")).await?)
}

/// Begins the session of a person who has just proved who they are.
///
/// # Errors
/// When the store does not answer.
pub async fn welcome(
    visit: &Visit,
    session: &Session,
    user: &User,
    return_to: &str,
) -> Result<HttpResponse, PageError> {
    let mut line = visit.anonymous_activity("user.sign_in", &user.login);
    line.actor.user_id = Some(user.id.clone());
    let tx = visit.state.store.begin_write(visit.now).await?;
    tx.commit(Record::activity(line)).await?;
    session::begin(session, visit, user)?;
    let mut response = page::see(&paths::local_or_home(return_to))?;
    if let Some(value) = throttle::device_cookie(&visit.state.sealer, &user.id) {
        let mut cookie =
            headers::cookie(throttle::DEVICE_COOKIE, value, visit.state.config.is_https());
        cookie.set_max_age(CookieDuration::days(throttle::DEVICE_DAYS));
        response.add_cookie(&cookie).map_err(PageError::internal)?;
    }
    Ok(response)
}
