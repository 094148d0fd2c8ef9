//! Review + restore: what is restored to where, what is taken over and what is not; and the button that makes a new
//! server of the draft, once.

use super::create_password as password;
use super::create_world::World;
use super::nav::{self, Tab};
use super::restore::{RestoreQuery, checked, world};
use super::restore_form::Wanted;
use super::restore_moment::{typed_text, utc_text};
use super::restore_source::{Kept, Place, Source, deleted};
use super::review_view::Plan;
use super::storage_view::size_text;
use crate::domain::backup::{RestoreTarget, choose};
use crate::domain::ids::OperationId;
use crate::domain::network::Access;
use crate::domain::operation::OperationKind;
use crate::domain::refusal::Refusal;
use crate::operations::ask_restore::NewRestore;
use crate::operations::submit::SubmitError;
use crate::web::error::{PageError, PageResult};
use crate::web::form::Posted;
use crate::web::page::{self, Layout, Nav};
use crate::web::paths;
use crate::web::time::duration_text;
use crate::web::visit::{Contributor, Signed, Visit};
use actix_web::http::StatusCode;
use actix_web::web::{Path, Query};
use askama::Template;

/// Everything on the page but its frame.
struct View {
    draft: String,
    form: String,
    action: String,
    source: String,
    name: String,
    target: Vec<(&'static str, String)>,
    server: Vec<(&'static str, String)>,
    plan: Plan,
    /// Why it was refused just now; empty otherwise.
    refusal: String,
}

#[derive(Template)]
#[template(path = "servers/restore_review.html")]
struct LivePage {
    layout: Layout,
    frame: nav::Frame,
    v: View,
}

#[derive(Template)]
#[template(path = "servers/restore_review_deleted.html")]
struct DeletedPage {
    layout: Layout,
    v: View,
}

fn target_rows(source: &Source, kept: &Kept, wanted: &Wanted) -> Vec<(&'static str, String)> {
    let mut rows = vec![("Source", source.spec.name.to_string())];
    let (place, answers) = source.place(source.repository);
    let away = if answers {
        ""
    } else {
        ". That host does not answer now: the restore waits for it, and fails if it stays away"
    };
    rows.push(("From", format!("repository {}, {place}{away}", source.repository)));
    rows.push((
        "Restored to",
        match &wanted.target {
            RestoreTarget::Latest => {
                "the latest moment: the restore ends and archives the last piece of the log first, where the server answers".into()
            }
            RestoreTarget::Moment { at } => {
                format!("{}: every commit until then, none after it", utc_text(*at))
            }
            other => other.words().trim_start_matches("to ").to_owned(),
        },
    ));
    match &wanted.target {
        RestoreTarget::Moment { at } => {
            let typed = typed_text(*at, &kept.form.offset);
            if !typed.is_empty() {
                rows.push(("As typed", typed));
            }
        }
        RestoreTarget::Latest => {
            let latest = source.window().latest().map(utc_text).unwrap_or_default();
            rows.push(("Latest now", latest));
        }
        RestoreTarget::Point { .. } => rows.push((
            "Keep in mind",
            "Whether there is such a point is known when the log is replayed. If there is none, the restore fails and makes nothing.".into(),
        )),
        RestoreTarget::Place { .. } | RestoreTarget::Backup { .. } => {}
    }
    rows.extend(base_row(source, wanted));
    rows
}

/// The backup that it begins with, and how much log follows.
fn base_row(source: &Source, wanted: &Wanted) -> Option<(&'static str, String)> {
    let chosen = choose(&source.protection, source.repository, &wanted.target, None).ok()?;
    let base = source.protection.backups.iter().find(|one| one.label == chosen.label)?;
    let until = match &wanted.target {
        RestoreTarget::Moment { at } => Some(*at),
        RestoreTarget::Latest => source.window().latest(),
        _ => None,
    };
    let log = until
        .map_or(String::new(), |at| format!(", then {} of log", duration_text(at - base.ended_at)));
    let (kind, size) = (base.kind.label().to_lowercase(), size_text(base.bytes));
    Some(("Begins with", format!("the {kind} backup of {}, {size}{log}", utc_text(base.ended_at))))
}

fn server_rows(wanted: &Wanted, world: &World) -> Vec<(&'static str, String)> {
    let (spec, prices) = (&wanted.spec, &world.config.prices);
    let region = world.config.region(&spec.region).map_or(&spec.region, |region| &region.label);
    let month = prices.text(prices.estimate(spec.sku(), spec.storage()).total());
    let network = wanted.network.as_ref();
    let network = network.and_then(|id| world.networks.iter().find(|one| one.id == *id));
    let access = match (spec.access, network) {
        (Access::Public, _) => "Public access, closed: there is no firewall rule yet".to_owned(),
        (Access::Private, Some(network)) => {
            format!("Private access, in the virtual network {}", network.name)
        }
        (Access::Private, None) => {
            "Private access, from the server's own Docker network only".to_owned()
        }
    };
    let example = if prices.is_example { ", by the example price list" } else { "" };
    vec![
        ("Name", spec.name.to_string()),
        ("Resource group", wanted.group.name.clone()),
        ("Endpoint", format!("{}.{}", spec.name, world.config.args.endpoint_domain)),
        ("Region and zone", format!("{region}, zone {}", spec.zone)),
        ("Version", format!("PostgreSQL {}", spec.major.number())),
        ("Size", format!("{}, {}", spec.sku, spec.storage().label())),
        ("Access", access),
        ("Administrator", format!("{}, with the new password", spec.admin_login.as_str())),
        ("Costs", format!("{month} a month{example}")),
    ]
}

async fn show(
    visit: &Signed<Contributor>,
    place: Place,
    source: &Source,
    kept: &Kept,
    (wanted, world): (&Wanted, &World),
    refusal: String,
) -> PageResult {
    let seconds = visit.state.store.step_seconds(OperationKind::Restore).await?;
    let status = if refusal.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let v = View {
        draft: kept.id.to_string(),
        form: source.draft_path(&kept.id),
        action: source.review_path(),
        source: source.spec.name.to_string(),
        name: wanted.spec.name.to_string(),
        target: target_rows(source, kept, wanted),
        server: server_rows(wanted, world),
        plan: Plan::new(OperationKind::Restore, &seconds),
        refusal,
    };
    match place {
        Place::Live(frame) => {
            let layout = frame.layout(visit, "Review the restore");
            page::with_status(status, &LivePage { layout, frame: *frame, v })
        }
        Place::Deleted(server) => {
            let layout = visit.layout(format!("Restore {}", server.name), Nav::Servers);
            page::with_status(status, &DeletedPage { layout, v })
        }
    }
}

async fn review(visit: &Signed<Contributor>, place: Place, draft: &str) -> PageResult {
    let mut source = Source::of(visit, &place).await?;
    let Some(kept) = Kept::find(visit, &source, draft).await? else {
        return page::see(&source.form_path());
    };
    source.follow(&kept.form);
    if let Some(operation) = &kept.operation {
        return page::see(&paths::operation(operation));
    }
    let world = world(visit, &kept.form).await?;
    match checked(&source, &kept.form, &world, &kept.password()) {
        Ok(wanted) => show(visit, place, &source, &kept, (&wanted, &world), String::new()).await,
        Err(_) => page::see(&(source.draft_path(&kept.id) + "&check=1")),
    }
}

async fn restore(visit: &Signed<Contributor>, place: Place, posted: &Posted) -> PageResult {
    let mut source = Source::of(visit, &place).await?;
    let Some(kept) = Kept::find(visit, &source, posted.text("draft")).await? else {
        return page::see(&source.form_path());
    };
    source.follow(&kept.form);
    // The other of two identical posts made the server: then the name is taken by this form's own.
    let key = format!("{}/{}", visit.user.id, kept.id);
    if let Some(earlier) = visit.state.store.operation_by_key(&key).await? {
        return page::see(&paths::operation(&earlier.id));
    }
    let world = world(visit, &kept.form).await?;
    let Ok(wanted) = checked(&source, &kept.form, &world, &kept.password()) else {
        if let Some(earlier) = visit.state.store.operation_by_key(&key).await? {
            return page::see(&paths::operation(&earlier.id));
        }
        return page::see(&(source.draft_path(&kept.id) + "&check=1"));
    };
    match submit(visit, &source, &kept, &wanted, &key).await {
        Ok(operation) => page::see(&paths::operation(&operation)),
        Err(SubmitError::Store(error)) => Err(error.into()),
        Err(SubmitError::Refused(refusal)) => {
            show(visit, place, &source, &kept, (&wanted, &world), refusal.text).await
        }
    }
}

async fn submit(
    visit: &Signed<Contributor>,
    source: &Source,
    kept: &Kept,
    wanted: &Wanted,
    key: &str,
) -> Result<OperationId, SubmitError> {
    let state = &visit.state;
    let sealed = kept.sealed.as_deref().unwrap_or_default();
    let verifier = password::open(&state.sealer, &kept.id, sealed).map_err(|error| {
        Refusal::whole(format!(
            "The kept password cannot be used: {error}. Go back and type it again."
        ))
    })?;
    let new = NewRestore {
        source: &source.id,
        repository: source.repository,
        target: &wanted.target,
        set: None,
        name: &wanted.spec.name,
        zone: &wanted.spec.zone,
        access: wanted.spec.access,
        network: wanted.network.as_ref(),
        admin_verifier: &verifier,
        ports: state.config.args.gateway_ports,
        idempotency_key: Some(key),
    };
    nav::door(state).restore(&wanted.group.id, &state.sealer, &new, &visit.actor()).await
}

async fn live(visit: &Visit, id: &str) -> Result<Option<Place>, PageError> {
    Ok(nav::frame(visit, id, Tab::Backups).await?.map(|frame| Place::Live(Box::new(frame))))
}

/// `GET /servers/{id}/restore/review`
pub async fn get(
    visit: Signed<Contributor>,
    id: Path<String>,
    query: Query<RestoreQuery>,
) -> PageResult {
    match live(&visit, &id).await? {
        Some(place) => review(&visit, place, &query.draft).await,
        None => nav::gone(&visit, &id).await,
    }
}

/// `POST /servers/{id}/restore/review`: restores. The same draft again leads to the same operation.
pub async fn post(visit: Signed<Contributor>, id: Path<String>, posted: Posted) -> PageResult {
    match live(&visit, &id).await? {
        Some(place) => restore(&visit, place, &posted).await,
        None => nav::gone(&visit, &id).await,
    }
}

/// `GET /servers/deleted/{id}/restore/review`
pub async fn get_deleted(
    visit: Signed<Contributor>,
    id: Path<String>,
    query: Query<RestoreQuery>,
) -> PageResult {
    let place = deleted(&visit, &id).await?;
    review(&visit, place, &query.draft).await
}

/// `POST /servers/deleted/{id}/restore/review`
pub async fn post_deleted(
    visit: Signed<Contributor>,
    id: Path<String>,
    posted: Posted,
) -> PageResult {
    let place = deleted(&visit, &id).await?;
    restore(&visit, place, &posted).await
}
