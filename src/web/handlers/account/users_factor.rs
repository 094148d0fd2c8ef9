//! Second factors of others, for owners: taken away when somebody lost theirs, or asked of everybody.

use crate::domain::ids::UserId;
use crate::domain::refusal::Refusal;
use crate::store::Record;
use crate::web::error::{PageError, PageResult};
use crate::web::flash::Flash;
use crate::web::form::Posted;
use crate::web::page;
use crate::web::paths;
use crate::web::visit::{Owner, Signed};
use actix_web::web;

/// `POST /users/{user}/second-factor/reset`
pub async fn reset(visit: Signed<Owner>, id: web::Path<String>) -> PageResult {
    visit.require_recent_password(&paths::users())?;
    let id = UserId::parse(&id).ok_or(PageError::NotFound)?;
    let user = visit.state.store.user(&id).await?.ok_or(PageError::NotFound)?;
    if user.id == visit.user.id {
        // Else a session and a password would do without the code.
        let refusal = Refusal::whole("Switch your own second factor off on your account's page.");
        return page::see_with(&visit, &paths::users(), &Flash::refused(&refusal));
    }
    let mut tx = visit.state.store.begin_write(visit.now).await?;
    if !tx.delete_factor(&user.id).await? {
        let refusal = Refusal::whole(format!("{} has no second factor.", user.login));
        return page::see_with(&visit, &paths::users(), &Flash::refused(&refusal));
    }
    tx.end_sessions(&user.id, None).await?;
    let line = visit.activity("user.second_factor_reset", &user.login);
    tx.commit(Record::activity(line)).await?;
    let text = format!(
        "{} has no second factor any more and signs in with the password. Their sessions were ended.",
        user.login
    );
    page::see_with(&visit, &paths::users(), &Flash::done(text))
}

/// `POST /users/second-factor`
pub async fn require(visit: Signed<Owner>, posted: Posted) -> PageResult {
    visit.require_recent_password(&paths::users())?;
    let required = posted.text("required") == "yes";
    if required && !visit.user.has_second_factor {
        let refusal =
            Refusal::whole("Set up your own second factor first, on your account's page.");
        return page::see_with(&visit, &paths::users(), &Flash::refused(&refusal));
    }
    let mut tx = visit.state.store.begin_write(visit.now).await?;
    tx.set_second_factor_required(required).await?;
    let mut line = visit.activity("user.second_factor_require", "everybody");
    line.detail = if required { "required" } else { "not required" }.into();
    tx.commit(Record::activity(line)).await?;
    let text = if required {
        "Everybody needs a second factor now. Who has none is led to set one up with their next click."
    } else {
        "A second factor is everybody's own choice now. Those that are set up stay on."
    };
    page::see_with(&visit, &paths::users(), &Flash::done(text))
}
