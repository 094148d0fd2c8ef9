//! A server without a standby whose PostgreSQL, container or processes are killed under a client that writes through the
//! gateway: what was acknowledged is there, and writes go on by themselves.

use crate::portal::Portal;
use crate::support::{has_engine, socket};
use pgflex::domain::ids::ServerId;
use pgflex::domain::operation::OperationStatus;
use pgflex::domain::starts::{OBSERVATION, Starts};
use pgflex::engine::{Engine, FileSpec};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// Longest wait until writes go on.
const PATIENCE: Duration = Duration::from_secs(90);

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn docker(arguments: &[&str]) -> String {
    output("docker", &[&["--host", &socket()], arguments].concat())
}

/// What was acknowledged, and when.
#[derive(Default)]
struct Acknowledged(Mutex<Vec<(u32, Instant)>>);

/// One row at a time, each in a session of its own; what fails is written again under the next number.
async fn write(
    portal: Arc<Portal>,
    server: ServerId,
    acknowledged: Arc<Acknowledged>,
    stop: Arc<AtomicBool>,
) {
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let sql = format!("INSERT INTO written VALUES ({number})");
        match portal.psql(&server, &sql).await {
            Ok(_) => acknowledged.0.lock().await.push((number, Instant::now())),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn container(portal: &Portal, server: &ServerId) -> String {
    portal.app.store.members(server).await.unwrap().remove(0).container()
}

/// Process id on the host of the container's first process.
async fn postmaster(portal: &Portal, server: &ServerId) -> String {
    let name = container(portal, server).await;
    docker(&["inspect", "--format", "{{.State.Pid}}", &name])
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    Postmaster,
    Backend,
    Kill,
    Remove,
    Stop,
}

async fn strike(portal: &Portal, server: &ServerId, fault: Fault) {
    let name = container(portal, server).await;
    match fault {
        Fault::Postmaster => {
            output("kill", &["-9", &postmaster(portal, server).await]);
        }
        Fault::Backend => {
            let parent = postmaster(portal, server).await;
            let children = output("ps", &["--ppid", &parent, "-o", "pid=,args="]);
            let writer = children.lines().find(|line| line.contains("walwriter")).unwrap();
            output("kill", &["-9", writer.split_whitespace().next().unwrap()]);
        }
        Fault::Kill => drop(docker(&["kill", &name])),
        Fault::Remove => drop(docker(&["rm", "--force", &name])),
        Fault::Stop => drop(docker(&["stop", &name])),
    }
}

/// Longest time between two acknowledgements since `from`.
fn gap(acknowledged: &[(u32, Instant)], from: Instant) -> Duration {
    let times: Vec<Instant> = acknowledged.iter().map(|(_, at)| *at).collect();
    let pairs = times.windows(2).filter(|pair| pair[1] > from);
    pairs.map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}

async fn started() -> (Portal, ServerId) {
    let mut portal = Portal::new().await;
    portal.start(&[]);
    portal.wait_line("pgflex is at");
    let create = portal.submit_create("shop").await;
    let made = portal.wait_settled(&create).await;
    assert_eq!(made.status, OperationStatus::Succeeded, "{:?}", made.error);
    (portal, made.server_id)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kills_a_single_server_loses_nothing_and_writes_go_on() {
    if !has_engine() {
        return;
    }
    let (portal, server) = started().await;
    portal.psql_when_open(&server, "CREATE TABLE written (n int PRIMARY KEY)").await;
    let (portal, acknowledged) = (Arc::new(portal), Arc::new(Acknowledged::default()));
    let stop = Arc::new(AtomicBool::new(false));
    let writer =
        tokio::spawn(write(portal.clone(), server.clone(), acknowledged.clone(), stop.clone()));
    for fault in [Fault::Postmaster, Fault::Backend, Fault::Kill, Fault::Remove, Fault::Stop] {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let begun = Instant::now();
        strike(&portal, &server, fault).await;
        let struck = Instant::now();
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let last = acknowledged.0.lock().await.last().map(|(_, at)| *at);
            // A killed process may leave one more acknowledgement on its way.
            if last.is_some_and(|at| at > struck + Duration::from_secs(1)) {
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "{fault:?}: no writes: {}", portal.tail());
        }
        let gap = gap(&acknowledged.0.lock().await, begun);
        println!("{:>7.2} s  longest time without writes: {fault:?}", gap.as_secs_f64());
    }
    stop.store(true, Ordering::Relaxed);
    writer.await.unwrap();
    let rows = portal.psql_when_open(&server, "SELECT n FROM written").await;
    let rows: std::collections::HashSet<u32> =
        rows.lines().map(|line| line.parse().unwrap()).collect();
    let acknowledged = acknowledged.0.lock().await;
    let lost: Vec<u32> =
        acknowledged.iter().map(|(n, _)| *n).filter(|n| !rows.contains(n)).collect();
    println!("          {} acknowledged, {} rows", acknowledged.len(), rows.len());
    assert!(lost.is_empty() && !acknowledged.is_empty(), "acknowledged and lost: {lost:?}");
    Arc::into_inner(portal).unwrap().finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgresql_that_never_comes_up_is_given_up_and_goes_on_when_it_is_mended() {
    if !has_engine() {
        return;
    }
    let (portal, server) = started().await;
    portal.psql_when_open(&server, "CREATE TABLE kept AS SELECT 1 AS n").await;
    let name = container(&portal, &server).await;
    let path = "config/postgresql.conf";
    let broken =
        FileSpec { path: path.into(), mode: 0o600, content: b"no_such_thing = 1\n".into() };
    let engine = portal.engine();
    engine.put_files(&name, &[broken]).await.unwrap();
    output("kill", &["-9", &postmaster(&portal, &server).await]);
    let begun = Instant::now();
    let given_up = loop {
        let starts = portal.app.store.server_observation::<Starts>(&server, OBSERVATION).await;
        if let Some(given_up) = starts.unwrap().and_then(|starts| starts.facts.given_up) {
            break given_up;
        }
        assert!(begun.elapsed() < PATIENCE, "nobody gives up: {}", portal.tail());
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert!(given_up.line.contains("FATAL") || given_up.line.contains("no_such_thing"));
    println!("{:>7.2} s  given up: {}", begun.elapsed().as_secs_f64(), given_up.line);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let facts = engine.container(&name).await.unwrap().unwrap();
    assert_eq!((facts.state.as_str(), facts.restarts_by_itself), ("exited", false));
    // A person repairs: the configuration is written anew, and its engine may start it again.
    let actor = pgflex::domain::activity::Actor::system();
    let kind = pgflex::domain::operation::OperationKind::Repair;
    let repair = portal.door().submit(kind, &server, &actor, None).await.unwrap();
    let repaired = portal.wait_settled(&repair).await;
    assert_eq!(repaired.status, OperationStatus::Succeeded, "{:?}", repaired.error);
    assert_eq!(portal.psql_when_open(&server, "SELECT n FROM kept").await, "1");
    let begun = Instant::now();
    while !engine.container(&name).await.unwrap().unwrap().restarts_by_itself {
        assert!(begun.elapsed() < PATIENCE, "its engine does not start it again");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    portal.finish().await;
}
