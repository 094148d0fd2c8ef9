//! The portal's machine is lost, the hosts go on: `pgflex recover` on a fresh data folder, then the portal as before. As
//! docs/recovery.md says it.

use crate::portal::{Portal, here};
use crate::support::{has_engine, socket};
use pgflex::domain::ids::ServerId;
use pgflex::domain::operation::{OperationKind, OperationStatus};
use pgflex::domain::server::SettledState;
use pgflex::store::Record;
use pgflex::store::operations::OperationFilter;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(90);

fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(["--host", &socket()]).args(arguments).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn fresh_folder() -> PathBuf {
    std::env::temp_dir().join(format!("pgflex-recovered-{}", pgflex::clock::new_uuid()))
}

/// A folder with nothing but the master key in it, as a person brings it back.
fn folder_with_key(portal: &Portal) -> PathBuf {
    let folder = fresh_folder();
    std::fs::create_dir(&folder).unwrap();
    // The copy has the mode of the original.
    std::fs::copy(portal.folder.join("master.key"), folder.join("master.key")).unwrap();
    folder
}

async fn created(portal: &Portal, name: &str) -> ServerId {
    let create = portal.submit_create(name).await;
    let made = portal.wait_settled(&create).await;
    assert_eq!(made.status, OperationStatus::Succeeded, "{:?}", made.error);
    let sql = format!("CREATE TABLE kept AS SELECT '{name}' AS name");
    portal.psql_when_open(&made.server_id, &sql).await;
    made.server_id
}

/// What tells that a container was neither stopped nor made anew.
async fn run_of(portal: &Portal, server: &ServerId) -> String {
    let name = portal.app.store.members(server).await.unwrap().remove(0).container();
    docker(&["inspect", "--format", "{{.Id}} {{.State.StartedAt}} {{.RestartCount}}", &name])
}

async fn two_servers() -> (Portal, [ServerId; 2]) {
    let mut portal = Portal::new().await;
    portal.start(&[]);
    portal.wait_line("pgflex is at");
    let servers = [created(&portal, "shop").await, created(&portal, "bank").await];
    (portal, servers)
}

/// A backup with everything in it is on the host by itself, within a minute.
async fn wait_backed_up(portal: &Portal) {
    let (begun, store) = (Instant::now(), &portal.app.store);
    loop {
        let mark = store.setting("store_backup/mark").await.unwrap();
        let record = store.store_backups().await.unwrap();
        let is_fine = record.len() == 2 && record.iter().all(|place| place.failure.is_empty());
        if is_fine && mark == Some(store.store_mark().await.unwrap()) {
            println!("{:>7.2} s  until the store was backed up", begun.elapsed().as_secs_f64());
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{record:?}\n{}", portal.tail());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_portal_is_recovered_from_the_backup_on_a_host() {
    if !has_engine() {
        return;
    }
    let (mut portal, servers) = two_servers().await;
    wait_backed_up(&portal).await;
    let authority = portal.app.authority.certificate.clone();
    let runs = [run_of(&portal, &servers[0]).await, run_of(&portal, &servers[1]).await];
    portal.kill();

    // Without the key nothing opens, and nothing is written.
    let without = fresh_folder();
    let (went, said) = portal.recover(&without, &[]);
    assert!(!went && said.contains("master key"), "{said}");
    assert!(!without.join("pgflex.db").exists());

    let folder = folder_with_key(&portal);
    let (went, said) = portal.recover(&folder, &["--look"]);
    assert!(went && said.contains("2 servers"), "{said}");
    assert!(!folder.join("pgflex.db").exists(), "it only looked");
    let begun = Instant::now();
    let (went, said) = portal.recover(&folder, &[]);
    println!("{:>7.2} s  pgflex recover", begun.elapsed().as_secs_f64());
    println!("{said}");
    assert!(went && said.contains("Recovered from the backup of"), "{said}");
    let (again, said) = portal.recover(&folder, &[]);
    assert!(!again && said.contains("not empty"), "{said}");

    let lost = portal.folder.clone();
    let mut portal = portal.moved_to(folder).await;
    std::fs::remove_dir_all(lost).unwrap();
    assert_eq!(portal.app.authority.certificate, authority, "the CA file of before is right");
    portal.start(&[]);
    portal.wait_line("pgflex is at");
    for (server, name) in servers.iter().zip(["shop", "bank"]) {
        assert_eq!(portal.psql_when_open(server, "SELECT name FROM kept").await, name);
        let row = portal.app.store.server(server).await.unwrap().unwrap();
        assert_eq!(row.settled, SettledState::Ready);
    }
    // Long enough for a repair that nobody asked for.
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(run_of(&portal, &servers[0]).await, runs[0], "{}", portal.tail());
    assert_eq!(run_of(&portal, &servers[1]).await, runs[1], "{}", portal.tail());
    let late = created(&portal, "later").await;
    assert_eq!(portal.psql_when_open(&late, "SELECT name FROM kept").await, "later");
    portal.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_backup_labels_bring_servers_back_with_new_certificates() {
    if !has_engine() {
        return;
    }
    let (mut portal, servers) = two_servers().await;
    let install = portal.app.install_id.clone();
    wait_backed_up(&portal).await;
    let before = portal.app.authority.certificate.clone();
    let runs = [run_of(&portal, &servers[0]).await, run_of(&portal, &servers[1]).await];
    portal.kill();
    let folder = fresh_folder();
    let labels = ["--from-labels", "--install", &install];
    let (went, said) = portal.recover(&folder, &labels);
    assert!(!went && said.contains("--even-though-backups-exist"), "{said}");
    assert!(!folder.join("pgflex.db").exists() && !folder.join("master.key").exists(), "{said}");
    let all = [&labels[..], &["--even-though-backups-exist"]].concat();
    let (went, said) = portal.recover(&folder, &all);
    println!("{said}");
    assert!(went && said.contains("What is lost"), "{said}");
    assert!(said.contains("A new master key was made"), "{said}");
    let lost = portal.folder.clone();
    let mut portal = portal.moved_to(folder).await;
    std::fs::remove_dir_all(lost).unwrap();
    assert_ne!(portal.app.authority.certificate, before);
    for server in &servers {
        let mut tx = portal.app.store.begin_write(portal.app.clock.now()).await.unwrap();
        tx.save_firewall_rule(server, &here()).await.unwrap();
        tx.commit(Record::Nothing("as a person does on the Networking page")).await.unwrap();
    }
    portal.start(&[]);
    portal.wait_line("pgflex is at");
    for (server, name) in servers.iter().zip(["shop", "bank"]) {
        assert_eq!(portal.psql_when_open(server, "SELECT name FROM kept").await, name);
    }
    let mut all = portal.app.store.operations(&OperationFilter::default()).await.unwrap();
    // Nothing is known of their backups, so the monitor takes one of each as soon as it comes to it.
    all.retain(|one| one.kind != OperationKind::Backup);
    assert!(all.iter().all(|one| one.kind == OperationKind::RenewCertificate), "{all:?}");
    for one in &all {
        assert_eq!(portal.wait_settled(&one.id).await.status, OperationStatus::Succeeded);
    }
    assert_eq!(run_of(&portal, &servers[0]).await, runs[0], "{}", portal.tail());
    assert_eq!(run_of(&portal, &servers[1]).await, runs[1], "{}", portal.tail());
    portal.finish().await;
}
