//! Every page with the largest and most hostile content there can be: it is drawn, and text stays text.

use crate::ha_seed::{Engines, event, healthy, promotion};
use crate::helpers::{TestApp, each_database};
use crate::server_seed::{observe, operation, ready, running, seed};
use pgflex::clock::{Clock, new_id};
use pgflex::domain::extensions::{self, Available, DatabaseLook, ExtensionLook, Installed};
use pgflex::domain::ha::{HaLook, OBSERVATION};
use pgflex::domain::ids::{NetworkId, OperationId, RuleId, ServerId};
use pgflex::domain::network::{Access, AddressRange, FirewallRule, RULES_MAX};
use pgflex::domain::operation::{OperationKind, OperationStatus};
use pgflex::domain::parameters::units::Unit;
use pgflex::domain::parameters::{self, Catalogue, Context, Kind, Parameter};
use pgflex::domain::server::{MemberFacts, SettledState};
use pgflex::domain::virtual_network::{NetworkState, VirtualNetwork};
use pgflex::store::Record;
use pgflex::web::{Access as Least, ROUTES};

const HOSTILE: &str = "<script>alert(1)</script>\u{202e}\"'&{{7*7}}";

/// What a server's own log may hold.
async fn write_log(app: &TestApp, id: &OperationId) {
    let (store, now) = (&app.state.store, app.clock.now());
    let claimed =
        store.claim_operation("test", now, now + chrono::Duration::minutes(1)).await.unwrap();
    let lease = claimed.expect("the operation is due");
    assert_eq!(&lease.operation_id, id);
    let lines: Vec<String> = (0..400).map(|at| format!("{at} {}", HOSTILE.repeat(40))).collect();
    store.append_operation_log(&lease, now, "step", &lines).await.unwrap();
}

async fn fill_rules(app: &TestApp, server: &ServerId) {
    let mut tx = app.state.store.begin_write(app.clock.now()).await.unwrap();
    for at in 0..RULES_MAX {
        let name = format!("{}-{at:03}", "r".repeat(76));
        let range = AddressRange::parse("10.0.0.1", "255.255.255.255").unwrap();
        let rule = FirewallRule { id: new_id(RuleId::parse), name, range };
        tx.save_firewall_rule(server, &rule).await.unwrap();
    }
    tx.commit(Record::Nothing("a story begins")).await.unwrap();
}

/// As many networks as fit into a range, one of them with a hostile note, and the server in it.
async fn fill_networks(app: &TestApp, server: &ServerId) -> NetworkId {
    let mut tx = app.state.store.begin_write(app.clock.now()).await.unwrap();
    let mut last = None;
    for at in 0..100u8 {
        let network = VirtualNetwork {
            id: new_id(NetworkId::parse),
            name: format!("{}{at:03}", "n".repeat(61)),
            range: format!("10.{at}.0.0/16").parse().unwrap(),
            state: NetworkState::Active,
            note: String::new(),
            created_at: app.clock.now(),
        };
        tx.insert_network(&network).await.unwrap();
        last = Some(network.id);
    }
    let last = last.unwrap();
    assert!(tx.set_networking(server, Access::Private, Some(&last)).await.unwrap());
    tx.commit(Record::Nothing("a story begins")).await.unwrap();
    app.state.store.note_network(app.clock.now(), &last, &HOSTILE.repeat(20)).await.unwrap();
    last
}

fn hostile_facts() -> MemberFacts {
    MemberFacts {
        container_state: HOSTILE.into(),
        probe_error: Some(HOSTILE.repeat(20)),
        accepts_queries: Some(false),
        ..running()
    }
}

/// As many parameters as there can be, with the longest texts; names are PostgreSQL's and ours.
fn hostile_catalogue() -> Catalogue {
    let one = |at: usize| Parameter {
        name: if at == 0 { "search_path".into() } else { format!("pgaudit.{at}{HOSTILE}") },
        value: HOSTILE.repeat(15),
        default: HOSTILE.repeat(15),
        unit: Unit::None,
        kind: if at.is_multiple_of(2) { Kind::Text } else { Kind::Enum },
        context: Context::Session,
        category: HOSTILE.into(),
        description: HOSTILE.repeat(15),
        min: None,
        max: None,
        choices: vec![HOSTILE.into(); 20],
        is_pending: true,
    };
    Catalogue { parameters: (0..1000).map(one).collect() }
}

fn hostile_extensions() -> ExtensionLook {
    let installed =
        Installed { name: HOSTILE.into(), version: HOSTILE.into(), schema: HOSTILE.into() };
    let available = Available {
        name: "hstore".into(),
        version: HOSTILE.into(),
        comment: HOSTILE.repeat(8),
        requires: vec![HOSTILE.into()],
    };
    let database = DatabaseLook { name: HOSTILE.into(), installed: Some(vec![installed; 50]) };
    ExtensionLook {
        available: vec![available.clone(), Available { name: HOSTILE.into(), ..available }],
        databases: vec![database; 50],
        left_out: 450,
        loaded: vec![HOSTILE.into()],
    }
}

/// What a hostile server may have told the monitor.
async fn observe_settings(app: &TestApp, server: &ServerId) {
    let (store, now) = (&app.state.store, app.clock.now());
    let id = || server.clone();
    let parameters = [(id(), hostile_catalogue())];
    store.observe_servers(now, parameters::OBSERVATION, &parameters).await.unwrap();
    let extensions = [(id(), hostile_extensions())];
    store.observe_servers(now, extensions::OBSERVATION, &extensions).await.unwrap();
    let pending = [(id(), vec![HOSTILE.to_owned(); 400])];
    store.observe_servers(now, parameters::PENDING, &pending).await.unwrap();
}

/// As much story as there can be, in the words of a hostile host.
#[actix_web::test]
async fn a_pair_with_a_long_story_is_drawn_and_its_text_stays_text() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let pair = healthy(&app, &"n".repeat(63), Engines::One).await;
        for epoch in 2..30 {
            promotion(&app, &pair, epoch, pgflex::domain::ha::Cause::Automatic, None).await;
        }
        let mut tx = app.state.store.begin_write(app.clock.now()).await.unwrap();
        for _ in 0..200 {
            event(&mut tx, &pair.server, app.clock.now(), HOSTILE, &HOSTILE.repeat(20)).await;
            let id: OperationId = new_id(OperationId::parse);
            tx.open_drill(&pair.server.id, &id).await.unwrap();
        }
        tx.commit(Record::Nothing("a story begins")).await.unwrap();
        let looks = app.state.store.server_observation::<HaLook>(&pair.server.id, OBSERVATION);
        let mut look = looks.await.unwrap().unwrap().facts;
        (look.reason, look.sync_state) = (HOSTILE.repeat(20), HOSTILE.into());
        look.lag_bytes = Some(u64::MAX);
        look.lag_seconds = Some(f64::MAX);
        let seen = [(pair.server.id.clone(), look)];
        app.state.store.observe_servers(app.clock.now(), OBSERVATION, &seen).await.unwrap();
        for rest in ["", "/high-availability", "/high-availability/forced-failover"] {
            let answer = olga.get(&pair.server.path(rest)).await;
            assert_eq!(answer.status, 200, "{rest}");
            assert!(!answer.body.contains("<script>alert"), "{rest} lets script in");
            assert!(!answer.body.contains("49\"'"), "{rest} computes what it is given");
            assert!(answer.body.len() < 200_000, "{rest} is too long: {}", answer.body.len());
        }
    })
    .await;
}

#[actix_web::test]
async fn every_page_draws_the_largest_content_and_text_stays_text() {
    each_database(async |app| {
        let mut olga = app.set_up_owner().await;
        let name = "n".repeat(63);
        let server = ready(&app, &name).await;
        for at in 0..120u16 {
            seed(
                &app,
                &format!("server-{at:03}"),
                Access::Public,
                SettledState::Failed,
                20_100 + at,
            )
            .await;
        }
        observe(&app, &server, hostile_facts()).await;
        fill_rules(&app, &server.id).await;
        let private = seed(&app, "private", Access::Private, SettledState::Ready, 20_090).await;
        let network = fill_networks(&app, &private.id).await;
        observe_settings(&app, &server.id).await;
        let running =
            operation(&app, &server, OperationKind::Restart, OperationStatus::Running).await;
        write_log(&app, &running).await;
        let mut seen = 0;
        for route in ROUTES.iter().filter(|route| route.method == actix_web::http::Method::GET) {
            if route.access == Least::Anonymous || route.pattern.ends_with("/events") {
                continue;
            }
            let id = if route.pattern.starts_with("/operations") {
                running.as_str()
            } else if route.pattern.starts_with("/groups") {
                "00000000-0000-7000-8000-000000000001"
            } else if route.pattern.starts_with("/networks") {
                network.as_str()
            } else {
                server.id.as_str()
            };
            let mut path = route.pattern.replace("{id}", id);
            if path.ends_with("/compute/review") {
                path.push_str("?sku=Standard_B1ms");
            }
            let answer = olga.get(&path).await;
            assert!([200, 303, 404, 409].contains(&answer.status), "{path}: {}", answer.status);
            assert!(!answer.body.contains("<script>alert"), "{path} lets script in");
            assert!(!answer.body.contains("49\"'"), "{path} computes what it is given");
            seen += usize::from(answer.status == 200);
        }
        assert!(seen > 12, "{seen} pages were drawn");
        let page = olga.get(&format!("/operations/{running}")).await;
        assert!(page.body.contains("&#60;script&#62;") || page.body.contains("&lt;script&gt;"));
    })
    .await;
}
