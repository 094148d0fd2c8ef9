//! Links by which people come: the first owner's set-up link and invitations.

use crate::clock::new_id;
use crate::domain::account::{
    Invite, Role, SETUP_LINK_LIFE, User, check_portal_password, parse_login,
};
use crate::domain::ids::{InviteId, UserId};
use crate::domain::refusal::Refusal;
use crate::secrets::{random_token, sha256_hex};
use crate::store::Record;
use crate::store::accounts::NewUser;
use crate::web::error::{PageError, PageResult};
use crate::web::form::{FormState, Posted};
use crate::web::handlers::account::sign_in;
use crate::web::page::{self, Layout};
use crate::web::paths;
use crate::web::state::AppState;
use crate::web::visit::{Anyone, Visit};
use actix_session::Session;
use actix_web::http::StatusCode;
use actix_web::web;
use askama::Template;

#[derive(Template)]
#[template(path = "account/join.html")]
struct JoinPage {
    layout: Layout,
    f: FormState,
    invite: Invite,
    action: String,
}

#[derive(Template)]
#[template(path = "account/link_gone.html")]
struct LinkGonePage {
    layout: Layout,
    is_new: bool,
}

/// Makes the first owner's link when there is no user yet; only the one made last works. The
/// caller prints it: its token is kept nowhere.
///
/// # Errors
/// When the store does not answer.
pub async fn setup_link(state: &AppState) -> Result<Option<String>, PageError> {
    let (token, now) = (random_token(), state.now());
    let invite = Invite {
        id: new_id(InviteId::parse),
        role: Role::Owner,
        note: String::new(),
        is_setup: true,
        created_by: "pgflex".into(),
        created_at: now,
        expires_at: now + SETUP_LINK_LIFE,
    };
    let mut tx = state.store.begin_write(now).await?;
    let is_first = tx.replace_setup_invite(&invite, &sha256_hex(&token)).await?;
    tx.commit(Record::Nothing("printed by the start, asked by nobody; its use has a line")).await?;
    let link = format!("{}{}", state.config.public_url(), paths::setup(&token));
    Ok(is_first.then_some(link))
}

/// `GET /setup/{token}` and `GET /invite/{token}`
pub async fn get(visit: Anyone, token: web::Path<String>) -> PageResult {
    let Some(invite) = open(&visit, &token).await? else { return gone(&visit).await };
    page::ok(&join_page(&visit, FormState::new(), invite, &token))
}

/// `POST /setup/{token}` and `POST /invite/{token}`
pub async fn post(
    visit: Anyone,
    session: Session,
    token: web::Path<String>,
    posted: Posted,
) -> PageResult {
    let Some(invite) = open(&visit, &token).await? else { return gone(&visit).await };
    let mut f = FormState::keep(&posted);
    let Some(login) = check(&mut f, &posted) else {
        return page::invalid(&join_page(&visit, f, invite, &token));
    };
    let password_hash = visit.state.hash(posted.secret("password")).await?;
    let user = NewUser { id: new_id(UserId::parse), login, password_hash, role: invite.role };
    match join(&visit, &invite, &user).await {
        Ok(true) => welcome(&visit, &session, &user).await,
        Ok(false) => gone(&visit).await,
        Err(PageError::Invalid(text)) => {
            f.refuse(Refusal::at("login", text));
            page::invalid(&join_page(&visit, f, invite, &token))
        }
        Err(error) => Err(error),
    }
}

fn check(f: &mut FormState, posted: &Posted) -> Option<String> {
    let login = f.check(parse_login(posted.text("login")));
    let password = posted.secret("password");
    let known_login = login.as_deref().unwrap_or("");
    f.check(check_portal_password(password.reveal(), known_login));
    if password.reveal() != posted.secret("password_again").reveal() {
        f.refuse(Refusal::at("password_again", "The two passwords are not the same."));
    }
    login.filter(|_| f.is_valid())
}

/// Uses the link up and makes the account, both or neither.
async fn join(visit: &Visit, invite: &Invite, user: &NewUser) -> Result<bool, PageError> {
    let mut tx = visit.state.store.begin_write(visit.now).await?;
    if !tx.use_invite(&invite.id).await? {
        return Ok(false);
    }
    if let Err(error) = tx.insert_user(user).await {
        let is_taken = error.is_unique_violation();
        return Err(if is_taken {
            PageError::Invalid("This login is taken. Choose another.".into())
        } else {
            error.into()
        });
    }
    let brought = tx.assign_invited(&invite.id, &user.id, &invite.created_by).await?;
    let mut line = visit.anonymous_activity("user.join", &user.login);
    line.actor.user_id = Some(user.id.clone());
    let brought = brought.map(|(group, role)| format!(", {} in {group}", role.key()));
    let brought = brought.unwrap_or_default();
    line.detail = format!("{}{brought}, invited by {}", user.role.key(), invite.created_by);
    tx.commit(Record::activity(line)).await?;
    Ok(true)
}

async fn welcome(visit: &Visit, session: &Session, user: &NewUser) -> PageResult {
    let user: User = visit.state.store.user(&user.id).await?.ok_or(PageError::NotFound)?;
    sign_in::welcome(visit, session, &user, "").await
}

async fn open(visit: &Visit, token: &str) -> Result<Option<Invite>, PageError> {
    let invite = visit.state.store.open_invite(&sha256_hex(token), visit.now).await?;
    Ok(invite.filter(|invite| visit.path.starts_with("/setup/") == invite.is_setup))
}

fn join_page(visit: &Visit, f: FormState, invite: Invite, token: &str) -> JoinPage {
    let title = if invite.is_setup { "Set up pgflex" } else { "Join pgflex" };
    let action = if invite.is_setup { paths::setup(token) } else { paths::invite(token) };
    JoinPage { layout: visit.layout_with_form(title), f, invite, action }
}

async fn gone(visit: &Visit) -> PageResult {
    let is_new = !visit.state.store.has_users().await?;
    let layout = visit.layout_with_form("This link does not work any more");
    page::with_status(StatusCode::NOT_FOUND, &LinkGonePage { layout, is_new })
}
