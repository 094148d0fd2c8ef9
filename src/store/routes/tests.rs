//! On SQLite, and on PostgreSQL too where `PGFLEX_TEST_DATABASE_URL` names one.

use super::*;
use crate::clock::{Clock, SystemClock, new_id};
use crate::store::Record;
use crate::store::testing::{self, TestStore};

/// Fresh databases, kept while their test runs.
struct Stores {
    all: Vec<Store>,
    _kept: Vec<TestStore>,
}

async fn stores() -> Stores {
    let kept = testing::all().await;
    Stores { all: kept.iter().map(|test| test.store.clone()).collect(), _kept: kept }
}

/// A server on record; names and ports are random.
async fn server(store: &Store, access: &str) -> ServerId {
    let id = new_id(ServerId::parse);
    let port = i64::from(u32::from_be_bytes(crate::clock::random_bytes::<4>()) % 65_535) + 1;
    let mut tx = store.begin_write(SystemClock.now()).await.unwrap();
    sqlx::query("INSERT INTO servers (id, name, region, zone, major, sku, tier, storage_gib, admin_login, access, tags, settled, port, created_at)
                 VALUES ($1, $2, 'r', '1', '17', 'Standard_B1ms', 'Burstable', 32, 'a', $3, '[]', 'Ready', $4, 0)")
        .bind(id.as_str().to_owned())
        .bind(format!("s-{}", id.short()))
        .bind(access.to_owned())
        .bind(port)
        .execute(&mut *tx.tx)
        .await
        .unwrap();
    tx.commit(Record::Nothing("test")).await.unwrap();
    id
}

async fn route_of(store: &Store, id: &ServerId) -> Option<Route> {
    let snapshot = store.route_snapshot("Example.Test").await.unwrap();
    snapshot.routes.into_iter().find(|route| route.server_id == *id)
}

fn rule(name: &str, start: &str, end: &str) -> FirewallRule {
    let range = AddressRange::parse(start, end).unwrap();
    FirewallRule { id: new_id(RuleId::parse), name: name.into(), range }
}

async fn begin(store: &Store) -> WriteTx {
    store.begin_write(SystemClock.now()).await.unwrap()
}

async fn done(tx: WriteTx) {
    tx.commit(Record::Nothing("test")).await.unwrap();
}

#[tokio::test]
async fn the_epoch_grows_with_every_change_and_only_then() {
    for store in &stores().await.all {
        let id = server(store, "Public").await;
        assert_eq!(route_of(store, &id).await, None);
        let target = Some("127.0.0.1:5432".parse().unwrap());
        let mut tx = begin(store).await;
        assert_eq!(tx.set_route(&id, None, RouteState::Held).await.unwrap(), 1);
        assert_eq!(tx.set_route(&id, target, RouteState::Open).await.unwrap(), 2);
        done(tx).await;
        let generation = store.route_generation().await.unwrap();
        let mut tx = begin(store).await;
        assert_eq!(tx.set_route(&id, target, RouteState::Open).await.unwrap(), 2);
        done(tx).await;
        if store.dialect() == crate::store::Dialect::Sqlite {
            assert_eq!(store.route_generation().await.unwrap(), generation);
        }
        let route = route_of(store, &id).await.unwrap();
        assert_eq!((route.target, route.epoch, route.state), (target, 2, RouteState::Open));
        assert_eq!(route.endpoint, Some(format!("s-{}.example.test", id.short())));
        assert_eq!(route.connections_max, 50);
        let mut tx = begin(store).await;
        tx.close_route(&id).await.unwrap();
        tx.close_route(&id).await.unwrap();
        done(tx).await;
        let route = route_of(store, &id).await.unwrap();
        assert_eq!((route.target, route.epoch, route.state), (target, 3, RouteState::Closed));
        let mut tx = begin(store).await;
        tx.delete_route(&id).await.unwrap();
        done(tx).await;
        assert_eq!(route_of(store, &id).await, None);
        assert!(store.route_generation().await.unwrap() >= generation + 2);
    }
}

#[tokio::test]
async fn a_private_server_is_shut_whatever_its_route_says() {
    for store in &stores().await.all {
        let id = server(store, "Private").await;
        let mut tx = begin(store).await;
        tx.set_route(&id, Some("127.0.0.1:1".parse().unwrap()), RouteState::Open).await.unwrap();
        done(tx).await;
        assert_eq!(route_of(store, &id).await.unwrap().state, RouteState::Closed);
    }
}

#[tokio::test]
async fn rules_are_saved_by_name_and_every_change_is_a_generation() {
    for store in &stores().await.all {
        let id = server(store, "Public").await;
        let mut generation = store.route_generation().await.unwrap();
        let first = rule("office", "10.0.0.1", "10.0.0.9");
        let mut tx = begin(store).await;
        tx.set_route(&id, None, RouteState::Open).await.unwrap();
        assert_eq!(tx.save_firewall_rule(&id, &first).await.unwrap(), RuleSaved::Added);
        let again = rule("office", "10.0.0.2", "");
        assert_eq!(tx.save_firewall_rule(&id, &again).await.unwrap(), RuleSaved::Updated);
        done(tx).await;
        let kept = FirewallRule { id: first.id.clone(), ..again };
        assert_eq!(store.firewall_rules(&id).await.unwrap(), std::slice::from_ref(&kept));
        assert_eq!(route_of(store, &id).await.unwrap().ranges, [kept.range]);
        assert!(store.route_generation().await.unwrap() >= generation + 3);

        generation = store.route_generation().await.unwrap();
        let renamed = FirewallRule { name: "home".into(), ..kept };
        let stranger = server(store, "Public").await;
        let mut tx = begin(store).await;
        assert!(tx.update_firewall_rule(&id, &renamed).await.unwrap());
        assert!(!tx.update_firewall_rule(&stranger, &renamed).await.unwrap());
        assert_eq!(tx.delete_firewall_rule(&stranger, &first.id).await.unwrap(), None);
        assert_eq!(tx.delete_firewall_rule(&id, &first.id).await.unwrap(), Some(renamed));
        done(tx).await;
        assert_eq!(store.firewall_rules(&id).await.unwrap(), []);
        assert!(store.route_generation().await.unwrap() >= generation + 2);
    }
}

#[tokio::test]
async fn names_are_unique_within_a_server_and_rules_are_limited() {
    for store in &stores().await.all {
        let id = server(store, "Public").await;
        let mut tx = begin(store).await;
        let first = rule("rule0", "10.0.0.1", "");
        tx.save_firewall_rule(&id, &first).await.unwrap();
        for number in 1..RULES_MAX {
            let rule = rule(&format!("rule{number}"), "10.0.0.1", "");
            assert_eq!(tx.save_firewall_rule(&id, &rule).await.unwrap(), RuleSaved::Added);
        }
        let more = rule("more", "10.0.0.1", "");
        assert_eq!(tx.save_firewall_rule(&id, &more).await.unwrap(), RuleSaved::Full);
        let known = rule("rule5", "10.0.0.7", "");
        assert_eq!(tx.save_firewall_rule(&id, &known).await.unwrap(), RuleSaved::Updated);
        done(tx).await;
        let mut tx = begin(store).await;
        let taken = FirewallRule { name: "rule5".into(), ..first };
        let error = tx.update_firewall_rule(&id, &taken).await.unwrap_err();
        assert!(error.is_unique_violation());
        drop(tx);
        let mut tx = begin(store).await;
        tx.delete_firewall_rules(&id).await.unwrap();
        done(tx).await;
        assert!(store.firewall_rules(&id).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn gateways_report_leave_and_are_forgotten() {
    for store in &stores().await.all {
        let id = crate::clock::new_uuid();
        let now = SystemClock.now();
        store.record_gateway(now - Duration::days(2), "old", 1, "").await.unwrap();
        store.record_gateway(now, &id, 1, "").await.unwrap();
        store.record_gateway(now, &id, 2, "port 5432 is taken").await.unwrap();
        let listed = store.gateways().await.unwrap();
        assert!(listed.iter().all(|gateway| gateway.id != "old"));
        let own = listed.into_iter().find(|gateway| gateway.id == id).unwrap();
        assert_eq!((own.seen_at, own.generation, &*own.notes), (now, 2, "port 5432 is taken"));
        store.forget_gateway(now, &id).await.unwrap();
        assert!(store.gateways().await.unwrap().iter().all(|gateway| gateway.id != id));
    }
}

#[tokio::test]
async fn the_way_through_the_pooler_follows_the_servers_own() {
    for store in &stores().await.all {
        let id = server(store, "Public").await;
        let mut tx = begin(store).await;
        tx.set_route(&id, Some("10.0.0.1:5432".parse().unwrap()), RouteState::Open).await.unwrap();
        tx.save_firewall_rule(&id, &rule("here", "10.0.0.9", "")).await.unwrap();
        let port = tx.take_port((40_000, 59_999)).await.unwrap().unwrap();
        tx.set_pooler_port(&id, port).await.unwrap();
        tx.set_pooler_port(&id, port + 1).await.unwrap();
        let target = "10.0.0.2:6432".parse().unwrap();
        tx.set_pooler_route(&id, target, 300).await.unwrap();
        done(tx).await;
        let pooled = async || {
            let snapshot = store.route_snapshot("x").await.unwrap();
            let mut own = snapshot.routes.into_iter().filter(|route| route.server_id == id);
            own.find(|route| route.service == Service::Pooler)
        };
        let first = pooled().await.unwrap();
        assert_eq!((first.port, first.connections_max), (port, 300), "the first port is kept");
        assert_eq!((first.target, first.endpoint.as_deref()), (Some(target), None));
        assert_eq!((first.state, first.ranges.len()), (RouteState::Open, 1));
        assert_eq!(store.pooler_target(&id).await.unwrap(), Some(target));
        let mut tx = begin(store).await;
        let next = tx.take_port((port, port)).await.unwrap();
        assert_eq!(next, None, "a port of a pooler is taken");
        tx.set_pooler_route(&id, target, 400).await.unwrap();
        done(tx).await;
        let wider = pooled().await.unwrap();
        assert_eq!((wider.epoch, wider.connections_max), (first.epoch, 400), "nobody is cut");
        let mut tx = begin(store).await;
        tx.close_route(&id).await.unwrap();
        done(tx).await;
        let closed = pooled().await.unwrap();
        assert!(closed.state == RouteState::Closed && closed.epoch > first.epoch);
        let mut tx = begin(store).await;
        tx.delete_pooler_route(&id).await.unwrap();
        done(tx).await;
        assert!(pooled().await.is_none());
    }
}
