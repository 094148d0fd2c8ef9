//! Backup and restore of one server: is it protected, to which moments it can be brought back, where its backups lie.

use super::backups_drills::{self as drills, Drills, OriginView};
use super::backups_facts::BackupFacts;
use super::backups_picture::{self, Picture};
use super::backups_places::{self as repositories, PlaceRow};
use super::backups_rows::{self as rows, BackupList};
use super::backups_view::{self as view, Alarm, Answer};
use super::nav::{self, Frame, Tab};
use super::storage_view::size_text;
use crate::domain::backup::{FULL_EVERY, ON_DEMAND_MAX, TAKE_EVERY, allowance};
use crate::domain::cost::PriceList;
use crate::domain::ids::ServerId;
use crate::domain::operation::{Operation, OperationKind};
use crate::domain::server::ServerSpec;
use crate::web::error::{PageError, PageResult};
use crate::web::label::Chip;
use crate::web::page::{self, Layout};
use crate::web::paths;
use crate::web::time::Stamp;
use crate::web::visit::{Reader, Signed, Visit};
use actix_web::web::{Path, Query};
use askama::Template;
use serde::Deserialize;

#[derive(Template)]
#[template(path = "servers/backups.html")]
struct BackupsPage {
    layout: Layout,
    frame: Frame,
    live: BackupsLive,
}

/// The part that is fetched again every few seconds.
#[derive(Template)]
#[template(path = "servers/backups_live.html")]
struct LivePart {
    layout: Layout,
    frame: Frame,
    live: BackupsLive,
}

/// What is on the page besides the frame.
struct BackupsLive {
    /// URL of the live part.
    fragment: String,
    answer: Answer,
    alarms: Vec<Alarm>,
    works: Vec<Work>,
    pictures: Vec<Picture>,
    places: Vec<PlaceRow>,
    list: BackupList,
    actions: Vec<Action>,
    policy: PolicyView,
    /// Where it came from; `None` for one that was not restored.
    origin: Option<OriginView>,
    drills: Drills,
}

/// What is asked of the backups.
struct PolicyView {
    days: i64,
    redundancy: &'static str,
    /// What they take, of what is included.
    used: String,
    /// What is beyond it, or what the figure lacks.
    used_note: String,
    /// When the schedule takes the next one; `None` while there is none to count from.
    next: Option<Stamp>,
    on_demand: usize,
    on_demand_max: usize,
    /// Since when the log goes into a repository.
    archiving: Option<Stamp>,
}

/// An operation on backups that is under way or failed last.
struct Work {
    label: &'static str,
    chip: Chip,
    path: String,
    /// Why it failed and what to do; empty while it runs.
    note: String,
}

impl Work {
    fn of(operation: &Operation) -> Self {
        let texts = [operation.error.as_deref(), operation.advice.as_deref()];
        Self {
            label: operation.kind.label(),
            chip: operation.status.into(),
            path: paths::operation(&operation.id),
            note: texts.into_iter().flatten().collect::<Vec<_>>().join(" "),
        }
    }
}

/// A button.
struct Action {
    label: &'static str,
    purpose: &'static str,
    path: String,
    is_primary: bool,
    why_closed: Option<String>,
}

/// Which page of the list is shown, and what the page around the live part was made of.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct BackupsQuery {
    page: String,
    seen: String,
}

impl BackupsQuery {
    fn page(&self) -> usize {
        self.page.parse().unwrap_or(1)
    }
}

/// `GET /servers/{id}/backups`
pub async fn get(
    visit: Signed<Reader>,
    id: Path<String>,
    query: Query<BackupsQuery>,
) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Backups).await? else {
        return nav::gone(&visit, &id).await;
    };
    let live = live(&visit, &frame, query.page()).await?;
    page::ok(&BackupsPage { layout: frame.layout(&visit, "Backup and restore"), frame, live })
}

/// `GET /servers/{id}/backups/fragment`: the live part. Once the page around it is out of date, or the server is gone,
/// it leads to the whole page instead.
pub async fn fragment(
    visit: Signed<Reader>,
    id: Path<String>,
    query: Query<BackupsQuery>,
) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Backups).await? else {
        return match ServerId::parse(&id) {
            Some(id) => page::see(&paths::server_backups(&id)),
            None => Err(PageError::NotFound),
        };
    };
    if query.seen != seen_key(&frame) {
        return page::see(&paths::server_backups(&frame.server.id));
    }
    let live = live(&visit, &frame, query.page()).await?;
    page::ok(&LivePart { layout: frame.layout(&visit, "Backup and restore"), frame, live })
}

fn seen_key(frame: &Frame) -> String {
    frame.server.state().label().to_owned()
}

async fn live(visit: &Visit, frame: &Frame, page: usize) -> Result<BackupsLive, PageError> {
    let server = &frame.server;
    let facts = BackupFacts::load(visit, server).await?;
    let alarms = view::alarms(&facts);
    let region = visit.state.config.region(&server.spec.region);
    let zones = region.map_or(&[][..], |region| region.zones.as_slice());
    Ok(BackupsLive {
        fragment: paths::server_backups_fragment(&server.id, &seen_key(frame), page),
        answer: view::answer(&facts, &alarms),
        works: facts.works.iter().map(Work::of).collect(),
        pictures: backups_picture::pictures(&facts),
        places: repositories::places(&facts, &server.spec.region, zones),
        list: rows::list(&facts, &server.id, page),
        actions: actions(frame, &facts),
        policy: policy(&facts, &server.spec, &visit.state.config.prices),
        origin: visit.state.store.origin(&server.id).await?.map(|one| OriginView::of(&one)),
        drills: drills::load(visit, &server.id).await?,
        alarms,
    })
}

/// What they take of what is included, and what the rest costs.
fn used(facts: &BackupFacts, gib: u32, prices: &PriceList) -> (String, String) {
    let included = format!("{gib} GiB are included, as much as is provisioned");
    let Some(taken) = allowance::taken(&facts.protection) else {
        return ("Not measured yet".into(), included);
    };
    let beyond = match allowance::tenths_beyond(taken.bytes, gib) {
        0 => String::new(),
        tenths => format!(
            ", {}.{} GiB more than that; a GiB costs {} a month",
            tenths / 10,
            tenths % 10,
            prices.price_text(prices.backup_gib_month)
        ),
    };
    let log = if taken.has_log { "" } else { "; the log comes on top, it is not measured yet" };
    (size_text(taken.bytes), format!("{included}{beyond}{log}"))
}

fn policy(facts: &BackupFacts, spec: &ServerSpec, prices: &PriceList) -> PolicyView {
    let (used, used_note) = used(facts, spec.storage_gib, prices);
    let full = facts.protection.good_in(facts.repository()).filter(|one| one.based_on.is_none());
    let weekly = full.map(|one| one.started_at + FULL_EVERY).max();
    let daily = facts.newest().map(|one| one.started_at + TAKE_EVERY);
    let next = weekly.zip(daily).map(|(weekly, daily)| weekly.min(daily));
    PolicyView {
        days: facts.protection.policy.retention.as_days(),
        redundancy: facts.protection.policy.redundancy.label(),
        used,
        used_note,
        next: next.filter(|at| *at > facts.now).map(Stamp),
        on_demand: facts.on_demand(),
        on_demand_max: ON_DEMAND_MAX,
        archiving: facts.protection.archive.since.map(Stamp),
    }
}

fn actions(frame: &Frame, facts: &BackupFacts) -> Vec<Action> {
    let id = &frame.server.id;
    let escrow = Action {
        label: "Escrow file…",
        purpose: "The key of the backups and the commands that restore them without any portal, to be kept elsewhere.",
        path: paths::server_escrow(id),
        is_primary: false,
        why_closed: facts.protection.backups.is_empty().then(|| "There is no backup yet.".into()),
    };
    let mut actions = vec![
        Action {
            label: "Restore…",
            purpose: "Into a new server, to any moment that can be restored. This server goes on as it is.",
            path: paths::server_restore(id),
            is_primary: true,
            why_closed: facts.why_not_restored(),
        },
        Action {
            label: "Back up now…",
            purpose: "A full backup with a name of its own, besides those of the schedule.",
            path: paths::server_backups_part(id, "new"),
            is_primary: false,
            why_closed: facts.why_closed(frame, OperationKind::Backup),
        },
        Action {
            label: "Run a restore drill…",
            purpose: "The newest backup and the log are restored into a container that is thrown away, and checked. It proves that a restore works, and how long it takes.",
            path: paths::server_backups_part(id, "drill"),
            is_primary: false,
            why_closed: facts.why_closed(frame, OperationKind::RestoreDrill),
        },
        Action {
            label: "Change retention and redundancy…",
            purpose: "For how many days back every moment can be restored, and in which places the backups lie.",
            path: paths::server_backups_part(id, "retention"),
            is_primary: false,
            why_closed: BackupFacts::why_kept(frame),
        },
    ];
    // Whoever has the key reads all that was ever backed up.
    actions.extend(frame.is_owner().then_some(escrow));
    actions
}
