//! Firewall rules of one server: the table, adding, editing, deleting, and whether it is in effect.

use super::nav::{self, Frame, Tab};
use super::networking_review::Setting;
use super::networking_rules::{self as rules, Change, range_text};
use super::networking_view::{self as view, Effect, Me, RuleRow, saved_text};
use crate::clock::new_id;
use crate::domain::ids::{RuleId, ServerId};
use crate::domain::network::{AddressRange, FirewallRule, RULES_MAX, parse_rule_name};
use crate::domain::networking::Networking;
use crate::domain::operation::OperationKind;
use crate::domain::refusal::Refusal;
use crate::web::error::{PageError, PageResult};
use crate::web::flash::Flash;
use crate::web::form::{FormState, Posted};
use crate::web::page::{self, Layout};
use crate::web::paths;
use crate::web::visit::{Contributor, Reader, Signed, Visit};
use actix_web::web::{Path, Query};
use askama::Template;
use serde::Deserialize;

#[derive(Template)]
#[template(path = "servers/networking.html")]
struct NetworkingPage {
    layout: Layout,
    frame: Frame,
    rules: Vec<RuleRow>,
    me: Me,
    effect: Effect,
    /// How the server is reached now.
    setting: Setting,
    network_path: Option<String>,
    /// The form below the table: for a new rule, or for the one that is edited.
    f: FormState,
    editing: Option<FirewallRule>,
}

/// Whether the gateways have the rules; fetched again while one has not.
#[derive(Template)]
#[template(path = "servers/networking_effect.html")]
struct EffectPart {
    frame: Frame,
    effect: Effect,
}

#[derive(Deserialize)]
pub struct NetworkingQuery {
    #[serde(default)]
    edit: String,
}

impl NetworkingPage {
    fn is_full(&self) -> bool {
        self.rules.len() >= RULES_MAX
    }

    fn rules_max(&self) -> usize {
        RULES_MAX
    }

    fn opens_to_everyone(&self) -> bool {
        self.rules.iter().any(|rule| rule.is_everyone)
    }

    fn name_hint(&self) -> &'static str {
        match self.editing {
            Some(_) => "Letters, digits, hyphens and underscores.",
            None => {
                "Letters, digits, hyphens and underscores. A rule that has this name already gets the new range."
            }
        }
    }

    fn form_path(&self) -> String {
        let id = &self.frame.server.id;
        match &self.editing {
            Some(rule) => paths::server_rule(id, &rule.id),
            None => paths::server_networking(id),
        }
    }

    fn edit_path(&self, row: &RuleRow) -> String {
        format!("{}?edit={}#rule-form", paths::server_networking(&self.frame.server.id), row.id)
    }

    fn delete_path(&self, row: &RuleRow) -> String {
        let rule = RuleId::parse(&row.id);
        rule.map_or_else(String::new, |rule| {
            paths::server_rule_delete(&self.frame.server.id, &rule)
        })
    }

    fn access_path(&self) -> String {
        paths::server_networking_access(&self.frame.server.id)
    }

    fn why_closed(&self) -> Option<String> {
        self.frame.why_closed(OperationKind::ChangeNetworking)
    }

    fn mine_path(&self) -> String {
        paths::server_rule_mine(&self.frame.server.id)
    }

    fn everyone_path(&self) -> String {
        paths::server_rule_everyone(&self.frame.server.id)
    }
}

/// `GET /servers/{id}/networking`
pub async fn get(
    visit: Signed<Reader>,
    id: Path<String>,
    query: Query<NetworkingQuery>,
) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Networking).await? else {
        return nav::gone(&visit, &id).await;
    };
    let mut f = FormState::new();
    let editing = match RuleId::parse(&query.edit).filter(|_| frame.may_change()) {
        Some(rule) => find_rule(&visit, &frame, &rule).await?,
        None => None,
    };
    if let Some(rule) = &editing {
        f.set("rule_name", rule.name.clone());
        f.set("start", rule.range.start.to_string());
        f.set("end", rule.range.end.to_string());
    }
    page::ok(&networking_page(&visit, frame, f, editing).await?)
}

/// `GET /servers/{id}/networking/effect`
pub async fn effect(visit: Signed<Reader>, id: Path<String>) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Networking).await? else {
        return nav::gone(&visit, &id).await;
    };
    page::ok(&EffectPart { effect: effect_now(&visit).await?, frame })
}

/// `POST /servers/{id}/networking`: adds a rule, or changes the one that has its name.
pub async fn add(visit: Signed<Contributor>, id: Path<String>, posted: Posted) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Networking).await? else {
        return nav::gone(&visit, &id).await;
    };
    let mut f = FormState::keep(&posted);
    let Some((name, range)) = read_rule(&mut f, &posted) else {
        return page::invalid(&networking_page(&visit, frame, f, None).await?);
    };
    if range.is_everyone() {
        return page::see(&everyone_with_name(&frame.server.id, &name));
    }
    let rule = FirewallRule { id: new_id(RuleId::parse), name, range };
    let change = rules::save(&visit, &frame.server.id, &rule).await?;
    answer(&visit, frame, (f, None), &rule, change).await
}

/// `POST /servers/{id}/networking/mine`: a rule for the address that asks.
pub async fn add_mine(visit: Signed<Contributor>, id: Path<String>) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Networking).await? else {
        return nav::gone(&visit, &id).await;
    };
    let kept = visit.state.store.firewall_rules(&frame.server.id).await?;
    let me = Me::new(&visit.address, &kept);
    let (Some(name), Some(address)) = (me.rule_name(&kept), me.address) else {
        return Err(PageError::Invalid(me.why_not().into()));
    };
    let range = AddressRange { start: address, end: address };
    let rule = FirewallRule { id: new_id(RuleId::parse), name, range };
    let change = rules::save(&visit, &frame.server.id, &rule).await?;
    answer(&visit, frame, (FormState::new(), None), &rule, change).await
}

/// `POST /servers/{id}/networking/{rule}`: another name or range for a rule.
pub async fn edit(
    visit: Signed<Contributor>,
    path: Path<(String, String)>,
    posted: Posted,
) -> PageResult {
    let (id, rule) = path.into_inner();
    let Some(frame) = nav::frame(&visit, &id, Tab::Networking).await? else {
        return nav::gone(&visit, &id).await;
    };
    let rule_id = RuleId::parse(&rule).ok_or(PageError::NotFound)?;
    let before = find_rule(&visit, &frame, &rule_id).await?.ok_or(PageError::NotFound)?;
    let mut f = FormState::keep(&posted);
    let Some((name, range)) = read_rule(&mut f, &posted) else {
        return page::invalid(&networking_page(&visit, frame, f, Some(before)).await?);
    };
    if range.is_everyone() && !before.range.is_everyone() {
        f.refuse(Refusal::at(
            "start",
            "This opens the server to every address. Use “Allow everyone”, which asks again.",
        ));
        return page::invalid(&networking_page(&visit, frame, f, Some(before)).await?);
    }
    let rule = FirewallRule { id: rule_id, name, range };
    let change = rules::update(&visit, &frame.server.id, &rule).await?;
    answer(&visit, frame, (f, Some(before)), &rule, change).await
}

/// `POST /servers/{id}/networking/{rule}/delete`
pub async fn delete(visit: Signed<Contributor>, path: Path<(String, String)>) -> PageResult {
    let (id, rule) = path.into_inner();
    let Some(frame) = nav::frame(&visit, &id, Tab::Networking).await? else {
        return nav::gone(&visit, &id).await;
    };
    let rule_id = RuleId::parse(&rule).ok_or(PageError::NotFound)?;
    let back = paths::server_networking(&frame.server.id);
    let flash = match rules::delete(&visit, &frame.server.id, &rule_id).await? {
        Change::Deleted(rule) => Flash::done(format!(
            "Rule {} ({}) is deleted. Connections that no other rule allows are closed.",
            rule.name,
            range_text(&rule.range)
        )),
        Change::Refused(refusal) => Flash::refused(&refusal),
        Change::Gone | Change::Added | Change::Updated => {
            Flash::info("The rule was deleted already. Nothing was changed.")
        }
    };
    page::see_with(&visit, &back, &flash)
}

/// The page after a change: on to the table, or the form again with what is wrong.
async fn answer(
    visit: &Signed<Contributor>,
    frame: Frame,
    (mut f, editing): (FormState, Option<FirewallRule>),
    rule: &FirewallRule,
    change: Change,
) -> PageResult {
    let back = paths::server_networking(&frame.server.id);
    match change {
        Change::Added => page::see_with(visit, &back, &Flash::done(saved_text(rule, true))),
        Change::Updated => page::see_with(visit, &back, &Flash::done(saved_text(rule, false))),
        Change::Refused(refusal) => {
            f.refuse(refusal);
            page::invalid(&networking_page(visit, frame, f, editing).await?)
        }
        Change::Gone | Change::Deleted(_) => Err(PageError::NotFound),
    }
}

/// Name and range of the posted form; all faults are noted at once.
fn read_rule(f: &mut FormState, posted: &Posted) -> Option<(String, AddressRange)> {
    let name = f.check(parse_rule_name(posted.text("rule_name")));
    let range = f.check(AddressRange::parse(posted.text("start"), posted.text("end")));
    name.zip(range)
}

fn everyone_with_name(id: &ServerId, name: &str) -> String {
    format!("{}?rule_name={}", paths::server_rule_everyone(id), paths::encoded(name))
}

async fn find_rule(
    visit: &Visit,
    frame: &Frame,
    id: &RuleId,
) -> Result<Option<FirewallRule>, PageError> {
    let rules = visit.state.store.firewall_rules(&frame.server.id).await?;
    Ok(rules.into_iter().find(|rule| rule.id == *id))
}

async fn effect_now(visit: &Visit) -> Result<Effect, PageError> {
    let generation = visit.state.store.route_generation().await?;
    Ok(view::effect(generation, &visit.state.store.gateways().await?, visit.now))
}

async fn networking_page(
    visit: &Visit,
    frame: Frame,
    f: FormState,
    editing: Option<FirewallRule>,
) -> Result<NetworkingPage, PageError> {
    let kept = visit.state.store.firewall_rules(&frame.server.id).await?;
    let me = Me::new(&visit.address, &kept);
    let networks = visit.state.store.networks().await?;
    Ok(NetworkingPage {
        setting: Setting::of(&Networking::of(&frame.server), &networks),
        network_path: frame.server.network_id.as_ref().map(paths::network),
        layout: frame.layout(visit, "Networking"),
        rules: view::rows(&kept, &me),
        effect: effect_now(visit).await?,
        me,
        f,
        editing,
        frame,
    })
}
