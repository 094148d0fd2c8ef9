//! Databases, the administrator's password and connection pooling, as people see and change them.

use crate::helpers::{PASSWORD, TestApp, each_database};
use crate::server_seed::{Seeded, ready, seed};
use chrono::Duration;
use pgflex::clock::{Clock, new_uuid};
use pgflex::domain::configuration::{Configuration, Pooler, PoolerFacts};
use pgflex::domain::database::{DatabaseFacts, DatabaseList};
use pgflex::domain::network::Access;
use pgflex::domain::operation::{Operation, OperationKind};
use pgflex::domain::server::SettledState;
use pgflex::store::Record;
use pgflex::store::operations::OperationFilter;

const HOSTILE: &str = "a/b%41\"'<i>&?#";

fn database(name: &str) -> DatabaseFacts {
    DatabaseFacts {
        name: name.into(),
        owner: "shop<admin>".into(),
        size_bytes: 7_654_321,
        encoding: "UTF8".into(),
        provider: "icu".into(),
        locale: "de-DE".into(),
        connections: 3,
        allows_connections: true,
        is_template: name.starts_with("template"),
    }
}

async fn observe_databases(app: &TestApp, shop: &Seeded) {
    let names = ["postgres", "template1", HOSTILE, " blank", "sales"];
    let list = DatabaseList { databases: names.map(database).to_vec(), total: 5 };
    let seen = [(shop.id.clone(), list)];
    let store = &app.state.store;
    store.observe_servers(app.clock.now(), DatabaseList::OBSERVATION, &seen).await.unwrap();
}

async fn newest(app: &TestApp, shop: &Seeded) -> Operation {
    let filter = OperationFilter { server_id: Some(shop.id.clone()), ..Default::default() };
    app.state.store.operations(&filter).await.unwrap().into_iter().next().unwrap()
}

fn drop_path(shop: &Seeded, encoded: &str) -> String {
    shop.path(&format!("/databases/drop?name={encoded}"))
}

#[actix_web::test]
async fn databases_are_listed_as_seen_and_made_from_a_form() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let mut rita = app.person(&mut olga, "rita", "Reader").await;
        let shop = ready(&app, "shop").await;
        let path = shop.path("/databases");
        assert!(olga.get(&path).await.body.contains("Not looked at yet"));
        observe_databases(&app, &shop).await;
        let body = olga.get(&path).await.body;
        for part in [
            "a/b%41&#34;&#39;&#60;i&#62;&#38;?#",
            "/databases/drop?name=a/b%2541%22%27%3Ci%3E%26%3F%23",
            "shop&#60;admin&#62;",
            "7.3 MiB",
            "de-DE (icu)",
            ">system<",
            "5 · seen",
        ] {
            assert!(body.contains(part), "{part} in {body}");
        }
        assert!(!body.contains("drop?name=postgres") && !body.contains("drop?name=template1"));
        let body = rita.get(&path).await.body;
        assert!(!body.contains("drop?name=") && !body.contains("Create a database"), "{body}");

        let key = new_uuid();
        let bad = [("name", "pg_x"), ("collation", "xx"), ("idempotency_key", &*key)];
        let answer = olga.post_form(&path, &path, &bad).await;
        assert_eq!(answer.status, 422);
        assert!(answer.body.contains("belong to the service") && answer.body.contains("pg_x"));
        let good = [("name", HOSTILE), ("collation", "de-DE"), ("idempotency_key", &*key)];
        let answer = olga.post_form(&path, &path, &good).await;
        assert_eq!(answer.status, 303, "{}", answer.body);
        let again = olga.press(&path, &good).await;
        assert_eq!(again.location(), answer.location(), "a second click");
        let operation = newest(&app, &shop).await;
        assert_eq!(operation.kind, OperationKind::CreateDatabase);
        assert_eq!(operation.input["name"], HOSTILE);
        let refused = olga
            .press(
                &path,
                &[("name", "two"), ("collation", "C.UTF-8"), ("idempotency_key", &new_uuid())],
            )
            .await;
        assert!(refused.status == 409 && refused.body.contains("is under way"), "{}", refused.body);
    })
    .await;
}

#[actix_web::test]
async fn a_database_is_dropped_only_by_its_typed_name() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let shop = ready(&app, "shop").await;
        observe_databases(&app, &shop).await;
        let path = drop_path(&shop, "a/b%2541%22%27%3Ci%3E%26%3F%23");
        for gone in ["postgres", "template1", "nothing"] {
            assert_eq!(olga.get(&drop_path(&shop, gone)).await.status, 303, "{gone}");
        }
        let body = olga.get(&drop_path(&shop, "%20blank")).await.body;
        assert!(body.contains("cannot be typed here"), "{body}");
        app.wind(Duration::minutes(10));
        let asked = olga.get(&path).await;
        assert!(asked.status == 303 && asked.location().starts_with("/confirm-password"));
        let confirm = asked.location().to_owned();
        let answer = olga.post_form(&confirm, &confirm, &[("password", PASSWORD)]).await;
        assert_eq!(answer.status, 303, "{}", answer.body);
        let body = olga.get(&path).await.body;
        for part in ["7.3 MiB", "3 client sessions", "for good?"] {
            assert!(body.contains(part), "{part} in {body}");
        }
        let key = new_uuid();
        let wrong = [("confirm", "a/b"), ("idempotency_key", &*key)];
        assert_eq!(olga.press(&path, &wrong).await.status, 422);
        let right = [("confirm", HOSTILE), ("idempotency_key", &*key)];
        let answer = olga.press(&path, &right).await;
        assert_eq!(answer.status, 303, "{}", answer.body);
        let operation = newest(&app, &shop).await;
        assert_eq!(
            (operation.kind, &operation.input["name"]),
            (OperationKind::DropDatabase, &HOSTILE.into())
        );
    })
    .await;
}

#[actix_web::test]
async fn a_new_password_is_sealed_on_arrival_and_nowhere_in_clear() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let shop = ready(&app, "shop").await;
        let path = shop.path("/reset-password");
        let body = olga.get(&path).await.body;
        assert!(body.contains("57P01") && body.contains("shopadmin"), "{body}");
        let (one, other) = ("New-secret-4711", "New-secret-4712");
        for (first, second, words) in [
            ("", "", "Type a new password twice"),
            (one, other, "The two passwords differ"),
            ("short", "short", "8 to 128 characters"),
        ] {
            let pairs = [("admin_password", first), ("admin_password_confirm", second)];
            let answer = olga.press(&path, &pairs).await;
            assert!(
                answer.status == 422 && answer.body.contains(words),
                "{words}: {}",
                answer.body
            );
            assert!(!answer.body.contains("New-secret"), "a password is never echoed");
        }
        let key = new_uuid();
        let pairs =
            [("admin_password", one), ("admin_password_confirm", one), ("idempotency_key", &*key)];
        let answer = olga.press(&path, &pairs).await;
        assert_eq!(answer.status, 303, "{}", answer.body);
        assert_eq!(olga.press(&path, &pairs).await.location(), answer.location(), "twice");
        let operation = newest(&app, &shop).await;
        assert_eq!(operation.kind, OperationKind::ResetPassword);
        let reset = operation.input["reset"].as_str().unwrap();
        let name = format!("pending_verifier/{reset}");
        let sealed = app.state.store.server_secret(&shop.id, &name).await.unwrap().unwrap();
        let place = format!("server_secrets/{}/{name}", shop.id);
        let opened = app.state.sealer.open(&place, &sealed).unwrap();
        assert!(opened.starts_with(b"SCRAM-SHA-256$"));
        let seen = format!("{operation:?} {:?}", app.activities().await);
        assert!(!seen.contains("New-secret") && !seen.contains("SCRAM"), "{seen}");
        app.wind(Duration::days(2));
        app.state.store.purge_verifiers(app.clock.now()).await.unwrap();
        assert!(app.state.store.server_secret(&shop.id, &name).await.unwrap().is_none());
    })
    .await;
}

#[actix_web::test]
async fn a_password_made_by_the_portal_is_shown_once() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let shop = ready(&app, "shop").await;
        let path = shop.path("/reset-password");
        let key = new_uuid();
        let pairs = [("generate", "1"), ("idempotency_key", &*key)];
        let answer = olga.post_form(&path, &path, &pairs).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.header("cache-control"), "no-store");
        assert!(answer.body.contains("shown this once"), "{}", answer.body);
        let operation = newest(&app, &shop).await;
        assert!(answer.body.contains(&format!("/operations/{}", operation.id)));
        let again = olga.press(&path, &pairs).await;
        assert_eq!(again.status, 303, "the form again leads to its operation");
        let other = olga.press(&path, &[("generate", "1"), ("idempotency_key", &new_uuid())]).await;
        assert!(other.status == 409 && !other.body.contains("shown this once"), "{}", other.body);
    })
    .await;
}

fn settings(key: &str) -> Vec<(&str, &str)> {
    vec![
        ("enabled", "1"),
        ("pool_mode", "session"),
        ("default_pool_size", "20"),
        ("max_client_conn", "500"),
        ("min_pool_size", "2"),
        ("query_wait_timeout", "30"),
        ("server_idle_timeout", "60"),
        ("idempotency_key", key),
    ]
}

#[actix_web::test]
async fn pooling_is_switched_and_its_settings_are_checked() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let mut rita = app.person(&mut olga, "rita", "Reader").await;
        let shop = ready(&app, "shop").await;
        let path = shop.path("/pooling");
        let body = olga.get(&path).await.body;
        assert!(body.contains("PgBouncer 1.24") && body.contains("value=\"5000\""), "{body}");
        assert!(!rita.get(&path).await.body.contains("Switch connection pooling on"));
        let key = new_uuid();
        let mut bad = settings(&key);
        bad[2].1 = "0";
        bad[4].1 = "9999";
        let answer = olga.press(&path, &bad).await;
        assert_eq!(answer.status, 422);
        assert!(answer.body.contains("from 1 to 1000") && answer.body.contains("9999"));
        let answer = olga.press(&path, &settings(&key)).await;
        assert_eq!(answer.status, 303, "{}", answer.body);
        let operation = newest(&app, &shop).await;
        assert_eq!(operation.input["pooler"]["pool_mode"], "session");
        assert_eq!(operation.input["ports"][0], 20000);
    })
    .await;
}

#[actix_web::test]
async fn a_pooler_that_is_on_shows_its_port_and_how_it_is() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let shop = ready(&app, "shop").await;
        let pooler = Pooler { enabled: true, ..Pooler::default() };
        let mut tx = app.state.store.begin_write(app.clock.now()).await.unwrap();
        let configuration = Configuration { pooler, ..Configuration::default() };
        tx.set_configuration(&shop.id, &configuration).await.unwrap();
        tx.set_pooler_port(&shop.id, 20_777).await.unwrap();
        tx.commit(Record::Nothing("a story begins")).await.unwrap();
        let body = olga.get(&shop.path("/pooling")).await.body;
        assert!(body.contains("localhost:20777") && body.contains("not measured yet"), "{body}");
        let facts = PoolerFacts {
            container_state: "running".into(),
            restarts: 0,
            answers: Some(false),
            error: Some("PgBouncer: <b>".into()),
        };
        let seen = [(shop.id.clone(), facts)];
        let store = &app.state.store;
        store.observe_servers(app.clock.now(), PoolerFacts::OBSERVATION, &seen).await.unwrap();
        let body = olga.get(&shop.path("/pooling")).await.body;
        assert!(body.contains("Does not answer") && body.contains("&#60;b&#62;"), "{body}");
        let body = olga.get(&shop.path("/connect?endpoint=pooled")).await.body;
        assert!(body.contains("port=20777") && body.contains("by transaction"), "{body}");
        let body = olga.get(&shop.path("/reset-password")).await.body;
        assert!(body.contains("those through PgBouncer"), "{body}");
    })
    .await;
}

#[actix_web::test]
async fn a_stopped_server_says_why_its_controls_are_closed() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let shop = seed(&app, "shop", Access::Public, SettledState::Stopped, 20_001).await;
        for page in ["/databases", "/reset-password", "/pooling"] {
            let body = olga.get(&shop.path(page)).await.body;
            assert!(body.contains("Start it first"), "{page}: {body}");
            assert!(!body.contains("<form method=\"post\" action=\"/servers"), "{page}");
        }
    })
    .await;
}
