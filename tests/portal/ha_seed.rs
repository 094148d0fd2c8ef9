//! Pairs as the pages find them: rows written through the store, no engine.

use crate::helpers::{TestApp, facts};
use crate::server_seed::{Seeded, observe, ready, running};
use chrono::{DateTime, Duration, Utc};
use pgflex::clock::{Clock, new_id, new_uuid};
use pgflex::domain::ha::{
    Cause, Durability, HaLook, HaMode, HighAvailability, LookMember, Lsn, MemberRole, Move,
    OBSERVATION, ReplicationState,
};
use pgflex::domain::host::{EngineFacts, Place};
use pgflex::domain::ids::{HostId, MemberId, OperationId};
use pgflex::domain::server::Member;
use pgflex::store::ha::{HaEvent, Promotion};
use pgflex::store::hosts::HostEntry;
use pgflex::store::{Record, WriteTx};

/// A server with its standby.
pub struct Pair {
    pub server: Seeded,
    pub standby: MemberId,
}

/// Engines of the two hosts.
pub enum Engines {
    Two,
    One,
}

/// A host that the seeds do not have: zone 2 of West Europe.
pub async fn second_host(app: &TestApp, engines: &Engines) -> HostId {
    hosts_at(app, engines, Some("192.0.2.10")).await
}

/// The same with a member address of the first host, or none.
pub async fn hosts_at(app: &TestApp, engines: &Engines, local: Option<&str>) -> HostId {
    let (store, now) = (&app.state.store, app.clock.now());
    let places = |zones: &[&str]| {
        let place = |zone: &&str| Place { region: "westeurope".into(), zone: (*zone).into() };
        zones.iter().map(place).collect::<Vec<_>>()
    };
    let entry = |name: &str, address: &str, zones: &[&str], member: Option<&str>| HostEntry {
        name: name.into(),
        address: address.into(),
        places: places(zones),
        member_address: member.map(|ip| ip.parse().unwrap()),
        sealed_tls: None,
    };
    let wanted = [
        entry("local", "unix:///var/run/docker.sock", &["1"], local),
        entry("zone-two", "tcp://192.0.2.20:2376", &["2", "3"], Some("192.0.2.20")),
    ];
    let hosts = store.register_host_entries(now, &wanted).await.unwrap();
    let id = |name: &str| hosts.iter().find(|host| host.name == name).unwrap().id.clone();
    let of = |engine: &str| EngineFacts { engine_id: engine.into(), ..facts() };
    store.observe_host(&id("local"), now, &of("one"), &[]).await.unwrap();
    let second = match engines {
        Engines::Two => "two",
        Engines::One => "one",
    };
    store.observe_host(&id("zone-two"), now, &of(second), &[]).await.unwrap();
    id("zone-two")
}

pub fn asked(server: &Seeded, durability: Durability, now: DateTime<Utc>) -> HighAvailability {
    let row = HighAvailability::asked(
        server.id.clone(),
        HaMode::ZoneRedundant,
        durability,
        "2".into(),
        now,
    );
    row.after(&Move::PrimaryPlaced { member: server.member.clone() }, now).unwrap()
}

/// A server whose standby has every commit since three hours and two minutes.
pub async fn healthy(app: &TestApp, name: &str, engines: Engines) -> Pair {
    let server = ready(app, name).await;
    let host_id = second_host(app, &engines).await;
    let now = app.clock.now();
    let begun = now - Duration::minutes(182);
    let standby = Member {
        id: new_id(MemberId::parse),
        server_id: server.id.clone(),
        host_id,
        generation: 1,
        image: "pgflex/postgres:17-r3".into(),
        postgres_version: String::new(),
        disk: None,
        zone: "2".into(),
        port: None,
        role: MemberRole::Standby,
    };
    let row = HighAvailability {
        standby: Some(standby.id.clone()),
        state: ReplicationState::Sync,
        is_promotable: true,
        armed_lsn: Some(Lsn(0x3000)),
        timeline: 1,
        ..asked(&server, Durability::Preferred, begun)
    };
    let mut tx = app.state.store.begin_write(now).await.unwrap();
    tx.insert_member(&standby).await.unwrap();
    tx.set_member_image(&standby.id, &standby.image, "17.6").await.unwrap();
    tx.insert_ha(&row).await.unwrap();
    event(&mut tx, &server, begun - Duration::minutes(2), "enabled", "olga asked for it.").await;
    event(&mut tx, &server, begun, "armed", "Every commit is on both members from here on.").await;
    tx.commit(Record::Nothing("a story begins")).await.unwrap();
    observe(app, &server, running()).await;
    let pair = Pair { server, standby: standby.id };
    look(app, &pair, Some(0)).await;
    pair
}

/// The monitor looked at the pair just now.
pub async fn look(app: &TestApp, pair: &Pair, lag_bytes: Option<u64>) {
    let now = app.clock.now();
    let member = |id: &MemberId, answers: Option<bool>| LookMember {
        member: id.as_str().into(),
        answers,
        answers_since_micros: Some((now - Duration::minutes(200)).timestamp_micros()),
        container: "running".into(),
    };
    let epoch = app.state.store.ha(&pair.server.id).await.unwrap().unwrap().epoch;
    let facts = HaLook {
        epoch,
        action: "Nothing".into(),
        reason: "Both members are well.".into(),
        since_micros: now.timestamp_micros(),
        primary: member(&pair.server.member, Some(true)),
        standby: Some(member(&pair.standby, lag_bytes.map(|_| true))),
        lag_bytes,
        lag_seconds: lag_bytes.map(|_| 0.0),
        sync_state: lag_bytes.map_or(String::new(), |_| "sync".into()),
    };
    let seen = [(pair.server.id.clone(), facts)];
    app.state.store.observe_servers(now, OBSERVATION, &seen).await.unwrap();
}

pub async fn event(tx: &mut WriteTx, server: &Seeded, at: DateTime<Utc>, kind: &str, detail: &str) {
    let event =
        HaEvent { at, epoch: 1, kind: kind.into(), detail: detail.into(), operation_id: None };
    tx.insert_ha_event(&server.id, &event).await.unwrap();
}

/// Changes the row by a move, as an operation does.
pub async fn moved(app: &TestApp, pair: &Pair, change: Move) {
    let now = app.clock.now();
    let mut tx = app.state.store.begin_write(now).await.unwrap();
    let row = tx.ha(&pair.server.id).await.unwrap().unwrap();
    tx.replace_ha(&row.after(&change, now).unwrap()).await.unwrap();
    tx.commit(Record::Nothing("a story goes on")).await.unwrap();
}

/// A change of primary that took 1.6 s.
pub async fn promotion(
    app: &TestApp,
    pair: &Pair,
    epoch: i64,
    cause: Cause,
    operation: Option<&OperationId>,
) {
    let seen_at = app.clock.now() - Duration::minutes(30);
    let promotion = Promotion {
        id: new_uuid(),
        server_id: pair.server.id.clone(),
        epoch,
        cause,
        reason: "The primary's container has ended with exit code 137.".into(),
        from_member: pair.server.member.clone(),
        to_member: pair.standby.clone(),
        parent_timeline: epoch - 1,
        timeline: Some(epoch),
        stopped_lsn: None,
        received_lsn: Some(Lsn(0x1_6B37_4D84)),
        fork_lsn: Some(Lsn(0x1_6B37_4D84)),
        operation_id: operation.cloned(),
        seen_at,
        decided_at: seen_at + Duration::milliseconds(420),
        opened_at: Some(seen_at + Duration::milliseconds(1600)),
    };
    let mut tx = app.state.store.begin_write(app.clock.now()).await.unwrap();
    tx.put_promotion(&promotion).await.unwrap();
    tx.commit(Record::Nothing("a story goes on")).await.unwrap();
}
