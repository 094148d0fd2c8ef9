//! What a server's configuration files are rendered from, beside its spec: everything that changes
//! after creation without another size. Kept as one value, so that a change is one write and its undo another.

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

/// When a connection to PostgreSQL goes back into the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PoolMode {
    Session,
    Transaction,
    Statement,
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
}
