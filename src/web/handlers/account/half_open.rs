//! Between password and code. There is no session yet: a sealed cookie that lives five minutes says whose
//! password was right, and all it opens is the page that asks for the code.

use crate::domain::account::{SECOND_FACTOR_WAIT, User};
use crate::domain::ids::UserId;
use crate::secrets::Sealer;
use crate::web::error::{PageError, PageResult};
use crate::web::form::{FormState, Posted};
use crate::web::handlers::account::factor_code;
use crate::web::handlers::account::sign_in::{self, Onward};
use crate::web::headers;
use crate::web::page::{self, Layout};
use crate::web::paths;
use crate::web::session::cookie_name;
use crate::web::visit::{Anyone, Visit};
use actix_session::Session;
use actix_web::cookie::time::Duration as CookieDuration;
use actix_web::{HttpRequest, web};
use askama::Template;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};

/// Name of the cookie, before the prefix for TLS.
const COOKIE: &str = "half";
const PLACE: &str = "cookie/half";

#[derive(Template)]
#[template(path = "account/code.html")]
struct CodePage {
    layout: Layout,
    f: FormState,
}

/// After the right password of a person who has a second factor.
///
/// # Errors
/// When the cookie cannot be sealed.
pub fn begin(visit: &Visit, user: &User, return_to: &str) -> PageResult {
    let value = seal(&visit.state.sealer, user, visit.now)
        .ok_or_else(|| PageError::internal("a cookie cannot be sealed"))?;
    let mut response = page::see(&paths::sign_in_code(&paths::local_or_home(return_to)))?;
    let mut cookie = headers::cookie(COOKIE, value, visit.state.config.is_https());
    cookie.set_max_age(CookieDuration::seconds(SECOND_FACTOR_WAIT.num_seconds()));
    response.add_cookie(&cookie).map_err(PageError::internal)?;
    Ok(response)
}

/// `GET /sign-in/code`
pub async fn get(visit: Anyone, request: HttpRequest, onward: web::Query<Onward>) -> PageResult {
    let return_to = paths::local_or_home(&onward.return_to);
    if visit.person.is_some() {
        return page::see(&return_to);
    }
    if person(&visit, &request).await?.is_none() {
        return page::see(&paths::sign_in_then(&return_to));
    }
    let f = FormState::new().with("return_to", return_to);
    page::ok(&CodePage { layout: visit.layout_with_form("Enter the code"), f })
}

/// `POST /sign-in/code`
pub async fn post(
    visit: Anyone,
    session: Session,
    posted: Posted,
    request: HttpRequest,
) -> PageResult {
    let Some(user) = person(&visit, &request).await? else {
        return page::see(&paths::sign_in_then(&paths::local_or_home(posted.text("return_to"))));
    };
    if let Err(refusal) = factor_code::check(&visit, &user, &posted).await? {
        let mut f = FormState::keep(&posted);
        f.set(factor_code::FIELD, "");
        f.refuse(refusal);
        return page::invalid(&CodePage { layout: visit.layout_with_form("Enter the code"), f });
    }
    let mut response = sign_in::welcome(&visit, &session, &user, posted.text("return_to")).await?;
    let mut cookie = headers::cookie(COOKIE, String::new(), visit.state.config.is_https());
    cookie.make_removal();
    response.add_cookie(&cookie).map_err(PageError::internal)?;
    Ok(response)
}

/// Whose password was right, a short while ago in this browser: loaded anew, so that a new password, a
/// disabled account or a factor that was reset counts at once.
async fn person(visit: &Visit, request: &HttpRequest) -> Result<Option<User>, PageError> {
    let name = cookie_name(COOKIE, visit.state.config.is_https());
    let cookie = request.cookie(&name);
    let Some(half) = cookie.and_then(|cookie| open(&visit.state.sealer, cookie.value())) else {
        return Ok(None);
    };
    let age = visit.now - half.at;
    let Some(user) = visit.state.store.user(&half.user).await? else { return Ok(None) };
    let is_valid = age < SECOND_FACTOR_WAIT
        && !user.disabled
        && user.has_second_factor
        && user.password_changed_at.timestamp_micros() == half.password_changed;
    Ok(is_valid.then_some(user))
}

/// What the cookie says.
struct Half {
    user: UserId,
    /// The password's age: a cookie from before a change is worthless.
    password_changed: i64,
    at: DateTime<Utc>,
}

fn seal(sealer: &Sealer, user: &User, now: DateTime<Utc>) -> Option<String> {
    let changed = user.password_changed_at.timestamp_micros();
    let text = format!("{} {changed} {}", user.id, now.timestamp_micros());
    sealer.seal(PLACE, text.as_bytes()).ok().map(|sealed| URL_SAFE_NO_PAD.encode(sealed))
}

fn open(sealer: &Sealer, cookie: &str) -> Option<Half> {
    let sealed = URL_SAFE_NO_PAD.decode(cookie).ok()?;
    let plain = sealer.open(PLACE, &sealed).ok()?;
    let mut parts = std::str::from_utf8(&plain).ok()?.split(' ');
    Some(Half {
        user: UserId::parse(parts.next()?)?,
        password_changed: parts.next()?.parse().ok()?,
        at: DateTime::from_timestamp_micros(parts.next()?.parse().ok()?)?,
    })
}
