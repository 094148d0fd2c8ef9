//! The page of a pair: on how many hosts commits are, who is where, what can be done, what happened.

use super::ha_facts::HaFacts;
use super::ha_picture::{Drawing, Picture};
use super::ha_story::{self as story, DrillLine, EventLine, Told, Work};
use super::ha_view::{self as view, Commits, Known, MemberCard};
use super::ha_zones::Truth;
use super::nav::{self, Frame, Tab};
use crate::domain::ha::{Durability, HighAvailability, MemberRole};
use crate::domain::ids::ServerId;
use crate::domain::operation::OperationKind;
use crate::domain::server::Member;
use crate::store::ha::Promotion;
use crate::store::operations::OperationFilter;
use crate::web::error::{PageError, PageResult};
use crate::web::label::Chip;
use crate::web::page::{self, Layout};
use crate::web::paths;
use crate::web::visit::{Reader, Signed, Visit};
use actix_web::web::{Path, Query};
use askama::Template;
use serde::Deserialize;

/// Changes of primary that are read: the last in full, the others as rows.
const PROMOTIONS_MAX: i64 = 20;
const DRILLS_MAX: i64 = 20;
/// Lines of the story that are searched for the time since when.
const STORY_MAX: i64 = 200;

#[derive(Template)]
#[template(path = "servers/ha.html")]
struct HaPage {
    layout: Layout,
    frame: Frame,
    live: HaLive,
}

/// The part that is fetched again every few seconds.
#[derive(Template)]
#[template(path = "servers/ha_live.html")]
struct LivePart {
    layout: Layout,
    frame: Frame,
    live: HaLive,
}

/// What is on the page besides the frame.
struct HaLive {
    /// URL of the live part.
    fragment: String,
    chip: Chip,
    /// `None` without high availability.
    pair: Option<Pair>,
    works: Vec<Work>,
    actions: Vec<Action>,
    /// Why it cannot be enabled; for the page of a server without it.
    why_not_enabled: Option<String>,
    last: Option<Told>,
    before: Vec<Told>,
    drills: Vec<DrillLine>,
    events: Vec<EventLine>,
    /// Ways to the newest and to older lines; empty where there are none.
    newest: String,
    older: String,
}

/// A pair that is there or being made.
struct Pair {
    commits: Commits,
    warning: &'static str,
    picture: Picture,
    former: Vec<MemberCard>,
    settings: [(&'static str, String, &'static str); 2],
    epoch: i64,
    timeline: i64,
}

/// A button.
struct Action {
    label: &'static str,
    purpose: &'static str,
    path: String,
    is_danger: bool,
    why_closed: Option<String>,
}

/// Where in the story the page stands, and what the page around the live part was made of.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct HaQuery {
    before: String,
    seen: String,
}

impl HaQuery {
    /// An id of a line or nothing.
    fn before(&self) -> &str {
        let is_id = self.before.len() == 36
            && self.before.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        if is_id { &self.before } else { "" }
    }
}

/// `GET /servers/{id}/high-availability`
pub async fn get(visit: Signed<Reader>, id: Path<String>, query: Query<HaQuery>) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::HighAvailability).await? else {
        return nav::gone(&visit, &id).await;
    };
    let live = live(&visit, &frame, query.before()).await?;
    page::ok(&HaPage { layout: frame.layout(&visit, "High availability"), frame, live })
}

/// `GET /servers/{id}/high-availability/fragment`: the live part. Once the page around it is out of date,
/// or the server is gone, it leads to the whole page instead.
pub async fn fragment(
    visit: Signed<Reader>,
    id: Path<String>,
    query: Query<HaQuery>,
) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::HighAvailability).await? else {
        return match ServerId::parse(&id) {
            Some(id) => page::see(&paths::server_ha(&id)),
            None => Err(PageError::NotFound),
        };
    };
    if query.seen != seen_key(&frame) {
        return page::see(&paths::server_ha(&frame.server.id));
    }
    let live = live(&visit, &frame, query.before()).await?;
    page::ok(&LivePart { layout: frame.layout(&visit, "High availability"), frame, live })
}

fn seen_key(frame: &Frame) -> String {
    frame.server.state().label().to_owned()
}

async fn live(visit: &Visit, frame: &Frame, before: &str) -> Result<HaLive, PageError> {
    let (store, server) = (&visit.state.store, &frame.server);
    let facts = HaFacts::load(visit, server).await?;
    let promotions = store.promotions(&server.id, PROMOTIONS_MAX).await?;
    let mut told = vec![];
    for (at, promotion) in promotions.iter().enumerate() {
        told.push(tell(visit, promotion, &facts.members, at == 0).await?);
    }
    let of_server = OperationFilter { server_id: Some(server.id.clone()), ..Default::default() };
    let operations = store.operations(&of_server).await?;
    let page = store.ha_event_page(&server.id, before).await?;
    let mut told = told.into_iter();
    Ok(HaLive {
        fragment: paths::server_ha_fragment(&server.id, &seen_key(frame), before),
        chip: view::chip(facts.state(), facts.row.as_ref()),
        pair: match &facts.row {
            Some(row) => Some(pair(visit, frame, &facts, row).await?),
            None => None,
        },
        works: story::works(&operations),
        actions: actions(frame, &facts),
        why_not_enabled: facts.why_closed(frame, OperationKind::BuildStandby),
        last: told.next(),
        before: told.collect(),
        drills: store
            .ha_drills(&server.id, DRILLS_MAX)
            .await?
            .iter()
            .map(story::drill_line)
            .collect(),
        events: page.events.iter().map(story::event_line).collect(),
        newest: if before.is_empty() { String::new() } else { paths::server_ha(&server.id) },
        older: page.older.map_or(String::new(), |last| paths::server_ha_before(&server.id, &last)),
    })
}

async fn tell(
    visit: &Visit,
    promotion: &Promotion,
    members: &[Member],
    in_full: bool,
) -> Result<Told, PageError> {
    let steps = match promotion.operation_id.as_ref().filter(|_| in_full) {
        Some(operation) => visit.state.store.operation_steps(operation).await?,
        None => vec![],
    };
    Ok(story::told(promotion, members, &steps))
}

async fn pair(
    visit: &Visit,
    frame: &Frame,
    facts: &HaFacts,
    row: &HighAvailability,
) -> Result<Pair, PageError> {
    let (server, now) = (&frame.server, visit.now);
    let told = visit.state.store.ha_events(&server.id, STORY_MAX).await?;
    let truth = facts.truth(server);
    let look = facts.look.as_ref();
    let known = Known {
        row,
        truth,
        look: look.map(|look| &look.facts),
        since: view::since(row, &told),
        now,
    };
    let drawing = Drawing { facts, server, now };
    let is_former = |member: &&Member| member.role == MemberRole::Former;
    Ok(Pair {
        commits: view::commits(&known),
        warning: truth.map_or("", Truth::warning),
        picture: drawing.picture(row),
        former: facts
            .members
            .iter()
            .filter(is_former)
            .map(|member| {
                let purpose = "counts for nothing; being brought back or removed";
                drawing.card("Former member", purpose, member)
            })
            .collect(),
        settings: view::settings(row),
        epoch: row.epoch,
        timeline: row.timeline,
    })
}

fn actions(frame: &Frame, facts: &HaFacts) -> Vec<Action> {
    let id = &frame.server.id;
    let action = |kind, label, purpose, part: &str, is_danger| Action {
        label,
        purpose,
        path: paths::server_ha_part(id, part),
        is_danger,
        why_closed: facts.why_closed(frame, kind),
    };
    let Some(row) = &facts.row else {
        return vec![action(
            OperationKind::BuildStandby,
            "Enable high availability…",
            "A standby is made while the server runs; connections and settings stay as they are.",
            "enable",
            false,
        )];
    };
    vec![
        action(
            OperationKind::Switchover,
            "Planned failover…",
            "The members change places in order. Nothing is lost; connections end and come back.",
            "planned-failover",
            false,
        ),
        action(
            OperationKind::Failover,
            "Forced failover…",
            "The standby takes over at once, whatever the primary does. For a primary that hangs.",
            "forced-failover",
            true,
        ),
        action(
            OperationKind::Switchover,
            "Failover drill…",
            "A planned failover while a probe writes every 100 ms: how long could nobody write, was anything lost?",
            "drill",
            false,
        ),
        action(
            OperationKind::ChangeDurability,
            "Change durability…",
            match row.durability {
                Durability::Preferred => {
                    "Preferred now: without a standby, writes go on after about 3 s on one host."
                }
                Durability::Required => {
                    "Required now: without a standby, writes wait until there is one again."
                }
            },
            "durability",
            false,
        ),
        action(
            OperationKind::RemoveStandby,
            "Disable…",
            "The standby is removed. Commits are on one host from then on.",
            "disable",
            true,
        ),
    ]
}
