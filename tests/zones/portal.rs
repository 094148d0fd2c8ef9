//! A real portal process on the zones: verbs for stories.

use super::engines::Zones;
use super::http::{Client, sign_up};
use clap::Parser;
use pgflex::app::App;
use pgflex::config::{Config, ServeArgs};
use pgflex::domain::activity::Actor;
use pgflex::domain::ha::{AskedHa, Durability, HaMode};
use pgflex::domain::ids::{OperationId, RuleId, ServerId};
use pgflex::domain::names::{AdminLogin, ServerName};
use pgflex::domain::network::{Access, AddressRange, FirewallRule};
use pgflex::domain::operation::{Operation, OperationKind, OperationStatus};
use pgflex::domain::server::{Member, Server, ServerSpec};
use pgflex::domain::version::Major;
use pgflex::engine::Engine;
use pgflex::operations::submit::{Door, NewServer};
use pgflex::secrets::{Secret, scram_verifier};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub const ADMIN: &str = "shopadmin";
pub const PASSWORD: &str = "Secret-123456";

/// A portal with an installation of its own on all zones. What it made is removed when it is dropped.
pub struct Portal {
    pub zones: Arc<Zones>,
    pub folder: PathBuf,
    /// A second handle on the same store, for submitting and looking.
    pub app: App,
    pub browser: Client,
    arguments: Vec<String>,
    pub ports: (u16, u16),
    child: Option<Child>,
    /// A gateway of its own process, when one was started.
    gateway: Option<Child>,
}

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    serve: ServeArgs,
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Portal {
    /// Starts one with an owner who is signed in.
    pub async fn start(zones: &Arc<Zones>) -> Self {
        let name = format!("pgflex-zones-portal-{}", pgflex::clock::new_uuid());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let configuration = folder.join("zones.toml");
        std::fs::write(&configuration, zones.configuration()).unwrap();
        let (web, shared) = (free_port(), free_port());
        let first = 24_000 + (web % 800) * 10;
        let ports = (first, first + 9);
        let arguments: Vec<String> = vec![
            "pgflex".into(),
            format!("--data={}", folder.display()),
            format!("--config={}", configuration.display()),
            format!("--listen=127.0.0.1:{web}"),
            format!("--gateway-shared-port={shared}"),
            format!("--gateway-ports={}-{}", ports.0, ports.1),
            "--test".into(),
        ];
        let serve = Arguments::parse_from(&arguments).serve;
        let app = App::open(Config::load(serve).unwrap()).await.unwrap();
        let (child, link) = run(&folder, &arguments);
        let mut browser = connect(web).await;
        sign_up(&mut browser, &link).await.unwrap();
        let zones = zones.clone();
        Self { zones, folder, app, browser, arguments, ports, child: Some(child), gateway: None }
    }

    /// SIGKILL: nothing of it gets to run again.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn kill_gateway(&mut self) {
        if let Some(mut gateway) = self.gateway.take() {
            let _ = gateway.kill();
            let _ = gateway.wait();
        }
    }

    /// Starts the process again on the same data.
    pub fn restart(&mut self) {
        self.kill();
        self.child = Some(spawn(&self.folder, &self.arguments));
    }

    /// The process stands still.
    pub fn freeze(&self) {
        super::tricks::signal(self.child.as_ref().unwrap().id(), "STOP");
    }

    /// A second process on the same data; gives the first one, which is the caller's to end.
    pub fn start_second(&mut self) -> Child {
        let web = self.arguments.iter_mut().find(|word| word.starts_with("--listen=")).unwrap();
        *web = format!("--listen=127.0.0.1:{}", free_port());
        let second = spawn(&self.folder, &self.arguments);
        self.child.replace(second).unwrap()
    }

    /// SIGKILL to a gateway of its own, and another one in its place.
    pub fn replace_gateway(&mut self, meanwhile: impl FnOnce()) {
        self.kill_gateway();
        meanwhile();
        let others = self.arguments.iter().filter(|word| !word.starts_with("--roles="));
        let gateway: Vec<String> = others.cloned().chain(["--roles=gateway".into()]).collect();
        self.gateway = Some(spawn(&self.folder, &gateway));
    }

    /// Starts one whose gateway is a process of its own: it lives on when the portal is killed.
    pub async fn start_apart(zones: &Arc<Zones>) -> Self {
        let mut portal = Self::start(zones).await;
        let gateway = [portal.arguments.as_slice(), &["--roles=gateway".into()]].concat();
        portal.arguments.push("--roles=web,runner,monitor".into());
        portal.restart();
        portal.gateway = Some(spawn(&portal.folder, &gateway));
        portal
    }

    /// Starts the process again; it stops for ever at a moment of an operation, such as `promote:acted`. Gives what
    /// comes true when it has stopped.
    pub fn restart_until(&mut self, moment: &str) -> tokio::sync::oneshot::Receiver<()> {
        self.kill();
        let until = [self.arguments.as_slice(), &[format!("--test-stop-at={moment}")]].concat();
        let mut child = spawn(&self.folder, &until);
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        self.child = Some(child);
        let (stopped, wait) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let mut lines = lines;
            if lines.any(|line| line.contains("stopped at")) {
                let _ = stopped.send(());
            }
        });
        wait
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log.txt")).unwrap_or_default()
    }

    /// The end of the log, for the message of a failure.
    pub fn tail(&self) -> String {
        crate::tail::tail(&self.log())
    }

    /// A page as the owner sees it.
    pub async fn page(&mut self, path: &str) -> String {
        let answer = self.browser.get(path).await.unwrap();
        assert_eq!(answer.status, 200, "{path}");
        String::from_utf8_lossy(&answer.body).into_owned()
    }

    pub fn door(&self) -> Door<'_> {
        Door { store: &self.app.store, clock: &*self.app.clock, poke: &self.app.poke }
    }

    /// Asks for a server in a zone; the running process makes it.
    pub async fn submit_create(&self, name: &str, zone: u8) -> OperationId {
        self.submit_create_as(&spec(name, zone)).await
    }

    /// The same with a specification of the story's own.
    pub async fn submit_create_as(&self, spec: &ServerSpec) -> OperationId {
        self.submit_create_with(spec, None).await
    }

    async fn submit_create_with(&self, spec: &ServerSpec, ha: Option<&AskedHa>) -> OperationId {
        let new = NewServer {
            spec,
            admin_verifier: &scram_verifier(&Secret::new(PASSWORD)),
            rules: &[here()],
            network: None,
            ha,
            backup: pgflex::domain::backup::BackupPolicy::default(),
            draft: None,
            ports: self.ports,
            idempotency_key: None,
        };
        self.door().create(&self.app.sealer, &new, &Actor::system()).await.unwrap()
    }

    /// Makes a server in zone 1 that shall have a standby: in zone 2, or in zone 1 as well.
    pub async fn create_pair(&self, name: &str, mode: HaMode, durability: Durability) -> ServerId {
        let zone = if mode == HaMode::SameZone { "1" } else { "2" };
        let ha = AskedHa { mode, durability, standby_zone: zone.into() };
        let spec = ServerSpec { sku: "Standard_D2ds_v5".into(), ..spec(name, 1) };
        let id = self.submit_create_with(&spec, Some(&ha)).await;
        self.succeed(&id).await.server_id
    }

    /// Makes a server and waits until it is ready.
    pub async fn create(&self, name: &str, zone: u8) -> ServerId {
        let id = self.submit_create(name, zone).await;
        self.succeed(&id).await.server_id
    }

    pub async fn submit(&self, kind: OperationKind, server: &ServerId) -> OperationId {
        self.door().submit(kind, server, &Actor::system(), None).await.unwrap()
    }

    pub async fn operation(&self, id: &OperationId) -> Operation {
        self.app.store.operation(id).await.unwrap().unwrap()
    }

    /// Waits until the operation has ended or needs a person.
    pub async fn wait_settled(&self, id: &OperationId) -> Operation {
        let end = Instant::now() + Duration::from_secs(240);
        loop {
            let operation = self.operation(id).await;
            if operation.status.is_settled() {
                return operation;
            }
            assert!(Instant::now() < end, "{operation:?}\n{}", self.tail());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until it has succeeded.
    pub async fn succeed(&self, id: &OperationId) -> Operation {
        let ended = self.wait_settled(id).await;
        assert_eq!(ended.status, OperationStatus::Succeeded, "{:?}\n{}", ended.error, self.tail());
        ended
    }

    /// Everything the operation wrote into its log.
    pub async fn log_of(&self, id: &OperationId) -> String {
        let lines = self.app.store.operation_log(id, 1000).await.unwrap();
        lines.into_iter().map(|line| format!("{}\n", line.text)).collect()
    }

    pub async fn server(&self, id: &ServerId) -> Server {
        self.app.store.server(id).await.unwrap().unwrap()
    }

    /// The primary, then its standby, then those of before.
    pub async fn members(&self, id: &ServerId) -> Vec<Member> {
        self.app.store.members(id).await.unwrap()
    }

    /// Waits until something is so; `what` is said when it never is.
    pub async fn until(&self, what: &str, mut is_so: impl AsyncFnMut(&Self) -> bool) {
        let end = Instant::now() + Duration::from_secs(60);
        while !is_so(self).await {
            assert!(Instant::now() < end, "never: {what}\n{}", self.tail());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Address for `psql` and drivers: through the gateway, with full verification.
    pub async fn conninfo(&self, server: &ServerId) -> String {
        let ca = self.folder.join("ca.pem");
        std::fs::write(&ca, &self.app.authority.certificate).unwrap();
        format!(
            "host=localhost port={} dbname=postgres user={ADMIN} sslmode=verify-full sslrootcert={} connect_timeout=10",
            self.server(server).await.port,
            ca.display()
        )
    }

    /// Runs `psql` through the gateway; its output, or what it said on failure.
    pub async fn psql(&self, server: &ServerId, sql: &str) -> Result<String, String> {
        let (target, sql) = (self.conninfo(server).await, sql.to_owned());
        let run = move || {
            let arguments = ["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", &sql, &target];
            Command::new("psql").args(arguments).env("PGPASSWORD", PASSWORD).output().unwrap()
        };
        let output = tokio::task::spawn_blocking(run).await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// Kills the process and removes everything it made in every zone, which must all be there.
    pub async fn finish(mut self) {
        self.kill();
        self.kill_gateway();
        for zone in 1..=3 {
            let engine = self.zones.engine(zone, &self.app.install_id);
            let owned = engine.owned().await.unwrap();
            let of = |kind| owned.iter().filter(move |object| object.kind == kind);
            for object in of("container") {
                let _ = engine.signal_container(&object.name, "SIGKILL").await;
                engine.remove_container(&object.name).await.unwrap();
            }
            for object in of("volume") {
                engine.remove_volume(&object.name).await.unwrap();
            }
            for object in of("network") {
                engine.remove_network(&object.name).await.unwrap();
            }
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// After a failure the folder stays, with its log; what is in the zones goes with them.
impl Drop for Portal {
    fn drop(&mut self) {
        self.kill();
        self.kill_gateway();
    }
}

/// The link is printed just before the pages are served.
async fn connect(web: u16) -> Client {
    let address = format!("127.0.0.1:{web}").parse().unwrap();
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        match Client::connect(address).await {
            Ok(client) => return client,
            Err(error) => assert!(Instant::now() < end, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn spawn(folder: &std::path::Path, arguments: &[String]) -> Child {
    let log = folder.join("log.txt");
    let log = std::fs::File::options().create(true).append(true).open(log).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgflex"));
    command.arg("serve").args(&arguments[1..]).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(log).spawn().unwrap()
}

/// The process, and the link that makes the first owner.
fn run(folder: &std::path::Path, arguments: &[String]) -> (Child, String) {
    let mut child = spawn(folder, arguments);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let Some(link) = lines.find(|line| line.contains("/setup/")) else {
        panic!("no set-up link: {}", std::fs::read_to_string(folder.join("log.txt")).unwrap());
    };
    std::thread::spawn(move || lines.for_each(drop));
    (child, link)
}

/// Clients on this machine.
pub fn here() -> FirewallRule {
    FirewallRule {
        id: pgflex::clock::new_id(RuleId::parse),
        name: "here".into(),
        range: AddressRange::parse("127.0.0.1", "").unwrap(),
    }
}

/// The smallest server; one that shall be highly available takes `Standard_D2ds_v5`.
pub fn spec(name: &str, zone: u8) -> ServerSpec {
    ServerSpec {
        name: ServerName::parse(name).unwrap(),
        region: "westeurope".into(),
        zone: zone.to_string(),
        major: Major::V17,
        sku: "Standard_B1ms".into(),
        storage_gib: 32,
        admin_login: AdminLogin::parse(ADMIN).unwrap(),
        access: Access::Public,
        tags: vec![],
    }
}
