//! Servers as the pages of one server find them: rows written through the store, no engine.

use crate::helpers::TestApp;
use chrono::Duration;
use pgflex::clock::{Clock, new_id};
use pgflex::domain::ha::MemberRole;
use pgflex::domain::ids::{MemberId, OperationId, ServerId};
use pgflex::domain::names::{AdminLogin, ServerName, Tag};
use pgflex::domain::network::Access;
use pgflex::domain::operation::{OperationKind, OperationStatus, StepStatus};
use pgflex::domain::route::RouteState;
use pgflex::domain::server::{Member, MemberFacts, ServerSpec, SettledState};
use pgflex::domain::version::Major;
use pgflex::store::Record;
use pgflex::store::operations::NewOperation;
use pgflex::store::progress::{OperationChange, StepChange};

/// A server on record and its member.
pub struct Seeded {
    pub id: ServerId,
    pub member: MemberId,
    pub name: String,
}

impl Seeded {
    pub fn path(&self, rest: &str) -> String {
        format!("/servers/{}{rest}", self.id)
    }
}

pub fn spec(name: &str, access: Access) -> ServerSpec {
    ServerSpec {
        name: ServerName::parse(name).unwrap(),
        region: "westeurope".into(),
        zone: "1".into(),
        major: Major::V17,
        sku: "Standard_D2ds_v5".into(),
        storage_gib: 128,
        admin_login: AdminLogin::parse("shopadmin").unwrap(),
        access,
        tags: vec![Tag { name: "team".into(), value: "<shop>".into() }],
    }
}

/// A Ready server with one member, port 20001.
pub async fn ready(app: &TestApp, name: &str) -> Seeded {
    seed(app, name, Access::Public, SettledState::Ready, 20_001).await
}

pub async fn seed(
    app: &TestApp,
    name: &str,
    access: Access,
    settled: SettledState,
    port: u16,
) -> Seeded {
    let (store, now) = (&app.state.store, app.clock.now());
    let hosts = store
        .register_hosts(now, &[("local".into(), "unix:///var/run/docker.sock".into(), vec![])])
        .await
        .unwrap();
    let member = Member {
        id: new_id(MemberId::parse),
        server_id: new_id(ServerId::parse),
        host_id: hosts[0].id.clone(),
        generation: 1,
        image: "pgflex/postgres:17-r1".into(),
        postgres_version: String::new(),
        disk: None,
        zone: String::new(),
        // Of account only where the host has a member address.
        port: Some(port + 2000),
        role: MemberRole::Primary,
    };
    let id = member.server_id.clone();
    let mut tx = store.begin_write(now).await.unwrap();
    tx.insert_server(&id, &spec(name, access), port, None).await.unwrap();
    tx.insert_member(&member).await.unwrap();
    tx.set_member_image(&member.id, &member.image, "17.6").await.unwrap();
    let expiry = Some(now + Duration::days(90));
    tx.put_server_secret(&id, "server_certificate", vec![1], expiry).await.unwrap();
    tx.set_route(&id, Some("172.18.0.2:5432".parse().unwrap()), RouteState::Open).await.unwrap();
    tx.set_settled(&id, settled).await.unwrap();
    tx.commit(Record::Nothing("a story begins")).await.unwrap();
    Seeded { id, member: member.id, name: name.to_owned() }
}

pub fn running() -> MemberFacts {
    MemberFacts {
        container_state: "running".into(),
        container_id: "0123456789abcdef0123456789abcdef".into(),
        started_at: None,
        restarts: 2,
        exit_code: None,
        address: Some("172.18.0.2".into()),
        memory_limit_bytes: 8 << 30,
        cpu_limit: 2.0,
        accepts_queries: Some(true),
        probe_error: None,
    }
}

/// The monitor looked just now.
pub async fn observe(app: &TestApp, server: &Seeded, facts: MemberFacts) {
    let seen = [(server.member.clone(), facts)];
    app.state.store.observe_members(app.clock.now(), &seen).await.unwrap();
}

/// An operation of three steps, the first of which is done.
pub async fn operation(
    app: &TestApp,
    server: &Seeded,
    kind: OperationKind,
    status: OperationStatus,
) -> OperationId {
    let id: OperationId = new_id(OperationId::parse);
    let mut tx = app.state.store.begin_write(app.clock.now()).await.unwrap();
    let plan = vec![
        ("create_network", "Create the private network"),
        ("start_member", "Start PostgreSQL"),
        ("wait_accepting", "Wait until it accepts connections"),
    ];
    tx.insert_operation(&NewOperation {
        id: id.clone(),
        kind,
        server_id: &server.id,
        server_name: &server.name,
        input: serde_json::Value::Null,
        requested_by: "olga",
        requested_from: "192.0.2.7",
        idempotency_key: None,
        retry_of: None,
        plan,
    })
    .await
    .unwrap();
    let done = StepChange {
        status: Some(StepStatus::Done),
        begins: true,
        ends: true,
        ..Default::default()
    };
    tx.change_step(&id, 0, &done).await.unwrap();
    let has_failed = matches!(status, OperationStatus::Failed | OperationStatus::NeedsAttention);
    let change = OperationChange {
        status: Some(status),
        error: has_failed.then_some("The host has no room."),
        advice: has_failed.then_some("Free some, then retry."),
        ..Default::default()
    };
    tx.change_operation(&id, &change).await.unwrap();
    tx.commit(Record::Nothing("a story goes on")).await.unwrap();
    id
}

/// The server and all its rows go, as at the end of a deletion.
pub async fn forget(app: &TestApp, server: &Seeded) {
    let mut tx = app.state.store.begin_write(app.clock.now()).await.unwrap();
    tx.delete_server(&server.id).await.unwrap();
    tx.commit(Record::Nothing("a story ends")).await.unwrap();
}
