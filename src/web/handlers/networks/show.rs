//! One virtual network: who is in it, how an application gets in, and its deletion.

use super::list::{chip, servers_text};
use crate::domain::ids::NetworkId;
use crate::domain::server::ServerState;
use crate::domain::virtual_network::{NetworkState, VirtualNetwork};
use crate::store::Record;
use crate::store::networks::NetworkServer;
use crate::web::error::{PageError, PageResult};
use crate::web::flash::Flash;
use crate::web::label::Chip;
use crate::web::page::{self, Layout, Nav};
use crate::web::paths;
use crate::web::time::Stamp;
use crate::web::visit::{Contributor, Reader, Signed};
use actix_web::web::Path;
use askama::Template;

#[derive(Template)]
#[template(path = "networks/show.html")]
struct ShowPage {
    layout: Layout,
    network: VirtualNetwork,
    chip: Chip,
    created: Stamp,
    servers: Vec<ServerRow>,
    /// Name of the Docker network.
    docker_name: String,
    /// Commands that put an application's container into it.
    connect: String,
    run: String,
    compose: String,
}

struct ServerRow {
    name: String,
    path: String,
    connect_path: String,
    chip: Chip,
    host: String,
    /// Name and port by which containers in the network reach it.
    endpoint: String,
}

impl ShowPage {
    fn is_deleting(&self) -> bool {
        self.network.state == NetworkState::Deleting
    }

    fn delete_path(&self) -> String {
        paths::network_delete(&self.network.id)
    }

    /// Why it cannot be deleted now; empty when it can.
    fn why_kept(&self) -> String {
        match self.servers.len() {
            0 => String::new(),
            count => format!(
                "{} in it: change the networking of each or delete it first.",
                if count == 1 {
                    "1 server is".into()
                } else {
                    format!("{} are", servers_text(count))
                }
            ),
        }
    }

    fn capacity(&self) -> String {
        let count = self.network.capacity();
        format!("{count} containers on each host")
    }
}

/// `GET /networks/{id}`
pub async fn get(visit: Signed<Reader>, id: Path<String>) -> PageResult {
    let network = find(&visit, &id).await?;
    let domain = &visit.state.config.args.endpoint_domain;
    let all = visit.state.store.network_servers().await?;
    let inside = all.into_iter().filter(|one| one.network_id == network.id);
    let docker_name = network.docker_name();
    page::ok(&ShowPage {
        layout: visit.layout(format!("Network {}", network.name), Nav::Networks),
        chip: chip(network.state),
        created: Stamp(network.created_at),
        servers: inside.map(|one| row(one, domain)).collect(),
        connect: format!("docker network connect {docker_name} my-application"),
        run: format!("docker run --network {docker_name} my-image"),
        compose: compose(&docker_name),
        docker_name,
        network,
    })
}

fn row(server: NetworkServer, domain: &str) -> ServerRow {
    ServerRow {
        path: paths::server(&server.server_id),
        connect_path: paths::server_connect(&server.server_id),
        chip: ServerState::shown(server.settled, None).into(),
        host: server.host.unwrap_or_else(|| "not placed yet".into()),
        endpoint: format!("{}.{domain}:5432", server.server_name).to_ascii_lowercase(),
        name: server.server_name,
    }
}

fn compose(docker_name: &str) -> String {
    format!(
        "services:\n  my-application:\n    networks: [default, databases]\nnetworks:\n  databases:\n    name: {docker_name}\n    external: true"
    )
}

/// `POST /networks/{id}/delete`
pub async fn delete(visit: Signed<Contributor>, id: Path<String>) -> PageResult {
    let network = find(&visit, &id).await?;
    let mut tx = visit.state.store.begin_write(visit.now).await?;
    if !tx.begin_network_deletion(&network.id).await? {
        drop(tx);
        let text = "Nothing was changed: a server is in the network or is entering or leaving it, or it is being deleted already.";
        return page::see_with(&visit, &paths::network(&network.id), &Flash::info(text));
    }
    let mut line = visit.activity("network.delete", &network.name);
    line.detail = network.range.to_string();
    tx.commit(Record::activity(line)).await?;
    visit.state.poke.monitor();
    let text =
        format!("Network {} is being deleted: it is taken off every host first.", network.name);
    page::see_with(&visit, &paths::networks(), &Flash::done(text))
}

async fn find<R: crate::web::visit::Least>(
    visit: &Signed<R>,
    id: &str,
) -> Result<VirtualNetwork, PageError> {
    let id = NetworkId::parse(id).ok_or(PageError::NotFound)?;
    visit.state.store.network(&id).await?.ok_or(PageError::NotFound)
}
