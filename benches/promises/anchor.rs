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
        while psql(connection, "SELECT 41 + 1").await.ok().as_deref() != Some("42") {
            tokio::time::sleep(TRY_AGAIN).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(PATIENCE, answered)
        .await
        .with_context(|| format!("no answer from {address}"))?
}

/// What one statement gives.
///
/// # Errors
/// When psql ends badly; the error has its words.
pub async fn psql(connection: &str, sql: &str) -> anyhow::Result<String> {
    let mut command = Command::new("psql");
    command.args([
        "--no-psqlrc",
        "--quiet",
        "--tuples-only",
        "--no-align",
        "--set=ON_ERROR_STOP=1",
        &format!("--command={sql}"),
        connection,
    ]);
    command.env("PGPASSWORD", crate::portal::PASSWORD).kill_on_drop(true);
    let output = command.output().await.context("psql cannot be run: is it installed?")?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    anyhow::ensure!(output.status.success(), "psql ended with {}: {said}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A PostgreSQL that was made by hand with the limits of a size, and copies of it.
pub struct Anchor {
    name: String,
    label: String,
    spec: ContainerSpec,
    pub connection: String,
}

impl Anchor {
    /// Made, started, answering.
    pub async fn start(world: &World, sku: &str) -> anyhow::Result<Self> {
        let (init, spec) = containers(sku)?;
        let name = format!("pgflex-bench-{}-source", world.short());
        let label = format!("--label={BENCH_LABEL}={}", world.id);
        let anchor = Self { name, label, spec, connection: String::new() };
        anchor.make_volume(&anchor.name).await?;
        let mut args = vec!["run".into(), "--rm".into(), "--network=none".into()];
        args.extend(limits(&init, &anchor.label, &anchor.name));
        args.extend(open_to_all(&init.command).into_iter().map(|word| {
            // A copy is read by the same role.
            word.replace("host all all all trust", "host all,replication all all trust")
        }));
        docker(&args).await?;
        let connection = anchor.run(&anchor.name).await?;
        Ok(Self { connection, ..anchor })
    }

    async fn make_volume(&self, name: &str) -> anyhow::Result<()> {
        docker(&["volume", "create", &self.label, "--label=pgflex.test=1", name]).await.map(|_| ())
    }

    /// Starts PostgreSQL on a volume in a container of the same name; how it is reached.
    async fn run(&self, volume: &str) -> anyhow::Result<String> {
        let mut args = vec!["run".into(), "--detach".into(), format!("--name={volume}")];
        args.push("--stop-signal=SIGINT".into());
        args.extend(limits(&self.spec, &self.label, volume));
        let data = format!("{VOLUME_PATH}/data");
        let command =
            ["postgres", "-D", &data, "-c", "listen_addresses=*", "-c", "unix_socket_directories="];
        args.extend(command.map(String::from));
        docker(&args).await?;
        first_query(volume).await?;
        let address =
            docker(&["inspect", "--format={{.NetworkSettings.IPAddress}}", volume]).await?;
        Ok(format!("host={address} port=5432 user={CONTROL_ROLE} dbname=postgres sslmode=disable"))
    }

    fn copy(&self) -> String {
        format!("{}-copy", self.name)
    }

    /// Time of `pg_basebackup` into a new volume, which stays until the next one.
    pub async fn base_backup(&self) -> anyhow::Result<Duration> {
        let copy = self.copy();
        docker(&["volume", "rm", "--force", &copy]).await?;
        self.make_volume(&copy).await?;
        let begun = Instant::now();
        let mut args = vec!["run".into(), "--rm".into()];
        args.extend(limits(&self.spec, &self.label, &copy));
        let script = format!(
            "pg_basebackup --dbname=\"$1\" --pgdata={VOLUME_PATH}/data --checkpoint=fast && sync {VOLUME_PATH}"
        );
        args.extend(["sh".into(), "-ec".into(), script, "copy".into(), self.connection.clone()]);
        docker(&args).await?;
        Ok(begun.elapsed())
    }

    /// Time of `cp` of that copy into another volume, until a PostgreSQL on it answers.
    pub async fn copy_and_start(&self) -> anyhow::Result<Duration> {
        let target = format!("{}-again", self.name);
        self.make_volume(&target).await?;
        let begun = Instant::now();
        let mut args =
            vec!["run".into(), "--rm".into(), format!("--volume={}:/from:ro", self.copy())];
        args.extend(limits(&self.spec, &self.label, &target));
        let script = format!("cp -a /from/data {VOLUME_PATH}/ && sync {VOLUME_PATH}");
        args.extend(["sh".into(), "-ec".into(), script]);
        docker(&args).await?;
        self.run(&target).await?;
        let took = begun.elapsed();
        docker(&["rm", "--force", &target]).await?;
        docker(&["volume", "rm", &target]).await?;
        Ok(took)
    }

    /// Takes it away, with what is left of its copies.
    pub async fn remove(self) -> anyhow::Result<()> {
        docker(&["rm", "--force", &self.name]).await?;
        docker(&["volume", "rm", "--force", &self.name, &self.copy()]).await.map(|_| ())
    }
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
