//! Extensions: allowed by name, created, updated and dropped in a database that was seen.

use crate::helpers::{TestApp, each_database};
use crate::server_seed::{Seeded, ready};
use pgflex::clock::{Clock, new_uuid};
use pgflex::domain::configuration::Configuration;
use pgflex::domain::extensions::{DatabaseLook, ExtensionLook, Installed, OBSERVATION};
use pgflex::postgres::fake::extensions::sample;
use pgflex::store::Record;

async fn seen(app: &TestApp, allowed: &[&str]) -> Seeded {
    let shop = ready(app, "shop").await;
    let installed = |names: &[&str]| {
        let one = |name: &&str| Installed {
            name: (*name).into(),
            version: "1.0".into(),
            schema: "public".into(),
        };
        Some(names.iter().map(one).collect())
    };
    let look = ExtensionLook {
        available: sample(),
        databases: vec![
            DatabaseLook { name: "postgres".into(), installed: installed(&[]) },
            DatabaseLook { name: "sales \"2\"".into(), installed: installed(&["hstore"]) },
        ],
        left_out: 0,
        loaded: vec!["pg_stat_statements".into()],
    };
    app.state
        .store
        .observe_servers(app.clock.now(), OBSERVATION, &[(shop.id.clone(), look)])
        .await
        .unwrap();
    let extensions = allowed.iter().map(|name| (*name).to_owned()).collect();
    let configuration = Configuration { extensions, ..Configuration::default() };
    let mut tx = app.state.store.begin_write(app.clock.now()).await.unwrap();
    tx.set_configuration(&shop.id, &configuration).await.unwrap();
    tx.commit(Record::Nothing("a story goes on")).await.unwrap();
    shop
}

#[actix_web::test]
async fn the_list_of_allowed_ones_is_saved_as_a_whole() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let shop = seen(&app, &["hstore"]).await;
        let (page, allowed) = (shop.path("/extensions"), shop.path("/extensions/allowed"));
        let body = olga.get(&page).await.body;
        for part in [
            "loaded at start",
            "value=\"hstore\" checked",
            "In the image and not offered (1)",
            "file_fdw",
            "auto_explain",
            "sales &#34;2&#34;",
        ] {
            assert!(body.contains(part), "{part} in {body}");
        }
        let key = new_uuid();
        let base = [("was", "hstore"), ("idempotency_key", key.as_str())];
        for (names, status, text) in [
            (vec!["hstore", "file_fdw"], 422, "not offered"),
            (vec!["hstore", "x'; DROP"], 422, "not offered"),
            (vec!["citext"], 422, "installed in sales"),
            (vec!["hstore"], 303, ""),
        ] {
            let mut form = base.to_vec();
            form.extend(names.iter().map(|name| ("allow", *name)));
            let answer = olga.press(&allowed, &form).await;
            assert_eq!(answer.status, status, "{names:?}");
            assert!(answer.body.contains(text), "{text} in {}", answer.body);
        }
        let stale = [("was", ""), ("allow", "citext"), ("idempotency_key", key.as_str())];
        let told = olga.press(&allowed, &stale).await;
        assert!(told.status == 409 && told.body.contains("Somebody changed the list"));
        assert!(app.state.store.active_operation(&shop.id).await.unwrap().is_none());
        let good =
            [base[0], base[1], ("allow", "hstore"), ("allow", "pgaudit"), ("save_restart", "1")];
        assert_eq!(olga.press(&allowed, &good).await.status, 303);
        let input = app.state.store.active_operation(&shop.id).await.unwrap().unwrap().input;
        assert_eq!(input["allowed"], serde_json::json!(["hstore", "pgaudit"]));
        assert_eq!(input["restart"], true);
        assert_eq!(app.activities().await[0].detail, "+ pgaudit");
    })
    .await;
}

#[actix_web::test]
async fn only_what_is_allowed_is_created_and_only_where_it_was_seen() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let shop = seen(&app, &["citext", "hstore", "pgaudit"]).await;
        assert!(
            olga.get(&shop.path("/extensions")).await.body.contains("pgaudit is not loaded yet")
        );
        let create = shop.path("/extensions/create");
        let key = new_uuid();
        for (extension, database, text) in [
            ("dblink", "postgres", "allowed extensions"),
            ("citext", "template1", "databases"),
            ("citext\"; DROP", "postgres", "allowed extensions"),
            ("hstore", "sales \"2\"", "already"),
        ] {
            let form = [
                ("extension", extension),
                ("database", database),
                ("idempotency_key", key.as_str()),
            ];
            let answer = olga.press(&create, &form).await;
            assert!(
                answer.status == 422 && answer.body.contains(text),
                "{extension}: {}",
                answer.body
            );
        }
        let form = [
            ("extension", "citext"),
            ("database", "sales \"2\""),
            ("idempotency_key", key.as_str()),
        ];
        assert_eq!(olga.press(&create, &form).await.status, 303);
        let input = app.state.store.active_operation(&shop.id).await.unwrap().unwrap().input;
        assert_eq!(
            (&input["action"], &input["database"]),
            (&"create".into(), &"sales \"2\"".into())
        );
    })
    .await;
}

#[actix_web::test]
async fn a_drop_needs_the_name_typed() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let shop = seen(&app, &["hstore"]).await;
        let drop = shop.path("/extensions/drop");
        let asks = format!("{drop}?extension=hstore&database=sales+%222%22");
        assert!(olga.get(&asks).await.body.contains("Drop hstore from sales"));
        let gone = olga.get(&format!("{drop}?extension=hstore&database=postgres")).await;
        assert_eq!(gone.status, 303);
        let key = new_uuid();
        let form = |name: &'static str| {
            [("extension", "hstore"), ("database", "sales \"2\""), ("name", name)]
        };
        let refused = olga.press(&drop, &form("hstor")).await;
        assert!(refused.status == 422 && refused.body.contains("Type the name of the extension"));
        let mut good = form("hstore").to_vec();
        good.push(("idempotency_key", key.as_str()));
        assert_eq!(olga.press(&drop, &good).await.status, 303);
        let input = app.state.store.active_operation(&shop.id).await.unwrap().unwrap().input;
        assert_eq!(input["action"], "drop");
    })
    .await;
}
