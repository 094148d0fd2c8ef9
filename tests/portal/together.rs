//! Two people at one server: one wins, the other is told what is under way and where.

use crate::helpers::{Answer, Browser, Plant, TestApp, each_database};
use pgflex::clock::new_uuid;
use pgflex::domain::ids::ServerId;
use pgflex::domain::operation::{OperationKind, OperationStatus};
use pgflex::store::operations::OperationFilter;

/// Forms that need nothing but their key, by their place below the server.
const CHANGES: [&str; 2] = ["/restart", "/repair"];

async fn shop(app: &TestApp) -> (Plant, ServerId, Browser, Browser) {
    let mut olga = app.set_up_owner().await;
    let carl = app.person(&mut olga, "carl", "Contributor").await;
    let plant = Plant::of(app).await;
    let create = plant.submit_create("shop").await;
    let made = plant.run(&create).await;
    assert_eq!(made.status, OperationStatus::Succeeded);
    (plant, made.server_id, olga, carl)
}

async fn send(browser: &mut Browser, server: &ServerId, change: &str, key: &str) -> Answer {
    let path = format!("/servers/{server}{change}");
    browser.press(&path, &[("idempotency_key", key)]).await
}

async fn count(plant: &Plant, server: &ServerId) -> usize {
    let filter = OperationFilter { server_id: Some(server.clone()), ..Default::default() };
    plant.services.store.operations(&filter).await.unwrap().len()
}

#[actix_web::test]
async fn of_two_changes_at_once_one_wins_and_the_other_is_told() {
    for first in CHANGES {
        for second in CHANGES {
            each_database(async |app| {
                let (plant, server, mut olga, mut carl) = shop(&app).await;
                let (one, other) = (new_uuid(), new_uuid());
                let (mine, theirs) = futures_util::future::join(
                    send(&mut olga, &server, first, &one),
                    send(&mut carl, &server, second, &other),
                )
                .await;
                let mut statuses = [mine.status, theirs.status];
                statuses.sort_unstable();
                assert_eq!(statuses, [303, 409], "{first} and {second}");
                assert_eq!(count(&plant, &server).await, 2, "the creation and one of the two");
                let (won, lost) = if mine.status == 303 { (mine, theirs) } else { (theirs, mine) };
                let label = plant.operation(&id(won.location())).await.kind.label();
                let reason = format!("“{label}” is under way. Wait until it has ended.");
                assert!(lost.body.contains(&reason), "{reason}: {}", lost.body);
                // The page that was sent is drawn with the banner of now, which links the winner.
                assert!(lost.body.contains(won.location()), "{}", lost.body);
            })
            .await;
        }
    }
}

fn id(location: &str) -> pgflex::domain::ids::OperationId {
    let id = location.strip_prefix("/operations/").unwrap();
    pgflex::domain::ids::OperationId::parse(id).unwrap()
}

#[actix_web::test]
async fn the_same_form_sent_twice_is_one_operation() {
    each_database(async |app| {
        let (plant, server, mut olga, _) = shop(&app).await;
        for change in CHANGES {
            let before = count(&plant, &server).await;
            let (key, mut again) = (new_uuid(), olga.clone());
            let (one, two) = futures_util::future::join(
                send(&mut olga, &server, change, &key),
                send(&mut again, &server, change, &key),
            )
            .await;
            assert_eq!((one.status, two.status), (303, 303), "{change}");
            assert_eq!(one.location(), two.location(), "{change}");
            plant.run(&id(one.location())).await;
            let late = send(&mut olga, &server, change, &key).await;
            assert_eq!(late.location(), one.location(), "{change}: also after it has ended");
            assert_eq!(count(&plant, &server).await, before + 1, "{change}");
        }
    })
    .await;
}

#[actix_web::test]
async fn two_people_with_the_same_key_are_two_people() {
    each_database(async |app| {
        let (plant, server, mut olga, mut carl) = shop(&app).await;
        let key = new_uuid();
        let mine = send(&mut olga, &server, "/restart", &key).await;
        assert_eq!(send(&mut carl, &server, "/restart", &key).await.status, 409);
        plant.run(&id(mine.location())).await;
        let theirs = send(&mut carl, &server, "/restart", &key).await;
        assert_ne!(theirs.location(), mine.location());
    })
    .await;
}

/// The page was opened while all was well; the server was deleted meanwhile, or is being deleted.
#[actix_web::test]
async fn a_page_that_is_too_old_does_no_harm() {
    each_database(async |app| {
        let (plant, server, mut olga, mut carl) = shop(&app).await;
        let (door, actor) = (plant.door(), crate::helpers::actor());
        let delete = door.submit(OperationKind::Delete, &server, &actor, None).await.unwrap();
        for change in CHANGES {
            let late = send(&mut olga, &server, change, &new_uuid()).await;
            assert_eq!(late.status, 409, "{change}");
            assert!(late.body.contains("“Delete server” is under way"), "{}", late.body);
        }
        assert_eq!(plant.run(&delete).await.status, OperationStatus::Succeeded);
        for change in CHANGES {
            let late = send(&mut carl, &server, change, &new_uuid()).await;
            assert_eq!(late.status, 404, "{change}: it is gone");
            assert!(late.body.contains(delete.as_str()), "it says by which operation");
        }
        assert_eq!(plant.engine.remaining(), Vec::<String>::new());
    })
    .await;
}

/// Cancel and retry of what has moved on since the page was drawn.
#[actix_web::test]
async fn a_button_of_an_old_operations_page_is_refused_with_the_reason() {
    each_database(async |app| {
        let (plant, server, mut olga, mut carl) = shop(&app).await;
        let restart = send(&mut olga, &server, "/restart", &new_uuid()).await;
        let path = restart.location().to_owned();
        let (one, two) = (format!("{path}/cancel"), format!("{path}/cancel"));
        let (first, second) =
            futures_util::future::join(olga.press(&one, &[]), carl.press(&two, &[])).await;
        assert_eq!((first.status, second.status), (303, 303), "both wanted the same");
        assert_eq!(plant.run(&id(&path)).await.status, OperationStatus::Cancelled);
        olga.press(&one, &[]).await;
        let page = olga.get(&path).await.body;
        assert!(page.contains("has ended or is being undone already"), "{page}");
        let key = new_uuid();
        let retry = format!("{path}/retry");
        let (mine, other) = (new_uuid(), key);
        let (a, b) = futures_util::future::join(
            async { olga.press(&retry, &[("idempotency_key", mine.as_str())]).await },
            async { carl.press(&retry, &[("idempotency_key", other.as_str())]).await },
        )
        .await;
        assert_eq!((a.status, b.status), (303, 303));
        let places = [a.location(), b.location()];
        assert!(places.contains(&path.as_str()), "one is led back with the reason: {places:?}");
        assert_eq!(count(&plant, &server).await, 3, "tried again once");
    })
    .await;
}
