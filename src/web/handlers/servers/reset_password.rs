//! Reset password: typed twice or made here, turned into a SCRAM verifier on arrival and sealed. The text
//! goes no further than this file; one that was made here is shown on the answer to the form, once.

use super::create_password::{self, CONFIRM, FIELD};
use super::nav::{self, Frame, Tab};
use crate::clock::{new_uuid, random_bytes};
use crate::domain::names::{PasswordReset, check_admin_password};
use crate::domain::operation::OperationKind;
use crate::domain::refusal::Refusal;
use crate::operations::submit::{Change, SubmitError};
use crate::secrets::{Secret, scram_verifier, sha256_hex};
use crate::web::error::PageResult;
use crate::web::form::{FormState, Posted};
use crate::web::page::{self, Layout};
use crate::web::paths;
use crate::web::visit::{Contributor, Signed, Visit};
use actix_web::http::StatusCode;
use actix_web::http::header::LOCATION;
use actix_web::web::Path;
use askama::Template;

/// Letters and digits that nobody takes for one another, and signs that no shell, URI or form minds.
const ALPHABET: &[u8; 64] = b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789-_.~+=:";
const LENGTH: usize = 24;

#[derive(Template)]
#[template(path = "servers/reset_password.html")]
struct ResetPage {
    layout: Layout,
    frame: Frame,
    f: FormState,
    key: String,
}

/// The answer that shows a password that was made here.
#[derive(Template)]
#[template(path = "servers/reset_password_made.html")]
struct MadePage {
    layout: Layout,
    frame: Frame,
    password: Secret,
    operation: String,
}

impl MadePage {
    fn password(&self) -> &str {
        self.password.reveal()
    }

    fn login(&self) -> &str {
        self.frame.server.spec.admin_login.as_str()
    }
}

impl ResetPage {
    fn new(visit: &Visit, frame: Frame, f: FormState) -> Self {
        Self { layout: frame.layout(visit, "Reset password"), frame, f, key: new_uuid() }
    }

    fn why_closed(&self) -> Option<String> {
        self.frame.why_closed(OperationKind::ResetPassword)
    }

    fn action(&self) -> String {
        paths::server_reset_password(&self.frame.server.id)
    }

    fn back(&self) -> String {
        paths::server(&self.frame.server.id)
    }

    fn login(&self) -> &str {
        self.frame.server.spec.admin_login.as_str()
    }

    fn is_pooled(&self) -> bool {
        self.frame.server.configuration.pooler.enabled
    }
}

/// `GET /servers/{id}/reset-password`
pub async fn get(visit: Signed<Contributor>, id: Path<String>) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Action).await? else {
        return nav::gone(&visit, &id).await;
    };
    visit.require_recent_password(&paths::server_reset_password(&frame.server.id))?;
    page::ok(&ResetPage::new(&visit, frame, FormState::new()))
}

/// `POST /servers/{id}/reset-password`
pub async fn post(visit: Signed<Contributor>, id: Path<String>, posted: Posted) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Action).await? else {
        return nav::gone(&visit, &id).await;
    };
    visit.require_recent_password(&paths::server_reset_password(&frame.server.id))?;
    let mut f = FormState::keep(&posted);
    let is_made_here = posted.has("generate");
    let Some(password) = f.check(new_password(&posted, &frame, is_made_here)) else {
        return page::invalid(&ResetPage::new(&visit, frame, f));
    };
    match submit(&visit, &frame, &posted, &password).await? {
        Ok((way, true)) if is_made_here => {
            let made = MadePage {
                layout: frame.layout(&visit, "New password"),
                frame,
                password,
                operation: way.headers().get(LOCATION).map_or_else(String::new, |value| {
                    value.to_str().unwrap_or_default().to_owned()
                }),
            };
            page::ok(&made)
        }
        Ok((way, _)) => Ok(way),
        Err(refusal) => {
            f.refuse(refusal);
            page::with_status(StatusCode::CONFLICT, &ResetPage::new(&visit, frame, f))
        }
    }
}

fn new_password(posted: &Posted, frame: &Frame, is_made_here: bool) -> Result<Secret, Refusal> {
    let login = frame.server.spec.admin_login.as_str();
    if is_made_here {
        return Ok(made(login));
    }
    create_password::typed(posted, login)?
        .ok_or_else(|| Refusal::at(FIELD, "Type a new password twice, or let the portal make one."))
}

type Submitted = Result<(actix_web::HttpResponse, bool), Refusal>;

/// The way to the operation, and whether this form came for the first time.
async fn submit(
    visit: &Signed<Contributor>,
    frame: &Frame,
    posted: &Posted,
    password: &Secret,
) -> Result<Submitted, crate::web::error::PageError> {
    if let Some(why) = frame.why_closed(OperationKind::ResetPassword) {
        // A form that came twice leads to its operation; any other is told.
        let change = Change::plain(OperationKind::ResetPassword);
        let way = nav::submit(visit, &frame.server.id, posted, change).await?;
        return Ok(way.map(|way| (way, false)).map_err(|_| Refusal::whole(why)));
    }
    let key = nav::submission_key(visit, posted)?;
    let reset = PasswordReset { reset: sha256_hex(&key) };
    let verifier = scram_verifier(password);
    let door = nav::door(&visit.state);
    let (sealer, id) = (&visit.state.sealer, &frame.server.id);
    let is_first = match door.keep_new_password(sealer, id, &reset, &verifier).await {
        Ok(is_first) => is_first,
        Err(SubmitError::Refused(refusal)) => return Ok(Err(refusal)),
        Err(SubmitError::Store(error)) => return Err(error.into()),
    };
    let about = format!("of {}", frame.server.spec.admin_login.as_str());
    let change = Change::new(OperationKind::ResetPassword, &about, &reset);
    let way = nav::submit(visit, id, posted, change).await?;
    Ok(way.map(|way| (way, is_first)))
}

/// A password of 144 random bits that keeps the rules.
fn made(login: &str) -> Secret {
    loop {
        let bytes = random_bytes::<LENGTH>();
        let text: String =
            bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 64)])).collect();
        let password = Secret::new(text);
        let begins_with_letter = password.reveal().starts_with(|c: char| c.is_ascii_alphabetic());
        if begins_with_letter && check_admin_password(password.reveal(), login).is_ok() {
            return password;
        }
    }
}

/// Names of the fields, for the template.
impl ResetPage {
    fn field(&self) -> &'static str {
        FIELD
    }

    fn confirm(&self) -> &'static str {
        CONFIRM
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_passwords_keep_the_rules_and_differ() {
        let all: std::collections::HashSet<String> =
            (0..50).map(|_| made("shopadmin").reveal().to_owned()).collect();
        assert_eq!(all.len(), 50);
        assert!(all.iter().all(|it| it.len() == LENGTH && check_admin_password(it, "x").is_ok()));
    }
}
