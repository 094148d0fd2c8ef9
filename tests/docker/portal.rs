//! A real portal process on the real engine, with its own data folder and ports; everything it made is
//! removed when the test ends.

use crate::support::{clean, socket};
use clap::Parser;
use pgflex::app::App;
use pgflex::config::{Config, ServeArgs};
use pgflex::domain::activity::Actor;
use pgflex::domain::ids::{OperationId, RuleId, ServerId};
use pgflex::domain::names::{AdminLogin, ServerName};
use pgflex::domain::network::{Access, AddressRange, FirewallRule};
use pgflex::domain::operation::Operation;
use pgflex::domain::server::ServerSpec;
use pgflex::domain::version::Major;
use pgflex::engine::docker::DockerEngine;
use pgflex::operations::submit::{Door, NewServer, SubmitError};
use pgflex::secrets::{Secret, scram_verifier};
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

pub const ADMIN: &str = "shopadmin";
pub const PASSWORD: &str = "Secret-123456";

/// A portal that may be started, killed and started again on the same data.
pub struct Portal {
    pub folder: PathBuf,
    pub web_port: u16,
    pub shared_port: u16,
    pub ports: (u16, u16),
    /// A second handle on the same store, for submitting and looking.
    pub app: App,
    child: Option<Child>,
    /// A gateway of its own process, when one was started.
    gateway: Option<Child>,
    lines: Option<Mutex<Receiver<String>>>,
}

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    serve: ServeArgs,
}

/// A free loopback port; another process could take it before it is used, which has not been seen.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Portal {
    /// A portal that is not running yet.
    pub async fn new() -> Self {
        let name = format!("pgflex-portal-{}", pgflex::clock::new_uuid());
        Self::in_folder(std::env::temp_dir().join(name)).await
    }

    /// The same with its data in a folder of the test's choice.
    pub async fn in_folder(folder: PathBuf) -> Self {
        let web_port = free_port();
        let shared_port = free_port();
        // Ten ports in a row, away from the range the system gives out by itself.
        let first = 22_000 + (web_port % 800) * 10;
        let ports = (first, first + 9);
        let arguments = arguments(&folder, web_port, shared_port, ports, &[]);
        let serve = Arguments::parse_from(arguments.iter().map(String::as_str)).serve;
        let app = App::open(Config::load(serve).unwrap()).await.unwrap();
        Self { folder, web_port, shared_port, ports, app, child: None, gateway: None, lines: None }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.web_port)
    }

    /// Starts the process; `extra` are more arguments.
    pub fn start(&mut self, extra: &[&str]) {
        let arguments = arguments(&self.folder, self.web_port, self.shared_port, self.ports, extra);
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("log.txt"))
            .unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_pgflex"))
            .arg("serve")
            .args(&arguments[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let output = child.stdout.take().unwrap();
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        self.child = Some(child);
        self.lines = Some(Mutex::new(lines));
    }

    /// Runs `pgflex recover` for a portal with its data in `folder`, which is otherwise this one: whether it went
    /// through, and what it said.
    pub fn recover(&self, folder: &std::path::Path, extra: &[&str]) -> (bool, String) {
        let arguments = arguments(folder, self.web_port, self.shared_port, self.ports, extra);
        let output = Command::new(env!("CARGO_BIN_EXE_pgflex"))
            .arg("recover")
            .args(&arguments[1..])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    /// The same portal with its data elsewhere; the process that runs, if any, is killed.
    pub async fn moved_to(mut self, folder: PathBuf) -> Self {
        self.kill();
        let arguments = arguments(&folder, self.web_port, self.shared_port, self.ports, &[]);
        let serve = Arguments::parse_from(arguments.iter().map(String::as_str)).serve;
        self.app = App::open(Config::load(serve).unwrap()).await.unwrap();
        self.folder = folder;
        self
    }

    /// Starts a process that is nothing but a gateway.
    pub fn start_gateway(&mut self) {
        let extra = ["--roles=gateway"];
        let arguments =
            arguments(&self.folder, self.web_port, self.shared_port, self.ports, &extra);
        let log = std::fs::File::create(self.folder.join("gateway.txt")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_pgflex"))
            .arg("serve")
            .args(&arguments[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.gateway = Some(child);
    }

    /// Runs `psql` until the gateway of another process has seen the new route.
    pub async fn psql_when_open(&self, server: &ServerId, sql: &str) -> String {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            match self.psql(server, sql).await {
                Ok(text) => return text,
                Err(why) => assert!(Instant::now() < end, "{why}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// What is kept of the administrator's password, opened as only the portal can.
    pub async fn kept_verifier(&self, server: &ServerId) -> String {
        let sealed = self.app.store.server_secret(server, "admin_verifier").await.unwrap().unwrap();
        let place = pgflex::operations::access::sealed_place(server, "admin_verifier");
        let plain = self.app.sealer.open(&place, &sealed).unwrap();
        String::from_utf8(plain.to_vec()).unwrap()
    }

    /// Everything in the SQLite files, as text.
    pub fn dump_store(&self) -> String {
        let files = ["pgflex.db", "pgflex.db-wal"].map(|name| self.folder.join(name));
        let bytes = files.iter().filter_map(|file| std::fs::read(file).ok()).collect::<Vec<_>>();
        String::from_utf8_lossy(&bytes.concat()).into_owned()
    }

    /// The next printed line that has `text` in it.
    pub fn wait_line(&self, text: &str) -> String {
        let lines = self.lines.as_ref().expect("the portal runs").lock().unwrap();
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) if line.contains(text) => return line,
                Ok(_) => {}
                Err(_) => panic!("the portal never printed {text:?}; its log:\n{}", self.tail()),
            }
        }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log.txt")).unwrap_or_default()
    }

    /// The end of the log, for the message of a failure.
    pub fn tail(&self) -> String {
        crate::tail::tail(&self.log())
    }

    /// SIGKILL: nothing of it gets to run again.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    fn kill_gateway(&mut self) {
        if let Some(mut child) = self.gateway.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub fn door(&self) -> Door<'_> {
        Door { store: &self.app.store, clock: &*self.app.clock, poke: &self.app.poke }
    }

    /// Asks for a server that clients on this machine may reach.
    pub async fn submit_create(&self, name: &str) -> OperationId {
        self.try_submit_create(name).await.unwrap()
    }

    pub async fn try_submit_create(&self, name: &str) -> Result<OperationId, SubmitError> {
        let rules = [here()];
        let (spec, admin_verifier) = (spec(name), scram_verifier(&Secret::new(PASSWORD)));
        let new = NewServer {
            spec: &spec,
            admin_verifier: &admin_verifier,
            rules: &rules,
            network: None,
            ha: None,
            backup: pgflex::domain::backup::BackupPolicy::default(),
            draft: None,
            ports: self.ports,
            idempotency_key: None,
        };
        self.door().create(&self.app.sealer, &new, &Actor::system()).await
    }

    /// Waits until the operation has ended or needs a person.
    pub async fn wait_settled(&self, id: &OperationId) -> Operation {
        let end = Instant::now() + Duration::from_secs(180);
        loop {
            let operation = self.app.store.operation(id).await.unwrap().unwrap();
            if operation.status.is_settled() {
                return operation;
            }
            assert!(Instant::now() < end, "{:?}\n{}", operation, self.tail());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Lets ten minutes pass since everybody typed a password: what asks for a fresh one asks.
    pub async fn age_passwords(&self) {
        let options = SqliteConnectOptions::new().filename(self.folder.join("pgflex.db"));
        let mut database = options.connect().await.unwrap();
        let rows: Vec<(String, String)> = sqlx::query_as("SELECT key_hash, state FROM sessions")
            .fetch_all(&mut database)
            .await
            .unwrap();
        for (key, state) in rows {
            sqlx::query("UPDATE sessions SET state = $1 WHERE key_hash = $2")
                .bind(with_older_password(&state))
                .bind(key)
                .execute(&mut database)
                .await
                .unwrap();
        }
    }

    pub fn engine(&self) -> DockerEngine {
        DockerEngine::connect(&socket(), &self.app.install_id).unwrap()
    }

    /// Runs `psql` through the dedicated port with full verification; its output, or what it said on failure.
    pub async fn psql(&self, server: &ServerId, sql: &str) -> Result<String, String> {
        let server = self.app.store.server(server).await.unwrap().unwrap();
        let ca = self.folder.join("ca.pem");
        std::fs::write(&ca, &self.app.authority.certificate).unwrap();
        let target = format!(
            "host=localhost port={} dbname=postgres user={ADMIN} sslmode=verify-full sslrootcert={} connect_timeout=10",
            server.port,
            ca.display()
        );
        let sql = sql.to_owned();
        tokio::task::spawn_blocking(move || {
            let output = Command::new("psql")
                .args(["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", &sql, &target])
                .env("PGPASSWORD", PASSWORD)
                .output()
                .unwrap();
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
            if output.status.success() {
                Ok(text(&output.stdout))
            } else {
                Err(text(&output.stderr))
            }
        })
        .await
        .unwrap()
    }

    /// Kills the process and removes everything it made.
    pub async fn finish(mut self) {
        self.kill();
        self.kill_gateway();
        clean(&self.engine()).await;
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Drop for Portal {
    fn drop(&mut self) {
        self.kill();
        self.kill_gateway();
    }
}

/// The number after `password_at`, ten minutes less, whatever quotes stand around the name.
fn with_older_password(state: &str) -> String {
    let Some(at) = state.find("password_at") else { return state.to_owned() };
    let begin = at + state[at..].find(|c: char| c.is_ascii_digit()).unwrap();
    let length = state[begin..].find(|c: char| !c.is_ascii_digit()).unwrap();
    let micros: i64 = state[begin..begin + length].parse().unwrap();
    let older = micros - 600_000_000;
    format!("{}{older}{}", &state[..begin], &state[begin + length..])
}

fn arguments(
    folder: &std::path::Path,
    web: u16,
    shared: u16,
    ports: (u16, u16),
    extra: &[&str],
) -> Vec<String> {
    let mut all: Vec<String> = ["pgflex", "--data"].map(String::from).to_vec();
    all.push(folder.display().to_string());
    all.extend([format!("--listen=127.0.0.1:{web}"), format!("--gateway-shared-port={shared}")]);
    all.push(format!("--gateway-ports={}-{}", ports.0, ports.1));
    if !extra.iter().any(|argument| argument.starts_with("--docker-host")) {
        all.push(format!("--docker-host={}", socket()));
    }
    all.push("--test".into());
    all.extend(extra.iter().map(|argument| (*argument).to_owned()));
    all
}

/// Clients on this machine.
pub fn here() -> FirewallRule {
    FirewallRule {
        id: pgflex::clock::new_id(RuleId::parse),
        name: "here".into(),
        range: AddressRange::parse("127.0.0.1", "").unwrap(),
    }
}

pub fn spec(name: &str) -> ServerSpec {
    ServerSpec {
        name: ServerName::parse(name).unwrap(),
        region: "westeurope".into(),
        zone: "1".into(),
        major: Major::V17,
        sku: "Standard_B1ms".into(),
        storage_gib: 32,
        admin_login: AdminLogin::parse(ADMIN).unwrap(),
        access: Access::Public,
        tags: vec![],
    }
}
