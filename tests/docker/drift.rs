//! What somebody does by hand on a real engine is found and put right around the same volume; what cannot be put right is
//! said, and nothing is made in its place.

use crate::portal::Portal;
use crate::support::{has_engine, objects_of_servers, socket};
use pgflex::domain::activity::Actor;
use pgflex::domain::drift::{DriftLook, Next, OBSERVATION};
use pgflex::domain::ids::ServerId;
use pgflex::domain::operation::{Operation, OperationKind, OperationStatus};
use pgflex::domain::server::Member;
use pgflex::engine::{ContainerFacts, Engine};
use pgflex::store::operations::OperationFilter;
use std::process::Command;
use std::time::{Duration, Instant};

/// Somebody with a shell on the host, who tries again while a look of the monitor is in the way.
fn by_hand(arguments: &[&str]) {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let mut docker = Command::new("docker");
        let output = docker.args(["--host", &socket()]).args(arguments).output().unwrap();
        if output.status.success() {
            return;
        }
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(why.contains("in use") && Instant::now() < end, "{arguments:?}: {why}");
        std::thread::sleep(Duration::from_millis(50));
    }
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

async fn member(portal: &Portal, server: &ServerId) -> Member {
    portal.app.store.members(server).await.unwrap().remove(0)
}

async fn container(portal: &Portal, server: &ServerId) -> ContainerFacts {
    let name = member(portal, server).await.container();
    portal.engine().container(&name).await.unwrap().expect("there is a container")
}

/// The next repair that the portal itself asked for, ended.
async fn repaired(portal: &Portal, server: &ServerId, earlier: usize) -> Operation {
    let filter = OperationFilter {
        server_id: Some(server.clone()),
        kind: Some(OperationKind::Repair),
        ..Default::default()
    };
    let end = Instant::now() + Duration::from_secs(90);
    loop {
        let repairs = portal.app.store.operations(&filter).await.unwrap();
        if repairs.len() > earlier && repairs[0].status.is_settled() {
            assert_eq!(repairs[0].requested_by, Actor::system().name);
            return repairs[0].clone();
        }
        assert!(Instant::now() < end, "nobody repairs: {}", portal.tail());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn rows(portal: &Portal, server: &ServerId) -> String {
    portal.psql_when_open(server, "SELECT count(*), sum(n) FROM kept").await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_by_hand_loses_no_row_and_is_put_right() {
    if !has_engine() {
        return;
    }
    let (portal, server) = started().await;
    let fill = "CREATE TABLE kept AS SELECT n FROM generate_series(1, 100000) n";
    portal.psql(&server, fill).await.unwrap();
    let (before, endpoint) = (rows(&portal, &server).await, port(&portal, &server).await);
    let volume = member(&portal, &server).await.volume();

    // Removed while it runs: no checkpoint, no orderly end.
    let first = member(&portal, &server).await;
    let removed = Instant::now();
    by_hand(&["rm", "--force", &first.container()]);
    if first.loop_minor().is_some() {
        // What containers mount is only a view of the disk.
        by_hand(&["volume", "rm", &first.volume()]);
    }
    let operation = repaired(&portal, &server, 0).await;
    assert_eq!(operation.status, OperationStatus::Succeeded, "{:?}", operation.error);
    assert_eq!(rows(&portal, &server).await, before);
    println!(
        "{:>7.1} s  removed by hand until rows are read again",
        removed.elapsed().as_secs_f64()
    );
    let second = member(&portal, &server).await;
    assert_eq!((second.generation, second.volume()), (first.generation + 1, volume.clone()));
    assert_eq!(port(&portal, &server).await, endpoint, "the same endpoint");

    // Limits: put back while PostgreSQL goes on.
    let right = container(&portal, &server).await;
    by_hand(&["update", "--memory=1g", "--memory-swap=1g", "--cpus=0.5", &second.container()]);
    assert_eq!(repaired(&portal, &server, 1).await.status, OperationStatus::Succeeded);
    let again = container(&portal, &server).await;
    assert_eq!(
        (again.memory_limit_bytes, again.cpu_limit, again.started_at, again.id),
        (right.memory_limit_bytes, right.cpu_limit, right.started_at, right.id),
        "as before, and nothing was restarted"
    );

    // Stopped: started again.
    by_hand(&["stop", &second.container()]);
    assert_eq!(repaired(&portal, &server, 2).await.status, OperationStatus::Succeeded);
    assert_eq!(rows(&portal, &server).await, before);

    // Three repairs within half an hour are enough: from now on a person has to.
    by_hand(&["network", "disconnect", &right.networks[0], &second.container()]);
    assert_eq!(next(&portal, &server, Next::GaveUp).await, Next::GaveUp);
    let asked = portal.door().submit(OperationKind::Repair, &server, &Actor::system(), None).await;
    let operation = portal.wait_settled(&asked.unwrap()).await;
    assert_eq!(operation.status, OperationStatus::Succeeded, "{:?}", operation.error);
    assert_eq!(rows(&portal, &server).await, before);
    let owned = objects_of_servers(&portal.engine()).await;
    let containers = owned.iter().filter(|object| object.kind == "container").count();
    assert_eq!(containers, 1, "no generation is left behind: {owned:?}");
    portal.finish().await;
}

async fn port(portal: &Portal, server: &ServerId) -> u16 {
    portal.app.store.server(server).await.unwrap().unwrap().port
}

/// Names of every volume with the text in it, whosever it is.
fn volumes(text: &str) -> String {
    let filter = format!("name={text}");
    let arguments = ["--host", &socket(), "volume", "ls", "-q", "--filter", &filter];
    let output = Command::new("docker").args(arguments).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Waits until the monitor says so.
async fn next(portal: &Portal, server: &ServerId, wanted: Next) -> Next {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let look = portal.app.store.server_observation::<DriftLook>(server, OBSERVATION).await;
        let next = look.unwrap().map(|look| look.facts.next);
        match next {
            Some(next) if next == wanted || Instant::now() > end => return next,
            _ => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_is_gone_is_said_and_nothing_is_made() {
    if !has_engine() {
        return;
    }
    let (portal, server) = started().await;
    let lost = member(&portal, &server).await;
    by_hand(&["rm", "--force", &lost.container()]);
    by_hand(&["volume", "rm", &lost.volume()]);
    if let Some(minor) = lost.loop_minor() {
        by_hand(&["volume", "rm", &lost.disk_volume()]);
        // Of its loop device nothing else knows any more.
        let device = format!("/dev/loop{minor}");
        assert!(Command::new("losetup").args(["--detach", &device]).status().unwrap().success());
    }
    assert_eq!(next(&portal, &server, Next::Person).await, Next::Person);
    let asked = portal.door().submit(OperationKind::Repair, &server, &Actor::system(), None).await;
    let operation = match asked {
        Ok(id) => portal.wait_settled(&id).await,
        // The monitor was faster: the container was gone before the volume.
        Err(_) => repaired(&portal, &server, 0).await,
    };
    assert_eq!(operation.status, OperationStatus::Failed);
    assert!(operation.error.unwrap().contains("is not on its host"));
    assert!(operation.advice.unwrap().contains("Nothing was made in its place"));
    // A repair that the monitor began between two of the removals above made the view of a disk that was still there.
    let view = lost.volume();
    let is_view = |name: &str| lost.loop_minor().is_some() && name == view && is_of_a_device(name);
    let owned = objects_of_servers(&portal.engine()).await;
    let is_right = owned.iter().all(|object| object.kind == "network" || is_view(&object.name));
    assert!(is_right, "{owned:?}");
    // Neither with our labels nor, by an engine that makes what a container wants, without: no place for data.
    let strays = volumes(lost.id.short());
    assert!(strays.lines().all(is_view), "{strays}");
    portal.finish().await;
}

/// Whether a volume is a view of a loop device, which holds nothing by itself; a plain one would be mounted empty.
fn is_of_a_device(volume: &str) -> bool {
    let format = "--format={{.Options.device}}";
    let arguments = ["--host", &socket(), "volume", "inspect", format, volume];
    let output = Command::new("docker").args(arguments).output().unwrap();
    String::from_utf8_lossy(&output.stdout).starts_with("/dev/loop")
}
