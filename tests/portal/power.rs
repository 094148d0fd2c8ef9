//! Stop, start and scale, as people see them, and what the portal does by itself: the start after seven
//! days, and CPU credits.

use crate::helpers::{Browser, PASSWORD, Plant, TestApp, actor, each_database};
use chrono::Duration;
use pgflex::clock::{Clock, new_uuid};
use pgflex::domain::ids::ServerId;
use pgflex::domain::operation::{OperationKind, OperationStatus};
use pgflex::domain::server::{Member, SettledState};
use pgflex::engine::Engine;
use pgflex::monitor::{credits, schedule};
use pgflex::operations::submit::Change;

/// A plant with a Ready server of the smallest burstable size.
async fn shop(app: &TestApp) -> (Plant, ServerId) {
    let plant = Plant::of(app).await;
    let create = plant.submit_create("shop").await;
    let made = plant.run(&create).await;
    assert_eq!(made.status, OperationStatus::Succeeded, "{:?}", made.error);
    (plant, made.server_id)
}

async fn member(plant: &Plant, id: &ServerId) -> Member {
    plant.services.store.members(id).await.unwrap().remove(0)
}

/// Presses the button of a page's form and lets the runner work; the page of the operation is the answer.
async fn press(browser: &mut Browser, plant: &Plant, path: &str, more: &[(&str, &str)]) -> String {
    let key = new_uuid();
    let mut pairs = vec![("idempotency_key", key.as_str())];
    pairs.extend_from_slice(more);
    let answer = browser.press(path, &pairs).await;
    assert_eq!(answer.status, 303, "{}", answer.body);
    let way = answer.location().to_owned();
    let id = pgflex::domain::ids::OperationId::parse(way.rsplit('/').next().unwrap()).unwrap();
    let ended = plant.run(&id).await;
    assert_eq!(ended.status, OperationStatus::Succeeded, "{:?}", ended.error);
    browser.get(&way).await.body
}

/// Olga comes back: her session has ended meanwhile.
async fn again(app: &TestApp) -> Browser {
    let mut olga = app.browser();
    assert_eq!(olga.sign_in("olga", PASSWORD).await.status, 303);
    olga
}

fn has(body: &str, parts: &[&str]) {
    for part in parts {
        assert!(body.contains(part), "{part:?} in {body}");
    }
}

#[actix_web::test]
async fn a_server_is_stopped_and_started_by_hand() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let (plant, id) = shop(&app).await;
        let path = |rest: &str| format!("/servers/{id}{rest}");
        let page = olga.get(&path("/stop")).await.body;
        has(&page, &["Stop shop?", "Nobody can connect", "starts by itself seven days later"]);
        has(&page, &["€ 10.95", "not measured yet", "2026-11-25"]);
        let done = press(&mut olga, &plant, &path("/stop"), &[]).await;
        has(&done, &["PostgreSQL is stopped and compute is no longer counted"]);

        let page = olga.get(&path("")).await.body;
        has(&page, &["The server is stopped.", "Stopped since", "in 7 d", "start it to connect"]);
        has(&page, &["storage alone", "Start it first: while it is stopped"]);
        for rest in ["/restart", "/compute", "/stop"] {
            has(&olga.get(&path(rest)).await.body, &["Start it first", "The server is stopped."]);
        }
        let list = olga.get("/servers?state=Stopped").await.body;
        has(&list, &["shop"]);
        let refused = olga.press(&path("/stop"), &[("idempotency_key", new_uuid().as_str())]).await;
        assert_eq!(refused.status, 409, "{}", refused.body);

        let page = olga.get(&path("/start")).await.body;
        has(&page, &["Start shop?", "Start now"]);
        press(&mut olga, &plant, &path("/start"), &[]).await;
        let page = olga.get(&path("")).await.body;
        assert!(!page.contains("The server is stopped"), "{page}");
        has(&olga.get(&path("/stop")).await.body, &["Lately it took"]);
        let member = member(&plant, &id).await;
        let facts = plant.engine.container(&member.container()).await.unwrap().unwrap();
        assert_eq!(facts.state, "running");
    })
    .await;
}

#[actix_web::test]
async fn a_stopped_server_starts_by_itself_after_seven_days_and_people_are_told() {
    each_database(async |app| {
        app.set_up_owner().await;
        let (plant, id) = shop(&app).await;
        let path = format!("/servers/{id}");
        let stop = plant.door().submit(OperationKind::Stop, &id, &actor(), None).await.unwrap();
        plant.run(&stop).await;
        let settled = async || app.state.store.server(&id).await.unwrap().unwrap();
        let stopped_at = settled().await.stopped_at.unwrap();
        let notices = async || {
            let all = app.activities().await;
            all.iter().filter(|line| line.action == "server.start_notice").count()
        };
        app.wind(Duration::days(5));
        schedule::tick(&plant.services).await.unwrap();
        assert_eq!(notices().await, 0);
        app.wind(Duration::days(1));
        schedule::tick(&plant.services).await.unwrap();
        schedule::tick(&plant.services).await.unwrap();
        assert_eq!(notices().await, 1, "once");
        let mut olga = again(&app).await;
        let page = olga.get(&path).await.body;
        has(
            &page,
            &["The server starts by itself in 1 d.", "banner-warn", "start it and stop it again"],
        );
        has(&olga.get(&format!("{path}/activity")).await.body, &["Notice of a start to come"]);

        let due = stopped_at + Duration::days(7) - app.clock.now();
        app.wind(due - Duration::seconds(1));
        schedule::tick(&plant.services).await.unwrap();
        assert_eq!(settled().await.active, None, "not a second early");
        app.wind(Duration::seconds(1));
        schedule::tick(&plant.services).await.unwrap();
        schedule::tick(&plant.services).await.unwrap();
        let start = app.state.store.active_operation(&id).await.unwrap().unwrap();
        assert_eq!((start.kind, &*start.requested_by), (OperationKind::Start, "pgflex"));
        plant.run(&start.id).await;
        assert_eq!(settled().await.settled, SettledState::Ready);
        app.wind(Duration::days(8));
        schedule::tick(&plant.services).await.unwrap();
        let active = settled().await.active;
        assert!(active.is_none_or(|kind| kind != OperationKind::Start), "once is enough");
    })
    .await;
}

#[actix_web::test]
async fn a_start_by_itself_that_fails_is_tried_again_an_hour_later() {
    each_database(async |app| {
        let (plant, id) = shop(&app).await;
        let stop = plant.door().submit(OperationKind::Stop, &id, &actor(), None).await.unwrap();
        plant.run(&stop).await;
        let member = member(&plant, &id).await;
        plant.engine.remove_container(&member.container()).await.unwrap();
        plant.engine.remove_volume(&member.volume()).await.unwrap();
        app.wind(Duration::days(8));
        let mut tries = 0;
        for _ in 0..13 {
            schedule::tick(&plant.services).await.unwrap();
            if let Some(start) = app.state.store.active_operation(&id).await.unwrap() {
                assert_eq!(plant.run(&start.id).await.status, OperationStatus::Failed);
                tries += 1;
            }
            app.wind(Duration::minutes(10));
        }
        assert_eq!(tries, 3, "in two hours and ten minutes");
    })
    .await;
}

#[actix_web::test]
async fn a_server_gets_another_size_and_the_page_says_what_that_means_first() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let mut rita = app.person(&mut olga, "rita", "Reader").await;
        let (plant, id) = shop(&app).await;
        let path = |rest: &str| format!("/servers/{id}{rest}");
        let page = olga.get(&path("/compute")).await.body;
        has(
            &page,
            &["Burstable, B1ms", "up to 640", "The size it has now.", "its host cannot take now"],
        );
        has(&page, &["€ 124.10 / month, €\u{a0}113.15 more", "Needs 96 vCores; the host has 16."]);
        let page = rita.get(&path("/compute")).await;
        assert!(page.status == 200 && !page.body.contains("Review the change"));
        assert_eq!(rita.get(&path("/compute/review?to=Standard_B2s")).await.status, 403);

        for (bad, why) in [
            ("", "Choose another size first."),
            ("?sku=Standard_B1ms", "has the size B1ms already"),
            ("?sku=%3Cb%3E", "There is no such size."),
        ] {
            let answer = olga.get(&path(&format!("/compute/review{bad}"))).await;
            assert_eq!(answer.status, 422, "{bad}");
            has(&answer.body, &[why]);
        }
        let page = olga.get(&path("/compute/review?sku=Standard_D96ds_v5")).await.body;
        has(&page, &["Needs 96 vCores", "disabled"]);
        let page = olga.get(&path("/compute/review?sku=Standard_B2ms")).await.body;
        for part in [
            "Scale shop to B2ms?",
            "PostgreSQL is restarted",
            "How long clients have to wait here is not measured yet.",
            "shared_buffers",
            "256MB",
            "2GB",
            "with the restart",
            "It has 60.0 CPU credits then",
            "€ 10.95 more",
        ] {
            has(&page, &[part]);
        }
        let review = path("/compute/review");
        let done = press(&mut olga, &plant, &review, &[("to", "Standard_B2ms")]).await;
        has(&done, &["The server has its new size.", "B1ms to B2ms"]);
        let page = olga.get(&path("/compute/review?sku=Standard_D2ds_v5")).await.body;
        has(&page, &["The database stays available", "None changes.", "full CPU always"]);
        press(&mut olga, &plant, &review, &[("to", "Standard_D2ds_v5")]).await;
        let page = olga.get(&path("/compute")).await.body;
        has(&page, &["General Purpose, D2ds_v5"]);
        assert!(!page.contains("CPU credits"), "{page}");
        let page = olga.get(&path("/compute/review?sku=Standard_B1ms")).await.body;
        has(&page, &["Lately clients had to wait", "median of 1 scaling with", "€ 113.15 less"]);
    })
    .await;
}

/// A minute passes in which so much CPU is used.
async fn minute(app: &TestApp, plant: &Plant, container: &str, seconds: f64) {
    app.wind(Duration::minutes(1));
    plant.engine.burn(container, seconds);
    credits::tick(&plant.services).await.unwrap();
}

#[actix_web::test]
async fn a_burstable_server_spends_its_credits_is_held_and_let_go() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let (plant, id) = shop(&app).await;
        let path = format!("/servers/{id}/compute");
        has(&olga.get(&path).await.body, &["CPU credits", "Not measured yet", "20 % of 1 vCore"]);
        let container = member(&plant, &id).await.container();
        let limit = async || plant.engine.spec(&container).unwrap().vcores;
        credits::tick(&plant.services).await.unwrap();
        has(&olga.get(&path).await.body, &["30.0 of 288", "Full CPU", "measured just now"]);
        for _ in 0..40 {
            minute(&app, &plant, &container, 60.0).await;
        }
        assert!((limit().await - 0.2).abs() < 1e-9, "held to 20 %: {}", limit().await);
        olga = again(&app).await;
        let page = olga.get(&path).await.body;
        has(
            &page,
            &["0.0 of 288", "Held to baseline", "No credits were left", "let go at 1 credit."],
        );
        has(&page, &["polyline", "from 30.0 to 0.0", "Minute by minute", "1.00"]);
        let row = app.state.store.credits(&id).await.unwrap().unwrap();
        assert!(row.balance.is_held);

        // A start takes the limit from the same rule; while stopped nothing is earned.
        let stop = plant.door().submit(OperationKind::Stop, &id, &actor(), None).await.unwrap();
        plant.run(&stop).await;
        app.wind(Duration::hours(10));
        credits::tick(&plant.services).await.unwrap();
        let start = plant.door().submit(OperationKind::Start, &id, &actor(), None).await.unwrap();
        plant.run(&start).await;
        assert!((limit().await - 0.2).abs() < 1e-9, "still held");
        credits::tick(&plant.services).await.unwrap();
        assert!(app.state.store.credits(&id).await.unwrap().unwrap().balance.credits < 0.5);

        for _ in 0..6 {
            minute(&app, &plant, &container, 0.0).await;
        }
        assert!((limit().await - 1.0).abs() < 1e-9, "let go: {}", limit().await);
        olga = again(&app).await;
        has(&olga.get(&path).await.body, &["Full CPU"]);
    })
    .await;
}

#[actix_web::test]
async fn credits_end_with_a_size_that_has_none_and_begin_anew() {
    each_database(async |app| {
        let (plant, id) = shop(&app).await;
        let credits_of = async || app.state.store.credits(&id).await.unwrap();
        credits::tick(&plant.services).await.unwrap();
        assert!(credits_of().await.is_some());
        for (to, is_counted) in [("Standard_D2ds_v5", false), ("Standard_B1ms", true)] {
            let input = serde_json::json!({ "to": to });
            let change = Change::new(OperationKind::Scale, "", &input);
            let scale = plant.door().submit_change(change, &id, &actor(), None).await.unwrap();
            plant.run(&scale).await;
            app.wind(Duration::minutes(1));
            credits::tick(&plant.services).await.unwrap();
            assert_eq!(credits_of().await.is_some(), is_counted, "{to}");
        }
        let anew = credits_of().await.unwrap().balance.credits;
        assert!((anew - 30.0).abs() < 1e-9, "as a new server: {anew}");
    })
    .await;
}

#[actix_web::test]
async fn the_monitor_leaves_alone_what_is_at_work_and_what_others_limited() {
    each_database(async |app| {
        let (plant, id) = shop(&app).await;
        let container = member(&plant, &id).await.container();
        credits::tick(&plant.services).await.unwrap();
        let before = app.state.store.credits(&id).await.unwrap();
        let restart =
            plant.door().submit(OperationKind::Restart, &id, &actor(), None).await.unwrap();
        minute(&app, &plant, &container, 3_000.0).await;
        assert_eq!(app.state.store.credits(&id).await.unwrap(), before, "an operation waits");
        plant.run(&restart).await;
        let by_hand = pgflex::engine::Limits { vcores: 0.7, memory_bytes: None, pids_max: None };
        plant.engine.update_limits(&container, &by_hand).await.unwrap();
        credits::tick(&plant.services).await.unwrap();
        minute(&app, &plant, &container, 3_000.0).await;
        assert!(app.state.store.is_held(&id).await.unwrap());
        let limit = plant.engine.spec(&container).unwrap().vcores;
        assert!((limit - 0.7).abs() < 1e-9, "drift is for others to find");
    })
    .await;
}
