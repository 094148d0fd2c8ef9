//! Real psql and a real PostgreSQL 15 through the gateway, where the machine has them.

use crate::lab::*;
use pgflex::domain::route::RouteState;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";

/// A throw-away cluster, stopped and removed when dropped.
struct Cluster {
    folder: PathBuf,
    user: (u32, u32),
    address: SocketAddr,
}

impl Cluster {
    /// `None` where PostgreSQL 15 is not installed.
    async fn start(certificate: &str, key: &str) -> Option<Self> {
        if !Path::new(PROGRAMS).join("initdb").exists() {
            eprintln!("skipped: PostgreSQL 15 is not installed");
            return None;
        }
        let folder =
            std::env::temp_dir().join(format!("pgflex-cluster-{}", pgflex::clock::new_uuid()));
        fs::create_dir(&folder).unwrap();
        let user = unprivileged();
        chown(&folder, Some(user.0), Some(user.1)).unwrap();
        let port = free_port().await;
        let cluster = Self { folder, user, address: format!("127.0.0.1:{port}").parse().unwrap() };
        cluster.run("initdb", &["-A", "trust", "-U", "admin", "--no-sync", "-D", "data"]);
        let data = cluster.folder.join("data");
        for (name, text) in [("server.crt", certificate), ("server.key", key)] {
            fs::write(data.join(name), text).unwrap();
            fs::set_permissions(data.join(name), fs::Permissions::from_mode(0o600)).unwrap();
            chown(data.join(name), Some(user.0), Some(user.1)).unwrap();
        }
        let options = format!(
            "-c port={port} -c ssl=on -c fsync=off -c listen_addresses=127.0.0.1 -c unix_socket_directories=''"
        );
        cluster.run("pg_ctl", &["-D", "data", "-l", "log", "-w", "-o", &options, "start"]);
        Some(cluster)
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let done = Command::new(Path::new(PROGRAMS).join(program))
            .args(arguments)
            .current_dir(&self.folder)
            .uid(self.user.0)
            .gid(self.user.1)
            .output()
            .unwrap();
        assert!(done.status.success(), "{program}: {done:?}");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.run("pg_ctl", &["-D", "data", "-m", "immediate", "-w", "stop"]);
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// PostgreSQL refuses to run as root: then it runs as `postgres`.
fn unprivileged() -> (u32, u32) {
    let id = |arguments: &[&str]| -> u32 {
        let said = Command::new("id").args(arguments).output().unwrap().stdout;
        String::from_utf8(said).unwrap().trim().parse().unwrap()
    };
    match id(&["-u"]) {
        0 => (id(&["-u", "postgres"]), id(&["-g", "postgres"])),
        own => (own, id(&["-g"])),
    }
}

async fn psql(connection: &str, sql: &str) -> Output {
    let (connection, sql) = (connection.to_owned(), sql.to_owned());
    tokio::task::spawn_blocking(move || {
        let mut command = Command::new(Path::new(PROGRAMS).join("psql"));
        command.args(["-X", "-At", "-d", &connection, "-c", &sql]).env("PGCONNECT_TIMEOUT", "10");
        command.output().unwrap()
    })
    .await
    .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).trim().to_owned()
}

/// One story, because a cluster takes seconds to make.
#[tokio::test(flavor = "multi_thread")]
async fn psql_through_the_gateway() {
    let lab = Lab::start().await;
    let (id, port) = lab.bare_server("demo", "Standard_B1ms").await;
    let pair = lab.certify(&id, "demo");
    let Some(cluster) = Cluster::start(&pair.certificate, pair.key.reveal()).await else { return };
    let mut tx = lab.write().await;
    tx.set_route(&id, Some(cluster.address), RouteState::Open).await.unwrap();
    tx.save_firewall_rule(&id, &rule("me", "127.0.0.1", "")).await.unwrap();
    lab.apply(tx).await;
    let root = cluster.folder.join("root.crt");
    fs::write(&root, &lab.authority.certificate).unwrap();
    let full =
        format!("sslmode=verify-full sslrootcert={} user=admin dbname=postgres", root.display());
    let dedicated = format!("host=localhost hostaddr=127.0.0.1 port={port} {full}");
    let shared = format!("host=demo.{DOMAIN} hostaddr=127.0.0.1 port={} {full}", lab.shared_port);

    for connection in [&dedicated, &shared] {
        assert_eq!(
            said(
                &psql(connection, "select 1, ssl from pg_stat_ssl where pid = pg_backend_pid()")
                    .await
            ),
            "1|t"
        );
    }
    cancel_works(&dedicated).await;
    refusals_are_told(&lab, &id, &cluster, port, &dedicated, &shared).await;
}

async fn cancel_works(connection: &str) {
    let begun = Instant::now();
    let connection = connection.to_owned();
    // psql sends a CancelRequest over a new connection when it is interrupted.
    let done = tokio::task::spawn_blocking(move || {
        let psql = Path::new(PROGRAMS).join("psql");
        let mut command = Command::new("timeout");
        command.args(["--signal=INT", "2"]).arg(psql);
        command.args(["-X", "-d", &connection, "-c", "select pg_sleep(60)"]).output().unwrap()
    });
    assert!(said(&done.await.unwrap()).contains("canceling statement due to user request"));
    assert!(begun.elapsed() < Duration::from_secs(20));
}

async fn refusals_are_told(
    lab: &Lab,
    id: &pgflex::domain::ids::ServerId,
    cluster: &Cluster,
    port: u16,
    dedicated: &str,
    shared: &str,
) {
    lab.set_route(id, Some(cluster.address), RouteState::Held).await;
    let told = said(&psql(dedicated, "select 1").await);
    assert!(
        told.contains("FATAL:  the database system of server \"demo\" is being restarted or moved"),
        "{told}"
    );
    lab.set_route(id, Some(cluster.address), RouteState::Open).await;
    lab.forbid(id).await;
    for connection in [dedicated, shared] {
        let told = said(&psql(connection, "select 1").await);
        assert!(
            told.contains(
                "FATAL:  no firewall rule of server \"demo\" admits the address 127.0.0.1"
            ),
            "{told}"
        );
        assert!(told.contains("HINT:  Add a rule"), "{told}");
    }
    let plain = format!("host=localhost port={port} sslmode=disable user=admin dbname=postgres");
    assert!(said(&psql(&plain, "select 1").await).contains("no firewall rule"));
    let wrong = shared.replace("demo.", "other.");
    let told = said(&psql(&wrong, "select 1").await);
    assert!(told.contains("unrecognized name"), "{told}");
}
