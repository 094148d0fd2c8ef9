//! Backups in two zones as people see them: chosen with its price, told as it stands, restored from either, and ended.

use crate::backup_seed::{Plan, now, second};
use crate::backups::{has, lacks};
use crate::ha_seed::{Engines, hosts_at, second_host};
use crate::helpers::{Browser, TestApp, each_database};
use crate::server_seed::{Seeded, ready};
use chrono::Duration;
use pgflex::clock::{Clock, new_uuid};
use pgflex::domain::backup::{Redundancy, RepositoryState};
use pgflex::domain::operation::OperationKind;
use pgflex::store::operations::OperationFilter;

/// A server with backups in one zone, and a host in another.
async fn shop(app: &TestApp) -> (Seeded, pgflex::domain::ids::HostId) {
    let server = ready(app, "shop").await;
    let far = second_host(app, &Engines::Two).await;
    Plan::usual(app).write(app, &server).await;
    (server, far)
}

async fn zone(app: &TestApp, server: &Seeded) {
    let mut plan = Plan::usual(app);
    plan.redundancy = Redundancy::Zone;
    plan.write(app, server).await;
}

async fn save(
    app: &TestApp,
    olga: &mut Browser,
    server: &Seeded,
    more: &[(&str, &str)],
) -> (u16, String) {
    let version = app.state.store.protection(&server.id).await.unwrap().version.to_string();
    let mut pairs = vec![("version", version.as_str()), ("days", "7")];
    pairs.extend_from_slice(more);
    let answer = olga.press(&server.path("/backups/retention"), &pairs).await;
    (answer.status, answer.body)
}

async fn redundancy(app: &TestApp, server: &Seeded) -> Redundancy {
    app.state.store.protection(&server.id).await.unwrap().policy.redundancy
}

async fn asked(app: &TestApp, kind: OperationKind) -> Vec<serde_json::Value> {
    let all = app.state.store.operations(&OperationFilter::default()).await.unwrap();
    all.into_iter().filter(|one| one.kind == kind).map(|one| one.input).collect()
}

#[actix_web::test]
async fn zone_redundancy_is_closed_with_what_to_set_and_open_with_what_it_does() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let server = ready(&app, "shop").await;
        let path = server.path("/backups/retention");
        let page = olga.get(&path).await.body;
        has(&page, &["Now: 7 days, locally redundant.", "value=\"Zone\" disabled"]);
        let (status, body) = save(&app, &mut olga, &server, &[("redundancy", "Zone")]).await;
        assert_eq!((status, redundancy(&app, &server).await), (422, Redundancy::Local));
        has(&body, &["id=\"e-redundancy\""]);
        // A host that members elsewhere do not reach.
        hosts_at(&app, &Engines::Two, None).await;
        let page = olga.get(&path).await.body;
        has(&page, &["Set its member_address", "value=\"Zone\" disabled"]);
        let sure = [("redundancy", "Zone"), ("confirm", "reviewed")];
        assert_eq!(save(&app, &mut olga, &server, &sure).await.0, 422);

        second_host(&app, &Engines::Two).await;
        Plan::usual(&app).write(&app, &server).await;
        let page = olga.get(&path).await.body;
        has(
            &page,
            &[
                "now that is host zone-two",
                "loss of the first repository&#39;s host and of its zone",
            ],
        );
        lacks(&page, &["value=\"Zone\" disabled"]);
        let (status, body) = save(&app, &mut olga, &server, &[("redundancy", "Zone")]).await;
        assert_eq!((status, redundancy(&app, &server).await), (200, Redundancy::Local));
        has(&body, &["Zone redundant in place of locally redundant", "on host zone-two by itself"]);
        has(&body, &["Those in the first take 9 GiB now.", "name=\"redundancy\" value=\"Zone\""]);
        assert_eq!(save(&app, &mut olga, &server, &[("redundancy", "Both")]).await.0, 422);
        assert_eq!(save(&app, &mut olga, &server, &sure).await.0, 303);
        assert_eq!(redundancy(&app, &server).await, Redundancy::Zone);
        let line = app.activities().await;
        let line = line.iter().find(|line| line.action == "server.change_retention").unwrap();
        assert_eq!(line.detail, "from locally redundant to zone redundant");
        let page = olga.get(&server.path("/backups")).await.body;
        has(&page, &["Not zone redundant yet.", "Protected, but look", "Zone redundant"]);
    })
    .await;
}

#[actix_web::test]
async fn one_engine_in_two_zones_is_told_as_such() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let server = ready(&app, "shop").await;
        second_host(&app, &Engines::One).await;
        Plan::usual(&app).write(&app, &server).await;
        let page = olga.get(&server.path("/backups/retention")).await.body;
        has(&page, &["The only host there is the same Docker Engine", "not of the host"]);
        lacks(&page, &["host and of its zone; at most"]);
    })
    .await;
}

#[actix_web::test]
async fn two_repositories_are_told_each_by_itself() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let (server, far) = shop(&app).await;
        zone(&app, &server).await;
        second(&app, &server, far.clone(), RepositoryState::Active).await;
        let path = server.path("/backups");
        let page = olga.get(&path).await.body;
        has(&page, &["Lies in", "Repository 2<span class=\"cell-sub wrap-name\">zone-two</span>"]);
        has(
            &page,
            &["zones 2, 3", "it survives the loss of the server&#39;s host", "Protected</span>"],
        );
        has(&page, &["From repository 1, on host local.", "Repository 2, on host zone-two"]);
        has(&page, &["9 backups, 9 GiB in all, by its list as read 2 s ago", "it is not measured"]);
        lacks(&page, &["banner-warn", "log included", "Not zone redundant"]);

        // Its host is away: first waited for, then not.
        app.state.store.observe_host_silent(&far, app.clock.now(), "cut off").await.unwrap();
        let page = olga.get(&path).await.body;
        has(&page, &["The host of repository 2 does not answer.", "Host does not answer"]);
        second(&app, &server, far.clone(), RepositoryState::Suspended).await;
        let page = olga.get(&path).await.body;
        has(
            &page,
            &["Repository 2 is suspended since", "Its host has not answered for 10 minutes."],
        );
        has(&page, &["The log goes into the other repository alone.", "Needs attention"]);
        has(&page, &["Cannot be restored</strong>, gap 1"]);
        lacks(&page, &["</svg>Protected</span>"]);
    })
    .await;
}

#[actix_web::test]
async fn a_second_repository_that_is_given_up_is_told_until_it_is_gone() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let (server, far) = shop(&app).await;
        zone(&app, &server).await;
        second(&app, &server, far.clone(), RepositoryState::Active).await;
        let until = now(&app) - Duration::seconds(10) + Duration::days(7);
        let (status, body) = save(&app, &mut olga, &server, &[("redundancy", "Local")]).await;
        assert_eq!((status, redundancy(&app, &server).await), (200, Redundancy::Zone));
        let day = until.format("%Y-%m-%d %H:%M UTC").to_string();
        has(&body, &["the first alone protects this server", "Its 9 good backups", &day]);
        has(&body, &["button-danger-solid", "danger-zone"]);
        let sure = [("redundancy", "Local"), ("confirm", "reviewed")];
        assert_eq!(save(&app, &mut olga, &server, &sure).await.0, 303);
        let path = server.path("/backups");
        has(&olga.get(&path).await.body, &["Within a minute the log goes into it no more."]);
        second(&app, &server, far.clone(), RepositoryState::Suspended).await;
        let page = olga.get(&path).await.body;
        has(&page, &["Not asked for any more", "can be restored from until"]);
        lacks(&page, &["is suspended since", "Not zone redundant"]);

        // The only one that the log goes into cannot be given up.
        zone(&app, &server).await;
        second(&app, &server, far, RepositoryState::Active).await;
        let mut tx = app.state.store.begin_write(app.clock.now()).await.unwrap();
        let (at, state) = (app.clock.now(), RepositoryState::Suspended);
        tx.set_repository_state(&server.id, 1, state, at).await.unwrap();
        tx.commit(pgflex::store::Record::Nothing("a story goes on")).await.unwrap();
        let (status, body) = save(&app, &mut olga, &server, &sure).await;
        assert_eq!((status, redundancy(&app, &server).await), (422, Redundancy::Zone));
        has(&body, &["repository 2 is the only one that the log goes into"]);
    })
    .await;
}

#[actix_web::test]
async fn a_backup_by_hand_goes_where_it_is_asked_to() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let (server, far) = shop(&app).await;
        let path = server.path("/backups/new");
        lacks(&olga.get(&path).await.body, &["Where to"]);
        let key = new_uuid();
        let into = |number| {
            [("idempotency_key", key.as_str()), ("backup_name", "x"), ("repository", number)]
        };
        let answer = olga.press(&path, &into("2")).await;
        assert_eq!(answer.status, 422, "there is none");
        has(&answer.body, &["That repository takes no backups now."]);
        zone(&app, &server).await;
        second(&app, &server, far, RepositoryState::Active).await;
        has(&olga.get(&path).await.body, &["Where to", "Repository 2, on host zone-two"]);
        assert_eq!(olga.press(&path, &into("3")).await.status, 422);
        assert_eq!(olga.press(&path, &into("2")).await.status, 303);
        assert_eq!(asked(&app, OperationKind::Backup).await[0]["repository"].as_i64(), Some(2));
    })
    .await;
}

fn draft(body: &str) -> String {
    let value = body.split("name=\"draft\" value=\"").nth(1).unwrap();
    value.split('"').next().unwrap().to_owned()
}

/// From the one whose host answers, unless a person says otherwise.
#[actix_web::test]
async fn a_restore_is_from_the_repository_that_is_left_or_that_is_chosen() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let (server, far) = shop(&app).await;
        lacks(&olga.get(&server.path("/restore")).await.body, &["From where"]);
        zone(&app, &server).await;
        second(&app, &server, far, RepositoryState::Active).await;
        let path = server.path("/restore");
        let page = olga.get(&path).await.body;
        has(&page, &["<option value=\"1\" selected>", "2, on host zone-two"]);
        let password = ("admin_password", "New-Secret-17");
        let again = ("admin_password_confirm", "New-Secret-17");
        let id = draft(&page);
        let fields = [
            ("draft", &*id),
            ("to", "latest"),
            ("repository", "2"),
            ("name", "copy"),
            password,
            again,
        ];
        let answer = olga.press(&path, &fields).await;
        assert_eq!(answer.status, 303, "{}", answer.body);
        let review = olga.get(answer.location()).await.body;
        has(&review, &["repository 2, on host zone-two"]);
        assert_eq!(
            olga.press(&server.path("/restore/review"), &[("draft", &id)]).await.status,
            303
        );
        assert_eq!(asked(&app, OperationKind::Restore).await[0]["repository"].as_i64(), Some(2));

        // One backup says itself where it lies, whatever is chosen above it.
        let backups = app.state.store.protection(&server.id).await.unwrap().backups;
        let label = backups.iter().find(|one| one.repository == 2).unwrap().label.clone();
        let page = olga.get(&format!("{path}?backup={label}")).await.body;
        has(&page, &["<option value=\"2\" selected>", "repository 2 · 5 GiB"]);
        let id = draft(&page);
        let fields = [
            ("draft", &*id),
            ("to", "backup"),
            ("backup", &*label),
            ("repository", "1"),
            ("name", "copy2"),
            password,
            again,
        ];
        let answer = olga.press(&path, &fields).await;
        assert_eq!(answer.status, 303, "{}", answer.body);
        has(&olga.get(answer.location()).await.body, &["repository 2, on host zone-two"]);

        // The first zone is lost.
        let near = app.state.store.members(&server.id).await.unwrap().remove(0).host_id;
        app.state.store.observe_host_silent(&near, app.clock.now(), "cut off").await.unwrap();
        let page = olga.get(&path).await.body;
        has(&page, &["<option value=\"2\" selected>", "its host does not answer now"]);
    })
    .await;
}

#[actix_web::test]
async fn the_create_form_offers_two_zones_where_there_are_two() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        hosts_at(&app, &Engines::Two, None).await;
        let page = olga.get("/servers/create").await.body;
        has(&page, &["value=\"Local\" checked", "value=\"Zone\" disabled", "no member address"]);
        second_host(&app, &Engines::Two).await;
        let page = olga.get("/servers/create").await.body;
        has(
            &page,
            &[
                "id=\"part-redundancy\"",
                "A second repository on a host of another zone (now that is host",
            ],
        );
        lacks(&page, &["value=\"Zone\" disabled"]);
        let id = draft(&page);
        let fields = [
            ("draft", &*id),
            ("name", "shop"),
            ("region", "westeurope"),
            ("redundancy", "Zone"),
            ("admin_login", "shopadmin"),
            ("admin_password", "New-Secret-17"),
            ("admin_password_confirm", "New-Secret-17"),
            ("action", "review"),
        ];
        let answer = olga.press("/servers/create", &fields).await;
        assert_eq!(answer.status, 303, "{}", answer.body);
        let review = olga.get(answer.location()).await.body;
        has(&review, &["Zone redundant", "and on a host of another zone: now"]);
        // Meanwhile there is one zone only: refused at the field.
        hosts_at(&app, &Engines::Two, None).await;
        let answer = olga.press("/servers/create", &fields).await;
        assert_eq!(answer.status, 422);
        has(&answer.body, &["id=\"e-redundancy\""]);
    })
    .await;
}
