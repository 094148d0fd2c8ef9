//! The own second factor: switched on with a first code, off with password and code.

use crate::domain::refusal::Refusal;
use crate::secrets::totp;
use crate::store::Record;
use crate::store::second_factors::SecondFactor;
use crate::web::error::{PageError, PageResult};
use crate::web::flash::Flash;
use crate::web::form::{FormState, Posted};
use crate::web::handlers::account::confirm::check_password;
use crate::web::handlers::account::qr::{self, Square};
use crate::web::handlers::account::{factor_code, throttle};
use crate::web::page::{self, Layout, Nav};
use crate::web::paths;
use crate::web::session;
use crate::web::visit::{Reader, Signed};
use actix_session::Session;
use askama::Template;

#[derive(Template)]
#[template(path = "account/second_factor.html")]
struct FactorPage {
    layout: Layout,
    f: FormState,
    login: String,
    /// Everybody needs one.
    is_required: bool,
    stage: Stage,
}

/// How far it is.
enum Stage {
    Off,
    /// The key is shown until a code of it was.
    Proposed {
        square: Option<Square>,
        key: String,
        uri: String,
    },
    On {
        codes_left: i64,
    },
}

#[derive(Template)]
#[template(path = "account/recovery_codes.html")]
struct CodesPage {
    layout: Layout,
    codes: String,
    /// Whether the factor was switched on just now.
    is_new: bool,
}

/// `GET /account/second-factor`
pub async fn get(visit: Signed<Reader>) -> PageResult {
    visit.require_recent_password(&paths::second_factor())?;
    page::ok(&factor_page(&visit, FormState::new()).await?)
}

/// `POST /account/second-factor`: makes a key; nothing counts until it is confirmed.
pub async fn begin(visit: Signed<Reader>) -> PageResult {
    visit.require_recent_password(&paths::second_factor())?;
    let place = factor_code::place(&visit.user);
    let sealed = visit.state.sealer.seal(&place, &totp::new_key()).map_err(PageError::internal)?;
    let mut tx = visit.state.store.begin_write(visit.now).await?;
    tx.propose_factor(&visit.user.id, sealed).await?;
    tx.commit(Record::Nothing("it counts only when it is confirmed")).await?;
    page::see(&paths::second_factor())
}

/// `POST /account/second-factor/confirm`
pub async fn confirm(visit: Signed<Reader>, session: Session, posted: Posted) -> PageResult {
    visit.require_recent_password(&paths::second_factor())?;
    let Some(factor) = proposed(&visit).await? else { return page::see(&paths::second_factor()) };
    let guesses = throttle::code_key(&visit.user.id);
    if let Err(refusal) = throttle::admit(&visit, &guesses).await? {
        return refuse(&visit, refusal).await;
    }
    let key = factor_code::key(&visit, &visit.user, &factor)?;
    let typed = posted.text(factor_code::FIELD);
    let Some(step) = totp::matching_step(&key, typed, visit.now, 0) else {
        return refuse(
            &visit,
            Refusal::at(
                factor_code::FIELD,
                "This is not the code of this key. Look that the clock of your telephone is right, and type the code that is shown now.",
            ),
        )
        .await;
    };
    let (codes, hashes) = recovery_codes(&visit);
    let mut tx = visit.state.store.begin_write(visit.now).await?;
    if !tx.confirm_factor(&visit.user.id, &factor, step).await? {
        return page::see(&paths::second_factor());
    }
    tx.forgive_guesses(&guesses).await?;
    tx.replace_recovery_codes(&visit.user.id, &hashes).await?;
    tx.end_sessions(&visit.user.id, Some(&visit.session.id)).await?;
    let line = visit.activity("user.second_factor_on", &visit.user.login);
    tx.commit(Record::activity(line)).await?;
    session::confirm(&session, &visit.session, visit.now)?;
    codes_page(&visit, codes, true)
}

/// `POST /account/second-factor/recovery-codes`
pub async fn new_codes(visit: Signed<Reader>, posted: Posted) -> PageResult {
    visit.require_recent_password(&paths::second_factor())?;
    if !visit.user.has_second_factor {
        return page::see(&paths::second_factor());
    }
    if let Err(refusal) = factor_code::check(&visit, &visit.user, &posted).await? {
        return refuse(&visit, refusal).await;
    }
    let (codes, hashes) = recovery_codes(&visit);
    let mut tx = visit.state.store.begin_write(visit.now).await?;
    tx.replace_recovery_codes(&visit.user.id, &hashes).await?;
    let line = visit.activity("user.recovery_codes", &visit.user.login);
    tx.commit(Record::activity(line)).await?;
    codes_page(&visit, codes, false)
}

/// `POST /account/second-factor/off`
pub async fn off(visit: Signed<Reader>, session: Session, posted: Posted) -> PageResult {
    if !visit.user.has_second_factor {
        return page::see(&paths::second_factor());
    }
    let mut checked = check_password(&visit, &posted, "password").await?;
    if checked.is_ok() {
        let code = factor_code::check(&visit, &visit.user, &posted).await?;
        checked = code.map_err(|refusal| Refusal::whole(refusal.text));
    }
    if let Err(refusal) = checked {
        return refuse(&visit, refusal).await;
    }
    let mut tx = visit.state.store.begin_write(visit.now).await?;
    tx.delete_factor(&visit.user.id).await?;
    tx.end_sessions(&visit.user.id, Some(&visit.session.id)).await?;
    let line = visit.activity("user.second_factor_off", &visit.user.login);
    tx.commit(Record::activity(line)).await?;
    session::confirm(&session, &visit.session, visit.now)?;
    let text = "The second factor is off: your password alone lets you in. Your other sessions were ended.";
    page::see_with(&visit, &paths::account(), &Flash::done(text))
}

async fn proposed(visit: &Signed<Reader>) -> Result<Option<SecondFactor>, PageError> {
    let factor = visit.state.store.second_factor(&visit.user.id).await?;
    Ok(factor.filter(|factor| !factor.is_confirmed))
}

/// New codes as text to keep, and as they are stored.
fn recovery_codes(visit: &Signed<Reader>) -> (String, Vec<String>) {
    let codes = totp::recovery_codes();
    let hash =
        |code: &crate::secrets::Secret| totp::recovery_hash(visit.user.id.as_str(), code.reveal());
    let hashes = codes.iter().filter_map(hash).collect();
    let texts: Vec<&str> = codes.iter().map(crate::secrets::Secret::reveal).collect();
    (texts.join("\n"), hashes)
}

async fn refuse(visit: &Signed<Reader>, refusal: Refusal) -> PageResult {
    let mut f = FormState::new();
    f.refuse(refusal);
    page::invalid(&factor_page(visit, f).await?)
}

fn codes_page(visit: &Signed<Reader>, codes: String, is_new: bool) -> PageResult {
    let layout = visit.layout("Recovery codes", Nav::Account);
    page::ok(&CodesPage { layout, codes, is_new })
}

async fn factor_page(visit: &Signed<Reader>, f: FormState) -> Result<FactorPage, PageError> {
    Ok(FactorPage {
        layout: visit.layout("Second factor", Nav::Account),
        f,
        login: visit.user.login.clone(),
        is_required: visit.state.store.second_factor_required().await?,
        stage: stage(visit).await?,
    })
}

async fn stage(visit: &Signed<Reader>) -> Result<Stage, PageError> {
    if visit.user.has_second_factor {
        let codes_left = visit.state.store.recovery_codes_left(&visit.user.id).await?;
        return Ok(Stage::On { codes_left });
    }
    let Some(factor) = proposed(visit).await? else { return Ok(Stage::Off) };
    let key = factor_code::key(visit, &visit.user, &factor)?;
    let url = visit.state.config.public_url();
    let portal = url.split_once("://").map_or(url.as_str(), |(_, host)| host);
    let uri = totp::uri(&key, &visit.user.login, portal);
    let text = totp::base32(&key);
    let groups: Vec<String> =
        text.as_bytes().chunks(4).map(|four| String::from_utf8_lossy(four).into_owned()).collect();
    Ok(Stage::Proposed {
        square: qr::square(uri.reveal()),
        key: groups.join(" "),
        uri: uri.reveal().to_owned(),
    })
}
