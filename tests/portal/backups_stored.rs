//! Backups in object storage as people see them: closed until an administrator names one, chosen, told, restored from, ended.

use crate::backup_seed::{Plan, stored};
use crate::backups::{has, lacks};
use crate::ha_seed::{Engines, second_host};
use crate::helpers::{Browser, TestApp, each_database, each_database_with};
use crate::server_seed::{Seeded, ready};
use pgflex::clock::{Clock, new_uuid};
use pgflex::domain::backup::{Redundancy, RepositoryState};
use std::path::PathBuf;

const LOCATION: &str = "https://s3.example.org/backups/pgflex";

/// A configuration file that names an object storage.
fn configured() -> PathBuf {
    let path = std::env::temp_dir().join(format!("pgflex-portal-{}.toml", new_uuid()));
    let text = "[object_storage]\nendpoint = 'https://s3.example.org'\nbucket = 'backups'\nregion = 'eu'\nkey_id = 'k'\n";
    std::fs::write(&path, text).unwrap();
    path
}

async fn each_with_storage<F: Future<Output = ()>>(story: impl Fn(TestApp) -> F) {
    let path = configured();
    each_database_with(&["--config", path.to_str().unwrap()], story).await;
    std::fs::remove_file(path).unwrap();
}

async fn save(
    app: &TestApp,
    olga: &mut Browser,
    server: &Seeded,
    more: &[(&str, &str)],
) -> (u16, String) {
    let version = app.state.store.protection(&server.id).await.unwrap().version.to_string();
    let pairs = [&[("version", version.as_str()), ("days", "7")], more].concat();
    let answer = olga.press(&server.path("/backups/retention"), &pairs).await;
    (answer.status, answer.body)
}

async fn redundancy(app: &TestApp, server: &Seeded) -> Redundancy {
    app.state.store.protection(&server.id).await.unwrap().policy.redundancy
}

#[actix_web::test]
async fn without_a_configured_storage_it_is_closed_and_says_what_to_set() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let server = ready(&app, "shop").await;
        Plan::usual(&app).write(&app, &server).await;
        let page = olga.get(&server.path("/backups/retention")).await.body;
        has(&page, &["value=\"ObjectStorage\" disabled", "[object_storage] of pgflex.toml"]);
        let sure = [("redundancy", "ObjectStorage"), ("confirm", "reviewed")];
        let (status, body) = save(&app, &mut olga, &server, &sure).await;
        assert_eq!((status, redundancy(&app, &server).await), (422, Redundancy::Local));
        has(&body, &["id=\"e-redundancy\"", "No object storage is configured."]);
        let page = olga.get("/servers/create").await.body;
        has(&page, &["value=\"ObjectStorage\" disabled"]);
    })
    .await;
}

#[actix_web::test]
async fn it_is_chosen_told_and_ended() {
    each_with_storage(async |app| {
        let mut olga = app.set_up_owner().await;
        let server = ready(&app, "shop").await;
        Plan::usual(&app).write(&app, &server).await;
        let page = olga.get(&server.path("/backups/retention")).await.body;
        has(&page, &[LOCATION, "It survives the loss of all hosts"]);
        lacks(&page, &["value=\"ObjectStorage\" disabled"]);
        let wanted = [("redundancy", "ObjectStorage")];
        let (status, body) = save(&app, &mut olga, &server, &wanted).await;
        assert_eq!((status, redundancy(&app, &server).await), (200, Redundancy::Local));
        has(
            &body,
            &[
                "Object storage in place of locally redundant",
                LOCATION,
                "refused the log for 10 minutes",
            ],
        );
        lacks(&body, &["button-danger-solid"]);
        let sure = [("redundancy", "ObjectStorage"), ("confirm", "reviewed")];
        assert_eq!(save(&app, &mut olga, &server, &sure).await.0, 303);
        assert_eq!(redundancy(&app, &server).await, Redundancy::ObjectStorage);
        has(
            &olga.get(&server.path("/backups")).await.body,
            &["Nothing is in the object storage yet."],
        );

        stored(&app, &server, LOCATION, RepositoryState::Active).await;
        let page = olga.get(&server.path("/backups")).await.body;
        has(&page, &["Repository 3", LOCATION, "Outside of every host", "Protected</span>"]);
        lacks(&page, &["banner-warn", "Nothing is in the object storage", "Repository 3, on host"]);
        let page = olga.get(&server.path("/restore")).await.body;
        has(&page, &["3, in the object storage https://s3.example.org/backups/pgflex"]);

        stored(&app, &server, LOCATION, RepositoryState::Suspended).await;
        let page = olga.get(&server.path("/backups")).await.body;
        has(&page, &["Repository 3 is suspended since", "When the storage answers again"]);

        stored(&app, &server, LOCATION, RepositoryState::Active).await;
        let (_, body) = save(&app, &mut olga, &server, &[("redundancy", "Local")]).await;
        has(&body, &["Locally redundant in place of object storage", "button-danger-solid"]);
        has(
            &body,
            &[
                "in the object storage https://s3.example.org/backups/pgflex no more",
                "from now on the first alone",
            ],
        );
        second_host(&app, &Engines::Two).await;
        let (_, body) = save(&app, &mut olga, &server, &[("redundancy", "Zone")]).await;
        has(&body, &["Zone redundant in place of object storage", "on host zone-two by itself"]);
        has(&body, &["in the object storage https://s3.example.org/backups/pgflex no more"]);
        lacks(&body, &["from now on the first alone"]);
    })
    .await;
}

/// It is on no host: the silence of the one from which it is worked on says nothing about it.
#[actix_web::test]
async fn a_silent_host_does_not_make_it_unreachable() {
    each_with_storage(async |app| {
        let mut olga = app.set_up_owner().await;
        let server = ready(&app, "shop").await;
        let mut plan = Plan::usual(&app);
        plan.redundancy = Redundancy::ObjectStorage;
        plan.write(&app, &server).await;
        stored(&app, &server, LOCATION, RepositoryState::Active).await;
        let host = app.state.store.members(&server.id).await.unwrap().remove(0).host_id;
        app.state.store.observe_host_silent(&host, app.clock.now(), "cut off").await.unwrap();
        let page = olga.get(&server.path("/backups")).await.body;
        has(
            &page,
            &[
                "The host of repository 1 does not answer.",
                "From repository 3, in the object storage",
            ],
        );
        lacks(&page, &["The host of repository 3 does not answer."]);
        has(&olga.get(&server.path("/restore")).await.body, &["its host does not answer now"]);
    })
    .await;
}
