//! How a server is reached, as one value: what a change asks for and what its undoing needs.

use super::configuration::Configuration;
use super::ids::NetworkId;
use super::network::Access;
use super::server::{Server, ServerSpec};
use serde::{Deserialize, Serialize};

/// How a server is reached: what a change asks for, and what it remembers of before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Networking {
    pub access: Access,
    /// The virtual network of private access; `None` is the server's own network only.
    pub network_id: Option<NetworkId>,
    pub require_secure_transport: bool,
}

impl Networking {
    /// As a server has it now.
    pub fn of(server: &Server) -> Self {
        Self {
            access: server.spec.access,
            network_id: server.network_id.clone(),
            require_secure_transport: server.configuration.require_secure_transport,
        }
    }

    /// Why a server that has what is named cannot be reached so.
    pub fn reason_against(&self, has_pooler: bool, has_ha: bool) -> Option<&'static str> {
        match self.access {
            Access::Public => None,
            Access::Private if has_ha => Some(
                "Private access is not offered with high availability: a virtual network is on one host, and a failover leads to another. Switch high availability off first.",
            ),
            Access::Private if has_pooler => Some(
                "A server with private access has no built-in PgBouncer. Switch connection pooling off first.",
            ),
            Access::Private => None,
        }
    }

    /// A server that is reached so.
    pub fn applied(&self, server: &Server) -> Server {
        Server {
            spec: ServerSpec { access: self.access, ..server.spec.clone() },
            network_id: self.network_id.clone(),
            configuration: Configuration {
                require_secure_transport: self.require_secure_transport,
                ..server.configuration.clone()
            },
            ..server.clone()
        }
    }
}
