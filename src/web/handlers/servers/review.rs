//! Review + create: everything that was chosen, what it costs, what will happen; and the button that
//! makes a server of the draft, once.

use super::create;
use super::create_check::{Problem, Wanted, check};
use super::create_draft::{self as draft, Kept};
use super::create_form::Tab;
use super::create_password::{self as password, PasswordState};
use super::create_view::{EstimateView, Facts};
use super::create_world::World;
use super::review_view::{Group, Plan, groups};
use crate::domain::ids::{DraftId, OperationId};
use crate::domain::network::Access;
use crate::domain::operation::OperationKind;
use crate::domain::refusal::Refusal;
use crate::operations::submit::{Door, NewServer, SubmitError};
use crate::web::error::PageResult;
use crate::web::form::Posted;
use crate::web::page::{self, Layout, Nav};
use crate::web::paths;
use crate::web::visit::{Contributor, Signed};
use actix_web::http::StatusCode;
use actix_web::web::Query;
use askama::Template;
use serde::Deserialize;

#[derive(Template)]
#[template(path = "servers/review.html")]
struct ReviewPage {
    layout: Layout,
    draft: DraftId,
    groups: Vec<Group>,
    estimate: EstimateView,
    plan: Plan,
    /// Nobody can connect: public access without a rule.
    has_no_way_in: bool,
    is_private: bool,
    has_network: bool,
    is_open_to_everyone: bool,
    /// Why the creation was refused just now.
    refusal: Option<String>,
}

impl ReviewPage {
    fn tabs(&self) -> [Tab; 3] {
        Tab::PANELS
    }

    fn tab_link(&self, tab: &Tab) -> String {
        paths::server_create_tab(&self.draft, tab.key())
    }

    fn back_link(&self) -> String {
        self.tab_link(&Tab::Tags)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ReviewQuery {
    draft: String,
}

/// `GET /servers/create/review`
pub async fn get(visit: Signed<Contributor>, query: Query<ReviewQuery>) -> PageResult {
    let kept = draft::find(&visit, &query.draft).await?;
    if let Some(operation) = &kept.operation {
        return page::see(&paths::operation(operation));
    }
    let world = World::load(&visit, &kept.form).await?;
    match check(&kept.form, &PasswordState::of(&kept.form, kept.sealed.is_some()), &world) {
        Ok(wanted) => show(&visit, &kept, &wanted, &world, None).await,
        Err(problems) => {
            let tab = problems.iter().map(|problem| problem.tab).min().unwrap_or(Tab::Basics);
            page::see(&(paths::server_create_tab(&kept.id, tab.key()) + "&check=1"))
        }
    }
}

async fn show(
    visit: &Signed<Contributor>,
    kept: &Kept,
    wanted: &Wanted,
    world: &World,
    refusal: Option<String>,
) -> PageResult {
    let seconds = visit.state.store.step_seconds(OperationKind::Create).await?;
    let is_public = wanted.spec.access == Access::Public;
    let status = if refusal.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let page = ReviewPage {
        layout: visit.layout("Review and create", Nav::Servers),
        draft: kept.id.clone(),
        groups: groups(&kept.id, &kept.form, wanted, world),
        estimate: EstimateView::new(&kept.form, world),
        plan: Plan::new(OperationKind::Create, &seconds),
        has_no_way_in: is_public && wanted.rules.is_empty(),
        is_private: !is_public,
        has_network: wanted.network.is_some(),
        is_open_to_everyone: wanted.rules.iter().any(|rule| rule.range.is_everyone()),
        refusal,
    };
    page::with_status(status, &page)
}

/// `POST /servers/create/review`: creates. The same draft again leads to the same operation.
pub async fn post(visit: Signed<Contributor>, posted: Posted) -> PageResult {
    let kept = draft::find(&visit, posted.text("draft")).await?;
    if let Some(operation) = &kept.operation {
        return page::see(&paths::operation(operation));
    }
    let world = World::load(&visit, &kept.form).await?;
    let password = PasswordState::of(&kept.form, kept.sealed.is_some());
    let wanted = match check(&kept.form, &password, &world) {
        Ok(wanted) => wanted,
        Err(problems) => {
            // The other of two identical posts may have made the server since: then the name is taken by this form's own.
            let now = draft::find(&visit, kept.id.as_str()).await?;
            if let Some(operation) = &now.operation {
                return page::see(&paths::operation(operation));
            }
            return refused_form(&visit, &kept.id, problems, &world).await;
        }
    };
    match submit(&visit, &kept, &wanted).await {
        Ok(operation) => page::see(&paths::operation(&operation)),
        Err(SubmitError::Store(error)) => Err(error.into()),
        Err(SubmitError::Refused(refusal)) => refused(&visit, kept, &wanted, &world, refusal).await,
    }
}

async fn submit(
    visit: &Signed<Contributor>,
    kept: &Kept,
    wanted: &Wanted,
) -> Result<OperationId, SubmitError> {
    let state = &visit.state;
    let sealed = kept.sealed.as_deref().unwrap_or_default();
    let verifier = password::open(&state.sealer, &kept.id, sealed).map_err(|error| {
        Refusal::whole(format!(
            "The kept password cannot be used: {error}. Type it again on the tab Basics."
        ))
    })?;
    let door = Door { store: &state.store, clock: state.clock.as_ref(), poke: &state.poke };
    // Two people's keys never meet: the user is part of it.
    let key = format!("{}/{}", visit.user.id, kept.id);
    let new = NewServer {
        spec: &wanted.spec,
        admin_verifier: &verifier,
        rules: &wanted.rules,
        network: wanted.network.as_ref(),
        ha: wanted.ha.as_ref(),
        backup: wanted.backup,
        draft: Some(&kept.id),
        ports: state.config.args.gateway_ports,
        idempotency_key: Some(&key),
    };
    door.create_in(&wanted.group.id, &state.sealer, &new, &visit.actor()).await
}

/// A refusal at the last moment: the other of two identical posts has won, the name was taken
/// meanwhile, or the whole thing cannot be.
async fn refused(
    visit: &Signed<Contributor>,
    kept: Kept,
    wanted: &Wanted,
    world: &World,
    refusal: Refusal,
) -> PageResult {
    let now = draft::find(visit, kept.id.as_str()).await?;
    if let Some(operation) = &now.operation {
        return page::see(&paths::operation(operation));
    }
    match refusal.field {
        Some(_) => {
            let problems = vec![Problem::of(Tab::Basics, &refusal)];
            refused_form(visit, &kept.id, problems, world).await
        }
        None => show(visit, &kept, wanted, world, Some(refusal.text)).await,
    }
}

async fn refused_form(
    visit: &Signed<Contributor>,
    id: &DraftId,
    problems: Vec<Problem>,
    world: &World,
) -> PageResult {
    let Kept { id, form, sealed, .. } = draft::find(visit, id.as_str()).await?;
    let is_password_kept = PasswordState::of(&form, sealed.is_some()) == PasswordState::Kept;
    let facts = Facts { draft: id, tab: Tab::Basics, form, problems, is_password_kept, world };
    create::refused(visit, facts)
}
