//! What a server's configuration files are rendered from, beside its spec: everything that changes
//! after creation without another size. Kept as one value, so that a change is one write and its undo another.

use super::catalog::Tier;
use super::network::Access;
use super::refusal::Refusal;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The configuration of one server. Missing fields of an older row take their defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Configuration {
    /// Server parameters that a person set, as PostgreSQL reads them in its file. All others follow version and size.
    pub parameters: BTreeMap<String, String>,
    /// Extensions that may be created.
    pub extensions: BTreeSet<String>,
    /// Whether connections without TLS are refused.
    pub require_secure_transport: bool,
    /// Whether new transactions are read-only because the storage is nearly full.
    pub write_protected: bool,
    /// Whether the storage grows by itself before it is full.
    pub autogrow: bool,
    /// The built-in PgBouncer.
    pub pooler: Pooler,
}

impl Default for Configuration {
    fn default() -> Self {
        Self {
            parameters: BTreeMap::new(),
            extensions: BTreeSet::new(),
            require_secure_transport: true,
            write_protected: false,
            autogrow: false,
            pooler: Pooler::default(),
        }
    }
}

/// Settings of the built-in PgBouncer; the defaults are the original's (inventory 10.4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pooler {
    pub enabled: bool,
    pub pool_mode: PoolMode,
    pub default_pool_size: u32,
    pub max_client_conn: u32,
    pub min_pool_size: u32,
    /// Seconds that a client waits for a connection.
    pub query_wait_timeout: u32,
    /// Seconds after which an idle connection to PostgreSQL is closed.
    pub server_idle_timeout: u32,
}

impl Default for Pooler {
    fn default() -> Self {
        Self {
            enabled: false,
            pool_mode: PoolMode::Transaction,
            default_pool_size: 50,
            max_client_conn: 5000,
            min_pool_size: 0,
            query_wait_timeout: 120,
            server_idle_timeout: 600,
        }
    }
}

/// What a change of the pooler is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolerChange {
    pub pooler: Pooler,
    /// First and last port of the gateway.
    pub ports: (u16, u16),
}

/// What was last seen of a server's PgBouncer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolerFacts {
    /// State of the container as the engine says; "missing" when there is none.
    pub container_state: String,
    pub restarts: i64,
    /// Whether it takes clients and reaches PostgreSQL; `None` when nobody asked.
    pub answers: Option<bool>,
    /// Why it does not.
    pub error: Option<String>,
}

impl PoolerFacts {
    /// Key of the observation.
    pub const OBSERVATION: &'static str = "pooler";
}

/// The settings of [`Pooler`] that are numbers: field name, least, most.
pub const POOLER_RANGES: [(&str, u32, u32); 5] = [
    ("default_pool_size", 1, 1000),
    ("max_client_conn", 1, 10_000),
    ("min_pool_size", 0, 1000),
    ("query_wait_timeout", 0, 86_400),
    ("server_idle_timeout", 0, 86_400),
];

impl Pooler {
    /// Parses one typed number of [`POOLER_RANGES`].
    ///
    /// # Errors
    /// When it is no whole number in its range.
    pub fn parse_number(field: &'static str, typed: &str) -> Result<u32, Refusal> {
        let (_, least, most) =
            POOLER_RANGES.into_iter().find(|(name, _, _)| *name == field).unwrap_or((field, 0, 0));
        let number = typed.trim().parse::<u32>().ok();
        number.filter(|number| (least..=most).contains(number)).ok_or_else(|| {
            Refusal::at(field, format!("Enter a whole number from {least} to {most}."))
        })
    }

    /// Checks what no single field shows.
    ///
    /// # Errors
    /// When the settings contradict one another.
    pub fn check(&self) -> Result<(), Refusal> {
        if self.min_pool_size > self.default_pool_size {
            return Err(Refusal::at(
                "min_pool_size",
                "The smallest pool is larger than the pool: lower it, or raise the pool size.",
            ));
        }
        Ok(())
    }

    /// Why servers of a tier, with an access or with high availability have no pooler; `None` when they may.
    pub fn why_closed(tier: Tier, access: Access, has_ha: bool) -> Option<&'static str> {
        if has_ha {
            return Some(
                "Connection pooling is not offered with high availability: the built-in PgBouncer stands beside one member and would not follow a failover. Switch high availability off first, or run a pooler beside your application.",
            );
        }
        if access == Access::Private {
            return Some(
                "Connection pooling is for servers with public access: PgBouncer stands outside of the virtual network. Change access on the page Networking first.",
            );
        }
        (tier == Tier::Burstable).then_some(
            "Connection pooling needs a General Purpose or Memory Optimized size: a Burstable server would spend its credits on it. Scale compute first.",
        )
    }
}

/// When a connection to PostgreSQL goes back into the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PoolMode {
    Session,
    Transaction,
    Statement,
}

impl PoolMode {
    pub const ALL: [PoolMode; 3] = [PoolMode::Session, PoolMode::Transaction, PoolMode::Statement];

    /// Word in forms and in PgBouncer's configuration.
    pub fn key(self) -> &'static str {
        match self {
            PoolMode::Session => "session",
            PoolMode::Transaction => "transaction",
            PoolMode::Statement => "statement",
        }
    }

    /// Parses a choice of the form.
    ///
    /// # Errors
    /// When it is none of them.
    pub fn parse(typed: &str) -> Result<Self, Refusal> {
        Self::ALL
            .into_iter()
            .find(|mode| mode.key() == typed.trim())
            .ok_or_else(|| Refusal::at("pool_mode", "Choose a pool mode from the list."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_row_takes_the_defaults() {
        let old: Configuration = serde_json::from_str("{}").unwrap();
        assert_eq!(old, Configuration::default());
        assert!(old.require_secure_transport);
    }

    #[test]
    fn pooler_numbers_stay_in_their_ranges() {
        let defaults = Pooler::default();
        assert!(defaults.check().is_ok());
        assert_eq!(Pooler::parse_number("default_pool_size", " 20 "), Ok(20));
        for bad in ["0", "1001", "-1", "x", "", "5\npool_mode = session"] {
            assert!(Pooler::parse_number("default_pool_size", bad).is_err(), "{bad}");
        }
        assert!(Pooler { min_pool_size: 51, ..defaults }.check().is_err());
        assert!(PoolMode::parse("session").is_ok() && PoolMode::parse("other").is_err());
    }
}
