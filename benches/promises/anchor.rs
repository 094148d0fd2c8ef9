//! The anchor of `create`: the same image, the same `initdb`, the same limits, by hand with `docker run`.

use crate::docker::docker;
use crate::portal::{PATIENCE, spec};
use crate::world::{BENCH_LABEL, World};
use anyhow::Context;
use pgflex::clock::{Clock, SystemClock, new_id};
use pgflex::domain::configuration::Configuration;
use pgflex::domain::ha::MemberRole;
use pgflex::domain::ids::{GroupId, HostId, MemberId, OperationId, ServerId};
use pgflex::domain::server::{Member, Server, SettledState};
use pgflex::domain::version::Major;
use pgflex::engine::ContainerSpec;
use pgflex::engine::blueprint::{Blueprint, VOLUME_PATH};
use pgflex::postgres::CONTROL_ROLE;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::process::Command;

/// Pause between two tries to connect.
const TRY_AGAIN: Duration = Duration::from_millis(5);

/// What one run of the anchor took.
pub struct AnchorTimes {
    pub initdb: Duration,
    pub run: Duration,
    pub first_query: Duration,
    pub restart: Duration,
    pub delete: Duration,
}

impl AnchorTimes {
    pub fn create(&self) -> Duration {
        self.initdb + self.run + self.first_query
    }
}

/// Makes a PostgreSQL by hand, restarts it and removes it.
pub async fn measure(world: &World, sku: &str) -> anyhow::Result<AnchorTimes> {
    let (init, member) = containers(sku)?;
    let volume = format!("pgflex-bench-{}-data", world.short());
    let name = format!("pgflex-bench-{}-anchor", world.short());
    let label = format!("--label={BENCH_LABEL}={}", world.id);
    docker(&["volume", "create", &label, "--label=pgflex.test=1", &volume]).await?;

    let begun = Instant::now();
    let mut args = vec!["run".into(), "--rm".into(), "--network=none".into()];
    args.extend(limits(&init, &label, &volume));
    args.extend(open_to_all(&init.command));
    docker(&args).await?;
    let initdb = begun.elapsed();

    let begun = Instant::now();
    let mut args = vec![
        "run".into(),
        "--detach".into(),
        format!("--name={name}"),
        "--stop-signal=SIGINT".into(),
    ];
    args.extend(limits(&member, &label, &volume));
    let data = format!("{VOLUME_PATH}/data");
    let command =
        ["postgres", "-D", &data, "-c", "listen_addresses=*", "-c", "unix_socket_directories="];
    args.extend(command.map(String::from));
    docker(&args).await?;
    let run = begun.elapsed();

    let begun = Instant::now();
    first_query(&name).await?;
    let answered = begun.elapsed();
    let begun = Instant::now();
    docker(&["restart", "--time=60", &name]).await?;
    first_query(&name).await?;
    let restart = begun.elapsed();
    let begun = Instant::now();
    docker(&["stop", "--time=60", &name]).await?;
    docker(&["rm", &name]).await?;
    docker(&["volume", "rm", &volume]).await?;
    Ok(AnchorTimes { initdb, run, first_query: answered, restart, delete: begun.elapsed() })
}

async fn first_query(name: &str) -> anyhow::Result<()> {
    let address = docker(&["inspect", "--format={{.NetworkSettings.IPAddress}}", name]).await?;
    let connection =
        format!("host={address} port=5432 user={CONTROL_ROLE} dbname=postgres sslmode=disable");
    until_answered(&format!("{address}:5432"), &connection).await
}

/// Waits until a real `psql` gets an answer. Until something listens nothing but a TCP connection
/// is tried: starting psql again and again would slow down what is measured.
pub async fn until_answered(address: &str, connection: &str) -> anyhow::Result<()> {
    let answered = async {
        while tokio::net::TcpStream::connect(address).await.is_err() {
            tokio::time::sleep(TRY_AGAIN).await;
        }
        while !psql(connection).await? {
            tokio::time::sleep(TRY_AGAIN).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(PATIENCE, answered)
        .await
        .with_context(|| format!("no answer from {address}"))?
}

/// Whether one query is answered.
async fn psql(connection: &str) -> anyhow::Result<bool> {
    let mut command = Command::new("psql");
    command.args([
        "--no-psqlrc",
        "--quiet",
        "--tuples-only",
        "--no-align",
        "--command=SELECT 41 + 1",
        connection,
    ]);
    command.env("PGPASSWORD", crate::portal::PASSWORD).kill_on_drop(true);
    let output = command.output().await.context("psql cannot be run: is it installed?")?;
    Ok(output.status.success() && output.stdout == b"42\n")
}

/// Host, port and verification as the connect page prints them.
pub fn as_printed(port: u16, ca_file: &Path) -> String {
    format!(
        "host=localhost port={port} user={} dbname=postgres sslmode=verify-full sslrootcert={}",
        crate::portal::ADMIN,
        ca_file.display()
    )
}

/// The containers that the portal would make for the size.
fn containers(sku: &str) -> anyhow::Result<(ContainerSpec, ContainerSpec)> {
    let server = Server {
        id: new_id(ServerId::parse),
        spec: spec("anchor", sku)?,
        settled: SettledState::New,
        active: None,
        port: 1,
        configuration: Configuration::default(),
        group_id: GroupId::default_group(),
        network_id: None,
        stopped_at: None,
        pooler_port: None,
        created_at: SystemClock.now(),
        created_by: None,
        version: 1,
    };
    let member = Member {
        id: new_id(MemberId::parse),
        server_id: server.id.clone(),
        host_id: new_id(HostId::parse),
        generation: 1,
        image: String::new(),
        postgres_version: String::new(),
        disk: None,
        zone: String::new(),
        port: None,
        role: MemberRole::Primary,
    };
    let operation = new_id(OperationId::parse);
    let blueprint = Blueprint {
        install_id: "",
        server: &server,
        member: &member,
        operation: &operation,
        is_test: true,
    };
    let image = Major::DEFAULT.image_tag();
    Ok((blueprint.init_container(&image), blueprint.member_container(&image)))
}

/// Labels, limits, volume and image.
fn limits(spec: &ContainerSpec, label: &str, volume: &str) -> Vec<String> {
    vec![
        label.to_owned(),
        "--label=pgflex.test=1".into(),
        "--user=5432:5432".into(),
        format!("--cpus={}", spec.vcores),
        format!("--memory={}", spec.memory_bytes),
        format!("--memory-swap={}", spec.memory_bytes),
        format!("--shm-size={}", spec.shm_bytes),
        format!("--pids-limit={}", spec.pids_max),
        format!("--volume={volume}:{VOLUME_PATH}"),
        spec.image.clone(),
    ]
}

/// The same `initdb`, then a line that lets the measuring client in.
fn open_to_all(command: &[String]) -> Vec<String> {
    let open = "\necho 'host all all all trust' >> data/pg_hba.conf";
    let is_script = |word: &String| word.contains("initdb --pgdata");
    command
        .iter()
        .map(|word| if is_script(word) { format!("{word}{open}") } else { word.clone() })
        .collect()
}
