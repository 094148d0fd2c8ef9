//! Server parameters and extensions on a real server: changed live, with a restart, refused, taken back.

use crate::portal::{ADMIN, PASSWORD, Portal};
use crate::support::{has_engine, timed};
use pgflex::domain::activity::Actor;
use pgflex::domain::extensions::{self, ExtensionLook};
use pgflex::domain::ids::ServerId;
use pgflex::domain::operation::{Operation, OperationKind, OperationStatus};
use pgflex::domain::parameters::{self, Catalogue, Change as Type};
use pgflex::operations::submit::Change;
use serde_json::{Value, json};
use std::future::Future;
use std::process::Command;
use std::time::{Duration, Instant};

/// A portal with a server, and what a test asks of it.
struct Shop {
    portal: Portal,
    id: ServerId,
}

async fn in_shop<W: Future<Output = Shop>>(test: impl FnOnce(Shop) -> W) {
    if !has_engine() {
        return;
    }
    let mut portal = Portal::new().await;
    portal.start(&[]);
    let create = portal.submit_create("shop").await;
    let created = portal.wait_settled(&create).await;
    assert_eq!(created.status, OperationStatus::Succeeded, "{created:?}");
    let shop = test(Shop { portal, id: created.server_id }).await;
    shop.portal.finish().await;
}

impl Shop {
    async fn ends(&self, kind: OperationKind, input: Value) -> Operation {
        let change = Change { kind, input };
        let submitted =
            self.portal.door().submit_change(change, &self.id, &Actor::system(), None).await;
        self.portal.wait_settled(&submitted.unwrap()).await
    }

    async fn succeeds(&self, kind: OperationKind, input: Value) {
        let ended = timed(&format!("{kind:?} {input}"), self.ends(kind, input)).await;
        assert_eq!(ended.status, OperationStatus::Succeeded, "{ended:?}\n{}", self.portal.tail());
    }

    async fn fails(&self, kind: OperationKind, input: Value) -> String {
        let ended = timed(&format!("{kind:?} {input}"), self.ends(kind, input)).await;
        assert_eq!(ended.status, OperationStatus::Failed, "{ended:?}\n{}", self.portal.tail());
        ended.error.unwrap()
    }

    async fn change(&self, set: Value, restart: bool) -> Value {
        let input = json!({ "set": set, "reset": [], "restart": restart });
        self.succeeds(OperationKind::ChangeParameters, input.clone()).await;
        input
    }

    async fn show(&self, name: &str) -> String {
        self.sql("postgres", &format!("SHOW {name}")).await.unwrap()
    }

    /// As the administrator, through the gateway.
    async fn sql(&self, database: &str, sql: &str) -> Result<String, String> {
        let server = self.portal.app.store.server(&self.id).await.unwrap().unwrap();
        let target = format!(
            "host=localhost port={} dbname={database} user={ADMIN} sslmode=require connect_timeout=10",
            server.port
        );
        let mut command = Command::new("psql");
        command.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-c", sql, &target]);
        command.env("PGPASSWORD", PASSWORD);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    async fn set_by_people(&self) -> Vec<String> {
        let server = self.portal.app.store.server(&self.id).await.unwrap().unwrap();
        server.configuration.parameters.into_keys().collect()
    }

    /// Waits until the monitor saw what is wanted.
    async fn catalogue(&self, wanted: impl Fn(&Catalogue) -> bool) -> Catalogue {
        let end = Instant::now() + Duration::from_secs(40);
        loop {
            let store = &self.portal.app.store;
            let seen =
                store.server_observation::<Catalogue>(&self.id, parameters::OBSERVATION).await;
            if let Some(seen) = seen.unwrap().filter(|seen| wanted(&seen.facts)) {
                return seen.facts;
            }
            assert!(Instant::now() < end, "the monitor does not see it: {}", self.portal.tail());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn extensions(&self, wanted: impl Fn(&ExtensionLook) -> bool) -> ExtensionLook {
        let end = Instant::now() + Duration::from_secs(40);
        loop {
            let store = &self.portal.app.store;
            let seen =
                store.server_observation::<ExtensionLook>(&self.id, extensions::OBSERVATION).await;
            if let Some(seen) = seen.unwrap().filter(|seen| wanted(&seen.facts)) {
                return seen.facts;
            }
            assert!(Instant::now() < end, "the monitor does not see it: {}", self.portal.tail());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_are_changed_live_with_a_restart_and_taken_back() {
    in_shop(|shop| async move {
        the_catalogue_is_whole(&shop).await;
        live(&shop).await;
        with_a_restart(&shop).await;
        refused_values_are_taken_back(&shop).await;
        what_does_not_start_is_taken_back(&shop).await;
        back_to_defaults(&shop).await;
        shop
    })
    .await;
}

async fn the_catalogue_is_whole(shop: &Shop) {
    let seen = shop.catalogue(|_| true).await;
    assert!(seen.parameters.len() > 350, "{}", seen.parameters.len());
    let value = |name: &str| {
        let found = seen.find(name).unwrap();
        (found.value.as_str(), found.default.as_str(), found.change())
    };
    assert_eq!(value("shared_buffers"), ("256MB", "256MB", Type::Static));
    assert_eq!(value("work_mem"), ("4MB", "4MB", Type::Dynamic));
    assert_eq!(value("fsync"), ("on", "on", Type::ReadOnly));
    // The portal's own session has others of these.
    assert_eq!(value("statement_timeout"), ("0", "0", Type::Dynamic));
    assert_eq!(value("search_path").0, "\"$user\", public");
    let modified: Vec<_> = seen
        .parameters
        .iter()
        .filter(|one| one.change() != Type::ReadOnly && one.value != one.default)
        // Chosen at the start, from the size of other areas.
        .filter(|one| !one.name.ends_with("_buffers"))
        .map(|one| format!("{}: {} {}", one.name, one.value, one.default))
        .collect();
    assert!(modified.is_empty(), "what nobody set has its default: {modified:#?}");
    println!("{} bytes of JSON", serde_json::to_string(&seen).unwrap().len());
}

async fn live(shop: &Shop) {
    shop.change(
        json!({ "work_mem": "16MB", "search_path": "it's, \"a\\b\"", "autovacuum_naptime": "30s" }),
        false,
    )
    .await;
    assert_eq!(shop.show("work_mem").await, "16MB");
    assert_eq!(shop.show("search_path").await, "it's, \"a\\b\"");
    assert_eq!(shop.show("autovacuum_naptime").await, "30s");
    let seen = shop.catalogue(|seen| seen.find("work_mem").unwrap().value == "16MB").await;
    assert_eq!(seen.find("work_mem").unwrap().default, "4MB");
}

async fn with_a_restart(shop: &Shop) {
    shop.change(json!({ "max_locks_per_transaction": "128" }), false).await;
    assert_eq!(shop.show("max_locks_per_transaction").await, "64");
    shop.catalogue(|seen| seen.find("max_locks_per_transaction").unwrap().is_pending).await;
    shop.change(json!({ "shared_buffers": "192MB" }), true).await;
    assert_eq!(shop.show("min_wal_size").await, "128MB");
    assert_eq!(shop.show("shared_buffers").await, "192MB");
    shop.catalogue(|seen| {
        seen.pending().next().is_none() && seen.find("shared_buffers").unwrap().value == "192MB"
    })
    .await;
}

async fn refused_values_are_taken_back(shop: &Shop) {
    let before = shop.set_by_people().await;
    let kind = OperationKind::ChangeParameters;
    let ask = |set: Value| json!({ "set": set, "reset": ["work_mem"], "restart": false });
    // A session may set it: PostgreSQL says no before anything is written.
    let why = shop.fails(kind, ask(json!({ "lc_time": "xx_YY" }))).await;
    assert!(why.contains("invalid value for parameter \"lc_time\""), "{why}");
    // Only the file may set it: it is written, not taken, and taken back.
    let why = shop.fails(kind, ask(json!({ "pgaudit.log": "read" }))).await;
    assert!(why.contains("no such parameter"), "{why}");
    for set in [
        json!({ "archive_command": "touch /tmp/x" }),
        json!({ "fsync": "off" }),
        json!({ "work_mem": "1\nfsync = off" }),
    ] {
        shop.fails(kind, ask(set)).await;
    }
    assert_eq!(shop.set_by_people().await, before);
    assert_eq!(
        (shop.show("work_mem").await, shop.show("fsync").await),
        ("16MB".into(), "on".into())
    );
}

async fn what_does_not_start_is_taken_back(shop: &Shop) {
    let before = shop.set_by_people().await;
    let input = json!({ "set": { "min_wal_size": "2MB", "work_mem": "5MB" }, "reset": [], "restart": true });
    let why = shop.fails(OperationKind::ChangeParameters, input).await;
    assert!(why.contains("ends right after its start") && why.contains("FATAL:"), "{why}");
    assert_eq!(shop.set_by_people().await, before);
    assert_eq!(shop.show("min_wal_size").await, "128MB");
    assert_eq!(shop.show("work_mem").await, "16MB");
}

async fn back_to_defaults(shop: &Shop) {
    let all = shop.set_by_people().await;
    let input = json!({ "set": {}, "reset": all, "restart": true });
    shop.succeeds(OperationKind::ChangeParameters, input).await;
    assert!(shop.set_by_people().await.is_empty());
    assert_eq!(
        (shop.show("work_mem").await, shop.show("shared_buffers").await),
        ("4MB".into(), "256MB".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn extensions_are_allowed_created_and_dropped() {
    in_shop(|shop| async move {
        shop.sql("postgres", "CREATE DATABASE \"sales \"\"2\"").await.unwrap();
        nothing_is_allowed_at_first(&shop).await;
        by_sql(&shop).await;
        from_the_portal(&shop).await;
        loaded_at_start(&shop).await;
        shop
    })
    .await;
}

const SALES: &str = "'sales \"2'";

async fn refused(shop: &Shop, statement: &str) {
    let why = shop.sql(SALES, statement).await.unwrap_err();
    assert!(why.contains("permission denied to create extension"), "{statement}: {why}");
}

async fn nothing_is_allowed_at_first(shop: &Shop) {
    for name in ["hstore", "citext", "pg_trgm", "dblink", "file_fdw", "pg_partman", "pageinspect"] {
        refused(shop, &format!("CREATE EXTENSION {name}")).await;
    }
    let look = shop.extensions(|_| true).await;
    assert!(look.available.len() > 50 && look.databases.len() == 2, "{look:?}");
}

async fn by_sql(shop: &Shop) {
    let allow = json!({ "allowed": ["hstore", "dblink", "uuid-ossp"], "restart": false });
    shop.succeeds(OperationKind::AllowExtensions, allow).await;
    for name in ["hstore", "dblink", "\"uuid-ossp\""] {
        shop.sql(SALES, &format!("CREATE EXTENSION {name}")).await.unwrap();
        shop.sql(SALES, &format!("DROP EXTENSION {name}")).await.unwrap();
    }
    for name in ["citext", "pg_trgm", "file_fdw", "pageinspect"] {
        refused(shop, &format!("CREATE EXTENSION {name}")).await;
    }
    // The list is not the user's to set.
    for statement in [
        "SET extwlist.extensions = 'file_fdw'",
        "ALTER ROLE CURRENT_USER SET extwlist.extensions = 'file_fdw'",
    ] {
        assert!(shop.sql(SALES, statement).await.unwrap_err().contains("permission denied"));
    }
    let closed = json!({ "allowed": ["hstore", "file_fdw"], "restart": false });
    let why = shop.fails(OperationKind::AllowExtensions, closed).await;
    assert!(why.contains("not offered"), "{why}");
}

fn asks(extension: &str, action: &str) -> Value {
    json!({ "database": "sales \"2", "extension": extension, "action": action })
}

async fn from_the_portal(shop: &Shop) {
    let kind = OperationKind::ChangeExtension;
    // Somebody lies in wait with functions of the names that scripts call.
    let trap = "CREATE FUNCTION public.pg_typeof(text) RETURNS text LANGUAGE sql AS 'SELECT $1'; \
                CREATE FUNCTION public.hstore_trap() RETURNS int LANGUAGE sql AS 'SELECT 1'";
    shop.sql(SALES, trap).await.unwrap();
    shop.succeeds(kind, asks("hstore", "create")).await;
    shop.succeeds(kind, asks("hstore", "create")).await;
    shop.succeeds(kind, asks("hstore", "update")).await;
    let schema = "SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = 'hstore'";
    assert_eq!(shop.sql(SALES, schema).await.unwrap(), "public");
    shop.sql(SALES, "CREATE TABLE t (h hstore); INSERT INTO t VALUES ('a=>1')").await.unwrap();
    shop.extensions(|look| look.installed_in("hstore").any(|(place, _)| place == "sales \"2"))
        .await;
    let why = shop.fails(kind, asks("hstore", "drop")).await;
    assert!(why.contains("other objects depend on it"), "{why}");
    assert_eq!(shop.sql(SALES, "SELECT h->'a' FROM t").await.unwrap(), "1");
    shop.sql(SALES, "DROP TABLE t").await.unwrap();
    shop.succeeds(kind, asks("hstore", "drop")).await;
    let why = shop.fails(kind, asks("citext", "create")).await;
    assert!(why.contains("not on the server's list"), "{why}");
    let left = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'pgflex%'";
    assert_eq!(shop.sql(SALES, left).await.unwrap(), "0");
}

async fn loaded_at_start(shop: &Shop) {
    let allow =
        json!({ "allowed": ["cube", "earthdistance", "pg_cron", "pgaudit"], "restart": true });
    shop.succeeds(OperationKind::AllowExtensions, allow).await;
    let loaded = shop.show("shared_preload_libraries").await;
    assert_eq!(loaded, "pg_stat_statements,pg_cron,pgaudit");
    let kind = OperationKind::ChangeExtension;
    let why = shop.fails(kind, asks("earthdistance", "create")).await;
    assert!(why.contains("Create cube first"), "{why}");
    for name in ["cube", "earthdistance", "pgaudit"] {
        shop.succeeds(kind, asks(name, "create")).await;
    }
    let cron = json!({ "database": "postgres", "extension": "pg_cron", "action": "create" });
    shop.succeeds(kind, cron).await;
    shop.sql("postgres", "SELECT cron.schedule('* * * * *', 'SELECT 1')").await.unwrap();
    shop.change(json!({ "pgaudit.log": "ddl" }), false).await;
    assert_eq!(shop.show("pgaudit.log").await, "ddl");
}
