//! What the gateway knows of a server: where it is, who may connect, and since which epoch.

use super::ids::ServerId;
use super::network::AddressRange;
use std::net::SocketAddr;

/// Whether the gateway lets clients through to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteState {
    /// Clients are connected to the target.
    Open,
    /// A planned interruption: new clients are held for a while, then told 57P03.
    Held,
    /// No way in: the server is private, stopped or being deleted.
    Closed,
}

impl RouteState {
    pub const ALL: [RouteState; 3] = [RouteState::Open, RouteState::Held, RouteState::Closed];

    pub fn key(self) -> &'static str {
        match self {
            RouteState::Open => "Open",
            RouteState::Held => "Held",
            RouteState::Closed => "Closed",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.key() == text)
    }
}

/// Which of a server's programs a route leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Service {
    Postgres,
    /// The built-in PgBouncer.
    Pooler,
}

/// One server's way in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub server_id: ServerId,
    pub service: Service,
    /// Name of the server, for messages to clients.
    pub server_name: String,
    /// Lower-case host name that SNI on the shared port must carry; `None` for the pooler, whose name would
    /// not be in the certificate.
    pub endpoint: Option<String>,
    /// Dedicated port on the gateway; stable for the life of the server.
    pub port: u16,
    /// Address of the primary; `None` before the first start.
    pub target: Option<SocketAddr>,
    /// Grows with every change of target or state. A connection made under an older epoch is closed.
    pub epoch: i64,
    pub state: RouteState,
    /// Ranges of client addresses that may connect.
    pub ranges: Vec<AddressRange>,
    /// Whether connections without TLS are refused. On the shared port they are refused in any case.
    pub tls_required: bool,
    /// Connections at once through the gateway.
    pub connections_max: u32,
}

/// All routes at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RouteSnapshot {
    /// Grows with every change of any route or rule.
    pub generation: i64,
    pub routes: Vec<Route>,
}
