//! The Hosts page: what was seen, what was not, and what is left over.

use crate::helpers::{Plant, each_database, facts};
use chrono::Duration;
use pgflex::domain::host::Orphan;
use pgflex::domain::operation::{OperationKind, OperationStatus};
use pgflex::monitor::observe;

fn assert_says(body: &str, parts: &[&str]) {
    for part in parts {
        assert!(body.contains(part), "{part:?} is not on the page:\n{body}");
    }
}

#[actix_web::test]
async fn without_a_host_the_page_says_how_to_get_one() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        assert_says(
            &olga.get("/hosts").await.body,
            &["No host yet", "[[hosts]]", "No gateway has reported"],
        );
    })
    .await;
}

#[actix_web::test]
async fn a_host_shows_what_it_has_promises_and_runs() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let plant = Plant::of(&app).await;
        let id = plant.submit_create("shop").await;
        assert_eq!(plant.run(&id).await.status, OperationStatus::Succeeded);
        observe::tick(&plant.services).await.unwrap();
        app.state
            .store
            .record_gateway(app.state.now(), "gw-1", 1, "port 5432 is taken")
            .await
            .unwrap();
        let body = olga.get("/hosts").await.body;
        assert_says(
            &body,
            &[
                "All zones are on one Docker Engine: local.",
                "Answers",
                "Promised: 1 server<",
                "Every zone of every region",
                ">shop</a>",
                "B1ms: 1 vCore, 2 GiB memory, 32 GiB storage",
                "Answers queries",
                "just now",
                "gw-1",
                "port 5432 is taken",
            ],
        );
        assert!(!body.contains("Orphans"));
        app.wind(Duration::minutes(2));
        let later = olga.get("/hosts").await.body;
        assert_says(
            &later,
            &[
                "Not looked at lately",
                "seen last: Answers queries",
                "class=\"stale\"",
                "Silent",
                "2 min ago",
            ],
        );
    })
    .await;
}

#[actix_web::test]
async fn a_silent_engine_keeps_what_was_seen_with_its_time() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let plant = Plant::of(&app).await;
        app.wind(Duration::seconds(90));
        let store = &app.state.store;
        store
            .observe_host_silent(&plant.host, app.state.now(), "no route <b>to host")
            .await
            .unwrap();
        let body = olga.get("/hosts").await.body;
        assert_says(
            &body,
            &[
                "Does not answer",
                "no route &#60;b&#62;to host",
                "It answered last at",
                "1 min 30 s ago",
                "Nothing on it was changed",
                "What to do",
                "20.10.24",
            ],
        );
    })
    .await;
}

#[actix_web::test]
async fn orphans_are_listed_with_the_command_and_never_removed() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let plant = Plant::of(&app).await;
        let orphan = |kind: &str, name: &str| Orphan {
            kind: kind.into(),
            name: name.into(),
            server: "old-<i>shop".into(),
        };
        let orphans = [orphan("volume", "pgflex-1-data"), orphan("container", "x'y")];
        app.state
            .store
            .observe_host(&plant.host, app.state.now(), &facts(), &orphans)
            .await
            .unwrap();
        let body = olga.get("/hosts").await.body;
        assert_says(
            &body,
            &[
                "Orphans: 2",
                "Nothing here is removed by itself",
                "docker volume rm pgflex-1-data",
                "Removing it cannot be undone",
                "old-&#60;i&#62;shop",
                "docker container inspect &#39;x",
            ],
        );
        assert!(!body.contains("<i>shop"));
    })
    .await;
}

#[actix_web::test]
async fn a_host_that_left_the_configuration_is_called_so() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let host = ("gone".into(), "tcp://10.0.0.9:2376".into(), vec![]);
        app.state.store.register_hosts(app.state.now(), &[host]).await.unwrap();
        let body = olga.get("/hosts").await.body;
        assert_says(
            &body,
            &["Not configured", "no longer in the configuration", "not measured yet"],
        );
    })
    .await;
}

#[actix_web::test]
async fn a_member_under_an_operation_shows_both_states() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let plant = Plant::of(&app).await;
        plant.submit(OperationKind::Restart, "shop").await;
        assert_says(&olga.get("/hosts").await.body, &["Restarting", "Not seen yet"]);
    })
    .await;
}
