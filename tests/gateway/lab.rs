//! A running gateway on a store of its own, and servers that do what a test needs.

use async_trait::async_trait;
use pgflex::certificates::{Authority, CertifiedPair};
use pgflex::clock::{Clock, SystemClock, new_id, new_uuid};
use pgflex::domain::configuration::Configuration;
use pgflex::domain::ids::{RuleId, ServerId};
use pgflex::domain::network::{AddressRange, FirewallRule};
use pgflex::domain::route::RouteState;
use pgflex::gateway::{GatewaySettings, GatewayStats, Identities, Identity, Limits, run};
use pgflex::poke::Poke;
use pgflex::store::{Record, Store, WriteTx};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

pub const DOMAIN: &str = "pgflex.localhost";
pub const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// Pairs of certificate and key by server.
#[derive(Default)]
pub struct Pairs(pub Mutex<HashMap<ServerId, CertifiedPair>>);

#[async_trait]
impl Identities for Pairs {
    async fn identity(&self, server: &ServerId) -> Option<Identity> {
        let pairs = self.0.lock().unwrap();
        let pair = pairs.get(server)?;
        let key = pair.key.reveal().to_owned().into();
        Some(Identity { certificate: pair.certificate.clone(), key })
    }
}

pub struct Lab {
    folder: std::path::PathBuf,
    pub store: Store,
    pool: sqlx::AnyPool,
    pub poke: Poke,
    pub stats: Arc<GatewayStats>,
    pub pairs: Arc<Pairs>,
    pub shared_port: u16,
    pub authority: Authority,
    stop: Option<oneshot::Sender<()>>,
    running: Option<JoinHandle<std::io::Result<()>>>,
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Limits short enough to wait for.
pub fn short_limits() -> Limits {
    Limits {
        opening: Duration::from_millis(600),
        dial: Duration::from_secs(2),
        redial: Duration::from_millis(600),
        hold: Duration::from_millis(900),
        farewell: Duration::from_secs(1),
        port_retry: Duration::from_millis(200),
        poll: Duration::from_millis(50),
        heartbeat: Duration::from_millis(300),
        ..Limits::default()
    }
}

pub async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

impl Lab {
    pub async fn start() -> Self {
        Self::with(short_limits(), free_port().await).await
    }

    pub async fn with(limits: Limits, shared_port: u16) -> Self {
        let folder = std::env::temp_dir().join(format!("pgflex-gateway-{}", new_uuid()));
        std::fs::create_dir(&folder).unwrap();
        let url = format!("sqlite://{}/test.db?mode=rwc", folder.display());
        let store = Store::open(&url).await.unwrap();
        let pool = sqlx::AnyPool::connect(&url).await.unwrap();
        let (poke, stats, pairs) = (Poke::default(), Arc::default(), Arc::new(Pairs::default()));
        let settings = GatewaySettings {
            id: "gateway-1".into(),
            listen: "127.0.0.1".parse().unwrap(),
            shared_port,
            endpoint_domain: DOMAIN.into(),
            threads: 2,
            identities: Some(pairs.clone()),
            limits,
            stats: Arc::clone(&stats),
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(run(
            store.clone(),
            Arc::new(SystemClock),
            poke.clone(),
            settings,
            async move {
                let _ = stopped.await;
            },
        ));
        let (authority, _) = Authority::generate("test-install", SystemClock.now()).unwrap();
        let (stop, running) = (Some(stop), Some(running));
        Self { folder, store, pool, poke, stats, pairs, shared_port, authority, stop, running }
    }

    /// Ends the gateway in good order.
    pub async fn stop(&mut self) {
        drop(self.stop.take());
        self.running.take().unwrap().await.unwrap().unwrap();
    }

    pub async fn write(&self) -> WriteTx {
        self.store.begin_write(SystemClock.now()).await.unwrap()
    }

    /// Commits and waits until the gateway says that it has applied it.
    pub async fn apply(&self, tx: WriteTx) {
        tx.commit(Record::Nothing("test")).await.unwrap();
        self.poke.routes();
        let generation = self.store.route_generation().await.unwrap();
        let applied = async {
            while !self.store.gateways().await.unwrap().iter().any(|g| g.generation >= generation) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(10), applied).await.expect("the gateway applies the routes");
    }

    /// A server that everybody on this machine may reach.
    pub async fn server(&self, name: &str, target: Option<SocketAddr>) -> (ServerId, u16) {
        let (id, port) = self.bare_server(name, "Standard_B1ms").await;
        let mut tx = self.write().await;
        tx.set_route(&id, target, RouteState::Open).await.unwrap();
        tx.save_firewall_rule(&id, &rule("local", "127.0.0.0", "127.255.255.255")).await.unwrap();
        self.apply(tx).await;
        (id, port)
    }

    pub async fn bare_server(&self, name: &str, sku: &str) -> (ServerId, u16) {
        let (id, port) = (new_id(ServerId::parse), free_port().await);
        sqlx::query("INSERT INTO servers (id, name, region, zone, major, sku, tier, storage_gib, admin_login, access, tags, settled, port, created_at)
                     VALUES ($1, $2, 'r', '1', '15', $3, 'Burstable', 32, 'a', 'Public', '[]', 'Ready', $4, 0)")
            .bind(id.as_str().to_owned())
            .bind(name.to_owned())
            .bind(sku.to_owned())
            .bind(i64::from(port))
            .execute(&self.pool)
            .await
            .unwrap();
        (id, port)
    }

    pub async fn set_route(&self, id: &ServerId, target: Option<SocketAddr>, state: RouteState) {
        let mut tx = self.write().await;
        tx.set_route(id, target, state).await.unwrap();
        self.apply(tx).await;
    }

    /// Takes all rules away, and with them everybody's leave.
    pub async fn forbid(&self, id: &ServerId) {
        let mut tx = self.write().await;
        tx.delete_firewall_rules(id).await.unwrap();
        self.apply(tx).await;
    }

    pub async fn require_tls(&self, id: &ServerId, require_secure_transport: bool) {
        let configuration = Configuration { require_secure_transport, ..Configuration::default() };
        let mut tx = self.write().await;
        tx.set_configuration(id, &configuration).await.unwrap();
        tx.bump_route_generation().await.unwrap();
        self.apply(tx).await;
    }

    /// Makes a certificate for the server, which the gateway can open from now on.
    pub fn certify(&self, id: &ServerId, name: &str) -> CertifiedPair {
        let names = [format!("{name}.{DOMAIN}"), "localhost".into(), "127.0.0.1".into()];
        let made = self.authority.issue(&names, "control", SystemClock.now()).unwrap();
        self.pairs.0.lock().unwrap().insert(id.clone(), made.server.clone());
        made.server
    }

    pub fn refused(&self, kind: &str) -> u64 {
        self.stats.refused().find(|(name, _)| *name == kind).unwrap().1
    }
}

pub fn rule(name: &str, start: &str, end: &str) -> FirewallRule {
    let range = AddressRange::parse(start, end).unwrap();
    FirewallRule { id: new_id(RuleId::parse), name: name.into(), range }
}

/// A server that grants TLS and then sends back what it gets, after a letter that tells it from others.
/// When the client ends, it says goodbye.
pub async fn echo_server(letter: u8) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(echo(stream, letter));
        }
    });
    address
}

/// A server without TLS that sends back what it gets.
pub async fn plain_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await
            });
        }
    });
    address
}

async fn echo(mut stream: TcpStream, letter: u8) -> std::io::Result<()> {
    let mut request = [0; 8];
    stream.read_exact(&mut request).await?;
    if request != SSL_REQUEST {
        // A CancelRequest: its key comes after what was read.
        let mut key = [0; 8];
        stream.read_exact(&mut key).await?;
        assert_eq!(&request[4..], [4, 210, 22, 46]);
        return Ok(());
    }
    stream.write_all(b"S").await?;
    stream.write_all(&[letter]).await?;
    let mut bytes = vec![0; 100_000];
    loop {
        match stream.read(&mut bytes).await? {
            0 => break,
            read => stream.write_all(&bytes[..read]).await?,
        }
    }
    stream.write_all(b"goodbye").await
}

pub async fn connect(port: u16) -> TcpStream {
    timeout(Duration::from_secs(5), TcpStream::connect(("127.0.0.1", port))).await.unwrap().unwrap()
}

/// Connects and asks for TLS; returns the stream after the given answer.
pub async fn tls_asked(port: u16) -> TcpStream {
    let mut stream = connect(port).await;
    stream.write_all(&SSL_REQUEST).await.unwrap();
    assert_eq!(read(&mut stream, 1).await, b"S");
    stream
}

pub async fn read(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    timeout(Duration::from_secs(5), stream.read_exact(&mut bytes))
        .await
        .expect("bytes in time")
        .expect("bytes");
    bytes
}

/// Everything until the end; a reset is an end too.
pub async fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = vec![];
    let _ = timeout(Duration::from_secs(5), stream.read_to_end(&mut bytes))
        .await
        .expect("an end in time");
    bytes
}

/// A ClientHello with the name.
pub fn client_hello(name: &str) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = rustls::pki_types::ServerName::try_from(name.to_owned()).unwrap();
    let mut bytes = vec![];
    rustls::ClientConnection::new(Arc::new(config), name).unwrap().write_tls(&mut bytes).unwrap();
    bytes
}

/// SQLSTATE and text of an ErrorResponse.
pub fn error_of(bytes: &[u8]) -> (String, String) {
    assert_eq!(bytes.first(), Some(&b'E'), "{bytes:?}");
    let field = |kind: u8| {
        let mut fields = bytes[5..].split(|byte| *byte == 0);
        let found = fields.find(|field| field.first() == Some(&kind)).unwrap();
        String::from_utf8(found[1..].to_vec()).unwrap()
    };
    (field(b'C'), field(b'M'))
}
