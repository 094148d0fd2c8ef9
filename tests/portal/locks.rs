//! Locks: what they stop, what they do not, and who sets them.

use crate::access_world::{Things, assign};
use crate::helpers::{Answer, Browser, Plant, TestApp, actor, each_database};
use crate::server_seed::operation;
use pgflex::clock::new_uuid;
use pgflex::domain::account::Role;
use pgflex::domain::activity::Actor;
use pgflex::domain::operation::{OperationKind, OperationStatus};
use pgflex::operations::submit::{Door, SubmitError};

async fn add(owner: &mut Browser, path: &str, name: &str, kind: &str) {
    let pairs = [("lock_name", name), ("kind", kind), ("note", "because")];
    let answer = owner.press(path, &pairs).await;
    assert_eq!(answer.status, 303, "{}", answer.body);
}

/// Removes the first lock that the page offers to remove.
async fn remove_first(owner: &mut Browser, page: &str) {
    let body = owner.get(page).await.body;
    let mut paths = body.split("action=\"").filter_map(|rest| rest.split('"').next());
    let path = paths.find(|path| path.ends_with("/remove") && path.contains("/locks/"));
    assert_eq!(owner.press(path.unwrap(), &[]).await.status, 303);
}

async fn restart(who: &mut Browser, things: &Things) -> Answer {
    let key = new_uuid();
    who.press(&things.server.path("/restart"), &[("idempotency_key", &key)]).await
}

async fn delete(who: &mut Browser, things: &Things) -> Answer {
    let key = new_uuid();
    let pairs = [("idempotency_key", key.as_str()), ("name", things.server.name.as_str())];
    who.press(&things.server.path("/delete"), &pairs).await
}

#[actix_web::test]
async fn a_delete_lock_stops_deletion_and_names_itself() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let shop = Things::new(&app, "shop", 20_001).await;
        let locks = shop.server.path("/locks");
        add(&mut olga, &locks, "keep", "CanNotDelete").await;
        let page = olga.get(&shop.server.path("")).await.body;
        assert!(page.contains("Delete is closed: The lock “keep” on this server"), "{page}");
        let refused = delete(&mut olga, &shop).await;
        assert!(refused.status == 409 && refused.body.contains("“keep”"), "{}", refused.status);
        assert_eq!(restart(&mut olga, &shop).await.status, 303, "changes are open");
        let twice = [("lock_name", "keep"), ("kind", "ReadOnly"), ("note", "")];
        assert_eq!(olga.press(&locks, &twice).await.status, 422);
        let actions: Vec<_> = app.activities().await.into_iter().map(|line| line.action).collect();
        assert!(actions.contains(&"lock.create".into()));
    })
    .await;
}

#[actix_web::test]
async fn a_read_only_lock_of_the_group_stops_every_change_in_it() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let shop = Things::new(&app, "shop", 20_001).await;
        let bank = Things::new(&app, "bank", 20_002).await;
        add(&mut olga, &shop.group_path("/locks"), "freeze", "ReadOnly").await;
        for answer in [restart(&mut olga, &shop).await, delete(&mut olga, &shop).await] {
            assert_eq!(answer.status, 409);
            assert!(answer.body.contains("“freeze” on resource group shop"), "{}", answer.body);
        }
        let rule = [("rule_name", "office"), ("start", "203.0.113.7"), ("end", "")];
        let refused = olga.press(&shop.server.path("/networking"), &rule).await;
        assert!(refused.status == 422 && refused.body.contains("“freeze”"));
        let tags = [("tag_name", "a"), ("tag_value", "b"), ("seen", ""), ("action", "save")];
        let refused = olga.press(&shop.server.path("/tags"), &tags).await;
        assert!(refused.status == 409 && refused.body.contains("“freeze”"));
        let autogrow = shop.server.path("/storage/autogrow");
        assert_eq!(olga.press(&autogrow, &[("autogrow", "on")]).await.status, 303);
        let stored = app.state.store.server(&shop.server.id).await.unwrap().unwrap();
        assert!(!stored.configuration.autogrow, "the switch is a change too");
        let group = [("group", bank.group.as_str())];
        let path = shop.server.path("/group");
        assert_eq!(olga.press(&path, &group).await.status, 409);
        let back = [("group", shop.group.as_str())];
        let into = olga.press(&bank.server.path("/group"), &back).await;
        assert_eq!(into.status, 409, "nothing comes in either");
        let rename = [("group_name", "shop-two")];
        assert_eq!(olga.press(&shop.group_path("/rename"), &rename).await.status, 422);
        assert_eq!(restart(&mut olga, &bank).await.status, 303, "another group");
        remove_first(&mut olga, &shop.group_path("")).await;
        add(&mut olga, &shop.group_path("/locks"), "keep", "CanNotDelete").await;
        assert_eq!(olga.press(&path, &group).await.status, 409, "it would shed the lock");
        remove_first(&mut olga, &shop.group_path("")).await;
        assert_eq!(restart(&mut olga, &shop).await.status, 303);
    })
    .await;
}

#[actix_web::test]
async fn only_owners_of_the_server_set_and_remove_locks() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let mut mia = app.person(&mut olga, "mia", "Member").await;
        let shop = Things::new(&app, "shop", 20_001).await;
        assign(&mut olga, &shop, "mia", Role::Contributor).await;
        let locks = shop.server.path("/locks");
        add(&mut olga, &locks, "keep", "CanNotDelete").await;
        let page = mia.get(&locks).await.body;
        assert!(page.contains("keep") && !page.contains("/remove"), "she sees it and no button");
        assign(&mut olga, &shop, "mia", Role::Owner).await;
        remove_first(&mut mia, &locks).await;
        assert_eq!(delete(&mut mia, &shop).await.status, 303);
    })
    .await;
}

fn door(app: &TestApp) -> Door<'_> {
    let state = &app.state;
    Door { store: &state.store, clock: &*state.clock, poke: &state.poke }
}

#[actix_web::test]
async fn the_portals_own_work_goes_on_but_deletes_nothing() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let shop = Things::new(&app, "shop", 20_001).await;
        add(&mut olga, &shop.server.path("/locks"), "freeze", "ReadOnly").await;
        let (door, id, own) = (door(&app), &shop.server.id, Actor::system());
        let kind = OperationKind::RenewCertificate;
        let refused = door.submit(kind, id, &actor(), None).await.unwrap_err();
        assert!(matches!(refused, SubmitError::Refused(_)), "a person is held up");
        let refused = door.submit(OperationKind::Delete, id, &own, None).await.unwrap_err();
        assert!(matches!(refused, SubmitError::Refused(_)));
        door.submit(kind, id, &own, None).await.unwrap();
    })
    .await;
}

#[actix_web::test]
async fn a_lock_that_came_later_stops_a_retry_but_neither_cancel_nor_abandon() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let shop = Things::new(&app, "shop", 20_001).await;
        let bank = Things::new(&app, "bank", 20_002).await;
        let parked =
            operation(&app, &shop.server, OperationKind::Delete, OperationStatus::NeedsAttention)
                .await;
        let running =
            operation(&app, &bank.server, OperationKind::Restart, OperationStatus::Running).await;
        add(&mut olga, &shop.server.path("/locks"), "keep", "CanNotDelete").await;
        add(&mut olga, &bank.server.path("/locks"), "freeze", "ReadOnly").await;
        let key = new_uuid();
        let retry = format!("/operations/{parked}/retry");
        assert_eq!(olga.press(&retry, &[("idempotency_key", &key)]).await.status, 303);
        assert!(olga.get(&format!("/operations/{parked}")).await.body.contains("“keep”"));
        let store = &app.state.store;
        let status = store.operation(&parked).await.unwrap().unwrap().status;
        assert_eq!(status, OperationStatus::NeedsAttention, "nothing of it went on");
        olga.press(&format!("/operations/{parked}/abandon"), &[]).await;
        let status = store.operation(&parked).await.unwrap().unwrap().status;
        assert_eq!(status, OperationStatus::Failed);
        olga.press(&format!("/operations/{running}/cancel"), &[]).await;
        assert!(store.operation(&running).await.unwrap().unwrap().cancel_requested);
    })
    .await;
}

#[actix_web::test]
async fn a_deleted_server_takes_its_locks_along() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let plant = Plant::of(&app).await;
        let create = plant.submit_create("shop").await;
        let server = plant.run(&create).await.server_id;
        let door = plant.door();
        let deletion = door.submit(OperationKind::Delete, &server, &actor(), None).await.unwrap();
        add(&mut olga, &format!("/servers/{server}/locks"), "late", "CanNotDelete").await;
        assert_eq!(plant.run(&deletion).await.status, OperationStatus::Succeeded, "it had begun");
        assert!(app.state.store.locks_on_server(&server).await.unwrap().is_empty());
    })
    .await;
}
