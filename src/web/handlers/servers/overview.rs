//! The overview of one server: can I use it, what is it, what was last seen of it, what happened.

use super::backups_facts::BackupFacts;
use super::backups_view::{Line, line};
use super::ha_facts::{HaFacts, zone_of};
use super::ha_picture::{Drawing, Picture};
use super::nav::{self, Frame, Tab};
use super::overview_view::{
    self as view, Answer, ContainerView, Fact, HaNote, Known, RecentOperation, Seen, plural,
};
use super::{ha_story, ha_view};
use crate::config::Config;
use crate::domain::ha::MemberRole;
use crate::domain::server::{Member, MemberObservation, Server};
use crate::domain::storage::{OBSERVATION, StorageLook};
use crate::operations::access::secret;
use crate::store::operations::OperationFilter;
use crate::web::error::{PageError, PageResult};
use crate::web::label::Chip;
use crate::web::page::{self, Layout};
use crate::web::paths;
use crate::web::time::Stamp;
use crate::web::visit::{Reader, Signed, Visit};
use actix_web::web::{Path, Query};
use askama::Template;
use chrono::{DateTime, Utc};
use serde::Deserialize;

/// Operations on the overview; the rest is one link away.
const RECENT_MAX: usize = 5;

#[derive(Template)]
#[template(path = "servers/overview.html")]
struct OverviewPage {
    layout: Layout,
    frame: Frame,
    live: LiveView,
}

/// The part that is fetched again every few seconds.
#[derive(Template)]
#[template(path = "servers/overview_live.html")]
struct LivePart {
    layout: Layout,
    frame: Frame,
    live: LiveView,
}

/// What is on the page besides the frame.
struct LiveView {
    /// URL of the live part.
    fragment: String,
    answer: Answer,
    essentials: Vec<Fact>,
    created: Stamp,
    creator: Option<String>,
    certificate: Option<(Stamp, String)>,
    /// Whether the server was placed on a host.
    has_member: bool,
    container: Option<ContainerView>,
    /// Both members as they stand; `None` without high availability.
    pair: Option<PairView>,
    /// The standby's container, with what was seen of it.
    standby: Option<StandbyView>,
    /// Whether it can be restored, in a line; its page has the rest.
    backup: Line,
    backups: String,
    /// The page of high availability.
    ha: String,
    /// The page that asks before a repair.
    repair: String,
    operations: Vec<RecentOperation>,
}

impl LiveView {
    fn seen(&self) -> Option<&Seen> {
        self.answer.seen.as_ref()
    }
}

/// The pair in short; its page has the whole story.
struct PairView {
    chip: Chip,
    /// "Commits are on 2 hosts now"
    lead: String,
    picture: Picture,
}

/// The standby of a pair.
struct StandbyView {
    container: Option<ContainerView>,
    place: String,
}

/// What the page around the live part was made of.
#[derive(Deserialize)]
pub struct FragmentQuery {
    #[serde(default)]
    seen: String,
}

/// `GET /servers/{id}`
pub async fn get(visit: Signed<Reader>, id: Path<String>) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Overview).await? else {
        return nav::gone(&visit, &id).await;
    };
    let live = live(&visit, &frame).await?;
    page::ok(&OverviewPage { layout: frame.layout(&visit, "Overview"), frame, live })
}

/// `GET /servers/{id}/fragment`: the live part. Once the page around it is out of date, or the server
/// is gone, it leads to the whole page instead, which makes the script load that.
pub async fn fragment(
    visit: Signed<Reader>,
    id: Path<String>,
    query: Query<FragmentQuery>,
) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Overview).await? else {
        return match crate::domain::ids::ServerId::parse(&id) {
            Some(id) => page::see(&paths::server(&id)),
            None => Err(PageError::NotFound),
        };
    };
    if query.seen != seen_key(&frame.server) {
        return page::see(&paths::server(&frame.server.id));
    }
    let live = live(&visit, &frame).await?;
    page::ok(&LivePart { layout: frame.layout(&visit, "Overview"), frame, live })
}

/// Everything that the fixed part of the page depends on.
fn seen_key(server: &Server) -> String {
    server.state().label().to_owned()
}

async fn live(visit: &Visit, frame: &Frame) -> Result<LiveView, PageError> {
    let (store, now, server) = (&visit.state.store, visit.now, &frame.server);
    let pair = match &frame.ha {
        Some(_) => Some(HaFacts::load(visit, server).await?),
        None => None,
    };
    let member = store.members(&server.id).await?.into_iter().next();
    let look = observation(visit, server, member.as_ref()).await?;
    let expires = store.secret_expiry(&server.id, secret::SERVER_CERTIFICATE).await?;
    let filter = OperationFilter { server_id: Some(server.id.clone()), ..Default::default() };
    let operations = store.operations(&filter).await?;
    let creator = match &server.created_by {
        Some(id) => store.user(id).await?.map(|user| user.login),
        None => None,
    };
    let known = Known {
        server,
        member: member.as_ref(),
        region: region_label(&visit.state.config, server),
        host: host_name(visit, member.as_ref()).await?,
        network: match &server.network_id {
            Some(id) => store.network(id).await?.map(|network| network.name),
            None => None,
        },
        prices: &frame.prices(&visit.state.config),
        ha: match &pair {
            Some(facts) => ha_note(visit, server, facts).await?,
            None => None,
        },
        storage: store
            .server_observation::<StorageLook>(&server.id, OBSERVATION)
            .await?
            .map(|look| look.facts),
    };
    Ok(LiveView {
        fragment: paths::server_fragment(&server.id, &seen_key(server)),
        answer: view::answer(server.state(), look.as_ref(), now),
        essentials: view::essentials(&known),
        created: Stamp(server.created_at),
        creator,
        certificate: expires.map(|at| (Stamp(at), left_text(at, now))),
        repair: paths::server_repair(&server.id),
        has_member: member.is_some(),
        ha: paths::server_ha(&server.id),
        pair: pair.as_ref().and_then(|facts| pair_view(facts, server, now)),
        standby: pair.as_ref().and_then(|facts| standby(facts, server, now)),
        container: view::container(member.as_ref(), look.as_ref(), server.state(), now),
        operations: operations.iter().take(RECENT_MAX).map(|one| view::recent(one, now)).collect(),
        backup: line(&BackupFacts::in_short(visit, server, operations).await?),
        backups: paths::server_backups(&server.id),
    })
}

async fn ha_note(
    visit: &Visit,
    server: &Server,
    facts: &HaFacts,
) -> Result<Option<HaNote>, PageError> {
    let Some(row) = &facts.row else { return Ok(None) };
    let truth = facts.truth(server);
    let known = ha_view::Known { row, truth, look: None, since: row.changed_at, now: visit.now };
    let last = visit.state.store.promotions(&server.id, 1).await?.into_iter().next();
    let last = last.map(|one| {
        let at = one.seen_at.format("%Y-%m-%d %H:%M:%S UTC");
        format!("{}, {at}", ha_story::cause_label(one.cause).to_lowercase())
    });
    Ok(Some(HaNote {
        state: ha_view::chip(facts.state(), Some(row)).text,
        mode: row.mode.label(),
        commits: ha_view::commits(&known).lead,
        standby_zone: row.standby_zone.clone(),
        last: last.unwrap_or_default(),
    }))
}

fn pair_view(facts: &HaFacts, server: &Server, now: DateTime<Utc>) -> Option<PairView> {
    let row = facts.row.as_ref()?;
    let truth = facts.truth(server);
    let known = ha_view::Known { row, truth, look: None, since: row.changed_at, now };
    Some(PairView {
        chip: ha_view::chip(facts.state(), Some(row)),
        lead: ha_view::commits(&known).lead,
        picture: Drawing { facts, server, now }.picture(row),
    })
}

fn standby(facts: &HaFacts, server: &Server, now: DateTime<Utc>) -> Option<StandbyView> {
    let member = facts.in_role(MemberRole::Standby)?;
    let host = facts.host_name(member).unwrap_or("not known");
    Some(StandbyView {
        container: view::container(Some(member), facts.seen_of(member), server.state(), now),
        place: format!("Zone {}, host {host}", zone_of(member, server)),
    })
}

async fn observation(
    visit: &Visit,
    server: &Server,
    member: Option<&Member>,
) -> Result<Option<MemberObservation>, PageError> {
    let Some(member) = member else { return Ok(None) };
    let looks = visit.state.store.member_observations(&server.id).await?;
    Ok(looks.into_iter().find(|look| look.member_id == member.id))
}

async fn host_name(visit: &Visit, member: Option<&Member>) -> Result<Option<String>, PageError> {
    let Some(member) = member else { return Ok(None) };
    let hosts = visit.state.store.hosts().await?;
    Ok(hosts.into_iter().find(|host| host.id == member.host_id).map(|host| host.name))
}

fn region_label(config: &Config, server: &Server) -> String {
    let key = &server.spec.region;
    config.region(key).map_or_else(|| key.clone(), |region| region.label.clone())
}

/// "62 days left"
fn left_text(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    match u32::try_from((at - now).num_days()) {
        Ok(0) if at > now => "less than a day left".into(),
        Ok(days) if at > now => format!("{} left, renewed before", plural(days, "day")),
        _ => "expired".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::Duration;

    #[test]
    fn the_time_left_is_in_days() {
        let now = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        assert_eq!(left_text(now + Duration::days(62), now), "62 days left, renewed before");
        assert_eq!(left_text(now + Duration::hours(3), now), "less than a day left");
        assert_eq!(left_text(now - Duration::seconds(1), now), "expired");
    }
}
