//! `GET /hosts`: the Docker hosts, what was promised of them, what runs where, and whether zones are
//! really apart. All of it is what the monitor saw, with the time when it saw it.

pub mod capacity;
pub mod card;
pub mod edit;
pub mod gateways;
pub mod orphans;
pub mod zones;

use crate::domain::drift::{DriftLook, OBSERVATION};
use crate::domain::host::HostObservation;
use crate::domain::ids::HostId;
use crate::domain::placement::HostLoad;
use crate::store::hosts_view::MemberOnHost;
use crate::store::observations::Observed;
use crate::web::error::{PageError, PageResult};
use crate::web::page::{self, Layout, Nav};
use crate::web::query;
use crate::web::state::AppState;
use crate::web::visit::{Reader, Signed};
use actix_web::HttpRequest;
use askama::Template;
use card::HostCard;
use chrono::{DateTime, Duration, Utc};
use gateways::GatewayRow;
use std::collections::HashMap;
use zones::ZoneTruth;

/// An observation older than this is marked: what it says may no longer be so.
pub const STALE_AFTER: Duration = Duration::seconds(60);

/// Members listed on a host's card unless all are asked for: the page is fetched again and again.
const MEMBERS_SHOWN: i64 = 100;

#[derive(Template)]
#[template(path = "hosts/hosts.html")]
struct HostsPage {
    layout: Layout,
    cards: Vec<HostCard>,
    zones: ZoneTruth,
    gateways: Vec<GatewayRow>,
    /// Factors by which promises may exceed what a host has.
    overcommit: String,
    shows_all: bool,
    /// Whether the person may add and change hosts.
    may_edit: bool,
}

/// `GET /hosts`
pub async fn get(who: Signed<Reader>, request: HttpRequest) -> PageResult {
    let state = &who.state;
    let shows_all = query::of(&request).has("all");
    let seen = Seen::read(state, if shows_all { i64::MAX } else { MEMBERS_SHOWN }).await?;
    let generation = state.store.route_generation().await?;
    let gateways = state.store.gateways().await?;
    let cards = seen.loads.iter().map(|load| card::view(load, &seen, &state.config, who.now));
    page::ok(&HostsPage {
        layout: who.layout("Hosts", Nav::Hosts),
        cards: cards.collect(),
        zones: zones::truth(&state.config.regions, &seen),
        gateways: gateways.iter().map(|seen| gateways::row(seen, generation, who.now)).collect(),
        overcommit: capacity::overcommit_text(&state.config.overcommit),
        shows_all,
        may_edit: who.is_owner_here(),
    })
}

/// What the store knows of all hosts.
pub struct Seen {
    pub loads: Vec<HostLoad>,
    pub observations: HashMap<HostId, HostObservation>,
    /// Of each host the first ones only.
    pub members: Vec<MemberOnHost>,
    /// By server id, what is otherwise than on record.
    pub drifts: HashMap<String, Observed<DriftLook>>,
}

impl Seen {
    async fn read(state: &AppState, members_shown: i64) -> Result<Self, PageError> {
        let observations = state.store.host_observations().await?;
        let loads = state.store.host_loads_all().await?;
        let mut members = vec![];
        for load in &loads {
            members.extend(state.store.members_on_host(&load.host.id, members_shown).await?);
        }
        Ok(Self {
            observations: observations.into_iter().map(|o| (o.host_id.clone(), o)).collect(),
            drifts: state.store.server_observations(OBSERVATION).await?,
            members,
            loads,
        })
    }
}

/// Whether an observation is too old to be taken for now.
pub fn is_stale(seen: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    now - seen > STALE_AFTER
}
