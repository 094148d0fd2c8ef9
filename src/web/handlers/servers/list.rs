//! The list of servers: search, filters, pages by name. An empty list is the invitation to create.

use super::create_cards::{PresetCard, preset_cards, thousands};
use super::ha_view;
use crate::config::Config;
use crate::domain::ha::{HaMode, HaState, HighAvailability};
use crate::domain::ids::{GroupId, ServerId};
use crate::domain::names::Tag;
use crate::domain::operation::OperationKind;
use crate::domain::server::{Server, ServerState, SettledState};
use crate::store::groups::CountedGroup;
use crate::store::scope::Viewer;
use crate::store::servers::{HA_NONE, HA_NOT_HEALTHY, SERVER_PAGE, ServerFilter};
use crate::web::error::PageResult;
use crate::web::form::{Choice, FormState};
use crate::web::label::Chip;
use crate::web::page::{self, Layout, Nav};
use crate::web::paths;
use crate::web::time::Stamp;
use crate::web::visit::{Reader, Signed};
use actix_web::web::Query;
use askama::Template;
use serde::Deserialize;
use std::collections::HashMap;

#[derive(Template)]
#[template(path = "servers/list.html")]
struct ListPage {
    layout: Layout,
    f: FormState,
    states: Vec<Choice>,
    regions: Vec<Choice>,
    groups: Vec<Choice>,
    pairs: Vec<Choice>,
    rows: Vec<Row>,
    /// "37 of 1,000 servers"; empty where there is none at all.
    result: String,
    is_filtered: bool,
    is_empty: bool,
    /// Nothing to see because no group assigns this person a role.
    has_no_role: bool,
    presets: Vec<PresetCard>,
    /// Way to the next page; empty on the last.
    next: String,
    /// Way back to the first page; empty on it.
    first: String,
}

/// The filters as typed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ListQuery {
    name: String,
    state: String,
    region: String,
    tag: String,
    group: String,
    ha: String,
    after: String,
}

impl ListQuery {
    /// What is asked of the store: words of ours only, no control characters, bounded lengths.
    fn filter(&self, config: &Config, viewer: Viewer) -> ServerFilter {
        let state = ServerState::parse(&self.state).map_or("", ServerState::label);
        let region = config.region(&self.region).map_or("", |region| region.key.as_str());
        let tag_max = Tag::NAME_LENGTH_MAX + 1 + Tag::VALUE_LENGTH_MAX;
        ServerFilter {
            name: plain(&self.name, 100),
            state: state.into(),
            region: region.into(),
            tag: plain(&self.tag, tag_max),
            group: GroupId::parse(&self.group).map_or(String::new(), |id| id.as_str().into()),
            ha: ha_choices()
                .into_iter()
                .find(|one| one.value == self.ha)
                .map_or(String::new(), |one| one.value),
            viewer,
            after: plain(&self.after, 100),
        }
    }
}

fn plain(typed: &str, length_max: usize) -> String {
    typed.trim().chars().filter(|c| !c.is_control()).take(length_max).collect()
}

/// `GET /servers`
pub async fn get(visit: Signed<Reader>, query: Query<ListQuery>) -> PageResult {
    let (store, config) = (&visit.state.store, &visit.state.config);
    let viewer = visit.viewer()?;
    let filter = query.filter(config, viewer.clone());
    let groups = store.groups(&viewer).await?;
    let servers = store.servers(&filter).await?;
    let everything = ServerFilter { viewer, ..ServerFilter::default() };
    let total = store.count_servers(&everything).await?;
    let is_filtered = is_filtered(&filter);
    let found = if is_filtered { store.count_servers(&filter).await? } else { total };
    let pairs = Pairs {
        rows: store.ha_all().await?.into_iter().map(|row| (row.server_id.clone(), row)).collect(),
        zones: store.ha_primary_zones().await?,
    };
    let has_more = servers.len() as i64 > SERVER_PAGE;
    let rows: Vec<Row> = servers
        .iter()
        .take(SERVER_PAGE as usize)
        .map(|server| Row::new(server, config, &groups, &pairs))
        .collect();
    let last = rows.last().filter(|_| has_more).map(|row| row.name.as_str());
    let page = ListPage {
        layout: visit.layout("Servers", Nav::Servers),
        f: state(&filter),
        states: state_choices(),
        regions: region_choices(config),
        has_no_role: groups.is_empty(),
        groups: group_choices(&groups),
        pairs: ha_choices(),
        result: result_text(found, total),
        is_filtered,
        is_empty: total == 0,
        presets: if total == 0 { preset_cards(&config.prices) } else { vec![] },
        next: last.map_or(String::new(), |last| page_link(&filter, last)),
        first: if filter.after.is_empty() { String::new() } else { page_link(&filter, "") },
        rows,
    };
    page::ok(&page)
}

fn is_filtered(filter: &ServerFilter) -> bool {
    [&filter.name, &filter.state, &filter.region, &filter.tag, &filter.group, &filter.ha]
        .iter()
        .any(|text| !text.is_empty())
}

fn state(filter: &ServerFilter) -> FormState {
    FormState::new()
        .with("name", &filter.name)
        .with("state", &filter.state)
        .with("region", &filter.region)
        .with("tag", &filter.tag)
        .with("group", &filter.group)
        .with("ha", &filter.ha)
}

/// The states that a server can be in, as far as this version goes.
fn state_choices() -> Vec<Choice> {
    let actives = OperationKind::ALL.map(Some).into_iter().chain([None]);
    let reachable: Vec<ServerState> = actives
        .flat_map(|active| SettledState::ALL.map(|settled| ServerState::shown(settled, active)))
        .collect();
    let shown = ServerState::ALL.into_iter().filter(|state| reachable.contains(state));
    let any = Choice::new("", "Any state");
    std::iter::once(any)
        .chain(shown.map(|state| Choice::new(state.label(), state.label())))
        .collect()
}

fn region_choices(config: &Config) -> Vec<Choice> {
    let any = Choice::new("", "Any region");
    let regions = config.regions.iter().map(|region| Choice::new(&region.key, &region.label));
    std::iter::once(any).chain(regions).collect()
}

fn group_choices(groups: &[CountedGroup]) -> Vec<Choice> {
    let any = Choice::new("", "Any group");
    let one = |counted: &CountedGroup| Choice::new(counted.group.id.as_str(), &counted.group.name);
    std::iter::once(any).chain(groups.iter().map(one)).collect()
}

fn ha_choices() -> Vec<Choice> {
    let mode = |mode: HaMode| Choice::new(mode.key(), mode.label());
    let any = [Choice::new("", "Any"), Choice::new(HA_NONE, "None")];
    let ill = Choice::new(HA_NOT_HEALTHY, "Not healthy");
    any.into_iter().chain(HaMode::ALL.map(mode)).chain([ill]).collect()
}

fn result_text(found: i64, total: i64) -> String {
    let noun = if total == 1 { "server" } else { "servers" };
    match (found, total) {
        (_, 0) => String::new(),
        (found, total) if found == total => format!("{} {noun}", thousands(total)),
        _ => format!("{} of {} {noun}", thousands(found), thousands(total)),
    }
}

/// The list with the same filters, from the name after `after`.
fn page_link(filter: &ServerFilter, after: &str) -> String {
    let fields = [
        ("name", filter.name.as_str()),
        ("state", &filter.state),
        ("region", &filter.region),
        ("tag", &filter.tag),
        ("group", &filter.group),
        ("ha", &filter.ha),
        ("after", after),
    ];
    let pairs: Vec<String> = fields
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name}={}", paths::encoded(value)))
        .collect();
    if pairs.is_empty() {
        paths::servers()
    } else {
        format!("{}?{}", paths::servers(), pairs.join("&"))
    }
}

/// A server as a line of the table.
struct Row {
    path: String,
    name: String,
    chip: Chip,
    version: u32,
    size: &'static str,
    tier: &'static str,
    region: String,
    zone: String,
    /// High availability in short; empty without.
    ha: String,
    endpoint: String,
    group: String,
    group_path: String,
    tags: Vec<TagLink>,
    /// Tags that the row has no room for.
    more_tags: usize,
    created: Stamp,
}

/// The pairs among the servers of the list.
struct Pairs {
    rows: HashMap<ServerId, HighAvailability>,
    /// Zones of the primaries, by server id.
    zones: HashMap<String, String>,
}

impl Pairs {
    /// The zone of the primary, which a failover changes.
    fn zone(&self, server: &Server) -> String {
        self.zones.get(server.id.as_str()).unwrap_or(&server.spec.zone).clone()
    }

    /// "Standby in zone 2: Healthy"; empty without high availability.
    fn text(&self, server: &Server) -> String {
        self.rows.get(&server.id).map_or(String::new(), |row| {
            let is_removing = server.active == Some(OperationKind::RemoveStandby);
            let state = HaState::shown(Some(row), is_removing);
            let state = ha_view::chip(state, Some(row)).text;
            format!("Standby in zone {}: {state}", row.standby_zone)
        })
    }
}

/// A tag that leads to the servers that have it.
struct TagLink {
    text: String,
    path: String,
}

/// Tags in a row; the rest is on the server's own page.
const TAGS_MAX: usize = 3;

impl Row {
    fn new(server: &Server, config: &Config, groups: &[CountedGroup], pairs: &Pairs) -> Self {
        let spec = &server.spec;
        let region = config.region(&spec.region);
        let group = groups.iter().find(|counted| counted.group.id == server.group_id);
        Self {
            path: paths::server(&server.id),
            name: spec.name.as_str().to_owned(),
            chip: server.state().into(),
            version: spec.major.number(),
            size: spec.sku().short_name(),
            tier: spec.sku().tier.label(),
            region: region.map_or(spec.region.clone(), |region| region.label.clone()),
            zone: pairs.zone(server),
            ha: pairs.text(server),
            endpoint: format!("{}:{}", config.args.endpoint_host, server.port),
            group: group.map_or(String::new(), |counted| counted.group.name.clone()),
            group_path: paths::group(&server.group_id),
            tags: spec.tags.iter().take(TAGS_MAX).map(tag_link).collect(),
            more_tags: spec.tags.len().saturating_sub(TAGS_MAX),
            created: server.created_at.into(),
        }
    }
}

fn tag_link(tag: &Tag) -> TagLink {
    let separator = if tag.value.is_empty() { "" } else { ": " };
    TagLink {
        text: format!("{}{separator}{}", tag.name, tag.value),
        path: paths::servers_tagged(&tag.name, &tag.value),
    }
}

#[cfg(test)]
mod tests {
    use super::super::create_world::tests::config;
    use super::*;

    #[test]
    fn filters_are_words_of_ours_or_nothing() {
        let query = ListQuery {
            name: " shop\0 ".into(),
            state: "Ready' OR 1=1".into(),
            region: "mars".into(),
            tag: "x".repeat(1000),
            group: "x".into(),
            ha: "Both' OR 1=1".into(),
            after: String::new(),
        };
        let filter = query.filter(&config(), Viewer::Portal);
        assert_eq!(
            (filter.name.as_str(), filter.state.as_str(), filter.region.as_str()),
            ("shop", "", "")
        );
        assert_eq!((&*filter.group, &*filter.ha), ("", ""), "no words of ours");
        let asked = |ha: &str| {
            let query = ListQuery { ha: ha.into(), ..ListQuery::default() };
            query.filter(&config(), Viewer::Portal).ha
        };
        for word in [HA_NONE, "SameZone", "ZoneRedundant", HA_NOT_HEALTHY] {
            assert_eq!(asked(word), word);
        }
        assert_eq!(filter.tag.len(), 321);
    }

    #[test]
    fn the_result_is_told_in_words() {
        assert_eq!(result_text(37, 1000), "37 of 1,000 servers");
        assert_eq!(result_text(1000, 1000), "1,000 servers");
        assert_eq!(
            (result_text(1, 1).as_str(), result_text(0, 1).as_str()),
            ("1 server", "0 of 1 server")
        );
        assert_eq!(result_text(0, 0), "");
    }

    #[test]
    fn links_keep_the_filters() {
        let filter = ServerFilter {
            tag: "env=a&b".into(),
            ha: "None".into(),
            after: "x".into(),
            ..ServerFilter::default()
        };
        assert_eq!(page_link(&filter, "shop-1"), "/servers?tag=env%3Da%26b&ha=None&after=shop-1");
        assert_eq!(page_link(&ServerFilter::default(), ""), "/servers");
    }

    #[test]
    fn only_states_that_can_be_are_offered() {
        let labels: Vec<_> = state_choices().into_iter().map(|choice| choice.label).collect();
        assert!(labels.contains(&"Ready".into()) && labels.contains(&"Dropping".into()));
        assert!(!labels.contains(&"Inaccessible".into()));
    }
}
