//! Restore into a new server: the form, of a server that is there and of one that was deleted. What was typed is kept in
//! a draft, as by the create form; it changes nothing but the draft. [`super::restore_review`] restores.

use super::backups_view::earliest;
use super::create_cards;
use super::create_draft::new_draft;
use super::create_form::CreateForm;
use super::create_password::{self as password, CONFIRM, FIELD, PasswordState};
use super::create_world::World;
use super::nav::{self, Frame, Tab};
use super::networking_access::network_choices;
use super::restore_form::{Faults, Ground, RestoreForm, Wanted, Way, check, typed_password};
use super::restore_moment as moment;
use super::restore_source::{Kept, Place, Source, deleted};
use super::storage_view::size_text;
use crate::domain::backup::Backup;
use crate::domain::ids::DraftId;
use crate::domain::names::ServerName;
use crate::store::StoreError;
use crate::web::error::{PageError, PageResult};
use crate::web::form::{Choice, FormState, Posted};
use crate::web::page::{self, Layout, Nav};
use crate::web::paths;
use crate::web::time::Stamp;
use crate::web::visit::{Contributor, Signed, Visit};
use actix_web::http::StatusCode;
use actix_web::web::{Path, Query};
use askama::Template;
use chrono::DateTime;
use serde::Deserialize;

/// Everything on the form but its frame.
pub struct View {
    pub source: Source,
    pub draft: DraftId,
    pub f: FormState,
    pub ends: Option<(Stamp, Stamp)>,
    pub gaps: usize,
    pub nearest: Option<Nearest>,
    pub backups: Vec<Choice>,
    /// Those that hold something, when there is a choice.
    pub repositories: Vec<Choice>,
    pub offsets: Vec<Choice>,
    pub groups: Vec<Choice>,
    pub zones: Vec<Choice>,
    pub access: Vec<Choice>,
    pub networks: Vec<Choice>,
    pub password_hint: &'static str,
    pub suffix: String,
    /// What the new server will be: "Standard_D2ds_v5, 128 GiB".
    pub size: String,
    pub price: String,
    pub is_example: bool,
    pub kept_until: Option<Stamp>,
}

/// The moment that a button fills in.
pub struct Nearest {
    pub text: String,
    pub value: String,
}

impl View {
    fn is_chosen(&self, to: &str) -> bool {
        self.f.chosen("to", to)
    }

    fn is_advanced(&self) -> bool {
        self.is_chosen(Way::Place.key()) || self.is_chosen(Way::Point.key())
    }

    fn back(&self) -> String {
        self.source.back()
    }

    fn action(&self) -> String {
        self.source.form_path()
    }

    /// Where this page is found by GET: the browser comes back there instead of posting again.
    fn address(&self) -> String {
        self.source.draft_path(&self.draft) + "&check=1"
    }
}

#[derive(Template)]
#[template(path = "servers/restore.html")]
struct LivePage {
    layout: Layout,
    frame: Frame,
    v: View,
}

#[derive(Template)]
#[template(path = "servers/restore_deleted.html")]
struct DeletedPage {
    layout: Layout,
    v: View,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub struct RestoreQuery {
    pub draft: String,
    /// Label of a backup that a new form begins with.
    backup: String,
    /// Anything: show what is wrong.
    check: String,
}

/// The hosts and names as they are now, for a form.
///
/// # Errors
/// When the store does not answer.
pub async fn world(visit: &Visit, form: &RestoreForm) -> Result<World, PageError> {
    let named = CreateForm { name: form.name.clone(), ..CreateForm::default() };
    World::load(visit, &named).await
}

/// The form checked against what is there now.
pub fn checked(
    source: &Source,
    form: &RestoreForm,
    world: &World,
    password: &PasswordState,
) -> Result<Wanted, Faults> {
    let ground = Ground {
        spec: &source.spec,
        group: world.groups.iter().find(|group| group.id.as_str() == form.group),
        protection: &source.protection,
        repository: source.repository,
        world,
        password,
    };
    check(form, &ground)
}

async fn new_form(visit: &Visit, source: &Source, backup: &str) -> Result<RestoreForm, PageError> {
    let window = source.window();
    let offset = moment::offset_text(0);
    let latest = window.latest().unwrap_or(visit.now);
    let can_be = |at| window.spans.iter().any(|span| span.from <= at && at <= span.to);
    let (date, time) = moment::fields(moment::readable(latest, can_be), &offset);
    let to = if backup.is_empty() { Way::Latest } else { Way::Backup };
    Ok(RestoreForm {
        source: source.id.to_string(),
        to: to.key().into(),
        date,
        time,
        offset,
        backup: backup.to_owned(),
        name: free_name(visit, source).await?,
        group: source.group_id.to_string(),
        zone: source.spec.zone.clone(),
        access: source.spec.access.key().into(),
        ..RestoreForm::default()
    })
}

/// A name that nobody has: that of a deleted server itself, else with "-restored".
async fn free_name(visit: &Visit, source: &Source) -> Result<String, PageError> {
    let own = source.spec.name.as_str();
    let with = |end: &str| {
        let kept: String = own.chars().take(ServerName::LENGTH_MAX - end.len()).collect();
        format!("{}{end}", kept.trim_end_matches('-'))
    };
    let own = source.is_deleted().then(|| own.to_owned());
    let numbered = (2..10).map(|at| with(&format!("-restored-{at}")));
    for name in own.into_iter().chain([with("-restored")]).chain(numbered) {
        match ServerName::parse(&name) {
            Ok(parsed) if !visit.state.store.server_name_taken(&parsed).await? => return Ok(name),
            _ => {}
        }
    }
    Ok(String::new())
}

struct Shown {
    id: DraftId,
    form: RestoreForm,
    password: PasswordState,
    faults: Faults,
}

fn view(source: Source, world: &World, shown: Shown) -> View {
    let mut f = shown.form.state();
    f.set("repository", source.repository.to_string());
    let is_kept = shown.password == PasswordState::Kept;
    for refusal in shown.faults.refusals {
        f.refuse(refusal);
    }
    let (window, spec) = (source.window(), &source.spec);
    let (region, prices) = (world.config.region(&spec.region), &world.config.prices);
    View {
        draft: shown.id,
        f,
        ends: earliest(&window).zip(window.latest()).map(|(from, to)| (Stamp(from), Stamp(to))),
        gaps: window.spans.len().saturating_sub(1),
        nearest: shown.faults.nearest.map(|at| Nearest {
            text: moment::utc_text(at),
            value: format!("use:{}", at.timestamp_micros()),
        }),
        backups: backup_choices(&source),
        repositories: repositories(&source),
        offsets: moment::offsets(),
        groups: world.groups.iter().map(|one| Choice::new(one.id.as_str(), &one.name)).collect(),
        zones: create_cards::zones(world, region),
        access: access(),
        networks: network_choices(&world.networks),
        password_hint: if is_kept {
            "Password is kept; type a new one to replace it."
        } else {
            "It replaces the one of the restored data. 8 to 128 characters of at least three kinds: upper case, lower case, digit, other."
        },
        suffix: format!(".{}", world.config.args.endpoint_domain),
        size: format!("{}, {}", spec.sku, spec.storage().label()),
        price: prices.text(prices.estimate(spec.sku(), spec.storage()).total()),
        is_example: prices.is_example,
        kept_until: source.erase_after.map(Stamp),
        source,
    }
}

/// The good backups of every repository: each leads to its own.
fn backup_choices(source: &Source) -> Vec<Choice> {
    let is_two = source.holding().len() > 1;
    let good = source.protection.backups.iter().filter(|one| one.is_good());
    let choice = |one: &Backup| {
        let name = if one.is_on_demand() { format!("{}, ", one.name) } else { String::new() };
        let place = if is_two { format!(", repository {}", one.repository) } else { String::new() };
        let (ended, kind) = (moment::utc_text(one.ended_at), one.kind.label().to_lowercase());
        Choice::new(&one.label, format!("{ended}: {name}{kind}{place}"))
            .detail(size_text(one.bytes))
    };
    good.map(choice).collect()
}

fn repositories(source: &Source) -> Vec<Choice> {
    let holding = source.holding();
    let choice = |number: &i64| {
        let (place, answers) = source.place(*number);
        let window = source.protection.window_of(*number);
        let until = window.latest().map_or(String::new(), moment::utc_text);
        let away = if answers { "" } else { ", its host does not answer now" };
        Choice::new(number.to_string(), format!("{number}, {place}{away}"))
            .detail(format!("until {until}"))
    };
    if holding.len() < 2 { vec![] } else { holding.iter().map(choice).collect() }
}

fn access() -> Vec<Choice> {
    use crate::domain::network::Access;
    vec![
        Choice::new(Access::Public.key(), "Public access, closed")
            .detail("Through the gateway. No firewall rule is taken over: nobody gets in until you add one."),
        Choice::new(Access::Private.key(), "Private access")
            .detail("No way in through the gateway. Containers in its virtual network reach it by name, and nobody else does."),
    ]
}

async fn render(
    visit: &Visit,
    place: Place,
    source: Source,
    world: &World,
    shown: Shown,
) -> PageResult {
    let status = if shown.faults.refusals.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::UNPROCESSABLE_ENTITY
    };
    let v = view(source, world, shown);
    match place {
        Place::Live(frame) => {
            let layout = frame.layout(visit, "Restore");
            page::with_status(status, &LivePage { layout, frame: *frame, v })
        }
        Place::Deleted(server) => {
            let layout = visit.layout(format!("Restore {}", server.name), Nav::Servers);
            page::with_status(status, &DeletedPage { layout, v })
        }
    }
}

async fn show(visit: &Signed<Contributor>, place: Place, query: &RestoreQuery) -> PageResult {
    let mut source = Source::of(visit, &place).await?;
    let kept = match Kept::find(visit, &source, &query.draft).await? {
        Some(kept) => kept,
        None => {
            let form = new_form(visit, &source, &query.backup).await?;
            Kept { id: new_draft(), form, sealed: None, operation: None }
        }
    };
    if let Some(operation) = &kept.operation {
        return page::see(&paths::operation(operation));
    }
    source.follow(&kept.form);
    let (world, password) = (world(visit, &kept.form).await?, kept.password());
    let faults = match query.check.as_str() {
        "" => Faults::default(),
        _ => checked(&source, &kept.form, &world, &password).err().unwrap_or_default(),
    };
    let shown = Shown { id: kept.id, form: kept.form, password, faults };
    render(visit, place, source, &world, shown).await
}

async fn post(visit: &Signed<Contributor>, place: Place, posted: &Posted) -> PageResult {
    let mut source = Source::of(visit, &place).await?;
    let kept = match Kept::find(visit, &source, posted.text("draft")).await? {
        // What was made of it stays: the form goes on as a new draft.
        Some(kept) if kept.operation.is_some() => {
            Kept { id: new_draft(), sealed: None, operation: None, ..kept }
        }
        Some(kept) => kept,
        None => {
            let form = new_form(visit, &source, "").await?;
            let id = DraftId::parse(posted.text("draft")).unwrap_or_else(new_draft);
            Kept { id, form, sealed: None, operation: None }
        }
    };
    let mut form = RestoreForm::read(posted, kept.form.clone());
    source.follow(&form);
    let used = posted.text("action").strip_prefix("use:").and_then(|text| text.parse().ok());
    let used = used.and_then(DateTime::from_timestamp_micros);
    if let Some(at) = used {
        form.set_moment(at);
    }
    let login = source.spec.admin_login.as_str();
    let (typed, password) = typed_password(posted, login, kept.password());
    let sealed = match &typed {
        Some(typed) => Some(password::seal(&visit.state.sealer, &kept.id, typed)?),
        None => None,
    };
    if sealed.is_some() {
        form.password_login = login.to_owned();
    }
    save(visit, &kept.id, &form, sealed).await?;
    let world = world(visit, &form).await?;
    match (used, checked(&source, &form, &world, &password)) {
        (None, Ok(_)) => page::see(&format!("{}?draft={}", source.review_path(), kept.id)),
        (Some(_), Ok(_)) => page::see(&source.draft_path(&kept.id)),
        (Some(_), Err(faults)) if !has_typed_fault(&faults, &typed, posted) => {
            page::see(&source.draft_path(&kept.id))
        }
        (_, Err(faults)) => {
            render(visit, place, source, &world, Shown { id: kept.id, form, password, faults })
                .await
        }
    }
}

/// Whether a password was typed that cannot be kept: the page must say so, for it cannot show it again.
fn has_typed_fault(
    faults: &Faults,
    typed: &Option<crate::secrets::Secret>,
    posted: &Posted,
) -> bool {
    let is_refused = faults.refusals.iter().any(|one| matches!(one.field, Some(FIELD | CONFIRM)));
    typed.is_none() && is_refused && !posted.secret(FIELD).reveal().is_empty()
}

async fn save(
    visit: &Signed<Contributor>,
    id: &DraftId,
    form: &RestoreForm,
    sealed: Option<Vec<u8>>,
) -> Result<(), PageError> {
    let text = serde_json::to_string(form).map_err(PageError::internal)?;
    let saved = visit.state.store.put_draft(visit.now, &visit.user.id, id, &text, sealed).await;
    saved.map_err(|error| match error {
        StoreError::Stale => PageError::NotFound,
        other => other.into(),
    })
}

/// `GET /servers/{id}/restore`
pub async fn get(
    visit: Signed<Contributor>,
    id: Path<String>,
    query: Query<RestoreQuery>,
) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Backups).await? else {
        return nav::gone(&visit, &id).await;
    };
    show(&visit, Place::Live(Box::new(frame)), &query).await
}

/// `POST /servers/{id}/restore`: every button of the form.
pub async fn post_live(visit: Signed<Contributor>, id: Path<String>, posted: Posted) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Backups).await? else {
        return nav::gone(&visit, &id).await;
    };
    post(&visit, Place::Live(Box::new(frame)), &posted).await
}

/// `GET /servers/deleted/{id}/restore`
pub async fn get_deleted(
    visit: Signed<Contributor>,
    id: Path<String>,
    query: Query<RestoreQuery>,
) -> PageResult {
    let place = deleted(&visit, &id).await?;
    show(&visit, place, &query).await
}

/// `POST /servers/deleted/{id}/restore`
pub async fn post_deleted(
    visit: Signed<Contributor>,
    id: Path<String>,
    posted: Posted,
) -> PageResult {
    let place = deleted(&visit, &id).await?;
    post(&visit, place, &posted).await
}
