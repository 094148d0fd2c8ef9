//! What a change of networking means, in words. Pure.

use super::nav::Endpoint;
use crate::domain::network::Access;
use crate::domain::networking::Networking;
use crate::domain::virtual_network::VirtualNetwork;

/// How a server is reached, with the network by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    pub access: Access,
    /// Name of the virtual network, when there is one.
    pub network: Option<String>,
    pub require_tls: bool,
}

impl Setting {
    pub fn of(networking: &Networking, networks: &[VirtualNetwork]) -> Self {
        let id = networking.network_id.as_ref();
        let network = id.map(|id| {
            let found = networks.iter().find(|network| network.id == *id);
            found.map_or_else(|| "(unknown)".to_owned(), |network| network.name.clone())
        });
        Self {
            access: networking.access,
            network,
            require_tls: networking.require_secure_transport,
        }
    }

    /// Who reaches the server.
    pub fn access_text(&self) -> String {
        match (self.access, &self.network) {
            (Access::Public, _) => {
                "Public access: through the gateway, from addresses that firewall rules allow."
                    .into()
            }
            (Access::Private, Some(network)) => {
                format!("Private access: from containers in the virtual network {network}.")
            }
            (Access::Private, None) => {
                "Private access: from containers in the server's own Docker network.".into()
            }
        }
    }

    pub fn tls_text(&self) -> &'static str {
        if self.require_tls {
            "TLS is required: connections without it are refused."
        } else {
            "TLS is not required: clients may connect without it."
        }
    }

    /// What stands behind the operation's label.
    pub fn about(&self) -> String {
        let place = match (self.access, &self.network) {
            (Access::Public, _) => "public access".to_owned(),
            (Access::Private, Some(network)) => format!("private access in {network}"),
            (Access::Private, None) => "private access in its own network".to_owned(),
        };
        format!("to {place}, TLS {}", if self.require_tls { "required" } else { "not required" })
    }
}

/// What the words need to know of the server.
pub struct Facts<'a> {
    pub endpoint: &'a Endpoint,
    /// Name by which containers reach it.
    pub inner_name: String,
    pub rules: usize,
}

/// What ends, what stays and what clients must change, in this order.
pub fn consequences(old: &Setting, new: &Setting, facts: &Facts<'_>) -> Vec<String> {
    let mut lines = vec![];
    if old == new {
        lines.push("This is how the server is reached now. The setting is applied once more, which ends nothing that is allowed.".into());
    }
    let moves = (old.access, &old.network) != (new.access, &new.network);
    if moves {
        lines.push(what_ends(old, new));
        lines.push(where_to(new, facts));
    }
    match (old.require_tls, new.require_tls) {
        (true, false) => lines.push(
            "Clients may connect without TLS. Passwords stay protected by SCRAM, but queries and rows can be read and changed by whoever is on the way. The shared port of the gateway needs TLS all the same.".into(),
        ),
        (false, true) => lines.push(
            "Connections without TLS end, and clients must use sslmode=require or stronger.".into(),
        ),
        (true, true) | (false, false) => {}
    }
    if moves && new.access == Access::Private && facts.rules > 0 {
        let rules = if facts.rules == 1 {
            "The firewall rule is".into()
        } else {
            format!("The {} firewall rules are", facts.rules)
        };
        lines.push(format!("{rules} kept and without effect while access is private."));
    }
    lines.push(
        "PostgreSQL keeps running. Data, roles, passwords, port and certificate stay.".into(),
    );
    lines
}

fn what_ends(old: &Setting, new: &Setting) -> String {
    match (old.access, &old.network, new.access) {
        (Access::Public, _, _) => {
            "Every connection through the gateway ends, and the gateway refuses everybody from then on.".into()
        }
        (Access::Private, Some(network), _) => format!(
            "The server leaves the network {network}: connections from there end, and its name is not known there any more."
        ),
        (Access::Private, None, Access::Public) => {
            "Containers in the server's own network keep their connections.".into()
        }
        (Access::Private, None, Access::Private) => {
            "Connections from containers in the server's own network end.".into()
        }
    }
}

fn where_to(new: &Setting, facts: &Facts<'_>) -> String {
    let inner = &facts.inner_name;
    match (new.access, &new.network) {
        (Access::Public, _) => {
            let rules = match facts.rules {
                0 => "There is no firewall rule yet: nobody can connect until you add one."
                    .to_owned(),
                1 => "One firewall rule is there and has effect at once.".to_owned(),
                count => format!("{count} firewall rules are there and have effect at once."),
            };
            format!("Clients connect to {} through the gateway. {rules}", facts.endpoint.text())
        }
        (Access::Private, Some(network)) => format!(
            "Clients must run in a container in the network {network} on the server's host, and connect to {inner}, port 5432."
        ),
        (Access::Private, None) => format!(
            "Clients must run in a container that was put into the server's own network, and connect to {inner}, port 5432."
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(access: Access, network: Option<&str>, require_tls: bool) -> Setting {
        Setting { access, network: network.map(str::to_owned), require_tls }
    }

    fn words(old: &Setting, new: &Setting, rules: usize) -> String {
        let endpoint = Endpoint { host: "db.example".into(), port: 20_001, by_name: None };
        let inner_name = "shop.db.example".into();
        consequences(old, new, &Facts { endpoint: &endpoint, inner_name, rules }).join("|")
    }

    #[test]
    fn a_change_says_what_ends_and_where_clients_go() {
        let (public, private) =
            (setting(Access::Public, None, true), setting(Access::Private, Some("backend"), true));
        let inward = words(&public, &private, 2);
        assert!(inward.contains("Every connection through the gateway ends"), "{inward}");
        assert!(inward.contains("shop.db.example, port 5432"), "{inward}");
        assert!(inward.contains("The 2 firewall rules are kept"), "{inward}");
        let outward = words(&private, &public, 0);
        assert!(outward.contains("leaves the network backend"), "{outward}");
        assert!(outward.contains("db.example:20001") && outward.contains("nobody can connect"));
        assert_eq!(private.about(), "to private access in backend, TLS required");
    }

    #[test]
    fn tls_alone_moves_nobody() {
        let (on, off) = (setting(Access::Public, None, true), setting(Access::Public, None, false));
        let weaker = words(&on, &off, 1);
        assert!(weaker.contains("can be read") && !weaker.contains("gateway ends"), "{weaker}");
        assert!(words(&off, &on, 1).contains("Connections without TLS end"));
    }
}
