//! Opening a server to every address: asked for with a typed word, because it is rarely meant.

use super::nav::{self, Frame, Tab};
use super::networking_rules::{self as rules, Change};
use super::networking_view::saved_text;
use crate::clock::new_id;
use crate::domain::ids::RuleId;
use crate::domain::network::{AddressRange, FirewallRule, parse_rule_name};
use crate::domain::refusal::Refusal;
use crate::web::error::{PageError, PageResult};
use crate::web::flash::Flash;
use crate::web::form::{FormState, Posted};
use crate::web::page::{self, Layout};
use crate::web::paths;
use crate::web::visit::{Contributor, Signed, Visit};
use actix_web::web::{Path, Query};
use askama::Template;
use serde::Deserialize;

/// The word to type.
const WORD: &str = "everyone";
/// Name of the rule where the person gave none.
pub const RULE_NAME: &str = "everyone";

#[derive(Template)]
#[template(path = "servers/networking_everyone.html")]
struct EveryonePage {
    layout: Layout,
    frame: Frame,
    f: FormState,
}

#[derive(Deserialize)]
pub struct EveryoneQuery {
    #[serde(default)]
    rule_name: String,
}

impl EveryonePage {
    fn new(visit: &Visit, frame: Frame, f: FormState) -> Self {
        Self { layout: frame.layout(visit, "Allow everyone"), frame, f }
    }

    fn action(&self) -> String {
        paths::server_rule_everyone(&self.frame.server.id)
    }

    fn back(&self) -> String {
        paths::server_networking(&self.frame.server.id)
    }
}

/// `GET /servers/{id}/networking/everyone`
pub async fn get(
    visit: Signed<Contributor>,
    id: Path<String>,
    query: Query<EveryoneQuery>,
) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Networking).await? else {
        return nav::gone(&visit, &id).await;
    };
    let name = parse_rule_name(&query.rule_name).unwrap_or_else(|_| RULE_NAME.into());
    let f = FormState::new().with("rule_name", name);
    page::ok(&EveryonePage::new(&visit, frame, f))
}

/// `POST /servers/{id}/networking/everyone`
pub async fn post(visit: Signed<Contributor>, id: Path<String>, posted: Posted) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Networking).await? else {
        return nav::gone(&visit, &id).await;
    };
    let mut f = FormState::keep(&posted);
    let name = f.check(parse_rule_name(posted.text("rule_name")));
    let word = f.check(check_word(posted.text("confirm")));
    let Some((name, ())) = name.zip(word) else {
        return page::invalid(&EveryonePage::new(&visit, frame, f));
    };
    let rule = FirewallRule { id: new_id(RuleId::parse), name, range: AddressRange::EVERYONE };
    let back = paths::server_networking(&frame.server.id);
    match rules::save(&visit, &frame.server.id, &rule).await? {
        Change::Added => page::see_with(&visit, &back, &Flash::done(saved_text(&rule, true))),
        Change::Updated => page::see_with(&visit, &back, &Flash::done(saved_text(&rule, false))),
        Change::Refused(refusal) => {
            f.refuse(refusal);
            page::invalid(&EveryonePage::new(&visit, frame, f))
        }
        Change::Gone | Change::Deleted(_) => Err(PageError::NotFound),
    }
}

fn check_word(typed: &str) -> Result<(), Refusal> {
    if typed == WORD {
        return Ok(());
    }
    Err(Refusal::at(
        "confirm",
        format!("Type the word {WORD} to open the server to every address."),
    ))
}
