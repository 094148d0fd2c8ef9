//! The pages of one server: what they say in each state, to each role, and what their forms do.

use crate::helpers::{PASSWORD, TestApp, each_database, each_database_with};
use crate::server_seed::{Seeded, forget, observe, operation, ready, running, seed};
use chrono::Duration;
use pgflex::clock::new_uuid;
use pgflex::domain::network::Access;
use pgflex::domain::operation::{OperationKind, OperationStatus};
use pgflex::domain::server::SettledState;

const PAGES: [&str; 13] = [
    "",
    "/connect",
    "/networking",
    "/networking/access",
    "/parameters",
    "/extensions",
    "/storage",
    "/compute",
    "/databases",
    "/pooling",
    "/restart",
    "/repair",
    "/delete",
];

#[actix_web::test]
async fn the_overview_says_whether_it_can_be_used() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let shop = ready(&app, "shop").await;
        let page = olga.get(&shop.path("")).await;
        assert_eq!(page.status, 200);
        assert!(page.body.contains("Not measured yet"), "{}", page.body);

        observe(&app, &shop, running()).await;
        app.wind(Duration::seconds(8));
        let page = olga.get(&shop.path("")).await.body;
        for part in [
            "PostgreSQL answers queries.",
            "(seen 8 s ago)",
            "localhost:20001",
            "shop.pgflex.localhost:5432",
            "shopadmin",
            "17.6",
            "General Purpose, D2ds_v5",
            "2 vCores · 8 GiB memory",
            "3,500 IOPS",
            "859 at most",
            "West Europe, zone 1",
            "on host local",
            "Commits are on 1 host.",
            "team: &#60;shop&#62;",
            "€ 138.18",
            "89 days left",
            "0123456789ab",
            "172.18.0.2",
            "8 GiB",
            "pgflex/postgres:17-r1",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }

        app.wind(Duration::minutes(3));
        let page = olga.get(&shop.path("")).await.body;
        assert!(page.contains("is not known") && page.contains("stale"), "{page}");

        let mut silent = running();
        silent.accepts_queries = Some(false);
        silent.probe_error = Some("connection refused <x>".into());
        observe(&app, &shop, silent).await;
        let page = olga.get(&shop.path("")).await.body;
        assert!(page.contains("does not answer queries"), "{page}");
        assert!(page.contains("connection refused &#60;x&#62;"), "{page}");
    })
    .await;
}

#[actix_web::test]
async fn what_is_under_way_stands_over_every_page() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let shop = seed(&app, "shop", Access::Public, SettledState::New, 20_001).await;
        let create = operation(&app, &shop, OperationKind::Create, OperationStatus::Running).await;
        for page in PAGES {
            let body = olga.get(&shop.path(page)).await.body;
            for part in [
                "Provisioning",
                "“Create server” is under way.",
                "Step 2 of 3: Start PostgreSQL.",
                create.as_str(),
                "Stop, Restart, Reset password and Delete are closed: “Create server” is under way. Wait until it has ended.",
            ] {
                assert!(body.contains(part), "{page}: {part} in {body}");
            }
        }
    })
    .await;
}

#[actix_web::test]
async fn a_failed_creation_says_what_happened_and_offers_a_retry() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let mut rita = app.person(&mut olga, "rita", "Reader").await;
        let shop = seed(&app, "shop", Access::Public, SettledState::Failed, 20_001).await;
        let create = operation(&app, &shop, OperationKind::Create, OperationStatus::Failed).await;
        let retry = format!("/operations/{create}/retry");
        let body = olga.get(&shop.path("")).await.body;
        for part in ["Failed", "The host has no room.", "Free some, then retry.", &retry] {
            assert!(body.contains(part), "{part} in {body}");
        }
        let body = rita.get(&shop.path("")).await.body;
        assert!(body.contains("The host has no room.") && !body.contains(&retry), "{body}");
    })
    .await;
}

#[actix_web::test]
async fn readers_see_everything_and_change_nothing() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let mut rita = app.person(&mut olga, "rita", "Reader").await;
        let shop = ready(&app, "shop").await;
        for page in ["", "/connect", "/networking"] {
            let answer = rita.get(&shop.path(page)).await;
            assert_eq!(answer.status, 200, "{page}");
            assert!(answer.body.contains("You are a Reader"), "{}", answer.body);
            assert!(!answer.body.contains(&shop.path("/delete")), "{}", answer.body);
            assert!(!answer.body.contains("Add a rule"), "{}", answer.body);
        }
        for page in ["/restart", "/delete", "/networking/everyone"] {
            assert_eq!(rita.get(&shop.path(page)).await.status, 403, "{page}");
            assert_eq!(rita.press(&shop.path(page), &[]).await.status, 403, "{page}");
        }
    })
    .await;
}

#[actix_web::test]
async fn what_is_not_there_is_a_404_and_what_was_there_tells_its_end() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let shop = ready(&app, "shop").await;
        let restart =
            operation(&app, &shop, OperationKind::Restart, OperationStatus::Succeeded).await;
        let delete =
            operation(&app, &shop, OperationKind::Delete, OperationStatus::Succeeded).await;
        forget(&app, &shop).await;
        for page in PAGES {
            for id in ["x", "../etc", &new_uuid()] {
                assert_eq!(
                    olga.get(&format!("/servers/{id}{page}")).await.status,
                    404,
                    "{id}{page}"
                );
            }
            let answer = olga.get(&shop.path(page)).await;
            assert_eq!(answer.status, 404, "{page}");
            assert!(answer.body.contains("There is no server shop any more"), "{}", answer.body);
            assert!(answer.body.contains(delete.as_str()), "{}", answer.body);
            assert!(!answer.body.contains(restart.as_str()), "{}", answer.body);
        }
        assert_eq!(olga.press(&shop.path("/restart"), &[]).await.status, 404);
        // The live part leads a page that is still open to the page that says so.
        let answer = olga.get(&shop.path("/fragment?seen=Dropping")).await;
        assert_eq!((answer.status, answer.location()), (303, &*shop.path("")));
    })
    .await;
}

#[actix_web::test]
async fn the_live_part_leads_to_the_whole_page_when_the_state_changes() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let shop = ready(&app, "shop").await;
        let live = olga.get(&shop.path("/fragment?seen=Ready")).await;
        assert_eq!(live.status, 200);
        assert!(live.body.trim_start().starts_with("<div id=\"server-live\""), "{}", live.body);
        operation(&app, &shop, OperationKind::Restart, OperationStatus::Running).await;
        let changed = olga.get(&shop.path("/fragment?seen=Ready")).await;
        assert_eq!((changed.status, changed.location()), (303, &*shop.path("")));
    })
    .await;
}

/// The hidden key of the page's form.
fn key_of(body: &str) -> String {
    let rest = body.split("name=\"idempotency_key\" value=\"").nth(1).expect("a key in the form");
    rest.split('"').next().unwrap().to_owned()
}

async fn operations(app: &TestApp, server: &Seeded) -> usize {
    let filter = pgflex::store::operations::OperationFilter {
        server_id: Some(server.id.clone()),
        ..Default::default()
    };
    app.state.store.operations(&filter).await.unwrap().len()
}

#[actix_web::test]
async fn a_restart_is_asked_for_once_however_often_the_form_is_sent() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let shop = ready(&app, "shop").await;
        let page = olga.get(&shop.path("/restart")).await.body;
        assert!(page.contains("How long it takes here is not measured yet."), "{page}");
        let key = key_of(&page);
        let pairs = [("idempotency_key", &*key)];
        let first = olga.press(&shop.path("/restart"), &pairs).await;
        assert_eq!(first.status, 303, "{}", first.body);
        assert!(first.location().starts_with("/operations/"));
        let second = olga.press(&shop.path("/restart"), &pairs).await;
        assert_eq!(second.location(), first.location());
        assert_eq!(operations(&app, &shop).await, 1);

        let other = new_uuid();
        let refused = olga.press(&shop.path("/restart"), &[("idempotency_key", &*other)]).await;
        assert_eq!(refused.status, 409);
        assert!(
            refused.body.contains("is under way. Wait until it has ended."),
            "{}",
            refused.body
        );
        let bad = olga.press(&shop.path("/restart"), &[("idempotency_key", "1")]).await;
        assert_eq!(bad.status, 400);
        assert_eq!(operations(&app, &shop).await, 1);
        let line = &app.activities().await[0];
        assert_eq!((&*line.action, &*line.actor_name), ("server.restart", "olga"));
    })
    .await;
}

#[actix_web::test]
async fn a_key_of_one_person_is_not_the_key_of_another() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let mut carl = app.person(&mut olga, "carl", "Contributor").await;
        let shop = ready(&app, "shop").await;
        let key = new_uuid();
        let pairs = [("idempotency_key", &*key)];
        assert_eq!(olga.press(&shop.path("/restart"), &pairs).await.status, 303);
        assert_eq!(carl.press(&shop.path("/restart"), &pairs).await.status, 409);
    })
    .await;
}

#[actix_web::test]
async fn a_deletion_lists_what_goes_and_wants_the_exact_name() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let shop = ready(&app, "shop").await;
        let page = olga.get(&shop.path("/delete")).await.body;
        for part in [
            "There is no backup of this server: deleted data cannot be brought back.",
            "-data, up to 128 GiB",
            "-g1",
            "-net",
            "0 rules",
            "localhost:20001",
            "What stays",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
        let key = key_of(&page);
        let wrong = [("idempotency_key", &*key), ("name", "Shop")];
        let answer = olga.press(&shop.path("/delete"), &wrong).await;
        assert_eq!(answer.status, 422);
        assert!(answer.body.contains("“Shop” is not the name of this server."), "{}", answer.body);
        assert!(answer.body.contains("value=\"Shop\""), "{}", answer.body);
        assert_eq!(operations(&app, &shop).await, 0);

        let right = [("idempotency_key", &*key), ("name", "shop")];
        let answer = olga.press(&shop.path("/delete"), &right).await;
        assert_eq!(answer.status, 303, "{}", answer.body);
        assert!(answer.location().starts_with("/operations/"));
        assert_eq!(olga.press(&shop.path("/delete"), &right).await.location(), answer.location());
        assert_eq!(operations(&app, &shop).await, 1);
    })
    .await;
}

#[actix_web::test]
async fn a_deletion_wants_a_password_typed_lately() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let shop = ready(&app, "shop").await;
        app.wind(Duration::minutes(6));
        let asked = format!("/confirm-password?return_to={}", shop.path("/delete"));
        let answer = olga.get(&shop.path("/delete")).await;
        assert_eq!((answer.status, answer.location()), (303, &*asked));
        let key = new_uuid();
        let pairs = [("idempotency_key", &*key), ("name", "shop")];
        let answer = olga.press(&shop.path("/delete"), &pairs).await;
        assert_eq!((answer.status, answer.location()), (303, &*asked));
        assert_eq!(operations(&app, &shop).await, 0);

        let return_to = shop.path("/delete");
        let confirm = [("password", PASSWORD), ("return_to", &*return_to)];
        let back = olga.post_form(&asked, "/confirm-password", &confirm).await;
        assert_eq!((back.status, back.location()), (303, &*return_to), "{}", back.body);
        assert_eq!(olga.get(&return_to).await.status, 200);
        assert_eq!(olga.press(&return_to, &pairs).await.status, 303);
        assert_eq!(operations(&app, &shop).await, 1);
    })
    .await;
}

#[actix_web::test]
async fn the_connect_page_prints_strings_for_the_chosen_database() {
    each_database_with(&["--endpoint-host", "db.example.org"], async |app| {
        let mut olga = app.set_up_owner().await;
        let shop = ready(&app, "shop").await;
        let page = olga.get(&shop.path("/connect")).await.body;
        for part in [
            "curl <span class=\"nowrap\">-f</span> <span class=\"nowrap\">-o</span> pgflex-ca.pem http://127.0.0.1:8080/ca.pem",
            "psql &#34;host=db.example.org port=20001 dbname=postgres user=shopadmin sslmode=verify-full sslrootcert=pgflex-ca.pem&#34;",
            "postgresql://shopadmin@db.example.org:20001/postgres?sslmode=verify-full&#38;sslrootcert=pgflex-ca.pem",
            "export PGSSLMODE=verify-full",
            "jdbc:postgresql://db.example.org:20001/postgres?user=shopadmin&#38;sslmode=verify-full",
            "SSL Mode=VerifyFull",
            "psycopg.connect(",
            "psycopg2.connect(",
            "new pg.Client(",
            "pgx.Connect(",
            "lib/pq",
            "pg_dump <span class=\"nowrap\">--dbname</span>=&#34;host=",
            "pg_restore <span class=\"nowrap\">--dbname</span>=&#34;host=",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
        let page = olga.get(&shop.path("/connect?database=my%20shop&endpoint=name")).await.body;
        let psql = "host=shop.pgflex.localhost hostaddr=127.0.0.1 port=5432 dbname=&#39;\\&#39;&#39;my shop&#39;\\&#39;&#39; user=shopadmin";
        assert!(page.contains(psql), "{page}");
        assert!(page.contains("must resolve"), "{page}");
        let bad = olga.get(&shop.path(&format!("/connect?database={}", "x".repeat(64)))).await;
        assert_eq!(bad.status, 422);
        assert!(bad.body.contains("at most 63 bytes") && bad.body.contains("dbname=postgres"));
    })
    .await;
}

#[actix_web::test]
async fn a_private_server_is_reached_from_its_network_only() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let shop = seed(&app, "shop", Access::Private, SettledState::Ready, 20_001).await;
        observe(&app, &shop, running()).await;
        let page = olga.get(&shop.path("/connect")).await.body;
        assert!(page.contains("There is no way through the gateway."), "{page}");
        assert!(page.contains("hostaddr=172.18.0.2 port=5432"), "{page}");
        assert!(!page.contains("localhost:20001") && !page.contains("jdbc:"), "{page}");
        let page = olga.get(&shop.path("/networking")).await.body;
        assert!(page.contains("Firewall rules have no effect") && !page.contains("Add a rule"));
    })
    .await;
}
