//! Private access on a real engine: who reaches a server from where, for each way it can be reached, and
//! what a change of it ends.

use crate::portal::{ADMIN, PASSWORD, Portal, spec};
use crate::support::{has_engine, timed};
use pgflex::clock::{new_id, random_bytes};
use pgflex::domain::activity::Actor;
use pgflex::domain::ids::{NetworkId, ServerId};
use pgflex::domain::network::Access;
use pgflex::domain::networking::Networking;
use pgflex::domain::operation::{OperationKind, OperationStatus};
use pgflex::domain::server::{ServerSpec, network_name};
use pgflex::domain::virtual_network::{NetworkState, VirtualNetwork};
use pgflex::operations::submit::{Change, NewServer};
use pgflex::secrets::{Secret, scram_verifier};
use pgflex::store::Record;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const IMAGE: &str = "pgflex/postgres:17-r2";

/// A container of an application, removed at the end.
struct App(String);

impl App {
    fn start(network: &str, portal: &Portal) -> Self {
        let name = format!("pgflex-test-app-{}", pgflex::clock::new_uuid());
        let run = [
            "run",
            "-d",
            "--name",
            &name,
            "--network",
            network,
            "--label",
            "pgflex.test=1",
            "--entrypoint",
            "sleep",
            IMAGE,
            "600",
        ];
        docker(&run).unwrap();
        let app = Self(name);
        let mut copy = Command::new("docker")
            .args(["exec", "-i", &app.0, "sh", "-c", "cat > /tmp/ca.pem"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let ca = portal.app.authority.certificate.as_bytes();
        copy.stdin.take().unwrap().write_all(ca).unwrap();
        assert!(copy.wait().unwrap().success());
        app
    }

    /// What a query through `target` says, or why there was none.
    fn psql(&self, target: &str, sql: &str) -> Result<String, String> {
        said(&self.command(target, sql).output().unwrap())
    }

    fn command(&self, target: &str, sql: &str) -> Command {
        let mut command = Command::new("docker");
        command.args(["exec", "-e", "PGPASSWORD", &self.0, "psql", "-X", "-A", "-t", "-c", sql]);
        command.arg(format!("{target} dbname=postgres user={ADMIN} connect_timeout=3"));
        command.env("PGPASSWORD", PASSWORD);
        command
    }

    /// With the whole certificate checked against a name.
    fn by_name(&self, name: &str) -> Result<String, String> {
        let target = format!("host={name} sslmode=verify-full sslrootcert=/tmp/ca.pem");
        self.psql(&target, "SELECT 1")
    }

    fn by_address(&self, address: &str) -> Result<String, String> {
        self.psql(&format!("host={address} sslmode=require"), "SELECT 1")
    }

    /// A query that lasts until its connection ends.
    fn linger(&self, name: &str) -> Child {
        let target = format!("host={name} sslmode=require");
        lasting(self.command(&target, "SELECT pg_sleep(300)"))
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let _ = docker(&["rm", "-f", &self.0]);
    }
}

fn docker(arguments: &[&str]) -> Result<String, String> {
    said(&Command::new("docker").args(arguments).output().unwrap())
}

fn said(output: &std::process::Output) -> Result<String, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn lasting(mut command: Command) -> Child {
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(2));
    child
}

/// Whether the client has ended by itself within ten seconds.
fn has_ended(mut child: Child) -> bool {
    let end = Instant::now() + Duration::from_secs(10);
    while Instant::now() < end {
        if child.try_wait().unwrap().is_some() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let _ = child.kill();
    let _ = child.wait();
    false
}

/// psql on this machine, outside of containers.
fn on_host(target: &str) -> Command {
    let mut command = Command::new("psql");
    command.args(["-X", "-A", "-t"]).env("PGPASSWORD", PASSWORD);
    command.arg(format!("{target} dbname=postgres user={ADMIN} connect_timeout=3"));
    command
}

fn from_host(target: &str) -> Result<String, String> {
    said(&on_host(target).args(["-c", "SELECT 1"]).output().unwrap())
}

async fn network(portal: &Portal, name: &str) -> VirtualNetwork {
    let [b, c] = random_bytes::<2>();
    let network = VirtualNetwork {
        id: new_id(NetworkId::parse),
        name: name.into(),
        range: format!("10.{}.{c}.0/24", 128 + b % 100).parse().unwrap(),
        state: NetworkState::Active,
        note: String::new(),
        created_at: portal.app.clock.now(),
    };
    let mut tx = portal.app.store.begin_write(portal.app.clock.now()).await.unwrap();
    tx.insert_network(&network).await.unwrap();
    tx.commit(Record::Nothing("a story begins")).await.unwrap();
    network
}

async fn create(portal: &Portal, name: &str, network: &VirtualNetwork) -> ServerId {
    let spec = ServerSpec { access: Access::Private, ..spec(name) };
    let admin_verifier = scram_verifier(&Secret::new(PASSWORD));
    let new = NewServer {
        spec: &spec,
        admin_verifier: &admin_verifier,
        rules: &[],
        network: Some(&network.id),
        ha: None,
        backup: pgflex::domain::backup::BackupPolicy::default(),
        draft: None,
        ports: portal.ports,
        idempotency_key: None,
    };
    let id = portal.door().create(&portal.app.sealer, &new, &Actor::system()).await.unwrap();
    let ended = portal.wait_settled(&id).await;
    assert_eq!(ended.status, OperationStatus::Succeeded, "{:?}", ended.error);
    ended.server_id
}

/// Changes how a server is reached, to the end.
async fn change(
    portal: &Portal,
    server: &ServerId,
    to: (Access, Option<&VirtualNetwork>),
    tls: bool,
) {
    let wanted = Networking {
        access: to.0,
        network_id: to.1.map(|network| network.id.clone()),
        require_secure_transport: tls,
    };
    let change = Change::new(OperationKind::ChangeNetworking, "in a test", &wanted);
    let id = portal.door().submit_change(change, server, &Actor::system(), None).await.unwrap();
    let ended = timed("change of networking", portal.wait_settled(&id)).await;
    assert_eq!(ended.status, OperationStatus::Succeeded, "{:?}", ended.error);
}

/// Every address of a server's container, by Docker network.
async fn addresses(portal: &Portal, server: &ServerId) -> Vec<(String, String)> {
    let member = portal.app.store.members(server).await.unwrap()[0].container();
    let format =
        "{{range $name, $net := .NetworkSettings.Networks}}{{$name}} {{$net.IPAddress}}\n{{end}}";
    let text = docker(&["inspect", "--format", format, &member]).unwrap();
    text.lines()
        .filter_map(|line| line.trim().split_once(' '))
        .map(|(network, address)| (network.to_owned(), address.to_owned()))
        .collect()
}

/// The places from which a server is tried.
struct Places {
    /// In the virtual networks a and b, the default bridge, another server's own network, its own.
    a: App,
    b: App,
    bridge: App,
    other: App,
    own: App,
}

impl Places {
    /// Who gets in now, by every name and address that the server has, as one line in a fixed order.
    async fn who(&self, portal: &Portal, server: &ServerId) -> Vec<&'static str> {
        let addresses = addresses(portal, server).await;
        let row = portal.app.store.server(server).await.unwrap().unwrap();
        let mut inside = vec![];
        let apps = [
            ("a", &self.a),
            ("b", &self.b),
            ("bridge", &self.bridge),
            ("other", &self.other),
            ("own", &self.own),
        ];
        for (place, app) in apps {
            let name = app.by_name("shop.pgflex.localhost");
            let by_address = addresses.iter().any(|(_, address)| app.by_address(address).is_ok());
            if name.is_ok() {
                assert!(
                    app.by_name("shop").is_ok(),
                    "{place}: the short name is in the certificate"
                );
                inside.push(place);
            } else if by_address {
                inside.push(place);
            }
        }
        let target = |address: &str| format!("host={address} sslmode=require");
        if addresses.iter().any(|(_, address)| from_host(&target(address)).is_ok()) {
            inside.push("host");
        }
        if from_host(&format!("host=127.0.0.1 port={} sslmode=require", row.port)).is_ok() {
            inside.push("gateway");
        }
        inside
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reaches_a_server_from_where() {
    if !has_engine() {
        return;
    }
    let mut portal = Portal::new().await;
    portal.start(&[]);
    portal.wait_line("pgflex is at");
    let (a, b) = (network(&portal, "a").await, network(&portal, "b").await);
    let id = portal.submit_create("shop").await;
    let shop = portal.wait_settled(&id).await.server_id;
    create(&portal, "peer-a", &a).await;
    let peer = create(&portal, "peer-b", &b).await;
    let places = Places {
        a: App::start(&a.docker_name(), &portal),
        b: App::start(&b.docker_name(), &portal),
        bridge: App::start("bridge", &portal),
        other: App::start(&network_name(&peer), &portal),
        own: App::start(&network_name(&shop), &portal),
    };
    assert!(places.b.by_name("peer-b.pgflex.localhost").is_ok(), "created in its network");
    assert!(places.a.by_name("peer-b.pgflex.localhost").is_err());
    // With public access PostgreSQL admits whoever reaches its own network; nothing outside of it does.
    let public = ["own", "host", "gateway"];
    assert_eq!(places.who(&portal, &shop).await, public);

    let session = lasting({
        let row = portal.app.store.server(&shop).await.unwrap().unwrap();
        let mut command = on_host(&format!("host=127.0.0.1 port={} sslmode=require", row.port));
        command.args(["-c", "SELECT pg_sleep(300)"]);
        command
    });
    change(&portal, &shop, (Access::Private, Some(&a)), true).await;
    assert!(has_ended(session), "the session through the gateway");
    assert_eq!(places.who(&portal, &shop).await, ["a"]);
    assert!(places.a.by_name("shop.pgflex.localhost").is_ok(), "with verify-full");

    let session = places.a.linger("shop");
    change(&portal, &shop, (Access::Private, Some(&b)), true).await;
    assert!(has_ended(session), "the session from the network that was left");
    assert_eq!(places.who(&portal, &shop).await, ["b"]);

    let session = places.b.linger("shop");
    change(&portal, &shop, (Access::Private, None), true).await;
    assert!(has_ended(session), "the session from the network that was left");
    assert_eq!(places.who(&portal, &shop).await, ["own"]);

    change(&portal, &shop, (Access::Private, Some(&a)), true).await;
    let id =
        portal.door().submit(OperationKind::Restart, &shop, &Actor::system(), None).await.unwrap();
    assert_eq!(portal.wait_settled(&id).await.status, OperationStatus::Succeeded);
    assert_eq!(places.who(&portal, &shop).await, ["a"], "after a restart too");

    let session = places.a.linger("shop");
    change(&portal, &shop, (Access::Public, None), true).await;
    assert!(has_ended(session), "the session from the virtual network");
    assert_eq!(places.who(&portal, &shop).await, public, "as in the beginning");
    drop(places);
    portal.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_secure_transport_plain_connections_pass_on_the_dedicated_port_alone() {
    if !has_engine() {
        return;
    }
    let mut portal = Portal::new().await;
    portal.start(&[]);
    portal.wait_line("pgflex is at");
    let id = portal.submit_create("plain").await;
    let server = portal.wait_settled(&id).await.server_id;
    let port = portal.app.store.server(&server).await.unwrap().unwrap().port;
    portal.psql_when_open(&server, "SELECT 1").await;
    let plain = |port: u16| format!("host=127.0.0.1 port={port} sslmode=disable");
    let refused = from_host(&plain(port)).unwrap_err();
    assert!(refused.contains("connections must use TLS"), "{refused}");
    change(&portal, &server, (Access::Public, None), false).await;
    assert_eq!(from_host(&plain(port)).as_deref(), Ok("1"));
    assert!(from_host(&plain(portal.shared_port)).is_err(), "the shared port needs a name");
    assert!(portal.psql(&server, "SELECT 1").await.is_ok(), "TLS goes on");
    let mut session = on_host(&plain(port));
    session.args(["-c", "SELECT pg_sleep(300)"]);
    let session = lasting(session);
    change(&portal, &server, (Access::Public, None), true).await;
    assert!(has_ended(session), "the session without TLS");
    assert!(from_host(&plain(port)).is_err());
    portal.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_goes_when_nobody_is_in_it_and_takes_as_many_as_it_has_addresses() {
    if !has_engine() {
        return;
    }
    let mut portal = Portal::new().await;
    portal.start(&[]);
    portal.wait_line("pgflex is at");
    let wide = network(&portal, "wide").await;
    let range = format!("{}/28", wide.range.network()).parse().unwrap();
    let small =
        VirtualNetwork { id: new_id(NetworkId::parse), name: "small".into(), range, ..wide };
    let store = &portal.app.store;
    let mut tx = store.begin_write(portal.app.clock.now()).await.unwrap();
    tx.insert_network(&small).await.unwrap();
    tx.commit(Record::Nothing("a story begins")).await.unwrap();
    let id = portal.submit_create("crowd").await;
    let server = portal.wait_settled(&id).await.server_id;
    change(&portal, &server, (Access::Private, Some(&small)), true).await;
    let mut apps: Vec<App> = vec![];
    for _ in 1..small.capacity() {
        apps.push(App::start(&small.docker_name(), &portal));
    }
    assert!(apps[0].by_name("crowd.pgflex.localhost").is_ok());
    change(&portal, &server, (Access::Public, None), true).await;
    apps.push(App::start(&small.docker_name(), &portal));
    // Full: the change is refused in words and taken back.
    let wanted = Networking {
        access: Access::Private,
        network_id: Some(small.id.clone()),
        require_secure_transport: true,
    };
    let change = Change::new(OperationKind::ChangeNetworking, "in a test", &wanted);
    let id = portal.door().submit_change(change, &server, &Actor::system(), None).await.unwrap();
    let ended = portal.wait_settled(&id).await;
    assert_eq!(ended.status, OperationStatus::Failed);
    assert_eq!(ended.error.as_deref(), Some("The virtual network has no free address left."));
    assert!(portal.psql(&server, "SELECT 1").await.is_ok(), "public as before");
    // Its deletion waits for the applications, and says so.
    let mut tx = store.begin_write(portal.app.clock.now()).await.unwrap();
    assert!(tx.begin_network_deletion(&small.id).await.unwrap());
    tx.commit(Record::Nothing("a test")).await.unwrap();
    wait("a note", || async {
        let kept = store.network(&small.id).await.unwrap();
        kept.is_some_and(|network| network.note.contains("docker network disconnect"))
    })
    .await;
    drop(apps);
    wait("its end", || async { store.network(&small.id).await.unwrap().is_none() }).await;
    assert!(docker(&["network", "inspect", &small.docker_name()]).is_err());
    portal.finish().await;
}

/// Until the monitor has looked: every fifteen seconds.
async fn wait<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    let end = Instant::now() + Duration::from_secs(45);
    while !is_so().await {
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
