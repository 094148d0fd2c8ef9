//! Recovery of the portal and the escrow file: pages of owners, a key that leaves only after a password and never unseen.

use crate::helpers::{TestApp, each_database};
use crate::server_seed::{Seeded, ready};
use chrono::Duration;
use pgflex::clock::Clock;
use pgflex::operations::access::{sealed_place, secret};
use pgflex::store::Record;

const KEY: &str = "bm90LWEta2V5LW9mLWFueWJvZHk=";

async fn keep_key(app: &TestApp, server: &Seeded) {
    let place = sealed_place(&server.id, secret::BACKUP_CIPHER);
    let sealed = app.state.sealer.seal(&place, KEY.as_bytes()).unwrap();
    let mut tx = app.state.store.begin_write(app.clock.now()).await.unwrap();
    tx.put_server_secret(&server.id, secret::BACKUP_CIPHER, sealed, None).await.unwrap();
    tx.commit(Record::Nothing("a story begins")).await.unwrap();
}

#[actix_web::test]
async fn the_page_tells_of_each_place_and_of_none() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let store = &app.state.store;
        assert!(olga.get("/settings/recovery").await.body.contains("Not backed up yet"));
        assert!(olga.get("/hosts").await.body.contains("/settings/recovery"));
        let hosts = store
            .register_hosts(app.clock.now(), &[("rack".into(), "unix:///x".into(), vec![])])
            .await
            .unwrap();
        let rack = hosts[0].id.as_str();
        store.note_store_backup(app.clock.now(), "", Ok(46_000)).await.unwrap();
        store.note_store_backup(app.clock.now(), rack, Err("<no> room".into())).await.unwrap();
        let body = olga.get("/settings/recovery").await.body;
        for part in
            ["No host has a backup", "46,000 bytes", "Host rack", "Failing", "&#60;no&#62; room"]
        {
            assert!(body.contains(part), "{part}: {body}");
        }
        store.note_store_backup(app.clock.now(), rack, Ok(46_000)).await.unwrap();
        let body = olga.get("/settings/recovery").await.body;
        assert!(body.contains("on a host too") && !body.contains("no&#62; room"), "{body}");
        let long_ago = app.clock.now() - Duration::hours(3);
        store.note_store_backup(long_ago, rack, Ok(46_000)).await.unwrap();
        let body = olga.get("/settings/recovery").await.body;
        assert!(body.contains("Too old") && body.contains("No host has a backup"), "{body}");
        let mut carl = app.person(&mut olga, "carl", "Contributor").await;
        assert_eq!(carl.get("/settings/recovery").await.status, 403);
        assert!(!carl.get("/hosts").await.body.contains("/settings/recovery"));
    })
    .await;
}

#[actix_web::test]
async fn the_escrow_file_is_for_owners_after_their_password_and_in_the_log() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let shop = ready(&app, "shop").await;
        let path = shop.path("/escrow");
        let none = olga.get(&path).await;
        assert!(none.status == 200 && none.body.contains("There is no key yet"), "{}", none.body);
        assert_eq!(olga.press(&path, &[]).await.status, 409);
        keep_key(&app, &shop).await;
        let page = olga.get(&path).await;
        assert!(page.body.contains("Download escrow file") && !page.body.contains(KEY));
        let file = olga.press(&path, &[]).await;
        assert_eq!(file.status, 200);
        assert!(file.header("content-type").starts_with("text/plain"));
        assert_eq!(
            file.header("content-disposition"),
            "attachment; filename=\"pgflex-escrow-shop.txt\""
        );
        assert_eq!(file.header("cache-control"), "no-store");
        assert!(file.body.contains(&format!("repo1-cipher-pass={KEY}\n")), "{}", file.body);
        let lines = app.activities().await;
        let line = lines.iter().find(|line| line.action == "server_escrow.download").unwrap();
        assert_eq!((line.actor_name.as_str(), line.subject.as_str()), ("olga", "shop"));
        assert!(!line.detail.contains(KEY));
        // An old password is asked for again, by the page and by the file.
        app.wind(Duration::minutes(11));
        for answer in [olga.get(&path).await, olga.press(&path, &[]).await] {
            assert_eq!(answer.status, 303);
            assert!(answer.location().starts_with("/confirm-password"), "{}", answer.location());
        }
        let mut carl = app.person(&mut olga, "carl", "Contributor").await;
        assert_eq!(carl.get(&path).await.status, 403);
        assert_eq!(carl.press(&path, &[]).await.status, 403);
    })
    .await;
}
