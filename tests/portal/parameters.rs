//! Server parameters: listed, found, edited, reviewed, saved; what is no value, what is overtaken.

use crate::helpers::{TestApp, each_database};
use crate::server_seed::{Seeded, observe, operation, ready, running};
use pgflex::clock::{Clock, new_uuid};
use pgflex::domain::configuration::Configuration;
use pgflex::domain::operation::{OperationKind, OperationStatus};
use pgflex::domain::parameters::{Catalogue, OBSERVATION, PENDING};
use pgflex::postgres::fake::parameters::sample;
use pgflex::store::Record;
use serde_json::Value;

/// A server whose parameters were seen.
async fn seen(app: &TestApp) -> Seeded {
    let shop = ready(app, "shop").await;
    observe(app, &shop, running()).await;
    let look = [(shop.id.clone(), Catalogue { parameters: sample() })];
    app.state.store.observe_servers(app.clock.now(), OBSERVATION, &look).await.unwrap();
    shop
}

async fn set(app: &TestApp, server: &Seeded, pairs: &[(&str, &str)]) {
    let mut configuration = Configuration::default();
    let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    configuration.parameters.extend(pairs);
    let mut tx = app.state.store.begin_write(app.clock.now()).await.unwrap();
    tx.set_configuration(&server.id, &configuration).await.unwrap();
    tx.commit(Record::Nothing("a story goes on")).await.unwrap();
}

/// What was asked of the last operation.
async fn asked(app: &TestApp, server: &Seeded) -> Option<Value> {
    let found = app.state.store.active_operation(&server.id).await.unwrap()?;
    assert_eq!(found.kind, OperationKind::ChangeParameters);
    Some(found.input)
}

#[actix_web::test]
async fn the_list_has_tabs_counts_and_a_search() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let shop = ready(&app, "shop").await;
        let page = shop.path("/parameters");
        assert!(olga.get(&page).await.body.contains("Not measured yet"));
        let shop = {
            let look = [(shop.id.clone(), Catalogue { parameters: sample() })];
            app.state.store.observe_servers(app.clock.now(), OBSERVATION, &look).await.unwrap();
            shop
        };
        set(&app, &shop, &[("work_mem", "8MB")]).await;
        let all = olga.get(&page).await.body;
        for part in [
            "All <span class=\"tab-count\">11</span>",
            "Modified <span class=\"tab-count\">1</span>",
            "Static <span class=\"tab-count\">3</span>",
            "Dynamic <span class=\"tab-count\">5</span>",
            "Read-only <span class=\"tab-count\">3</span>",
            "name=\"p.work_mem\" value=\"8MB\"",
            "docs/17/runtime-config-resource.html#GUC-WORK-MEM",
            "Another value could lose or damage data",
        ] {
            assert!(all.contains(part), "{part} in {all}");
        }
        assert!(!all.contains("name=\"p.fsync\"") && !all.contains("name=\"p.archive_command\""));
        let found = olga.get(&format!("{page}?q=SHARED+what")).await.body;
        assert!(found.contains("shared_buffers") && !found.contains("random_page_cost"));
        let modified = olga.get(&format!("{page}?tab=modified")).await.body;
        assert!(modified.contains("work_mem") && !modified.contains("shared_buffers"));
        let none = olga.get(&format!("{page}?q=%3Cscript%3E")).await.body;
        assert!(none.contains("No parameter matches") && none.contains("&#60;script&#62;"));
        assert_eq!(olga.get(&format!("{page}?page=99&tab=what")).await.status, 200);
    })
    .await;
}

#[actix_web::test]
async fn edits_are_reviewed_together_and_then_saved() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let shop = seen(&app).await;
        let (page, save) = (shop.path("/parameters"), shop.path("/parameters/save"));
        // All fields of the page come with the form; only two were edited.
        let fields = [
            ("was.autovacuum", "on"),
            ("p.autovacuum", "on"),
            ("was.shared_buffers", "2GB"),
            ("p.shared_buffers", "3072MB"),
            ("was.work_mem", "4MB"),
            ("p.work_mem", "16384"),
        ];
        let review = olga.press(&page, &fields).await;
        assert_eq!(review.status, 200, "{}", review.body);
        for part in [
            "Review 2 changes",
            "written as 16MB",
            "at the next restart",
            "Save and restart",
            "name=\"p.work_mem\" value=\"16384\"",
        ] {
            assert!(review.body.contains(part), "{part} in {}", review.body);
        }
        assert!(!review.body.contains("p.autovacuum") && asked(&app, &shop).await.is_none());
        let key = new_uuid();
        let mut all = fields[2..].to_vec();
        all.extend([("idempotency_key", key.as_str()), ("save_restart", "1")]);
        let saved = olga.press(&save, &all).await;
        assert!(
            saved.status == 303 && saved.location().starts_with("/operations/"),
            "{}",
            saved.body
        );
        let input = asked(&app, &shop).await.unwrap();
        assert_eq!(
            input["set"],
            serde_json::json!({ "shared_buffers": "3GB", "work_mem": "16MB" })
        );
        assert_eq!(input["restart"], true);
        assert_eq!(app.activities().await[0].detail, "shared_buffers, work_mem");
        // The same form again leads to the same operation; a new one is told that something is under way.
        assert_eq!(olga.press(&save, &all).await.location(), saved.location());
        let other = new_uuid();
        all[4] = ("idempotency_key", other.as_str());
        let busy = olga.press(&save, &all).await;
        assert!(
            busy.status == 409
                && busy.body.contains("is under way")
                && busy.body.contains("value=\"16384\"")
        );
        assert!(olga.get(&page).await.body.contains("Values cannot be changed now"));
    })
    .await;
}

#[actix_web::test]
async fn what_is_no_value_never_reaches_an_operation() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let shop = seen(&app).await;
        let (page, save) = (shop.path("/parameters"), shop.path("/parameters/save"));
        for (name, was, typed, error) in [
            ("work_mem", "4MB", "4MB\nfsync = off", "Type a number with a unit"),
            ("work_mem", "4MB", "4 mb' OR 1", "Type a number with a unit"),
            ("search_path", "\"$user\", public", "x\nfsync = off", "no line break"),
            ("max_connections", "859", "99999", "Choose a larger size"),
            ("shared_buffers", "2GB", "8GB", "leave a quarter"),
            ("log_statement", "none", "<script>", "Choose one of these"),
            ("fsync", "on", "off", "cannot be changed"),
            ("archive_command", "", "touch /tmp/x", "cannot be changed"),
        ] {
            let (field, was_field) = (format!("p.{name}"), format!("was.{name}"));
            let key = new_uuid();
            let form = [
                (was_field.as_str(), was),
                (field.as_str(), typed),
                ("idempotency_key", key.as_str()),
            ];
            for (path, status) in [(&page, 200), (&save, 422)] {
                let answer = olga.press(path, &form).await;
                assert_eq!(answer.status, status, "{name} {typed}");
                assert!(answer.body.contains(error), "{name}: {error} in {}", answer.body);
                assert!(!answer.body.contains("<script>\""), "{name}");
            }
        }
        assert!(asked(&app, &shop).await.is_none());
        // A name that the server does not have is no field.
        let form = [("was.port\nx", ""), ("p.port\nx", "1")];
        assert_eq!(olga.press(&save, &form).await.status, 303);
        assert!(asked(&app, &shop).await.is_none());
        // Quotes in a text are a text.
        let key = new_uuid();
        let form = [
            ("was.search_path", "\"$user\", public"),
            ("p.search_path", "it's \\ x"),
            ("idempotency_key", key.as_str()),
        ];
        assert_eq!(olga.press(&save, &form).await.status, 303);
        assert_eq!(asked(&app, &shop).await.unwrap()["set"]["search_path"], "it's \\ x");
    })
    .await;
}

#[actix_web::test]
async fn two_tabs_do_not_undo_each_other() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let shop = seen(&app).await;
        let (page, save) = (shop.path("/parameters"), shop.path("/parameters/save"));
        // Both tabs were opened while work_mem was 4MB; meanwhile the first one saved 8MB.
        set(&app, &shop, &[("work_mem", "8MB")]).await;
        let key = new_uuid();
        let untouched = [
            ("was.work_mem", "4MB"),
            ("p.work_mem", "4MB"),
            ("was.random_page_cost", "4"),
            ("p.random_page_cost", "1.1"),
            ("idempotency_key", key.as_str()),
        ];
        let review = olga.press(&page, &untouched).await;
        assert!(
            review.body.contains("Review 1 change<") && !review.body.contains("p.work_mem"),
            "{}",
            review.body
        );
        let edited =
            [("was.work_mem", "4MB"), ("p.work_mem", "6MB"), ("idempotency_key", key.as_str())];
        let told = olga.press(&save, &edited).await;
        assert_eq!(told.status, 409);
        assert!(
            told.body.contains("Somebody changed one")
                && told.body.contains("name=\"was.work_mem\" value=\"8MB\"")
        );
        assert!(asked(&app, &shop).await.is_none());
        let again =
            [("was.work_mem", "8MB"), ("p.work_mem", "6MB"), ("idempotency_key", key.as_str())];
        assert_eq!(olga.press(&save, &again).await.status, 303);
        assert_eq!(app.activities().await[0].detail, "work_mem: 8MB to 6MB");
    })
    .await;
}

#[actix_web::test]
async fn one_or_all_go_back_to_their_defaults() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let shop = seen(&app).await;
        let (page, save) = (shop.path("/parameters"), shop.path("/parameters/save"));
        set(&app, &shop, &[("work_mem", "8MB"), ("shared_buffers", "1GB")]).await;
        let one = olga.press(&page, &[("reset", "work_mem")]).await;
        assert!(
            one.body.contains("Review 1 change<") && one.body.contains("back to the default"),
            "{}",
            one.body
        );
        let all = olga.press(&page, &[("reset_all", "1")]).await;
        assert!(all.body.contains("Review 2 changes"), "{}", all.body);
        let key = new_uuid();
        let form = [
            ("was.work_mem", "8MB"),
            ("p.work_mem", ""),
            ("was.shared_buffers", "1GB"),
            ("p.shared_buffers", ""),
            ("idempotency_key", key.as_str()),
            ("save", "1"),
        ];
        assert_eq!(olga.press(&save, &form).await.status, 303);
        let input = asked(&app, &shop).await.unwrap();
        assert_eq!(input["reset"], serde_json::json!(["shared_buffers", "work_mem"]));
        assert_eq!(
            (&input["set"], &input["restart"]),
            (&serde_json::json!({}), &Value::Bool(false))
        );
        // Nothing edited, nothing asked.
        let nothing = olga.press(&page, &[("was.autovacuum", "on"), ("p.autovacuum", "on")]).await;
        assert_eq!((nothing.status, nothing.location()), (303, &*page));
    })
    .await;
}

#[actix_web::test]
async fn what_waits_for_a_restart_is_said_where_it_matters() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let shop = seen(&app).await;
        let names = [(shop.id.clone(), vec!["shared_buffers".to_owned()])];
        app.state.store.observe_servers(app.clock.now(), PENDING, &names).await.unwrap();
        for page in ["", "/parameters", "/restart"] {
            let body = olga.get(&shop.path(page)).await.body;
            assert!(
                body.contains("A restart is needed") && body.contains("shared_buffers"),
                "{page}"
            );
        }
        let mut rita = app.person(&mut olga, "rita", "Reader").await;
        let body = rita.get(&shop.path("/parameters")).await.body;
        assert!(!body.contains("name=\"p.") && !body.contains("Review changes"));
        operation(&app, &shop, OperationKind::Restart, OperationStatus::Running).await;
        assert!(!olga.get(&shop.path("")).await.body.contains("A restart is needed"));
    })
    .await;
}
