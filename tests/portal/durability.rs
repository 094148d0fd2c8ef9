//! Durability chosen anew by a person: what is said, who may, what is refused.

use crate::ha_seed::{Engines, Pair, healthy, moved};
use crate::helpers::{Answer, Browser, TestApp, each_database};
use crate::server_seed::seed;
use pgflex::clock::new_uuid;
use pgflex::domain::ha::Move;
use pgflex::domain::network::Access;
use pgflex::domain::operation::OperationKind;
use pgflex::domain::server::SettledState;
use pgflex::store::operations::OperationFilter;

fn has(body: &str, parts: &[&str]) {
    for part in parts {
        assert!(body.contains(part), "{part:?} in {body}");
    }
}

fn path(pair: &Pair) -> String {
    pair.server.path("/high-availability/durability")
}

/// What the form of a page has in a hidden field.
fn hidden<'a>(page: &'a str, name: &str) -> &'a str {
    let field = page.split(&format!("name=\"{name}\" value=\"")).nth(1).unwrap();
    field.split('"').next().unwrap()
}

async fn press(browser: &mut Browser, pair: &Pair, page: &str, to: &str) -> Answer {
    let key = new_uuid();
    let pairs = [
        ("idempotency_key", key.as_str()),
        ("version", hidden(page, "version")),
        ("durability", to),
    ];
    browser.press(&path(pair), &pairs).await
}

async fn operations(app: &TestApp, pair: &Pair) -> Vec<(OperationKind, serde_json::Value)> {
    let filter = OperationFilter { server_id: Some(pair.server.id.clone()), ..Default::default() };
    let all = app.state.store.operations(&filter).await.unwrap();
    all.into_iter().map(|one| (one.kind, one.input)).collect()
}

#[actix_web::test]
async fn it_is_changed_from_the_page_that_says_what_it_does() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let mut rita = app.person(&mut olga, "rita", "Reader").await;
        let pair = healthy(&app, "shop", Engines::Two).await;
        let page = olga.get(&pair.server.path("/high-availability")).await.body;
        has(&page, &["Change durability…", "Preferred now: without a standby, writes go on"]);
        let page = olga.get(&path(&pair)).await.body;
        has(&page, &["Change the durability of shop to Required?", "Chosen now.", "Always on two"]);
        has(&page, &["nothing changes for writes", "Change to Required", "No connection ends"]);
        assert_eq!(hidden(&page, "durability"), "Required");

        assert_eq!(rita.get(&path(&pair)).await.status, 403);
        assert_eq!(press(&mut rita, &pair, &page, "Required").await.status, 403);
        assert!(operations(&app, &pair).await.is_empty());

        assert_eq!(press(&mut olga, &pair, &page, "Required").await.status, 303);
        let (kind, input) = operations(&app, &pair).await.remove(0);
        assert_eq!(
            (kind, &input["durability"]),
            (OperationKind::ChangeDurability, &"Required".into())
        );
        let page = olga.get(&path(&pair)).await.body;
        has(&page, &["“Change durability” is under way", "disabled"]);
        let page = olga.get(&pair.server.path("/high-availability")).await.body;
        has(&page, &["<strong>Change durability</strong>", "Open the operation"]);
    })
    .await;
}

#[actix_web::test]
async fn a_form_is_good_for_what_its_page_has_said() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let pair = healthy(&app, "shop", Engines::Two).await;
        let page = olga.get(&path(&pair)).await.body;
        for (to, words) in [("Preferred", "is Preferred already"), ("", "Choose Preferred or")] {
            let answer = press(&mut olga, &pair, &page, to).await;
            assert_eq!(answer.status, 409, "{to}");
            has(&answer.body, &[words, "Nothing was changed."]);
        }
        // The standby is lost while the person reads: now writes would stop.
        moved(&app, &pair, Move::DisarmBegins).await;
        let answer = press(&mut olga, &pair, &page, "Required").await;
        assert_eq!(answer.status, 409);
        has(&answer.body, &["has changed since", "every write waits", "button-danger-solid"]);
        assert!(operations(&app, &pair).await.is_empty());

        // Another person chose the same meanwhile: one wins.
        moved(&app, &pair, Move::Disarmed).await;
        let row = app.state.store.ha(&pair.server.id).await.unwrap().unwrap();
        let page = olga.get(&path(&pair)).await.body;
        let durability = pgflex::domain::ha::Durability::Required;
        let change =
            Move::Chosen { mode: row.mode, durability, standby_zone: row.standby_zone.clone() };
        moved(&app, &pair, change).await;
        let answer = press(&mut olga, &pair, &page, "Required").await;
        assert_eq!(answer.status, 409);
        has(
            &answer.body,
            &["is Required already", "Change to Preferred", "are acknowledged and go on"],
        );
        let page = olga.get(&path(&pair)).await.body;
        assert_eq!(press(&mut olga, &pair, &page, "Preferred").await.status, 303);
    })
    .await;
}

#[actix_web::test]
async fn it_is_asked_for_beside_a_build_and_not_without_a_pair() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let pair = healthy(&app, "shop", Engines::Two).await;
        moved(&app, &pair, Move::DisarmBegins).await;
        moved(&app, &pair, Move::Disarmed).await;
        let door = pgflex::web::handlers::servers::nav::door(&app.state);
        let system = pgflex::domain::activity::Actor::system();
        door.submit(OperationKind::BuildStandby, &pair.server.id, &system, None).await.unwrap();
        let page = olga.get(&path(&pair)).await.body;
        has(&page, &["Change to Required", "every write waits until a standby is there again"]);
        assert_eq!(press(&mut olga, &pair, &page, "Required").await.status, 303);

        let plain = seed(&app, "plain", Access::Public, SettledState::Ready, 20_002).await;
        let page = olga.get(&plain.path("/high-availability/durability")).await.body;
        has(&page, &["High availability is not enabled.", "disabled"]);
        let (key, asked) = (new_uuid(), ("durability", "Required"));
        let pairs = [("idempotency_key", key.as_str()), asked];
        let answer = olga.press(&plain.path("/high-availability/durability"), &pairs).await;
        assert_eq!(answer.status, 409);
        has(&answer.body, &["High availability is not enabled. Nothing was changed."]);
    })
    .await;
}
