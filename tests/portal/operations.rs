//! The pages of operations: what each status says, who may do what, and the live part.

use crate::helpers::{Answer, Browser, Plant, TestApp, each_database};
use chrono::Duration;
use pgflex::clock::new_uuid;
use pgflex::domain::ids::OperationId;
use pgflex::domain::operation::{OperationKind, OperationStatus};
use pgflex::engine::EngineError;
use pgflex::engine::fake::Fault;
use pgflex::operations::runner::{Hook, Interference, Moment, Point};
use pgflex::web::handlers::operation_events::open_streams;
use std::sync::Arc;

/// Every time this step is about to act, it fails for good.
fn failing(step: &'static str, while_undoing: bool) -> Hook {
    Arc::new(move |moment: Moment<'_>| {
        let here = moment.step == step && moment.point == Point::Begun;
        if here && moment.undoing == while_undoing {
            Interference::Fail
        } else {
            Interference::None
        }
    })
}

async fn page(browser: &mut Browser, id: &OperationId) -> String {
    let answer = browser.get(&format!("/operations/{id}")).await;
    assert_eq!(answer.status, 200);
    answer.body
}

fn assert_says(body: &str, parts: &[&str]) {
    for part in parts {
        assert!(body.contains(part), "{part:?} is not on the page:\n{body}");
    }
}

/// Waits until Olga has this many streams open, however slow the machine is.
async fn until_streams(app: &TestApp, count: usize) {
    let (olga, _) = app.state.store.user_by_login("olga").await.unwrap().unwrap();
    while open_streams(&olga.id) < count {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    // What the stream sends first is on its way.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
}

async fn press(browser: &mut Browser, id: &OperationId, what: &str) -> Answer {
    let key = new_uuid();
    browser.press(&format!("/operations/{id}/{what}"), &[("idempotency_key", key.as_str())]).await
}

#[actix_web::test]
async fn the_plan_stands_from_the_first_moment() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let plant = Plant::of(&app).await;
        let id = plant.submit_create("shop").await;
        let body = page(&mut olga, &id).await;
        assert_says(
            &body,
            &[
                "Create server shop",
                "Queued",
                "0 of 11 steps",
                "Reserve a place on a host",
                "Open the way in",
                "not measured yet",
                "The database becomes available when the last step is done.",
                "ada",
                "from 198.51.100.9",
                "No step has written anything yet.",
                "/cancel\"",
            ],
        );
        assert_says(
            &body,
            &[
                &format!("data-live=\"/operations/{id}/events\""),
                "<noscript><meta http-equiv=\"refresh\" content=\"2\"></noscript>",
            ],
        );
        let still = olga.get(&format!("/operations/{id}?still=1")).await.body;
        assert!(!still.contains("http-equiv"), "who asks for a still page gets one");
        app.wind(Duration::minutes(25));
        assert_says(
            &page(&mut olga, &id).await,
            &["No runner has taken it", "longer than expected"],
        );
    })
    .await;
}

#[actix_web::test]
async fn success_leads_on_and_the_next_one_knows_how_long_it_takes() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let plant = Plant::of(&app).await;
        let id = plant.submit_create("shop").await;
        let done = plant.run(&id).await;
        let body = page(&mut olga, &id).await;
        let connect = format!("/servers/{}/connect", done.server_id);
        assert_says(&body, &["It succeeded.", "11 of 11 steps", &connect, "usually "]);
        assert!(
            !body.contains("data-live=") && !body.contains("http-equiv"),
            "nothing moves any more"
        );
        assert!(!body.contains("/retry\"") && !body.contains("/cancel\""));
        let next = plant.submit_create("shop2").await;
        let body = page(&mut olga, &next).await;
        assert_says(&body, &["usually under 0.1 s", "should end any moment"]);
    })
    .await;
}

#[actix_web::test]
async fn a_failure_says_everything_and_is_tried_again_once() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let plant = Plant::of(&app).await;
        plant.engine.inject(
            "ensure_disk",
            99,
            Fault::Fail(EngineError::NoSpace("<b>full</b>".into())),
        );
        let id = plant.submit_create("shop").await;
        assert_eq!(plant.run(&id).await.status, OperationStatus::Failed);
        let body = page(&mut olga, &id).await;
        assert_says(
            &body,
            &[
                "It failed at “Create the data volume”",
                "&#60;b&#62;full&#60;/b&#62;",
                "no container, volume or network is left",
                "What to do",
                "/retry\"",
                "Delete the server",
                "Failed, undone",
            ],
        );
        assert!(!body.contains("<b>full"), "what a host says is text");

        let mut rita = app.person(&mut olga, "rita", "Reader").await;
        let body = page(&mut rita, &id).await;
        assert!(!body.contains("/retry\"") && body.contains("Your role is Reader"));
        assert_eq!(press(&mut rita, &id, "retry").await.status, 403);

        plant.engine.heal();
        let key = new_uuid();
        let pairs = [("idempotency_key", key.as_str())];
        let path = format!("/operations/{id}/retry");
        let first = olga.press(&path, &pairs).await.location().to_owned();
        assert_eq!(
            olga.press(&path, &pairs).await.location(),
            first,
            "a double press is one retry"
        );
        assert_ne!(first, format!("/operations/{id}"));
        let later = OperationId::parse(first.strip_prefix("/operations/").unwrap()).unwrap();
        assert_eq!(plant.run(&later).await.status, OperationStatus::Succeeded);
        assert_says(
            &page(&mut olga, &later).await,
            &[&format!("href=\"/operations/{id}\""), "Tries again"],
        );
        let body = page(&mut olga, &id).await;
        assert_says(&body, &["It was tried again", &first]);
        assert!(!body.contains("/retry\""), "the later one speaks for itself");
        press(&mut olga, &id, "retry").await;
        assert_says(&page(&mut olga, &id).await, &["banner-danger"]);
    })
    .await;
}

#[actix_web::test]
async fn cancel_is_for_contributors_and_takes_back() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let mut rita = app.person(&mut olga, "rita", "Reader").await;
        let mut carl = app.person(&mut olga, "carl", "Contributor").await;
        let plant = Plant::of(&app).await;
        let id = plant.submit_create("shop").await;
        assert_eq!(press(&mut rita, &id, "cancel").await.status, 403);
        let answer = press(&mut carl, &id, "cancel").await;
        assert_eq!((answer.status, answer.location()), (303, format!("/operations/{id}").as_str()));
        let body = page(&mut carl, &id).await;
        assert_says(&body, &["It was asked to cancel"]);
        assert!(!body.contains("/cancel\""), "asked once is enough");
        assert_eq!(plant.run(&id).await.status, OperationStatus::Cancelled);
        assert_says(
            &page(&mut carl, &id).await,
            &["It was cancelled.", "What was left", "/retry\""],
        );
        assert_eq!(plant.engine.remaining(), Vec::<String>::new());
        press(&mut carl, &id, "cancel").await;
        assert_says(&page(&mut carl, &id).await, &["has ended or is being undone already"]);
    })
    .await;
}

#[actix_web::test]
async fn what_needs_attention_is_retried_or_abandoned() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let mut rita = app.person(&mut olga, "rita", "Reader").await;
        let plant = Plant::of(&app).await;
        let id = plant.submit(OperationKind::Delete, "shop").await;
        let parked = plant.run_with(failing("remove_volume", false), &id).await;
        assert_eq!(parked.status, OperationStatus::NeedsAttention);
        let body = page(&mut olga, &id).await;
        assert_says(
            &body,
            &[
                "Needs attention",
                "“Delete the data volume” failed",
                "point of no return",
                "Retry from the failed step",
                "Abandon…",
            ],
        );
        let log = olga.get("/activity?action=server.delete&outcome=Started").await.body;
        assert!(log.contains("Needs attention") && !log.contains("Under way"), "{log}");
        assert!(olga.get("/activity.csv").await.body.contains(",NeedsAttention,"));
        pgflex::monitor::observe::tick(&plant.services).await.unwrap();
        assert_says(&olga.get("/hosts").await.body, &["Dropping", "No container"]);
        assert_eq!(rita.get(&format!("/operations/{id}/abandon")).await.status, 403);
        assert_eq!(press(&mut rita, &id, "abandon").await.status, 403);
        let asks = olga.get(&format!("/operations/{id}/abandon")).await;
        assert_says(&asks.body, &["Nothing is removed by abandoning", "-data", "local"]);
        assert_eq!(press(&mut olga, &id, "retry").await.location(), format!("/operations/{id}"));
        let hosts = olga.get("/hosts").await.body;
        assert!(hosts.contains("Removed") && !hosts.contains("No container"), "{hosts}");
        assert_eq!(plant.run(&id).await.status, OperationStatus::Succeeded);
        assert_says(
            &page(&mut olga, &id).await,
            &["The server and its data are gone", "(deleted)"],
        );

        let id = plant.submit(OperationKind::Delete, "other").await;
        plant.run_with(failing("remove_volume", false), &id).await;
        assert_eq!(press(&mut olga, &id, "abandon").await.status, 303);
        assert_eq!(plant.operation(&id).await.status, OperationStatus::Failed);
        assert_says(
            &page(&mut olga, &id).await,
            &["given up half way", "The operation was abandoned"],
        );
        let late = olga.get(&format!("/operations/{id}/abandon")).await;
        assert_eq!(late.status, 303, "there is nothing left to abandon");
    })
    .await;
}

#[actix_web::test]
async fn a_stuck_undo_is_named() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let plant = Plant::of(&app).await;
        plant.engine.inject(
            "remove_network",
            99,
            Fault::Fail(EngineError::Refused("in use".into())),
        );
        let id = plant.submit_create("shop").await;
        plant.engine.inject("ensure_disk", 99, Fault::Fail(EngineError::NoSpace("full".into())));
        assert_eq!(plant.run(&id).await.status, OperationStatus::NeedsAttention);
        assert_says(
            &page(&mut olga, &id).await,
            &[
                "Taking back “Create the private network” does not work either",
                "Undo is stuck",
                "Why it cannot be undone",
            ],
        );
    })
    .await;
}

#[actix_web::test]
async fn the_log_is_shown_as_text() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let plant = Plant::of(&app).await;
        let id = plant.submit_create("shop").await;
        let (now, until) = (app.state.now(), app.state.now() + Duration::seconds(30));
        let lease = app.state.store.claim_operation("test", now, until).await.unwrap().unwrap();
        let lines: Vec<String> = (0..250)
            .map(|n| format!("line {n} <script>alert(1)</script> \u{1b}[31m\u{202e}x"))
            .collect();
        app.state.store.append_operation_log(&lease, now, "ensure_image", &lines).await.unwrap();
        let body = page(&mut olga, &id).await;
        assert_says(&body, &["The last 200 lines", "line 249 &#60;script&#62;", "ensure_image"]);
        assert!(
            !body.contains("<script>alert")
                && !body.contains('\u{202e}')
                && !body.contains('\u{1b}')
        );
        assert!(!body.contains("line 49 "));
    })
    .await;
}

#[actix_web::test]
async fn events_send_the_same_part_and_end_when_it_settles() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let plant = Plant::of(&app).await;
        let id = plant.submit_create("shop").await;
        let mut watcher = olga.clone();
        let events = format!("/operations/{id}/events");
        let watch = watcher.get(&events);
        let work = async {
            until_streams(&app, 1).await;
            plant.run(&id).await
        };
        let (stream, _) = futures_util::future::join(watch, work).await;
        assert_eq!(stream.header("content-type"), "text/event-stream; charset=utf-8");
        assert_eq!(stream.header("cache-control"), "no-store");
        let parts: Vec<&str> = stream.body.split("\n\n").filter(|part| !part.is_empty()).collect();
        assert_eq!(parts[0], "retry: 2000");
        assert_says(parts[1], &["event: message", "data: <div id=\"operation\"", "0 of 11 steps"]);
        assert_eq!(parts.last().unwrap(), &"event: done\ndata: settled");
        assert_says(parts[parts.len() - 2], &["It succeeded.", "11 of 11 steps"]);

        let part = olga.get(&format!("/operations/{id}/fragment")).await;
        assert!(part.body.starts_with("<div id=\"operation\"") && !part.body.contains("<html"));
        let settled = olga.get(&events).await;
        assert!(
            settled.body.contains("It succeeded.") && settled.body.ends_with("data: settled\n\n")
        );
    })
    .await;
}

#[actix_web::test]
async fn a_person_has_only_so_many_streams() {
    each_database(async |app| {
        let olga = app.set_up_owner().await;
        let plant = Plant::of(&app).await;
        let id = plant.submit_create("shop").await;
        let events = format!("/operations/{id}/events");
        let mut browsers: Vec<Browser> = (0..5).map(|_| olga.clone()).collect();
        let mut last = browsers.pop().unwrap();
        let open = futures_util::future::join_all(browsers.iter_mut().map(|one| one.get(&events)));
        let refused = async {
            until_streams(&app, 4).await;
            let refused = last.get(&events).await;
            plant.run(&id).await;
            refused
        };
        let (open, refused) = futures_util::future::join(open, refused).await;
        assert!(open.iter().all(|stream| stream.status == 200));
        assert_eq!(refused.status, 429);
        assert_eq!(last.get(&events).await.status, 200, "an ended stream frees its place");
    })
    .await;
}

#[actix_web::test]
async fn a_stream_ends_with_its_session() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let plant = Plant::of(&app).await;
        let id = plant.submit_create("shop").await;
        let mut watcher = olga.clone();
        let events = format!("/operations/{id}/events");
        let watch = watcher.get(&events);
        let leave = async {
            until_streams(&app, 1).await;
            olga.press("/sign-out", &[]).await
        };
        let (stream, _) = futures_util::future::join(watch, leave).await;
        let end = format!("event: done\ndata: /sign-in?return_to=/operations/{id}\n\n");
        assert!(stream.body.ends_with(&end), "{}", stream.body);
    })
    .await;
}

#[actix_web::test]
async fn ids_that_lead_nowhere_are_not_found() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        for id in ["x", "01890a5d-ac96-774b-bcce-b302099a8057", "%3Cscript%3E"] {
            for path in ["", "/events", "/fragment", "/abandon"] {
                assert_eq!(olga.get(&format!("/operations/{id}{path}")).await.status, 404);
            }
            for path in ["retry", "cancel", "abandon"] {
                assert_eq!(olga.press(&format!("/operations/{id}/{path}"), &[]).await.status, 404);
            }
        }
    })
    .await;
}

#[actix_web::test]
async fn the_list_filters_and_pages() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        assert_says(&olga.get("/operations").await.body, &["No operations yet", "Create a server"]);
        let plant = Plant::of(&app).await;
        for number in 0..51 {
            plant.submit_create(&format!("app-{number}")).await;
        }
        let first = olga.get("/operations").await.body;
        assert_says(&first, &["> app-50</span>", "> app-1</span>", "Queued", "data-live-poll"]);
        assert!(!first.contains("> app-0</span>") && !first.contains(">Newer<"));
        let older =
            first.split("href=\"/operations?before=").nth(1).unwrap().split('"').next().unwrap();
        let second = olga.get(&format!("/operations?before={older}")).await.body;
        assert_says(&second, &["> app-0</span>", "href=\"/operations\">Newer<"]);
        assert!(!second.contains(">Older<") && !second.contains("> app-1</span>"));
        let none = olga.get("/operations?status=failed&kind=restart").await.body;
        assert_says(&none, &["No operation matches"]);
        let some = olga.get("/operations?status=queued&kind=create").await.body;
        assert_says(&some, &["> app-50</span>", "value=\"queued\" selected"]);
        assert_says(
            &olga.get("/operations?status=%22%3E&before=x").await.body,
            &["> app-50</span>"],
        );
    })
    .await;
}
