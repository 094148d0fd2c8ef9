//! The create page: one form with its values kept in a draft, so that every request may fail and
//! nothing typed is lost. It changes nothing but the draft; [`super::review`] creates.

use super::create_check::{Problem, check};
use super::create_draft::{self as draft, Kept};
use super::create_form::{Action, CreateForm, Tab};
use super::create_ha;
use super::create_password::{self as password, PasswordState};
use super::create_view::{Facts, View};
use super::create_world::World;
use crate::domain::catalog::{Preset, Sku, Tier};
use crate::domain::ids::DraftId;
use crate::web::error::{PageError, PageResult};
use crate::web::form::Posted;
use crate::web::page::{self, Layout, Nav};
use crate::web::paths;
use crate::web::visit::{Contributor, Signed};
use actix_web::web::Query;
use askama::Template;
use serde::Deserialize;

#[derive(Template)]
#[template(path = "servers/create.html")]
struct CreatePage {
    layout: Layout,
    v: View,
}

/// The parts of the form that depend on other choices, for replacement in place.
#[derive(Template)]
#[template(path = "servers/create_parts.html")]
struct CreateParts {
    v: View,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct CreateQuery {
    preset: String,
    /// Id of the resource group that a new form begins with.
    group: String,
    draft: String,
    tab: String,
    /// Anything: show what is wrong on every tab.
    check: String,
}

/// `GET /servers/create`
pub async fn get(visit: Signed<Contributor>, query: Query<CreateQuery>) -> PageResult {
    let kept = match query.draft.as_str() {
        "" => new_form(&query),
        id => draft::find(&visit, id).await?,
    };
    if let Some(operation) = &kept.operation {
        return page::see(&paths::operation(operation));
    }
    let Kept { id, mut form, sealed, .. } = kept;
    let world = World::load(&visit, &form).await?;
    if form.region.is_empty() && query.draft.is_empty() {
        form.region = world.first_region();
        create_ha::settle(&mut form, &world);
    }
    let password = PasswordState::of(&form, sealed.is_some());
    let problems = match query.check.as_str() {
        "" => vec![],
        _ => check(&form, &password, &world).err().unwrap_or_default(),
    };
    let tab = Tab::parse(&query.tab).filter(|tab| *tab != Tab::Review).unwrap_or(Tab::Basics);
    let is_password_kept = password == PasswordState::Kept;
    let facts = Facts { draft: id, tab, form, problems, is_password_kept, world: &world };
    page::ok(&create_page(&visit, facts))
}

fn new_form(query: &CreateQuery) -> Kept {
    let mut form = CreateForm::default();
    if let Some(preset) = Preset::parse(&query.preset) {
        form.fill_in(preset);
    }
    form.group.clone_from(&query.group);
    Kept { id: draft::new_draft(), form, sealed: None, operation: None }
}

fn create_page(visit: &Signed<Contributor>, facts: Facts<'_>) -> CreatePage {
    CreatePage { layout: visit.layout("Create a server", Nav::Servers), v: View::new(facts) }
}

/// `POST /servers/create`: every button of the form.
pub async fn post(visit: Signed<Contributor>, posted: Posted) -> PageResult {
    let current = Tab::parse(posted.text("tab")).unwrap_or(Tab::Basics);
    let action = Action::parse(posted.text("action"), current);
    let Kept { id, form, sealed, .. } = draft::of_form(&visit, posted.text("draft")).await?;
    let mut form = CreateForm::read(&posted, form);
    form.apply(action, &visit.address);
    let world = World::load(&visit, &form).await?;
    match action {
        Action::Estimate(_) => settle_size(&mut form, &world),
        Action::Preset(_) => create_ha::settle(&mut form, &world),
        _ => {}
    }
    let password = keep(&visit, &posted, &id, &mut form, sealed.is_some()).await?;
    let problems = problems(action, &form, &password, &world);
    if problems.is_empty() {
        return page::see(&target(&id, action));
    }
    let is_password_kept = password == PasswordState::Kept;
    refused(
        &visit,
        Facts { draft: id, tab: current, form, problems, is_password_kept, world: &world },
    )
}

/// The form again with its faults, on the first tab that has one.
pub fn refused(visit: &Signed<Contributor>, mut facts: Facts<'_>) -> PageResult {
    facts.tab = facts.problems.iter().map(|problem| problem.tab).min().unwrap_or(facts.tab);
    page::invalid(&create_page(visit, facts))
}

/// Saves the draft. A good password is kept as its verifier at once; a bad one is not kept at all.
async fn keep(
    visit: &Signed<Contributor>,
    posted: &Posted,
    id: &DraftId,
    form: &mut CreateForm,
    is_sealed: bool,
) -> Result<PasswordState, PageError> {
    let (sealed, state) = match password::typed(posted, &form.admin_login) {
        Ok(None) => (None, PasswordState::of(form, is_sealed)),
        Ok(Some(typed)) => {
            form.password_login.clone_from(&form.admin_login);
            let sealed = password::seal(&visit.state.sealer, id, &typed)?;
            (Some(sealed), PasswordState::Kept)
        }
        Err(refusal) => (None, PasswordState::Refused(refusal)),
    };
    draft::save(visit, id, form, sealed).await?;
    Ok(state)
}

/// What keeps a button from doing what it says. A password that was typed and cannot be kept always
/// does: the page could not show it again.
fn problems(
    action: Action,
    form: &CreateForm,
    password: &PasswordState,
    world: &World,
) -> Vec<Problem> {
    let is_refused = matches!(password, PasswordState::Refused(_));
    let counts = |problem: &Problem| {
        let is_asked = match action {
            Action::Next(Tab::Tags | Tab::Review) | Action::Go(Tab::Review) => true,
            Action::Next(tab) => problem.tab == tab,
            _ => false,
        };
        is_asked || is_refused && matches!(problem.field, Some(password::FIELD | password::CONFIRM))
    };
    let mut all = check(form, password, world).err().unwrap_or_default();
    all.retain(counts);
    all
}

fn target(id: &DraftId, action: Action) -> String {
    match action.target() {
        Tab::Review => paths::server_create_review(id),
        tab => {
            let anchor = action.anchor();
            let hash = if anchor.is_empty() { "" } else { "#" };
            format!("{}{hash}{anchor}", paths::server_create_tab(id, tab.key()))
        }
    }
}

/// `POST /servers/create/estimate`: what depends on other choices, computed anew. Nothing is kept.
pub async fn estimate(visit: Signed<Contributor>, posted: Posted) -> PageResult {
    let Kept { id, form, .. } = draft::of_form(&visit, posted.text("draft")).await?;
    let mut form = CreateForm::read(&posted, form);
    let world = World::load(&visit, &form).await?;
    settle_size(&mut form, &world);
    let facts = Facts {
        draft: id,
        tab: Tab::Basics,
        form,
        problems: vec![],
        is_password_kept: false,
        world: &world,
    };
    page::ok(&CreateParts { v: View::new(facts) })
}

/// After a change of the tier: the smallest size of the new one that fits.
fn settle_size(form: &mut CreateForm, world: &World) {
    let Some(tier) = Tier::parse(&form.tier) else { return };
    if Sku::by_name(&form.sku).is_some_and(|sku| sku.tier == tier) {
        return;
    }
    let region = world.region(form);
    let fits = |sku: &&Sku| {
        region.is_some_and(|region| world.reason_against_sku(region, &form.zone, sku).is_none())
    };
    if let Some(sku) = tier.skus().find(fits).or_else(|| tier.skus().next()) {
        form.sku = sku.name.into();
    }
}

#[cfg(test)]
mod tests {
    use super::super::create_world::tests::{host, world};
    use super::*;
    use crate::domain::refusal::Refusal;

    fn found(action: Action, password: &PasswordState) -> Vec<Tab> {
        let form = CreateForm { access: "?".into(), ..CreateForm::default() };
        let world = world(vec![host("01", 24, &[])]);
        let problems = problems(action, &form, password, &world);
        let mut tabs: Vec<_> = problems.into_iter().map(|problem| problem.tab).collect();
        tabs.dedup();
        tabs
    }

    #[test]
    fn next_asks_for_its_own_tab_and_review_for_all() {
        let kept = &PasswordState::Kept;
        assert_eq!(found(Action::Next(Tab::Networking), kept), [Tab::Networking]);
        assert_eq!(found(Action::Go(Tab::Review), kept), [Tab::Basics, Tab::Networking]);
        assert_eq!(found(Action::Next(Tab::Tags), kept), [Tab::Basics, Tab::Networking]);
        assert_eq!(found(Action::Go(Tab::Tags), kept), []);
        let bad = PasswordState::Refused(Refusal::at(password::FIELD, "No."));
        assert_eq!(found(Action::AddRule, &bad), [Tab::Basics], "it cannot be shown again");
    }

    #[test]
    fn a_change_of_tier_takes_its_smallest_size_that_fits() {
        let mut form = CreateForm {
            region: "westeurope".into(),
            tier: "MemoryOptimized".into(),
            ..CreateForm::default()
        };
        settle_size(&mut form, &world(vec![host("01", 24, &[])]));
        assert_eq!(form.sku, "Standard_E2ds_v5");
        form.sku = "Standard_E4ds_v5".into();
        settle_size(&mut form, &world(vec![]));
        assert_eq!(form.sku, "Standard_E4ds_v5", "a size of the tier stays");
    }
}
