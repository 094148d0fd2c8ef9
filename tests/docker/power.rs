//! Stop, start, scale and CPU credits on a real engine with a real PostgreSQL.

use crate::portal::Portal;
use crate::support::{has_engine, objects_of_servers, socket};
use bollard::Docker;
use bollard::exec::{CreateExecOptions, StartExecOptions};
use bollard::models::RestartPolicyNameEnum;
use bollard::query_parameters::{InspectContainerOptions, RemoveContainerOptionsBuilder};
use pgflex::domain::activity::Actor;
use pgflex::domain::credits::Balance;
use pgflex::domain::ids::ServerId;
use pgflex::domain::operation::{OperationKind, OperationStatus};
use pgflex::domain::server::{Member, SettledState};
use pgflex::engine::Engine;
use pgflex::monitor::credits;
use pgflex::operations::submit::Change;
use pgflex::store::Record;
use serde_json::json;
use std::time::{Duration, Instant};

async fn created(portal: &Portal) -> ServerId {
    let create = portal.submit_create("shop").await;
    let made = portal.wait_settled(&create).await;
    assert_eq!(made.status, OperationStatus::Succeeded, "{:?}", made.error);
    let sql = "CREATE TABLE t AS SELECT generate_series(1, 1000) AS id";
    portal.psql(&made.server_id, sql).await.unwrap();
    made.server_id
}

async fn run(portal: &Portal, server: &ServerId, change: Change) {
    let begun = Instant::now();
    let words = format!("{:?} {}", change.kind, change.input);
    let id = portal.door().submit_change(change, server, &Actor::system(), None).await.unwrap();
    let ended = portal.wait_settled(&id).await;
    assert_eq!(ended.status, OperationStatus::Succeeded, "{:?}\n{}", ended.error, portal.tail());
    println!("{words}: {:?}", begun.elapsed());
}

async fn plain(portal: &Portal, server: &ServerId, kind: OperationKind) {
    run(portal, server, Change::plain(kind)).await;
}

async fn scale(portal: &Portal, server: &ServerId, to: &str) {
    let input = json!({ "to": format!("Standard_{to}") });
    run(portal, server, Change { kind: OperationKind::Scale, input }).await;
}

async fn member(portal: &Portal, server: &ServerId) -> Member {
    portal.app.store.members(server).await.unwrap().remove(0)
}

fn docker() -> Docker {
    Docker::connect_with_unix(&socket(), 120, bollard::API_DEFAULT_VERSION).unwrap()
}

async fn host_config(container: &str) -> bollard::models::HostConfig {
    let found = docker().inspect_container(container, None::<InspectContainerOptions>).await;
    found.unwrap().host_config.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_server_keeps_its_data_stays_stopped_and_starts_again() {
    if !has_engine() {
        return;
    }
    let mut portal = Portal::new().await;
    portal.start(&[]);
    portal.wait_line("pgflex is at");
    let server = created(&portal).await;
    let member = member(&portal, &server).await;
    for is_removed in [false, true] {
        plain(&portal, &server, OperationKind::Stop).await;
        let row = portal.app.store.server(&server).await.unwrap().unwrap();
        assert_eq!(row.settled, SettledState::Stopped);
        let refused = portal.psql(&server, "SELECT 1").await.unwrap_err();
        assert!(!refused.is_empty(), "nobody gets in");
        let facts = portal.engine().container(&member.container()).await.unwrap().unwrap();
        assert_eq!((&*facts.state, facts.exit_code), ("exited", Some(0)), "in good order");
        // A container that was stopped by hand is not started when its host starts.
        let policy = host_config(&member.container()).await.restart_policy.unwrap();
        assert_eq!(policy.name, Some(RestartPolicyNameEnum::UNLESS_STOPPED));
        if is_removed {
            let options = RemoveContainerOptionsBuilder::new().force(true).build();
            docker().remove_container(&member.container(), Some(options)).await.unwrap();
        }
        plain(&portal, &server, OperationKind::Start).await;
        let count = portal.psql(&server, "SELECT count(*) FROM t").await.unwrap();
        assert_eq!(count, "1000", "removed: {is_removed}");
    }
    plain(&portal, &server, OperationKind::Stop).await;
    plain(&portal, &server, OperationKind::Delete).await;
    assert_eq!(objects_of_servers(&portal.engine()).await, [], "a stopped server is deleted whole");
    portal.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scaling_changes_limits_and_parameters_and_restarts_only_when_it_must() {
    if !has_engine() {
        return;
    }
    let mut portal = Portal::new().await;
    portal.start(&[]);
    portal.wait_line("pgflex is at");
    let server = created(&portal).await;
    let begun = "SELECT pg_postmaster_start_time()";
    let mut last = portal.psql(&server, begun).await.unwrap();
    for (to, gib, cpus, buffers, restarts) in [
        ("B2s", 4u64, 2.0, "1GB", true),
        ("B2ms", 8, 2.0, "2GB", true),
        ("D2ds_v5", 8, 2.0, "2GB", false),
        ("B2ms", 8, 2.0, "2GB", false),
        ("B1ms", 2, 1.0, "256MB", true),
    ] {
        scale(&portal, &server, to).await;
        let now = portal.psql(&server, begun).await.unwrap();
        assert_eq!(now != last, restarts, "{to}");
        last = now;
        let name = member(&portal, &server).await.container();
        let facts = portal.engine().container(&name).await.unwrap().unwrap();
        assert_eq!(facts.memory_limit_bytes, gib << 30, "{to}");
        assert!((facts.cpu_limit - cpus).abs() < 0.01, "{to}: {}", facts.cpu_limit);
        let config = host_config(&name).await;
        assert_eq!(config.memory_swap, Some((gib << 30) as i64), "{to}: no swap");
        assert_eq!(config.shm_size, Some((gib << 28) as i64), "{to}");
        assert_eq!(portal.psql(&server, "SHOW shared_buffers").await.unwrap(), buffers, "{to}");
        assert_eq!(portal.psql(&server, "SELECT count(*) FROM t").await.unwrap(), "1000");
        let left = objects_of_servers(&portal.engine()).await;
        assert_eq!(left.len(), 4, "one container, the disk and its mount, one network: {left:?}");
    }
    portal.finish().await;
}

/// Cores that a loop in the container gets.
async fn cores(portal: &Portal, container: &str) -> f64 {
    let options = CreateExecOptions {
        cmd: Some(vec!["timeout", "6", "sh", "-c", "while :; do :; done"]),
        ..Default::default()
    };
    let docker = docker();
    let exec = docker.create_exec(container, options).await.unwrap().id;
    let detached = StartExecOptions { detach: true, ..Default::default() };
    docker.start_exec(&exec, Some(detached)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let engine = portal.engine();
    let (before, begun) = (engine.cpu_nanos(container).await.unwrap().unwrap(), Instant::now());
    tokio::time::sleep(Duration::from_secs(3)).await;
    let used = engine.cpu_nanos(container).await.unwrap().unwrap() - before;
    let cores = used as f64 / begun.elapsed().as_nanos() as f64;
    tokio::time::sleep(Duration::from_secs(3)).await;
    cores
}

#[tokio::test(flavor = "multi_thread")]
async fn without_credits_the_container_really_gets_its_baseline_only() {
    if !has_engine() {
        return;
    }
    let mut portal = Portal::new().await;
    portal.start(&[]);
    portal.wait_line("pgflex is at");
    let server = created(&portal).await;
    let container = member(&portal, &server).await.container();
    let services = portal.app.services().await.unwrap();
    credits::tick(&services).await.unwrap();
    // Nothing is left, and a loop spends more than is earned: that it runs is what gets it held.
    set_balance(&portal, &server, 0.0).await;
    let free = cores(&portal, &container).await;
    credits::tick(&services).await.unwrap();
    assert!(portal.app.store.is_held(&server).await.unwrap());
    let limit = async || portal.engine().container(&container).await.unwrap().unwrap().cpu_limit;
    assert!((limit().await - 0.2).abs() < 0.001);
    let held = cores(&portal, &container).await;
    println!("cores of a loop: {free:.2} free, {held:.2} held");
    assert!(held < 0.3, "{held}");
    assert!(free > 1.2 * held, "{free} free, {held} held");
    assert_eq!(portal.psql(&server, "SELECT count(*) FROM t").await.unwrap(), "1000", "it answers");
    set_balance(&portal, &server, 20.0).await;
    credits::tick(&services).await.unwrap();
    assert!((limit().await - 1.0).abs() < 0.001, "let go");
    portal.finish().await;
}

async fn set_balance(portal: &Portal, server: &ServerId, credits: f64) {
    let store = &portal.app.store;
    let mut row = store.credits(server).await.unwrap().unwrap();
    row.balance = Balance { credits, ..row.balance };
    // As if no time had passed and the loop had not been: only what is set here counts.
    let container = member(portal, server).await.container();
    row.reading.nanos = portal.engine().cpu_nanos(&container).await.unwrap().unwrap();
    row.reading.at = portal.app.clock.now();
    let mut tx = store.begin_write(row.reading.at).await.unwrap();
    tx.set_credits(server, &row).await.unwrap();
    tx.commit(Record::Nothing("a test")).await.unwrap();
}
