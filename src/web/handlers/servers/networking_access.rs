//! Changing how a server is reached: the form, then what it means, then the operation.

use super::nav::{self, Frame, Tab};
use super::networking_review::{Facts, Setting, consequences};
use crate::clock::new_uuid;
use crate::domain::ids::NetworkId;
use crate::domain::network::Access;
use crate::domain::networking::Networking;
use crate::domain::operation::OperationKind;
use crate::domain::refusal::Refusal;
use crate::domain::virtual_network::{NetworkState, VirtualNetwork};
use crate::operations::submit::Change;
use crate::web::error::{PageError, PageResult};
use crate::web::form::{Choice, FormState, Posted};
use crate::web::page::{self, Layout};
use crate::web::paths;
use crate::web::visit::{Contributor, Signed, Visit};
use actix_web::http::StatusCode;
use actix_web::web::Path;
use askama::Template;

#[derive(Template)]
#[template(path = "servers/networking_access.html")]
struct AccessPage {
    layout: Layout,
    frame: Frame,
    f: FormState,
    access: Vec<Choice>,
    networks: Vec<Choice>,
    tls: Vec<Choice>,
    /// What the chosen setting means; empty before it was asked.
    review: Vec<String>,
    /// The chosen setting in words.
    chosen: String,
    weakens_tls: bool,
    key: String,
}

impl AccessPage {
    fn action(&self) -> String {
        paths::server_networking_access(&self.frame.server.id)
    }

    fn networks_path(&self) -> String {
        paths::networks()
    }

    fn why_closed(&self) -> Option<String> {
        self.frame.why_closed(OperationKind::ChangeNetworking)
    }

    fn is_review(&self) -> bool {
        !self.review.is_empty()
    }
}

/// `GET /servers/{id}/networking/access`
pub async fn get(visit: Signed<Contributor>, id: Path<String>) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Networking).await? else {
        return nav::gone(&visit, &id).await;
    };
    let now = Networking::of(&frame.server);
    let networks = visit.state.store.networks().await?;
    let f = FormState::new()
        .with("access", now.access.key())
        .with("network", now.network_id.as_ref().map_or("", NetworkId::as_str))
        .with("tls", tls_key(now.require_secure_transport));
    page::ok(&form_page(&visit, frame, f, &networks))
}

/// `POST /servers/{id}/networking/access`: first says what it means; with `confirm` it does it.
pub async fn post(visit: Signed<Contributor>, id: Path<String>, posted: Posted) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Networking).await? else {
        return nav::gone(&visit, &id).await;
    };
    let networks = visit.state.store.networks().await?;
    let mut f = FormState::keep(&posted);
    let Some(wanted) = read(&mut f, &posted, &networks) else {
        return page::invalid(&form_page(&visit, frame, f, &networks));
    };
    let has_pooler = frame.server.configuration.pooler.enabled;
    if let Some(why) = wanted.reason_against(has_pooler, frame.ha.is_some()) {
        f.refuse(Refusal::at("access", why));
        return page::invalid(&form_page(&visit, frame, f, &networks));
    }
    let new = Setting::of(&wanted, &networks);
    if !posted.has("confirm") {
        return page::ok(&review_page(&visit, frame, f, &networks, &new).await?);
    }
    let change = Change::new(OperationKind::ChangeNetworking, &new.about(), &wanted);
    match nav::submit(&visit, &frame.server.id, &posted, change).await? {
        Ok(way) => Ok(way),
        Err(refusal) => {
            f.refuse(refusal);
            page::with_status(StatusCode::CONFLICT, &form_page(&visit, frame, f, &networks))
        }
    }
}

fn tls_key(required: bool) -> &'static str {
    if required { "required" } else { "optional" }
}

/// The setting that was chosen; all faults are noted at once.
fn read(f: &mut FormState, posted: &Posted, networks: &[VirtualNetwork]) -> Option<Networking> {
    let access = f.check(
        Access::parse(posted.text("access"))
            .ok_or(Refusal::at("access", "Choose public or private access.")),
    );
    // What stands beside public access has no effect, so it is no fault either.
    let network_id = match access {
        Some(Access::Public) => Some(None),
        Some(Access::Private) | None => f.check(chosen_network(posted.text("network"), networks)),
    };
    let tls = f.check(match posted.text("tls") {
        "required" => Ok(true),
        "optional" => Ok(false),
        _ => Err(Refusal::at("tls", "Choose whether TLS is required.")),
    });
    let (access, network_id, require_secure_transport) = (access?, network_id?, tls?);
    Some(Networking { access, network_id, require_secure_transport })
}

/// The network of a select; `None` is the server's own.
pub(super) fn chosen_network(
    typed: &str,
    networks: &[VirtualNetwork],
) -> Result<Option<NetworkId>, Refusal> {
    if typed.is_empty() {
        return Ok(None);
    }
    let id = NetworkId::parse(typed);
    let found = networks.iter().find(|network| Some(&network.id) == id.as_ref());
    match found.map(|network| network.state) {
        Some(NetworkState::Active) => Ok(id),
        Some(NetworkState::Deleting) => {
            Err(Refusal::at("network", "This network is being deleted. Choose another one."))
        }
        None => Err(Refusal::at("network", "This network does not exist. Choose another one.")),
    }
}

/// What a select of networks offers.
pub(super) fn network_choices(networks: &[VirtualNetwork]) -> Vec<Choice> {
    let own = Choice::new("", "None: the server's own Docker network only");
    let named =
        networks.iter().filter(|network| network.state == NetworkState::Active).map(|network| {
            Choice::new(network.id.as_str(), network.name.as_str())
                .detail(network.range.to_string())
        });
    std::iter::once(own).chain(named).collect()
}

fn form_page(visit: &Visit, frame: Frame, f: FormState, networks: &[VirtualNetwork]) -> AccessPage {
    let private = Networking { access: Access::Private, ..Networking::of(&frame.server) };
    // With a pooler the reason comes with the answer: it can be switched off on another page of this server.
    let closed = private.reason_against(false, frame.ha.is_some()).unwrap_or_default();
    AccessPage {
        layout: frame.layout(visit, "Change networking"),
        access: vec![
            Choice::new(Access::Public.key(), "Public access")
                .detail("Through the gateway, from the addresses that firewall rules allow."),
            Choice::new(Access::Private.key(), "Private access")
                .detail("From containers in its network. The gateway refuses everybody.")
                .closed(closed),
        ],
        networks: network_choices(networks),
        tls: vec![
            Choice::new("required", "TLS required").detail("Connections without TLS are refused."),
            Choice::new("optional", "TLS not required")
                .detail("Clients may send queries and rows in plain text."),
        ],
        review: vec![],
        chosen: String::new(),
        weakens_tls: false,
        key: new_uuid(),
        f,
        frame,
    }
}

async fn review_page(
    visit: &Visit,
    frame: Frame,
    f: FormState,
    networks: &[VirtualNetwork],
    new: &Setting,
) -> Result<AccessPage, PageError> {
    let old = Setting::of(&Networking::of(&frame.server), networks);
    let rules = visit.state.store.firewall_rules(&frame.server.id).await?.len();
    let domain = &visit.state.config.args.endpoint_domain;
    let inner_name = format!("{}.{domain}", frame.name()).to_ascii_lowercase();
    let facts = Facts { endpoint: &frame.endpoint, inner_name, rules };
    let review = consequences(&old, new, &facts);
    let chosen = format!("{} {}", new.access_text(), new.tls_text());
    let weakens_tls = old.require_tls && !new.require_tls;
    Ok(AccessPage { review, chosen, weakens_tls, ..form_page(visit, frame, f, networks) })
}
