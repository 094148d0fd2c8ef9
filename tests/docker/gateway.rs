//! The gateway as a process of its own, and what a server tells of its secrets.

use crate::portal::{ADMIN, PASSWORD, Portal};
use crate::support::has_engine;
use pgflex::domain::ids::ServerId;
use pgflex::domain::operation::OperationStatus;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

/// An interactive `psql` that stays connected.
struct Session {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Session {
    fn open(portal: &Portal, port: u16) -> Self {
        let ca = portal.folder.join("ca.pem");
        let target = format!(
            "host=localhost port={port} dbname=postgres user={ADMIN} sslmode=verify-full sslrootcert={}",
            ca.display()
        );
        let mut child = Command::new("psql")
            .args(["-X", "-A", "-t", &target])
            .env("PGPASSWORD", PASSWORD)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output }
    }

    /// The one line that a statement gives; empty when the connection is gone.
    fn ask(&mut self, sql: &str) -> String {
        let input = self.child.stdin.as_mut().unwrap();
        if writeln!(input, "{sql};").and_then(|()| input.flush()).is_err() {
            return String::new();
        }
        let mut line = String::new();
        let _ = self.output.read_line(&mut line);
        line.trim().to_owned()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn created(portal: &Portal, name: &str) -> ServerId {
    let id = portal.submit_create(name).await;
    let operation = portal.wait_settled(&id).await;
    assert_eq!(operation.status, OperationStatus::Succeeded, "{:?}", operation.error);
    operation.server_id
}

async fn port_of(portal: &Portal, server: &ServerId) -> u16 {
    portal.app.store.server(server).await.unwrap().unwrap().port
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_survive_a_kill_of_the_portal_when_the_gateway_is_its_own_process() {
    if !has_engine() {
        return;
    }
    let mut portal = Portal::new().await;
    portal.start_gateway();
    portal.start(&["--roles=web,runner,monitor"]);
    portal.wait_line("pgflex is at");
    let server = created(&portal, "steady").await;
    portal.psql_when_open(&server, "SELECT 1").await;
    let mut session = Session::open(&portal, port_of(&portal, &server).await);
    let backend = session.ask("SELECT pg_backend_pid()");
    assert!(backend.parse::<u32>().is_ok(), "{backend:?}");
    portal.kill();
    assert_eq!(session.ask("SELECT pg_backend_pid()"), backend, "the portal is down");
    portal.psql(&server, "SELECT 1").await.expect("new connections work without the portal too");
    portal.start(&["--roles=web,runner,monitor"]);
    portal.wait_line("pgflex is at");
    assert_eq!(session.ask("SELECT pg_backend_pid()"), backend, "the portal is back");
    drop(session);
    portal.finish().await;
}

/// Neither the password nor what is kept of it is anywhere that others can look.
#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_logs_labels_environment_or_arguments() {
    if !has_engine() {
        return;
    }
    let mut portal = Portal::new().await;
    portal.start(&[]);
    portal.wait_line("pgflex is at");
    let server = created(&portal, "discreet").await;
    let verifier = portal.kept_verifier(&server).await;
    let member = portal.app.store.members(&server).await.unwrap()[0].container();
    let docker = |arguments: &[&str]| {
        let output = Command::new("docker").args(arguments).arg(&member).output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let places = [
        ("inspect", docker(&["inspect"])),
        ("the server's log", docker(&["logs"])),
        ("processes", docker(&["top"])),
        ("the portal's log", portal.log()),
        ("the store", portal.dump_store()),
    ];
    for (place, text) in &places {
        assert!(!text.is_empty() || *place == "the portal's log", "{place} was read");
        assert!(!text.contains(PASSWORD), "the password is in {place}");
        assert!(!text.contains(&verifier), "the verifier is in {place}");
        assert!(!text.contains("PRIVATE KEY"), "a key is in {place}");
    }
    portal.finish().await;
}
