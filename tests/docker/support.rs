//! A laboratory: one installation on the real engine, with a server in it, cleaned up at the end.

use bollard::Docker;
use bollard::exec::{CreateExecOptions, StartExecResults};
use futures_util::StreamExt;
use pgflex::certificates::{Authority, ServerCertificates};
use pgflex::clock::{Clock, SystemClock, new_id};
use pgflex::domain::configuration::Configuration;
use pgflex::domain::ha::MemberRole;
use pgflex::domain::ids::{GroupId, HostId, MemberId, OperationId, ServerId};
use pgflex::domain::names::{AdminLogin, ServerName};
use pgflex::domain::network::Access;
use pgflex::domain::server::{Member, Server, ServerSpec, SettledState};
use pgflex::domain::version::Major;
use pgflex::engine::blueprint::Blueprint;
use pgflex::engine::docker::DockerEngine;
use pgflex::engine::image::ensure_image_now;
use pgflex::engine::{ContainerFacts, Engine, FileSpec, OwnedObject, label};
use pgflex::postgres::client::TlsPostgres;
use pgflex::postgres::conf::{Settings, TlsFiles, all_files};
use pgflex::postgres::{CONTROL_ROLE, Postgres, PostgresError, Probe, Target};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One installation with one server, not yet made.
pub struct Lab {
    pub engine: DockerEngine,
    pub install_id: String,
    pub server: Server,
    pub member: Member,
    pub operation: OperationId,
    pub image: String,
    pub authority: Authority,
    pub certificates: ServerCertificates,
}

pub fn socket() -> String {
    let host = variable("DOCKER_HOST").filter(|host| host.starts_with("unix://"));
    host.unwrap_or_else(|| "unix:///var/run/docker.sock".into())
}

#[expect(clippy::disallowed_methods, reason = "tests take their switches from the environment")]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Majors whose images the test command made ready.
pub fn majors() -> Vec<Major> {
    let text = variable("PGFLEX_TEST_MAJORS").unwrap_or_else(|| "17".into());
    text.split_whitespace().filter_map(Major::parse).collect()
}

/// Runs a test in a laboratory and removes what it made, whatever happened.
pub async fn in_lab<W>(major: Major, test: impl FnOnce(Arc<Lab>) -> W)
where
    W: Future<Output = ()> + Send + 'static,
{
    if variable("PGFLEX_TEST_ENGINE").is_none() {
        println!("SKIPPED: PGFLEX_TEST_ENGINE is not set");
        return;
    }
    let lab = Arc::new(Lab::open(major).await);
    let ended = tokio::spawn(test(Arc::clone(&lab))).await;
    clean(&lab.engine).await;
    if let Err(failure) = ended {
        std::panic::resume_unwind(failure.into_panic());
    }
}

/// What belongs to servers: the repository of the host, what works on it, and the copies of the portal's own store outlive
/// them. A container with which the monitor looks at a disk comes and goes at any moment.
pub async fn objects_of_servers(engine: &DockerEngine) -> Vec<OwnedObject> {
    let stays = [label::REPOSITORY, label::RUN, label::STORE];
    let mut owned = engine.owned().await.unwrap();
    owned.retain(|object| stays.iter().all(|key| !object.labels.contains_key(*key)));
    owned.retain(|object| {
        !["-disk-look", "-disk-tend"].iter().any(|end| object.name.ends_with(end))
    });
    owned
}

/// Removes everything of the engine's installation.
pub async fn clean(engine: &DockerEngine) {
    let owned = engine.owned().await.unwrap();
    for object in owned.iter().filter(|object| object.kind == "container") {
        let _ = engine.signal_container(&object.name, "SIGKILL").await;
        engine.remove_container(&object.name).await.unwrap();
    }
    for object in owned.iter().filter(|object| object.kind == "volume") {
        engine.remove_volume(&object.name).await.unwrap();
    }
    for object in owned.iter().filter(|object| object.kind == "network") {
        engine.remove_network(&object.name).await.unwrap();
    }
}

/// Says how long something took. Promises are kept by benchmarks, not here.
pub async fn timed<T>(what: &str, work: impl Future<Output = T>) -> T {
    let begin = Instant::now();
    let result = work.await;
    println!("{:>7.1} ms  {what}", begin.elapsed().as_secs_f64() * 1e3);
    result
}

impl Lab {
    async fn open(major: Major) -> Self {
        let install_id = pgflex::clock::new_uuid();
        let engine = DockerEngine::connect(&socket(), &install_id).unwrap();
        let (image, _) = ensure_image_now(&engine, major, |line| println!("{line}")).await.unwrap();
        let server = server(major);
        let (authority, _) = Authority::generate(&install_id, SystemClock.now()).unwrap();
        let names = [endpoint(&server), "localhost".into(), "127.0.0.1".into()];
        let certificates = authority.issue(&names, CONTROL_ROLE, SystemClock.now()).unwrap();
        let member = member(&server);
        let operation = new_id(OperationId::parse);
        Self { engine, install_id, server, member, operation, image, authority, certificates }
    }

    /// Another server of the same installation, on the same engine.
    pub fn neighbour(&self) -> Self {
        let server = server(self.server.spec.major);
        let names = [endpoint(&server)];
        let certificates = self.authority.issue(&names, CONTROL_ROLE, SystemClock.now()).unwrap();
        Self {
            engine: DockerEngine::connect(&socket(), &self.install_id).unwrap(),
            install_id: self.install_id.clone(),
            member: member(&server),
            server,
            operation: new_id(OperationId::parse),
            image: self.image.clone(),
            authority: self.authority.clone(),
            certificates,
        }
    }

    pub fn blueprint(&self) -> Blueprint<'_> {
        Blueprint {
            install_id: &self.install_id,
            server: &self.server,
            member: &self.member,
            operation: &self.operation,
            is_test: true,
        }
    }

    pub fn files(&self) -> Vec<FileSpec> {
        let tls = TlsFiles {
            certificate: &self.certificates.server.certificate,
            key: &self.certificates.server.key,
            client_authority: &self.certificates.client_authority,
        };
        let files = all_files(&Settings::of(&self.server), &tls);
        files
            .into_iter()
            .map(|file| FileSpec { path: file.path, mode: file.mode, content: file.content })
            .collect()
    }

    /// Everything up to a member that answers.
    pub async fn create(&self) {
        let (blueprint, engine) = (self.blueprint(), &self.engine);
        timed("network", engine.ensure_network(&blueprint.network())).await.unwrap();
        timed("volume", engine.ensure_volume(&blueprint.volume())).await.unwrap();
        self.initialise().await;
        let spec = blueprint.member_container(&self.image);
        timed("member container", engine.ensure_container(&spec)).await.unwrap();
        timed("files", engine.put_files(&spec.name, &self.files())).await.unwrap();
        timed("start", engine.start_container(&spec.name)).await.unwrap();
        timed("first answer", self.answers()).await;
    }

    pub async fn initialise(&self) {
        let spec = self.blueprint().init_container(&self.image);
        timed("helper container", self.engine.ensure_container(&spec)).await.unwrap();
        timed("helper start", self.engine.start_container(&spec.name)).await.unwrap();
        let wait = self.engine.wait_exit(&spec.name, Duration::from_secs(60));
        let code = timed("initdb", wait).await.unwrap();
        let output = self.engine.tail(&spec.name, 50).await.unwrap();
        assert_eq!(code, Some(0), "{output:#?}");
        timed("helper removed", self.engine.remove_container(&spec.name)).await.unwrap();
    }

    pub async fn container(&self) -> ContainerFacts {
        self.engine.container(&self.member.container()).await.unwrap().unwrap()
    }

    pub async fn target(&self) -> Target {
        self.reached().await.expect("a running member has an address")
    }

    async fn reached(&self) -> Option<Target> {
        let address = self.container().await.address?;
        Some(Target {
            address: format!("{address}:5432").parse().unwrap(),
            server_name: endpoint(&self.server),
            root_certificate: self.authority.certificate.clone(),
            client_certificate: self.certificates.control.certificate.clone(),
            client_key: self.certificates.control.key.clone(),
        })
    }

    pub async fn probe(&self) -> Result<Probe, PostgresError> {
        let target = self.reached().await;
        let target = target.ok_or_else(|| PostgresError::Silent("it does not run".into()))?;
        TlsPostgres.probe(&target).await
    }

    /// Waits for the first answer, as the step does.
    pub async fn answers(&self) -> Probe {
        let begin = Instant::now();
        loop {
            match self.probe().await {
                Ok(probe) => return probe,
                Err(error) if begin.elapsed() > Duration::from_secs(30) => {
                    let output = self.engine.tail(&self.member.container(), 50).await;
                    panic!("{error}: {output:#?}");
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// Runs a program in the member's container: exit code and output.
    pub async fn run(&self, command: &[&str], environment: &[&str]) -> (i64, String) {
        let docker =
            Docker::connect_with_unix(&socket(), 120, bollard::API_DEFAULT_VERSION).unwrap();
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let options = CreateExecOptions {
            cmd: Some(owned(command)),
            env: Some(owned(environment)),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..Default::default()
        };
        let exec = docker.create_exec(&self.member.container(), options).await.unwrap().id;
        let StartExecResults::Attached { mut output, .. } =
            docker.start_exec(&exec, None).await.unwrap()
        else {
            panic!("not attached")
        };
        let mut text = String::new();
        while let Some(Ok(part)) = output.next().await {
            text.push_str(&part.to_string());
        }
        let code = docker.inspect_exec(&exec).await.unwrap().exit_code.unwrap_or(-1);
        (code, text)
    }
}

pub fn endpoint(server: &Server) -> String {
    format!("{}.pgflex.localhost", server.spec.name)
}

fn server(major: Major) -> Server {
    Server {
        id: new_id(ServerId::parse),
        spec: ServerSpec {
            name: ServerName::parse("shop").unwrap(),
            region: "westeurope".into(),
            zone: "1".into(),
            major,
            sku: "Standard_B1ms".into(),
            storage_gib: 32,
            admin_login: AdminLogin::parse("ShopAdmin").unwrap(),
            access: Access::Public,
            tags: vec![],
        },
        settled: SettledState::New,
        active: None,
        port: 25_000,
        configuration: Configuration {
            extensions: ["hstore", "amcheck", "pg_trgm", "pgcrypto"].map(str::to_owned).into(),
            ..Configuration::default()
        },
        group_id: GroupId::default_group(),
        network_id: None,
        stopped_at: None,
        pooler_port: None,
        created_at: SystemClock.now(),
        created_by: None,
        version: 1,
    }
}

fn member(server: &Server) -> Member {
    Member {
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
    }
}

/// Whether the test command made an engine ready; says so when not.
pub fn has_engine() -> bool {
    let there = variable("PGFLEX_TEST_ENGINE").is_some();
    if !there {
        println!("SKIPPED: PGFLEX_TEST_ENGINE is not set");
    }
    there
}
