//! All SQL of pgflex, one file per noun. One text of SQL and DDL runs on SQLite and PostgreSQL
//! (sqlx `Any`): columns are TEXT, BIGINT, DOUBLE PRECISION and BYTEA only, placeholders are `$n`,
//! times are microseconds UTC, flags are 0 and 1, ids, enums and JSON are text.
//!
//! Rules that keep it right:
//! - Every write goes through [`Store::begin_write`], and its commit says what the activity log gets.
//! - Never read-then-write: `UPDATE … WHERE version = $n` (or the lease) and count the rows.
//! - The rules of the domain are not here: the store neither decides nor explains.

pub mod accounts;
pub mod activity;
mod archive_checks;
pub mod assignments;
mod backup_clients;
mod backup_policy;
mod backup_repositories;
pub mod backups;
mod codec;
pub mod costs;
pub mod credits;
pub mod deleted_servers;
pub mod drafts;
pub mod drills;
pub mod dump;
pub mod groups;
pub mod ha;
pub mod ha_story;
pub mod ha_watch;
pub mod history;
pub mod hosts;
pub mod hosts_view;
pub mod locks;
pub mod members;
pub mod meters;
pub mod networks;
pub mod observations;
pub mod operations;
pub mod power;
pub mod progress;
pub mod recovery;
pub mod restore_drills;
pub mod restores;
pub mod routes;
pub mod scope;
pub mod second_factors;
mod server_secrets;
pub mod servers;
pub mod sessions;
pub mod settings;
pub mod storage;
pub mod store_backups;
#[cfg(feature = "test-util")]
pub mod testing;
pub mod throttle;
mod tx;

pub use tx::{Record, WriteTx};

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyPool, ConnectOptions, Connection};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// Which database is behind the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    Sqlite,
    Postgres,
}

/// Handle to the metadata database. Clones share one pool.
#[derive(Debug, Clone)]
pub struct Store {
    pool: AnyPool,
    dialect: Dialect,
    /// One writer at a time on SQLite: waiting here is fair, waiting in SQLite is a busy loop.
    writer: Arc<tokio::sync::Mutex<()>>,
}

/// Something went wrong between us and the database, or a row makes no sense.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the metadata database refused a statement")]
    Database(#[from] sqlx::Error),
    #[error("the metadata database could not be brought to this version of pgflex")]
    Migration(#[from] sqlx::migrate::MigrateError),
    #[error("the metadata database holds a value this version does not understand: {0}")]
    Value(String),
    /// Somebody else wrote first, or the lease was lost: what was read is no longer so.
    #[error("the row was changed by somebody else meanwhile")]
    Stale,
}

impl StoreError {
    /// Whether a unique index refused the row.
    pub fn is_unique_violation(&self) -> bool {
        matches!(self, StoreError::Database(error) if error.as_database_error().is_some_and(|e| e.is_unique_violation()))
    }
}

/// Connections to the database, at most.
const CONNECTIONS_MAX: u32 = 8;

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

impl Store {
    /// Opens the database of `url` (`sqlite://…` or `postgres://…`) and brings its schema up to date.
    ///
    /// # Errors
    /// When it cannot be reached, or a migration fails: then nothing of that migration is left.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let store = Self::connect(url).await?;
        MIGRATIONS.run(&store.pool).await?;
        Ok(store)
    }

    /// The same without any change of the schema.
    async fn connect(url: &str) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let dialect = if url.starts_with("sqlite:") { Dialect::Sqlite } else { Dialect::Postgres };
        let mut options = AnyConnectOptions::from_str(url)?;
        options = options.log_statements(tracing::log::LevelFilter::Trace);
        let pool = AnyPoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .acquire_timeout(Duration::from_secs(10))
            // A full disk makes SQLite end a transaction by itself; the driver's own count then stays behind
            // and every later write on that connection would be refused, disk or no disk. Such a connection
            // is closed instead of being used again.
            .before_acquire(|connection, _| {
                Box::pin(async move { Ok(!connection.is_in_transaction()) })
            })
            .after_connect(move |connection, _| Box::pin(prepare(connection, dialect)))
            .connect_with(options)
            .await?;
        Ok(Self { pool, dialect, writer: Arc::default() })
    }

    /// The pool, for reading.
    fn read(&self) -> &AnyPool {
        &self.pool
    }

    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Closes every connection after the statements under way.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

async fn prepare(
    connection: &mut sqlx::AnyConnection,
    dialect: Dialect,
) -> Result<(), sqlx::Error> {
    use sqlx::Executor;
    if dialect == Dialect::Sqlite {
        // FULL: a commit that a person was told about survives a power cut.
        connection
            .execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA busy_timeout = 5000;")
            .await?;
    }
    Ok(())
}
