//! SIGKILL of the real process at every moment of a creation, of a deletion and of changes of a server, on the
//! real engine: after a restart the server is there, once, and answers with its rows; or is gone, with nothing left.

use crate::portal::Portal;
use crate::support::{has_engine, objects_of_servers, socket};
use pgflex::domain::activity::Actor;
use pgflex::domain::operation::{OperationKind, OperationStatus};
use pgflex::domain::starts::{OBSERVATION, Starts};
use pgflex::operations::kinds::steps;
use pgflex::operations::runner::Point;

fn moments(kind: OperationKind) -> Vec<String> {
    let point = |point: Point| format!("{point:?}").to_lowercase();
    steps(kind)
        .iter()
        .flat_map(|step| Point::ALL.map(|at| format!("{}:{}", step.name, point(at))))
        .collect()
}

async fn names(portal: &Portal) -> Vec<String> {
    let mut names: Vec<String> = objects_of_servers(&portal.engine())
        .await
        .into_iter()
        .map(|object| format!("{} {}", object.kind, object.name))
        .collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_survives_sigkill_at_every_moment() {
    if !has_engine() {
        return;
    }
    println!("engine {}", socket());
    let mut portal = Portal::new().await;
    for (at, moment) in moments(OperationKind::Create).iter().enumerate() {
        portal.start(&[&format!("--test-stop-at={moment}")]);
        portal.wait_line("pgflex is at");
        let id = portal.submit_create(&format!("shop-{at}")).await;
        portal.wait_line("stopped at");
        portal.kill();
        portal.start(&[]);
        let operation = portal.wait_settled(&id).await;
        assert_eq!(
            operation.status,
            OperationStatus::Succeeded,
            "{moment}: {:?}\n{}",
            operation.error,
            portal.tail()
        );
        let members = portal.app.store.members(&operation.server_id).await.unwrap();
        let network = pgflex::domain::server::network_name(&operation.server_id);
        let mut wanted = vec![
            format!("container {}", members[0].container()),
            format!("network {network}"),
            format!("volume {}", members[0].volume()),
            format!("volume {}", members[0].disk_volume()),
        ];
        wanted.sort();
        assert_eq!(names(&portal).await, wanted, "{moment}: each once");
        portal
            .psql(&operation.server_id, "SELECT 1")
            .await
            .unwrap_or_else(|why| panic!("{moment}: {why}"));
        let delete = portal
            .door()
            .submit(OperationKind::Delete, &operation.server_id, &Actor::system(), None)
            .await
            .unwrap();
        assert_eq!(
            portal.wait_settled(&delete).await.status,
            OperationStatus::Succeeded,
            "{moment}"
        );
        assert_eq!(names(&portal).await, Vec::<String>::new(), "{moment}");
        portal.kill();
    }
    portal.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_survives_sigkill_at_every_moment() {
    if !has_engine() {
        return;
    }
    let mut portal = Portal::new().await;
    for (at, moment) in moments(OperationKind::Delete).iter().enumerate() {
        portal.start(&[&format!("--test-stop-at={moment}")]);
        portal.wait_line("pgflex is at");
        let create = portal.submit_create(&format!("shop-{at}")).await;
        let operation = portal.wait_settled(&create).await;
        assert_eq!(operation.status, OperationStatus::Succeeded);
        let delete = portal
            .door()
            .submit(OperationKind::Delete, &operation.server_id, &Actor::system(), None)
            .await
            .unwrap();
        portal.wait_line("stopped at");
        portal.kill();
        portal.start(&[]);
        assert_eq!(
            portal.wait_settled(&delete).await.status,
            OperationStatus::Succeeded,
            "{moment}\n{}",
            portal.tail()
        );
        assert_eq!(names(&portal).await, Vec::<String>::new(), "{moment}");
        portal.kill();
    }
    portal.finish().await;
}

/// What somebody does to the container of a server before the change is asked for.
type Deed = fn(&str);

fn nothing(_: &str) {}

fn remove(container: &str) {
    let output = std::process::Command::new("docker")
        .args(["--host", &socket(), "rm", "--force", container])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Changes that leave a server which answers: one line for each.
const CHANGES: [(OperationKind, Deed); 3] = [
    (OperationKind::Restart, nothing),
    (OperationKind::Repair, nothing),
    (OperationKind::Repair, remove),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_change_survives_sigkill_at_every_moment() {
    if !has_engine() {
        return;
    }
    let mut portal = Portal::new().await;
    portal.start(&[]);
    portal.wait_line("pgflex is at");
    let create = portal.submit_create("shop").await;
    let server = portal.wait_settled(&create).await.server_id;
    portal.psql(&server, "CREATE TABLE kept AS SELECT 1 AS n").await.unwrap();
    for (kind, deed) in CHANGES {
        for moment in moments(kind) {
            portal.kill();
            portal.start(&[&format!("--test-stop-at={moment}")]);
            portal.wait_line("pgflex is at");
            deed(&portal.app.store.members(&server).await.unwrap()[0].container());
            let submitted = portal.door().submit(kind, &server, &Actor::system(), None).await;
            portal.wait_line("stopped at");
            portal.kill();
            portal.start(&[]);
            let operation = portal.wait_settled(&submitted.unwrap()).await;
            let why = format!("{kind:?} {moment}: {:?}\n{}", operation.error, portal.tail());
            assert_eq!(operation.status, OperationStatus::Succeeded, "{why}");
            let left = names(&portal).await;
            // A backup that the kill cut off may be at work again.
            let count = left.iter().filter(|name| !name.contains("-backup")).count();
            assert_eq!(count, 4, "{left:?}: container, disk and its mount, network\n{why}");
            assert_eq!(portal.psql_when_open(&server, "SELECT n FROM kept").await, "1", "{why}");
        }
    }
    // A container that is removed did not fail to start: nobody gives up on what has its name by now, nor stops it.
    let starts = portal.app.store.server_observation::<Starts>(&server, OBSERVATION).await.unwrap();
    let starts = starts.map(|starts| starts.facts).unwrap_or_default();
    assert_eq!(starts.given_up, None, "{:?}\n{}", starts.failed, portal.tail());
    portal.finish().await;
}
