//! The password again, and a code where there is a second factor, before a delicate action.

use crate::domain::activity::ActivityOutcome;
use crate::domain::refusal::Refusal;
use crate::store::Record;
use crate::web::error::{PageError, PageResult};
use crate::web::form::{FormState, Posted};
use crate::web::handlers::account::sign_in::Onward;
use crate::web::handlers::account::{factor_code, throttle};
use crate::web::page::{self, Layout, Nav};
use crate::web::paths;
use crate::web::session;
use crate::web::visit::{Least, Reader, Signed};
use actix_session::Session;
use actix_web::web;
use askama::Template;

#[derive(Template)]
#[template(path = "account/confirm.html")]
struct ConfirmPage {
    layout: Layout,
    f: FormState,
}

impl ConfirmPage {
    fn asks_code(&self) -> bool {
        self.layout.user.as_ref().is_some_and(|user| user.has_second_factor)
    }
}

/// `GET /confirm-password`
pub async fn get(visit: Signed<Reader>, onward: web::Query<Onward>) -> PageResult {
    let f = FormState::new().with("return_to", paths::local_or_home(&onward.return_to));
    page::ok(&ConfirmPage { layout: visit.layout("Confirm your password", Nav::None), f })
}

/// `POST /confirm-password`
pub async fn post(visit: Signed<Reader>, session: Session, posted: Posted) -> PageResult {
    let mut checked = check_password(&visit, &posted, "password").await?;
    if checked.is_ok() && visit.user.has_second_factor {
        checked = factor_code::check(&visit, &visit.user, &posted).await?;
    }
    if let Err(refusal) = checked {
        let mut f = FormState::keep(&posted);
        f.set(factor_code::FIELD, "");
        f.refuse(refusal);
        let layout = visit.layout("Confirm your password", Nav::None);
        return page::invalid(&ConfirmPage { layout, f });
    }
    session::confirm(&session, &visit.session, visit.now)?;
    page::see(&paths::local_or_home(posted.text("return_to")))
}

/// Whether the person typed their own password into `field`; tries are counted as at sign-in.
///
/// # Errors
/// When the store does not answer or too many were tried.
pub async fn check_password<R: Least>(
    visit: &Signed<R>,
    posted: &Posted,
    field: &'static str,
) -> Result<Result<(), Refusal>, PageError> {
    let key = format!("person/{}", visit.user.id);
    if let Err(refusal) = throttle::admit(visit, &key).await? {
        return Ok(Err(refusal));
    }
    let known = visit.state.store.user_by_login(&visit.user.login).await?;
    if visit.state.verify(posted.secret(field), known.map(|(_, phc)| phc)).await? {
        throttle::forgive(visit, &key).await?;
        return Ok(Ok(()));
    }
    let mut line = visit.activity("user.confirm_password", &visit.user.login);
    line.outcome = ActivityOutcome::Refused;
    let tx = visit.state.store.begin_write(visit.now).await?;
    tx.commit(Record::activity(line)).await?;
    Ok(Err(Refusal::at(field, "This is not your password.")))
}
