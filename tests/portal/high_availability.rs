//! High availability as people see it: asked for with a server or later, told on its page, failed over by
//! hand, and closed with its reason where it cannot be.

use crate::ha_seed::{
    Engines, Pair, asked, event, healthy, hosts_at, look, moved, promotion, second_host,
};
use crate::helpers::{Browser, TestApp, each_database};
use crate::server_seed::{Seeded, operation, ready, seed};
use chrono::Duration;
use pgflex::clock::{Clock, new_uuid};
use pgflex::domain::ha::{
    Cause, Durability, HaMode, HaState, HighAvailability, Move, ReplicationState,
};
use pgflex::domain::ids::ServerId;
use pgflex::domain::network::Access;
use pgflex::domain::operation::{OperationKind, OperationStatus};
use pgflex::domain::server::SettledState;
use pgflex::store::Record;
use pgflex::store::operations::OperationFilter;
use pgflex::store::servers::ServerFilter;

fn has(body: &str, parts: &[&str]) {
    for part in parts {
        assert!(body.contains(part), "{part:?} in {body}");
    }
}

fn lacks(body: &str, parts: &[&str]) {
    for part in parts {
        assert!(!body.contains(part), "{part:?} in {body}");
    }
}

async fn newest(app: &TestApp, server: &ServerId) -> (OperationKind, serde_json::Value) {
    let filter = OperationFilter { server_id: Some(server.clone()), ..Default::default() };
    let newest = app.state.store.operations(&filter).await.unwrap().remove(0);
    (newest.kind, newest.input)
}

async fn press(browser: &mut Browser, path: &str, more: &[(&str, &str)]) -> (u16, String) {
    let key = new_uuid();
    let mut pairs = vec![("idempotency_key", key.as_str())];
    pairs.extend_from_slice(more);
    let answer = browser.press(path, &pairs).await;
    (answer.status, answer.body)
}

const ZONES: [(&str, &str); 3] =
    [("ha", "ZoneRedundant"), ("standby_zone", "2"), ("durability", "Required")];

#[actix_web::test]
async fn it_is_enabled_once_with_its_price_and_its_zones() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let server = ready(&app, "shop").await;
        second_host(&app, &Engines::Two).await;
        let page = olga.get(&server.path("/high-availability")).await.body;
        has(&page, &["Not enabled", "Commits are on 1 host.", "Enable high availability…"]);
        let path = server.path("/high-availability/enable");
        let page = olga.get(&path).await.body;
        has(
            &page,
            &["€ 138.18 a month more", "€ 276.36 a month", "the loss of a host and of a zone"],
        );
        has(&page, &["Choose another for the standby", "writes wait until there is a standby"]);
        lacks(&page, &["Mind the zones"]);

        let wrong = [("ha", "ZoneRedundant"), ("standby_zone", "1"), ("durability", "Required")];
        let (status, body) = press(&mut olga, &path, &wrong).await;
        assert_eq!(status, 422);
        has(&body, &["The primary is in zone 1"]);
        assert_eq!(press(&mut olga, &path, &ZONES).await.0, 303);
        assert_eq!(press(&mut olga, &path, &ZONES).await.0, 303, "the same once more");
        let row = app.state.store.ha(&server.id).await.unwrap().unwrap();
        assert_eq!((row.mode, row.durability), (HaMode::ZoneRedundant, Durability::Required));
        assert_eq!((row.standby_zone.as_str(), row.state), ("2", ReplicationState::Single));
        assert_eq!(row.primary, Some(server.member.clone()));
        let (status, body) = press(&mut olga, &path, &[("ha", "SameZone"), ZONES[2]]).await;
        assert_eq!(status, 409);
        has(&body, &["Disable it first"]);
        let lines = app.activities().await;
        let of_it = lines.iter().filter(|line| line.action == "server.enable_high_availability");
        assert_eq!(of_it.count(), 1);

        let page = olga.get(&server.path("/high-availability")).await.body;
        has(&page, &["Creating standby", "Commits are on 1 host because there is no standby"]);
        has(
            &page,
            &["It is made in zone 2", "olga asked for Zone redundant with a standby in zone 2"],
        );
        has(&page, &["There is no standby that could take over.", "wait until it is Healthy"]);
    })
    .await;
}

#[actix_web::test]
async fn what_stands_against_it_is_said_on_the_control() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let private = seed(&app, "inner", Access::Private, SettledState::Ready, 20_002).await;
        let stopped = seed(&app, "calm", Access::Public, SettledState::Stopped, 20_003).await;
        second_host(&app, &Engines::Two).await;
        for (server, reason) in [(&private, "private access"), (&stopped, "Start it first")] {
            let path = server.path("/high-availability/enable");
            for page in [server.path("/high-availability"), path.clone()] {
                let body = olga.get(&page).await.body;
                has(&body, &[reason, "disabled"]);
            }
            let (status, body) = press(&mut olga, &path, &ZONES).await;
            assert_eq!(status, 409, "{}", server.name);
            has(&body, &[reason]);
            assert_eq!(app.state.store.ha(&server.id).await.unwrap(), None);
        }
        let shop = ready(&app, "shop").await;
        second_host(&app, &Engines::One).await;
        let page = olga.get(&shop.path("/high-availability/enable")).await.body;
        has(&page, &["Mind the zones", "the loss of a container, not of the host"]);
    })
    .await;
}

#[actix_web::test]
async fn a_zone_that_the_primary_cannot_reach_is_closed() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let shop = ready(&app, "shop").await;
        hosts_at(&app, &Engines::Two, None).await;
        let path = shop.path("/high-availability/enable");
        let why = "host local, which has no member address";
        has(
            &olga.get(&path).await.body,
            &[why, "Set its member_address, in the configuration file"],
        );
        let (status, body) = press(&mut olga, &path, &ZONES).await;
        assert_eq!(status, 422);
        has(&body, &[why]);
        assert_eq!(app.state.store.ha(&shop.id).await.unwrap(), None);
        assert_eq!(press(&mut olga, &path, &[("ha", "SameZone"), ZONES[2]]).await.0, 303);
    })
    .await;
}

#[actix_web::test]
async fn the_page_says_where_commits_are_and_since_when() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let pair = healthy(&app, "shop", Engines::Two).await;
        let path = pair.server.path("/high-availability");
        let page = olga.get(&path).await.body;
        has(&page, &["Healthy", "Commits are on 2 hosts now", "(3 h 2 min)", "Synchronous"]);
        has(&page, &["0 bytes behind", "0 s behind", "Zone 1", "Zone 2", "zone-two", "Answers"]);
        lacks(&page, &["Mind the zones", "why-closed\" id=\"why-1"]);
        let overview = olga.get(&pair.server.path("")).await.body;
        has(&overview, &["Healthy, zone redundant", "Container of the standby", "no failover yet"]);
        has(&overview, &["€ 276.36"]);
        has(&olga.get("/servers").await.body, &["Standby in zone 2: Healthy"]);

        moved(&app, &pair, Move::DisarmBegins).await;
        let page = olga.get(&path).await.body;
        has(
            &page,
            &["Recreating standby", "Commits are on 1 host because the standby no longer counts"],
        );
        lacks(&page, &["2 hosts now"]);
        app.wind(Duration::minutes(5));
        has(
            &olga.get(&path).await.body,
            &["Not measured now", "lag not measured", "Not known now"],
        );
    })
    .await;
}

#[actix_web::test]
async fn the_overview_has_the_picture_with_its_time() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let pair = healthy(&app, "shop", Engines::Two).await;
        let overview = olga.get(&pair.server.path("")).await.body;
        has(&overview, &["ha-picture", "Zone 1", "Zone 2", "zone-two", "Synchronous", "Answers"]);
        has(&overview, &["0 bytes behind", "0 s behind", "seen just now", "the whole story"]);
        app.wind(Duration::minutes(5));
        let later = olga.get(&pair.server.path("")).await.body;
        has(&later, &["Not measured now", "Not known now"]);
        lacks(&later, &["0 bytes behind"]);
        let alone = ready_more(&app, "alone").await;
        lacks(&olga.get(&alone.path("")).await.body, &["ha-picture"]);
    })
    .await;
}

/// The filter of the list is what the page of a pair says, in SQL.
#[actix_web::test]
async fn the_list_finds_pairs_by_mode_and_those_that_are_not_healthy() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let pair = healthy(&app, "shop", Engines::Two).await;
        let alone = ready_more(&app, "alone").await;
        let store = &app.state.store;
        let found = async |ha: &str| {
            let filter = ServerFilter { ha: ha.into(), ..ServerFilter::default() };
            let found = store.servers(&filter).await.unwrap();
            assert_eq!(store.count_servers(&filter).await.unwrap(), found.len() as i64);
            found.into_iter().map(|server| server.spec.name.as_str().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(found("").await, ["alone", "shop"]);
        assert_eq!(found("None").await, ["alone"]);
        assert_eq!(found("ZoneRedundant").await, ["shop"]);
        assert!(found("SameZone").await.is_empty());
        for state in ReplicationState::ALL {
            for is_promotable in [true, false] {
                let now = app.clock.now();
                let mut tx = store.begin_write(now).await.unwrap();
                let row = tx.ha(&pair.server.id).await.unwrap().unwrap();
                let row = HighAvailability { state, is_promotable, ..row };
                tx.replace_ha(&row).await.unwrap();
                tx.commit(Record::Nothing("a story goes on")).await.unwrap();
                let is_ill = HaState::shown(Some(&row), false) != HaState::Healthy;
                let told = found("NotHealthy").await;
                assert_eq!(told == ["shop"], is_ill, "{state:?} {is_promotable}: {told:?}");
            }
        }
        let (kind, status) = (OperationKind::RemoveStandby, OperationStatus::Running);
        moved_to(&app, &pair, ReplicationState::Sync).await;
        assert!(found("NotHealthy").await.is_empty());
        operation(&app, &pair.server, kind, status).await;
        assert_eq!(found("NotHealthy").await, ["shop"], "its standby is being removed");
        let page = olga.get("/servers?ha=None").await.body;
        has(&page, &["<option value=\"None\" selected>", "1 of 2 servers", &alone.name]);
        has(&olga.get("/servers?ha=SameZone").await.body, &["No server matches"]);
    })
    .await;
}

async fn ready_more(app: &TestApp, name: &str) -> Seeded {
    seed(app, name, Access::Public, SettledState::Ready, 20_009).await
}

async fn moved_to(app: &TestApp, pair: &Pair, state: ReplicationState) {
    let mut tx = app.state.store.begin_write(app.clock.now()).await.unwrap();
    let row = tx.ha(&pair.server.id).await.unwrap().unwrap();
    let row = HighAvailability { state, is_promotable: true, ..row };
    tx.replace_ha(&row).await.unwrap();
    tx.commit(Record::Nothing("a story goes on")).await.unwrap();
}

#[actix_web::test]
async fn zones_of_one_engine_are_never_called_two_hosts() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let pair = healthy(&app, "shop", Engines::One).await;
        let page = olga.get(&pair.server.path("/high-availability")).await.body;
        has(
            &page,
            &["Commits are in 2 containers on 1 host now", "Mind the zones", "not of the host"],
        );
        lacks(&page, &["2 hosts"]);
    })
    .await;
}

#[actix_web::test]
async fn failovers_drills_and_the_end_are_asked_for_by_hand() {
    for (part, kind, cause) in [
        ("planned-failover", OperationKind::Switchover, Some("Planned")),
        ("drill", OperationKind::Switchover, Some("Drill")),
        ("forced-failover", OperationKind::Failover, Some("Forced")),
        ("disable", OperationKind::RemoveStandby, None),
    ] {
        each_database(async |app| {
            let mut olga = app.set_up_owner().await;
            let mut rita = app.person(&mut olga, "rita", "Reader").await;
            let pair = healthy(&app, "shop", Engines::Two).await;
            let path = pair.server.path(&format!("/high-availability/{part}"));
            let page = olga.get(&path).await.body;
            has(&page, &["of shop?", "idempotency_key"]);
            lacks(&page, &["accept the loss", "name=\"confirm\""]);
            assert_eq!(rita.get(&path).await.status, 403);
            assert_eq!(press(&mut rita, &path, &[]).await.0, 403);
            let own = rita.get(&pair.server.path("/high-availability")).await.body;
            has(&own, &["Commits are on 2 hosts now"]);
            lacks(&own, &["Planned failover…", "What can be done"]);

            assert_eq!(press(&mut olga, &path, &[]).await.0, 303, "{part}");
            let (asked, input) = newest(&app, &pair.server.id).await;
            assert_eq!(asked, kind);
            assert_eq!(input.get("cause").and_then(|cause| cause.as_str()), cause);
            let drills = app.state.store.ha_drills(&pair.server.id, 9).await.unwrap();
            assert_eq!(drills.len(), usize::from(part == "drill"));
            let page = olga.get(&pair.server.path("/high-availability")).await.body;
            has(&page, &["is under way", "disabled"]);
            if part == "drill" {
                has(&page, &["Under way", "not yet"]);
            }
        })
        .await;
    }
}

#[actix_web::test]
async fn loss_is_accepted_only_by_the_name_and_for_what_was_shown() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let pair = healthy(&app, "shop", Engines::Two).await;
        moved(&app, &pair, Move::DisarmBegins).await;
        look(&app, &pair, Some(5 << 20)).await;
        let path = pair.server.path("/high-availability/forced-failover");
        let page = olga.get(&path).await.body;
        has(&page, &["may be lost for good", "5.0 MiB and 0 s behind", "Type <code>shop</code>"]);
        let version = app.state.store.ha(&pair.server.id).await.unwrap().unwrap().version;
        let version = version.to_string();
        let seen = ("version", version.as_str());
        for (more, words) in [
            (vec![], "has changed since"),
            (vec![("version", "1"), ("confirm", "shop")], "has changed since"),
            (vec![seen], "Type shop to accept"),
            (vec![seen, ("confirm", "shop2")], "Type shop to accept"),
        ] {
            let (status, body) = press(&mut olga, &path, &more).await;
            assert_eq!(status, 409);
            has(&body, &[words]);
        }
        let none =
            OperationFilter { server_id: Some(pair.server.id.clone()), ..Default::default() };
        assert!(app.state.store.operations(&none).await.unwrap().is_empty());
        let (key, confirm) = (new_uuid(), ("confirm", "shop"));
        let whole = [("idempotency_key", key.as_str()), seen, confirm];
        let first = olga.press(&path, &whole).await;
        assert_eq!(first.status, 303);
        // The form comes twice, and the row has moved on meanwhile: the same operation is the answer.
        moved(&app, &pair, Move::Disarmed).await;
        assert_eq!(olga.press(&path, &whole).await.location(), first.location());
        let (kind, input) = newest(&app, &pair.server.id).await;
        assert_eq!(kind, OperationKind::Failover);
        assert_eq!(input["cause"], "ForcedWithLoss");
        assert_eq!(input["accept_loss"], true);
    })
    .await;
}

#[actix_web::test]
async fn a_lock_and_another_state_close_the_buttons() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let pair = healthy(&app, "shop", Engines::Two).await;
        moved(&app, &pair, Move::RestartBegins).await;
        let planned = pair.server.path("/high-availability/planned-failover");
        let page = olga.get(&planned).await.body;
        has(&page, &["wait until it is Healthy", "disabled"]);
        let lock = [("lock_name", "freeze"), ("kind", "ReadOnly"), ("note", "")];
        assert_eq!(olga.press(&pair.server.path("/locks"), &lock).await.status, 303);
        for part in ["planned-failover", "forced-failover", "drill", "disable", "durability"] {
            let path = pair.server.path(&format!("/high-availability/{part}"));
            has(&olga.get(&path).await.body, &["freeze", "disabled"]);
            let (status, body) = press(&mut olga, &path, &[]).await;
            assert_eq!(status, 409, "{part}");
            has(&body, &["freeze"]);
        }
    })
    .await;
}

#[actix_web::test]
async fn the_last_failover_is_told_second_by_second_and_the_timeline_has_pages() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let pair = healthy(&app, "shop", Engines::Two).await;
        let kind = OperationKind::Failover;
        let done = operation(&app, &pair.server, kind, OperationStatus::Failed).await;
        let page = olga.get(&pair.server.path("/high-availability")).await.body;
        has(&page, &["<strong>Failover</strong>", "The host has no room. Free some, then retry."]);
        let stops = olga.get(&pair.server.path("/stop")).await.body;
        has(&stops, &["Both members are stopped"]);
        for rest in ["/restart", "/compute/review?sku=Standard_D4ds_v5"] {
            has(&olga.get(&pair.server.path(rest)).await.body, &["Both members get the change"]);
        }
        promotion(&app, &pair, 2, Cause::Planned, None).await;
        promotion(&app, &pair, 3, Cause::Automatic, Some(&done)).await;
        let mut tx = app.state.store.begin_write(app.clock.now()).await.unwrap();
        for at in 0..60 {
            let text = format!("Line number {at:02}.");
            event(&mut tx, &pair.server, app.clock.now(), "look", &text).await;
        }
        tx.commit(Record::Nothing("a story goes on")).await.unwrap();
        let path = pair.server.path("/high-availability");
        let page = olga.get(&path).await.body;
        has(&page, &["Automatic failover", "1.6 s", "exit code 137", "+ 0.4 s", "1/6B374D84"]);
        has(&page, &["Create the private network", "Changes of primary before", "to zone 2"]);
        has(&page, &["Line number 59.", "Line number 35."]);
        lacks(&page, &["Line number 34."]);
        let older = page.split("before=").nth(2).unwrap().split(['"', '#']).next().unwrap();
        let page = olga.get(&format!("{path}?before={older}")).await.body;
        has(&page, &["Line number 34.", "Newer", "Older"]);
        lacks(&page, &["Line number 35."]);
        has(&olga.get(&format!("{path}?before=%27x")).await.body, &["Line number 59."]);
        let asks = olga.get(&pair.server.path("/high-availability/planned-failover")).await.body;
        has(&asks, &["Lately nobody could write for", "median of 1 such failover of"]);
    })
    .await;
}

#[actix_web::test]
async fn a_required_pair_without_its_standby_says_that_writes_wait() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let server = ready(&app, "shop").await;
        second_host(&app, &Engines::Two).await;
        let now = app.clock.now();
        let mut row = asked(&server, Durability::Required, now);
        row.epoch = 2;
        let mut tx = app.state.store.begin_write(now).await.unwrap();
        tx.insert_ha(&row).await.unwrap();
        tx.commit(Record::Nothing("a story begins")).await.unwrap();
        let page = olga.get(&server.path("/high-availability")).await.body;
        has(&page, &["Writes wait: no commit is acknowledged now", "banner-danger"]);
    })
    .await;
}

#[actix_web::test]
async fn an_epoch_of_a_pair_before_is_never_used_again() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let pair = healthy(&app, "shop", Engines::Two).await;
        promotion(&app, &pair, 2, Cause::Automatic, None).await;
        let mut tx = app.state.store.begin_write(app.clock.now()).await.unwrap();
        tx.delete_member(&pair.standby).await.unwrap();
        tx.delete_ha(&pair.server.id).await.unwrap();
        tx.commit(Record::Nothing("high availability is removed")).await.unwrap();
        let path = pair.server.path("/high-availability/enable");
        assert_eq!(press(&mut olga, &path, &ZONES).await.0, 303);
        let row = app.state.store.ha(&pair.server.id).await.unwrap().unwrap();
        assert_eq!((row.epoch, row.first_epoch, row.had_standby()), (3, 3, false));
        let page = olga.get(&pair.server.path("/high-availability")).await.body;
        has(&page, &["Creating standby", "Commits are on 1 host", "The last change of primary"]);
    })
    .await;
}
