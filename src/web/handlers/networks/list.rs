//! The list of virtual networks, and making one.

use crate::clock::new_id;
use crate::domain::host::EngineFacts;
use crate::domain::ids::NetworkId;
use crate::domain::refusal::Refusal;
use crate::domain::virtual_network::{
    NetworkState, TakenRange, VirtualNetwork, check_overlap, parse_network_name,
    parse_network_range,
};
use crate::store::Record;
use crate::web::error::{PageError, PageResult};
use crate::web::flash::Flash;
use crate::web::form::{FormState, Posted};
use crate::web::label::{Chip, Icon, Tone};
use crate::web::page::{self, Layout, Nav};
use crate::web::paths;
use crate::web::time::Stamp;
use crate::web::visit::{Contributor, Reader, Signed, Visit};
use askama::Template;

#[derive(Template)]
#[template(path = "networks/list.html")]
struct ListPage {
    layout: Layout,
    networks: Vec<NetworkRow>,
    f: FormState,
}

struct NetworkRow {
    name: String,
    path: String,
    range: String,
    servers: String,
    chip: Chip,
    created: Stamp,
}

/// State of a network as people see it.
pub(super) fn chip(state: NetworkState) -> Chip {
    match state {
        NetworkState::Active => Chip { text: "Active", icon: Icon::Check, tone: Tone::Ok },
        NetworkState::Deleting => {
            Chip { text: "Being deleted", icon: Icon::Spinner, tone: Tone::Busy }
        }
    }
}

/// "1 server".
pub(super) fn servers_text(count: usize) -> String {
    match count {
        0 => "none".into(),
        1 => "1 server".into(),
        _ => format!("{count} servers"),
    }
}

impl ListPage {
    fn action(&self) -> String {
        paths::networks()
    }
}

/// `GET /networks`
pub async fn get(visit: Signed<Reader>) -> PageResult {
    page::ok(&list_page(&visit, FormState::new()).await?)
}

/// `POST /networks`: makes one. Nothing happens on a host before the first server joins.
pub async fn post(visit: Signed<Contributor>, posted: Posted) -> PageResult {
    let mut f = FormState::keep(&posted);
    let name = f.check(parse_network_name(posted.text("network_name")));
    let range = f.check(parse_network_range(posted.text("range")));
    let Some((name, range)) = name.zip(range) else {
        return page::invalid(&list_page(&visit, f).await?);
    };
    let network = VirtualNetwork {
        id: new_id(NetworkId::parse),
        name,
        range,
        state: NetworkState::Active,
        note: String::new(),
        created_at: visit.now,
    };
    match insert(&visit, &network).await? {
        Ok(()) => {
            let text = format!("Network {} ({}) is there. Servers may join.", network.name, range);
            page::see_with(&visit, &paths::network(&network.id), &Flash::done(text))
        }
        Err(refusal) => {
            f.refuse(refusal);
            page::invalid(&list_page(&visit, f).await?)
        }
    }
}

/// Writes the network, unless its name or range is taken.
async fn insert(
    visit: &Signed<Contributor>,
    network: &VirtualNetwork,
) -> Result<Result<(), Refusal>, PageError> {
    let store = &visit.state.store;
    let mut taken = taken_on_hosts(visit).await?;
    let mut tx = store.begin_write(visit.now).await?;
    let others = tx.lock_networks().await?;
    if others.iter().any(|other| other.name == network.name) {
        return Ok(Err(name_taken(&network.name)));
    }
    taken.extend(others.into_iter().map(|other| TakenRange {
        owner: format!("the virtual network {}", other.name),
        range: other.range,
    }));
    if let Err(refusal) = check_overlap(&network.range, &taken) {
        return Ok(Err(refusal));
    }
    match tx.insert_network(network).await {
        Err(error) if error.is_unique_violation() => return Ok(Err(name_taken(&network.name))),
        other => other?,
    }
    let mut line = visit.activity("network.create", &network.name);
    line.detail = network.range.to_string();
    tx.commit(Record::activity(line)).await?;
    Ok(Ok(()))
}

fn name_taken(name: &str) -> Refusal {
    Refusal::at("network_name", format!("There is a network named {name} already."))
}

/// Ranges that hosts were last seen to use for other networks.
async fn taken_on_hosts(visit: &Visit) -> Result<Vec<TakenRange>, PageError> {
    let ranges = |(host, facts): (String, EngineFacts)| {
        facts.ranges.into_iter().map(move |taken| TakenRange {
            owner: format!("the Docker network {} on host {host}", taken.owner),
            range: taken.range,
        })
    };
    let loads = visit.state.store.host_loads().await?;
    let seen = loads.into_iter().filter_map(|load| Some((load.host.name, load.facts?)));
    Ok(seen.flat_map(ranges).collect())
}

async fn list_page(visit: &Visit, f: FormState) -> Result<ListPage, PageError> {
    let store = &visit.state.store;
    let servers = store.network_servers().await?;
    let row = |network: VirtualNetwork| NetworkRow {
        path: paths::network(&network.id),
        range: network.range.to_string(),
        servers: servers_text(servers.iter().filter(|one| one.network_id == network.id).count()),
        chip: chip(network.state),
        created: Stamp(network.created_at),
        name: network.name,
    };
    Ok(ListPage {
        layout: visit.layout("Networks", Nav::Networks),
        networks: store.networks().await?.into_iter().map(row).collect(),
        f,
    })
}
