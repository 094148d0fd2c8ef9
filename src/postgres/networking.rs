//! Sessions that a change of networking does not allow any more.

use super::{PostgresError, Target};
use async_trait::async_trait;
use ipnet::Ipv4Net;

/// Which sessions of people end. Those of the portal stay, and those from the server's own loopback.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unwanted {
    /// Those that come from outside of it; `None` ends none for this reason.
    pub outside: Option<Ipv4Net>,
    /// Those that come from one of these.
    pub inside: Vec<Ipv4Net>,
    /// Those without TLS.
    pub plain: bool,
}

/// Ends sessions.
#[async_trait]
pub trait Networking: Send + Sync {
    /// Ends every unwanted session and returns how many there were. Safe to repeat.
    async fn end_sessions(
        &self,
        target: &Target,
        unwanted: &Unwanted,
    ) -> Result<u64, PostgresError>;
}
