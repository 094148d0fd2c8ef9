//! How to connect to a server: the CA certificate first, then strings and programs that work as printed.

use super::connect_strings::{CA_FILE, ConnectStrings, Target, parse_database, psql_in_network};
use super::nav::{self, Endpoint, Frame, Tab};
use crate::domain::server::{Member, Server, network_name};
use crate::web::error::{PageError, PageResult};
use crate::web::form::FormState;
use crate::web::page::{self, Layout};
use crate::web::paths;
use crate::web::visit::{Reader, Signed, Visit};
use actix_web::web::{Path, Query};
use askama::Template;
use serde::Deserialize;
use std::net::{IpAddr, Ipv4Addr};

#[derive(Template)]
#[template(path = "servers/connect.html")]
struct ConnectPage {
    layout: Layout,
    frame: Frame,
    f: FormState,
    /// Command that saves the root certificate.
    fetch_ca: String,
    way: Way,
    ways: Vec<WayChoice>,
    by_name: Option<ByName>,
    strings: ConnectStrings,
    private: Option<PrivateView>,
}

/// Which of the server's endpoints the strings name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Port,
    Name,
    /// The second port, through PgBouncer.
    Pooled,
}

struct WayChoice {
    label: String,
    detail: &'static str,
    path: String,
    is_chosen: bool,
}

/// What stands beside strings that go by name on the shared port.
struct ByName {
    name: String,
    hostaddr: Option<IpAddr>,
    /// What gateways say they cannot do, such as a port that is taken.
    troubles: Vec<String>,
}

/// A private server is reached from a container in its network.
struct PrivateView {
    /// Name of the Docker network.
    network: String,
    /// The virtual network: its name and page; `None` is the server's own network only.
    of: Option<(String, String)>,
    /// The name that resolves in it and is in the certificate.
    name: String,
    host: Option<String>,
    psql: Option<String>,
    join: String,
}

#[derive(Deserialize)]
pub struct ConnectQuery {
    #[serde(default)]
    database: String,
    #[serde(default)]
    endpoint: String,
}

impl ConnectPage {
    fn ca_file(&self) -> &'static str {
        CA_FILE
    }

    fn ca_path(&self) -> String {
        paths::ca_pem()
    }

    fn is_by_name(&self) -> bool {
        self.way == Way::Name
    }

    /// How the pool hands out its connections, when the strings lead to it.
    fn pool_mode(&self) -> Option<&'static str> {
        let pooler = &self.frame.server.configuration.pooler;
        (self.way == Way::Pooled).then(|| pooler.pool_mode.key())
    }

    fn major(&self) -> u32 {
        self.frame.server.spec.major.number()
    }

    fn state(&self) -> &'static str {
        self.frame.server.state().label()
    }
}

/// `GET /servers/{id}/connect`
pub async fn get(
    visit: Signed<Reader>,
    id: Path<String>,
    query: Query<ConnectQuery>,
) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Connect).await? else {
        return nav::gone(&visit, &id).await;
    };
    let mut f = FormState::new().with("database", query.database.trim());
    let database = f.check(parse_database(&query.database)).unwrap_or_else(|| "postgres".into());
    if f.is_valid() {
        f.set("database", database.clone());
    }
    let way = match (&*query.endpoint, &frame.endpoint.by_name) {
        ("name", Some(_)) => Way::Name,
        ("pooled", _) if frame.pooled_endpoint().is_some() => Way::Pooled,
        _ => Way::Port,
    };
    let page = ConnectPage {
        layout: frame.layout(&visit, "Connect"),
        fetch_ca: format!(
            "curl -f -o {CA_FILE} {}{}",
            visit.state.config.public_url(),
            paths::ca_pem()
        ),
        way,
        ways: ways(&frame, way, &database),
        by_name: by_name(&visit, &frame.endpoint, way).await?,
        strings: ConnectStrings::of(&target(&frame, &visit, way, &database)),
        private: private_view(&visit, &frame, &database).await?,
        frame,
        f,
    };
    if page.f.is_valid() { page::ok(&page) } else { page::invalid(&page) }
}

fn ways(frame: &Frame, chosen: Way, database: &str) -> Vec<WayChoice> {
    let path = |endpoint: &str| {
        format!(
            "{}?endpoint={endpoint}&database={}",
            paths::server_connect(&frame.server.id),
            paths::encoded(database)
        )
    };
    let mut ways = vec![WayChoice {
        label: format!("Own port {}", frame.endpoint.port),
        detail: "Works everywhere: the host name is in the certificate.",
        path: path("port"),
        is_chosen: chosen == Way::Port,
    }];
    ways.extend(frame.endpoint.by_name.as_ref().map(|(_, port)| WayChoice {
        label: format!("By name on port {port}"),
        detail: "One port for all servers: the server's own name must resolve.",
        path: path("name"),
        is_chosen: chosen == Way::Name,
    }));
    ways.extend(frame.pooled_endpoint().map(|endpoint| WayChoice {
        label: format!("Pooled on port {}", endpoint.port),
        detail: "Through PgBouncer: for many short-lived connections.",
        path: path("pooled"),
        is_chosen: chosen == Way::Pooled,
    }));
    ways
}

fn target(frame: &Frame, visit: &Visit, way: Way, database: &str) -> Target {
    let (host, port, hostaddr) = match (way, &frame.endpoint.by_name) {
        (Way::Name, Some((name, port))) => (name.clone(), *port, gateway_address(visit)),
        (Way::Pooled, _) => {
            let port = frame.pooled_endpoint().map_or(frame.endpoint.port, |it| it.port);
            (frame.endpoint.host.clone(), port, None)
        }
        _ => (frame.endpoint.host.clone(), frame.endpoint.port, None),
    };
    Target {
        host,
        hostaddr,
        port,
        database: database.to_owned(),
        user: frame.server.spec.admin_login.as_str().to_owned(),
    }
}

fn gateway_address(visit: &Visit) -> Option<IpAddr> {
    let args = &visit.state.config.args;
    known_address(&args.endpoint_host, args.gateway_listen)
}

/// The gateway's address as clients see it, where the configuration says it.
fn known_address(endpoint_host: &str, listen: IpAddr) -> Option<IpAddr> {
    if let Ok(address) = endpoint_host.parse() {
        return Some(address);
    }
    if !listen.is_unspecified() {
        return Some(listen);
    }
    (endpoint_host == "localhost").then_some(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

async fn by_name(
    visit: &Visit,
    endpoint: &Endpoint,
    way: Way,
) -> Result<Option<ByName>, PageError> {
    let (Way::Name, Some((name, _))) = (way, &endpoint.by_name) else { return Ok(None) };
    let gateways = visit.state.store.gateways().await?;
    let troubles = gateways
        .into_iter()
        .filter(|gateway| !gateway.notes.is_empty())
        .map(|gateway| format!("Gateway {}: {}", gateway.id, gateway.notes))
        .collect();
    Ok(Some(ByName { name: name.clone(), hostaddr: gateway_address(visit), troubles }))
}

async fn private_view(
    visit: &Visit,
    frame: &Frame,
    database: &str,
) -> Result<Option<PrivateView>, PageError> {
    if !frame.is_private() {
        return Ok(None);
    }
    let (store, server) = (&visit.state.store, &frame.server);
    let member = store.members(&server.id).await?.into_iter().next();
    let of = match &server.network_id {
        Some(id) => store.network(id).await?,
        None => None,
    };
    let network = of.as_ref().map_or_else(|| network_name(&server.id), |of| of.docker_name());
    let host = match &member {
        Some(member) => store.hosts().await?.into_iter().find(|host| host.id == member.host_id),
        None => None,
    };
    let domain = &visit.state.config.args.endpoint_domain;
    let name = format!("{}.{domain}", server.spec.name).to_ascii_lowercase();
    // In its own network the container has its short name alone: the address helps the full one.
    let address = match of {
        Some(_) => None,
        None => address_seen(visit, server).await?,
    };
    let reach = (address.is_some() || of.is_some()).then_some(address);
    Ok(Some(PrivateView {
        host: host.map(|host| host.name),
        psql: member.zip(reach).map(|(member, hostaddr)| {
            inside(server, &member, (&name, hostaddr), &network, database)
        }),
        join: format!("docker network connect {network} my-application"),
        of: of.map(|of| (of.name, paths::network(&of.id))),
        network,
        name,
    }))
}

async fn address_seen(visit: &Visit, server: &Server) -> Result<Option<IpAddr>, PageError> {
    let looks = visit.state.store.member_observations(&server.id).await?;
    let address = looks.into_iter().next().and_then(|look| look.facts.address);
    Ok(address.and_then(|address| address.parse().ok()))
}

/// psql in a container of the server's own image in its network. The name is the one in the certificate.
fn inside(
    server: &Server,
    member: &Member,
    (name, hostaddr): (&str, Option<IpAddr>),
    network: &str,
    database: &str,
) -> String {
    let target = Target {
        host: name.to_owned(),
        hostaddr,
        port: 5432,
        database: database.to_owned(),
        user: server.spec.admin_login.as_str().to_owned(),
    };
    let tag = server.spec.major.image_tag();
    let image = if member.image.is_empty() { &tag } else { &member.image };
    psql_in_network(&target, network, image)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateways_address_is_known_only_where_it_is_said() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(known_address("192.0.2.7", ip("0.0.0.0")), Some(ip("192.0.2.7")));
        assert_eq!(known_address("db.example.org", ip("192.0.2.8")), Some(ip("192.0.2.8")));
        assert_eq!(known_address("localhost", ip("0.0.0.0")), Some(ip("127.0.0.1")));
        assert_eq!(known_address("db.example.org", ip("::")), None);
    }
}
