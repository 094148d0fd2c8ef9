//! Fresh stores for tests: SQLite in a temporary folder always, PostgreSQL too where
//! `PGFLEX_TEST_DATABASE_URL` names a server in which databases may be made.

use super::Store;
use crate::clock::{new_id, new_uuid};
use crate::domain::ids::ServerId;
use crate::domain::names::{AdminLogin, ServerName};
use crate::domain::network::Access;
use crate::domain::server::ServerSpec;
use crate::domain::version::Major;
use chrono::{DateTime, Utc};
use std::path::{Path, PathBuf};

/// A store of its own for one test; what it made is removed when it is dropped.
pub struct TestStore {
    pub store: Store,
    /// "SQLite" or "PostgreSQL".
    pub name: &'static str,
    /// URL for a second process or handle on the same database.
    pub url: String,
    folder: Option<PathBuf>,
}

impl Drop for TestStore {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

/// URL of the PostgreSQL server for tests, if there is one.
#[expect(
    clippy::disallowed_methods,
    reason = "the test command hands the server over in the environment"
)]
pub fn postgres_url() -> Option<String> {
    std::env::var("PGFLEX_TEST_DATABASE_URL").ok().filter(|url| !url.is_empty())
}

/// An empty SQLite store.
///
/// # Panics
/// When it cannot be made: the test cannot run.
#[expect(clippy::expect_used, reason = "test set-up")]
pub async fn sqlite() -> TestStore {
    let folder = std::env::temp_dir().join(format!("pgflex-test-{}", new_uuid()));
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    let path = folder.join("store.db");
    std::fs::write(&path, template().await).expect("a copy of the template");
    let url = url_of(&path);
    let store = Store::open(&url).await.expect("SQLite opens");
    TestStore { store, name: "SQLite", url, folder: Some(folder) }
}

fn url_of(path: &Path) -> String {
    format!("sqlite://{}?mode=rwc", path.display())
}

/// A database with all migrations and nothing else: a sweep opens thousands, and the migrations took a good part of its time.
#[expect(clippy::expect_used, reason = "test set-up")]
async fn template() -> &'static [u8] {
    static TEMPLATE: tokio::sync::OnceCell<Vec<u8>> = tokio::sync::OnceCell::const_new();
    let made = TEMPLATE.get_or_init(async || {
        let path = std::env::temp_dir().join(format!("pgflex-test-{}.db", new_uuid()));
        let store = Store::open(&url_of(&path)).await.expect("SQLite opens");
        // The last one who closes it writes its log into the file.
        store.close().await;
        let bytes = std::fs::read(&path).expect("the template");
        std::fs::remove_file(&path).expect("the template is removed");
        bytes
    });
    made.await
}

/// A place for a SQLite database that nobody made yet; removed when it is dropped.
pub struct Blank {
    pub url: String,
    folder: PathBuf,
}

impl Drop for Blank {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Where no database is yet.
///
/// # Panics
/// When the folder cannot be made: the test cannot run.
#[expect(clippy::expect_used, reason = "test set-up")]
pub fn blank_sqlite() -> Blank {
    let folder = std::env::temp_dir().join(format!("pgflex-test-{}", new_uuid()));
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    Blank { url: format!("sqlite://{}?mode=rwc", folder.join("store.db").display()), folder }
}

/// An empty database on the PostgreSQL server for tests, if there is one. It goes with that server.
///
/// # Panics
/// When the server is named but does not answer.
#[expect(clippy::expect_used, reason = "test set-up")]
pub async fn postgres() -> Option<TestStore> {
    let admin = postgres_url()?;
    let database = format!("t{}", new_uuid().replace('-', ""));
    sqlx::any::install_default_drivers();
    let pool = sqlx::any::AnyPoolOptions::new()
        .max_connections(1)
        .connect(&admin)
        .await
        .expect("the PostgreSQL server for tests answers");
    let statement = sqlx::AssertSqlSafe(format!("CREATE DATABASE {database}"));
    sqlx::query(statement).execute(&pool).await.expect("a database of its own");
    pool.close().await;
    let url = with_database(&admin, &database);
    let store = Store::open(&url).await.expect("PostgreSQL opens");
    Some(TestStore { store, name: "PostgreSQL", url, folder: None })
}

/// The given URL with another database.
fn with_database(url: &str, database: &str) -> String {
    let (base, query) =
        url.split_once('?').map_or((url, None), |(base, query)| (base, Some(query)));
    let (server, _) = base.rsplit_once('/').unwrap_or((base, ""));
    match query {
        Some(query) => format!("{server}/{database}?{query}"),
        None => format!("{server}/{database}"),
    }
}

/// One empty store on each database that is there.
pub async fn all() -> Vec<TestStore> {
    let mut stores = vec![sqlite().await];
    stores.extend(postgres().await);
    stores
}

impl Store {
    /// Every column as `table.column`, sorted, without the bookkeeping of migrations.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn schema(&self) -> Result<Vec<String>, super::StoreError> {
        let sql = match self.dialect {
            super::Dialect::Sqlite => {
                "SELECT m.name || '.' || p.name FROM sqlite_master m JOIN pragma_table_info(m.name) p WHERE m.type = 'table' AND m.name NOT LIKE '!_sqlx%' ESCAPE '!'"
            }
            super::Dialect::Postgres => {
                "SELECT CAST(table_name AS TEXT) || '.' || CAST(column_name AS TEXT) FROM information_schema.columns
                 WHERE table_schema = 'public' AND table_name NOT LIKE '!_sqlx%' ESCAPE '!'"
            }
        };
        let rows: Vec<(String,)> = sqlx::query_as(sql).fetch_all(self.read()).await?;
        let mut names: Vec<String> = rows.into_iter().map(|(name,)| name).collect();
        names.sort();
        Ok(names)
    }
}

/// A server on record, with nothing on any host.
///
/// # Panics
/// When it cannot be written.
#[expect(clippy::expect_used, reason = "test set-up")]
pub async fn server(store: &Store, now: DateTime<Utc>, name: &str) -> ServerId {
    let id = new_id(ServerId::parse);
    let spec = ServerSpec {
        name: ServerName::parse(name).expect("a name"),
        region: "westeurope".into(),
        zone: "1".into(),
        major: Major::V17,
        sku: "Standard_B2s".into(),
        storage_gib: 32,
        admin_login: AdminLogin::parse("shopadmin").expect("a login"),
        access: Access::Public,
        tags: vec![],
    };
    let mut tx = store.begin_write(now).await.expect("a write");
    let port = tx.take_port((20_000, 29_999)).await.expect("a port").expect("a free port");
    tx.insert_server(&id, &spec, port, None).await.expect("a new server");
    tx.commit(super::Record::Nothing("a test begins")).await.expect("a commit");
    id
}
