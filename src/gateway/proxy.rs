//! One client from accept to end: opening, admission, dialling, relaying.
//!
//! For a client with TLS the gateway sends the server an SSLRequest of its own, also when the client begins
//! with TLS at once: servers before 17 do not know direct TLS, and newer ones choose the
//! protocol in ALPN on either way, so nobody has to know the version. (A libpq that
//! insists on direct TLS also insists on ALPN, so it needs a server of 17 or newer.)
//!
//! A client without TLS passes on a dedicated port when its server does not require TLS: its start-up message
//! goes on as it is. On the shared port there is no name without TLS, so it is refused.
//!
//! On the shared port a CancelRequest in plain text names no server and is dropped. Clients that cancel
//! inside TLS (libpq 17 and newer) are routed like any other; the dedicated port has no such hole.

use super::copy::relay;
use super::farewell::{Farewells, Spoken};
use super::hello::{First, Hello, HelloReader, Parsed, SSL_REQUEST, parse_first};
use super::limits::Limits;
use super::refusal::Reason;
use super::registry::{Admitted, Registry, Verdict};
use super::table::Way;
use crate::domain::ids::ServerId;
use crate::domain::route::RouteState;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

/// What all connections share.
pub struct Doorman {
    pub registry: Arc<Registry>,
    pub limits: Limits,
    pub farewells: Farewells,
}

/// Where a client came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// On the port of one server.
    Dedicated(u16),
    /// On the port of all.
    Shared,
}

/// Bytes to make room for before each read of an opening.
const HEAR_BYTES: usize = 2048;

/// Why an opening did not lead to a connection.
enum Ended {
    Refused(Reason),
    /// The client went away, or nothing is to be said.
    Gone,
}

impl From<Reason> for Ended {
    fn from(reason: Reason) -> Self {
        Ended::Refused(reason)
    }
}

impl From<io::Error> for Ended {
    fn from(_: io::Error) -> Self {
        Ended::Gone
    }
}

/// Serves one client to its end.
pub async fn serve(doorman: Arc<Doorman>, stream: std::net::TcpStream, client: IpAddr, door: Door) {
    let stats = doorman.registry.stats.clone();
    stats.count_accepted();
    let mut opening = match doorman.registry.begin(client) {
        Ok(opening) => opening,
        Err(reason) => {
            stats.count_refused(&reason);
            // One try: there is no room to wait for those that are too many.
            let _ = io::Write::write(&mut &stream, &reason.error_response());
            return;
        }
    };
    let Ok(stream) = TcpStream::from_std(stream) else { return };
    tune(&stream, &doorman.limits);
    let mut talk = Talk {
        doorman,
        stream,
        client,
        door,
        heard: vec![],
        spoken: Spoken::Plain,
        server: None,
        deadline: Instant::now(),
    };
    match talk.open().await {
        Ok((admitted, server)) => {
            opening.relaying();
            talk.relay(admitted, server).await;
        }
        Err(Ended::Refused(reason)) => talk.refuse(reason).await,
        Err(Ended::Gone) => {}
    }
}

/// The opening of one client.
struct Talk {
    doorman: Arc<Doorman>,
    stream: TcpStream,
    client: IpAddr,
    door: Door,
    /// Bytes read and not yet passed on.
    heard: Vec<u8>,
    spoken: Spoken,
    /// The server the client wants, once known.
    server: Option<ServerId>,
    /// End of the time for opening messages.
    deadline: Instant,
}

impl Talk {
    async fn open(&mut self) -> Result<(Admitted, TcpStream), Ended> {
        self.deadline = Instant::now() + self.doorman.limits.opening;
        match timeout_at(self.deadline, self.first()).await.map_err(|_| Reason::TooSlow)?? {
            First::CancelRequest => {
                self.pass_cancel().await;
                return Err(Ended::Gone);
            }
            First::Startup => self.may_be_plain()?,
            First::SslRequest => self.spoken = Spoken::TlsAsked,
            First::DirectTls => self.spoken = Spoken::TlsBegun,
            First::GssencRequest => return Err(Reason::Malformed.into()),
        }
        let way = self.way().await?;
        self.server = self.doorman.registry.table().find(&way).map(|route| route.server_id.clone());
        let (admitted, mut server) = self.connect(&way).await?;
        if self.spoken == Spoken::TlsAsked {
            self.refuse_glued()?;
            self.stream.write_all(b"S").await?;
        }
        if !self.heard.is_empty() {
            server.write_all(&std::mem::take(&mut self.heard)).await?;
        }
        Ok((admitted, server))
    }

    /// The first message that is not a GSSENCRequest, taken off what was heard.
    async fn first(&mut self) -> Result<First, Ended> {
        let mut gss_asked = false;
        loop {
            match parse_first(&self.heard) {
                Parsed::Malformed => return Err(Reason::Malformed.into()),
                Parsed::More(_) => self.hear().await?,
                Parsed::Message(First::GssencRequest, length) if !gss_asked => {
                    gss_asked = true;
                    self.heard.drain(..length);
                    self.refuse_glued()?;
                    self.stream.write_all(b"N").await?;
                }
                Parsed::Message(First::CancelRequest, length) => {
                    self.heard.truncate(length);
                    return Ok(First::CancelRequest);
                }
                // Passed on as it is, with what may have come behind it.
                Parsed::Message(First::Startup, _) => return Ok(First::Startup),
                Parsed::Message(first, length) => {
                    self.heard.drain(..length);
                    return Ok(first);
                }
            }
        }
    }

    async fn hear(&mut self) -> Result<(), Ended> {
        self.heard.reserve(HEAR_BYTES);
        match self.stream.read_buf(&mut self.heard).await? {
            0 => Err(Ended::Gone),
            _ => Ok(()),
        }
    }

    /// Bytes that came with an SSLRequest were not protected by TLS, though the server would take them
    /// for such (CVE-2021-23214): somebody in between may have put them there.
    fn refuse_glued(&mut self) -> Result<(), Ended> {
        let nothing = self.heard.is_empty()
            && matches!(self.stream.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        if nothing {
            return Ok(());
        }
        self.spoken = Spoken::Plain;
        Err(Reason::Malformed.into())
    }

    /// Whether a client without TLS goes on. The rules come first, TLS is the least of its troubles; before a
    /// route that is held it is asked now, so that nobody waits for a refusal.
    fn may_be_plain(&self) -> Result<(), Reason> {
        let Door::Dedicated(port) = self.door else { return Err(Reason::PlainText) };
        let route = self.doorman.registry.judge(&Way::Port(port), self.client)?;
        if route.tls_required { Err(Reason::PlainText) } else { Ok(()) }
    }

    /// Finds out which server is wanted; on the shared port by the name in the ClientHello.
    async fn way(&mut self) -> Result<Way, Ended> {
        if self.spoken == Spoken::TlsAsked {
            self.refuse_glued()?;
        }
        match self.door {
            Door::Dedicated(port) => Ok(Way::Port(port)),
            Door::Shared => {
                if self.spoken == Spoken::TlsAsked {
                    self.stream.write_all(b"S").await?;
                    self.spoken = Spoken::TlsBegun;
                }
                let name = timeout_at(self.deadline, self.hello()).await;
                let name = name.map_err(|_| Reason::TooSlow)??;
                Ok(Way::Name(name.ok_or(Reason::NoName)?))
            }
        }
    }

    async fn hello(&mut self) -> Result<Option<String>, Ended> {
        let mut reader = HelloReader::default();
        let mut read = 0;
        loop {
            let answer = reader.push(&self.heard[read..]);
            read = self.heard.len();
            match answer {
                Hello::Complete { name } => return Ok(name.clone()),
                Hello::More => self.hear().await?,
                Hello::Malformed | Hello::TooLong => return Err(Reason::Malformed.into()),
            }
        }
    }

    /// Waits while the route is held, then connects. A route that changes while the server is dialled is asked again.
    async fn connect(&mut self, way: &Way) -> Result<(Admitted, TcpStream), Ended> {
        let registry = self.doorman.registry.clone();
        let mut changes = registry.watch();
        let patience = Instant::now() + self.doorman.limits.hold;
        let redial_until = Instant::now() + self.doorman.limits.redial;
        loop {
            changes.borrow_and_update();
            match registry.admit(way, self.client, self.spoken == Spoken::Plain) {
                Verdict::Refuse(reason) => return Err(reason.into()),
                Verdict::Hold { server } => tokio::select! {
                    () = self.client_gone() => return Err(Ended::Gone),
                    changed = timeout_at(patience, changes.changed()) => {
                        changed.map_err(|_| Reason::Held { server })?.map_err(|_| Ended::Gone)?;
                    }
                },
                Verdict::Pass(admitted) => {
                    let dialled = tokio::select! {
                        () = admitted.cut() => continue,
                        () = self.client_gone() => return Err(Ended::Gone),
                        dialled = dial(&admitted, self.spoken, &self.doorman.limits) => dialled,
                    };
                    match dialled {
                        Ok(server) => return Ok((admitted, server)),
                        Err(reason) if Instant::now() >= redial_until => return Err(reason.into()),
                        Err(_) => drop(admitted),
                    }
                    self.pause(&mut changes).await?;
                }
            }
        }
    }

    /// Until the route changes, or a server that was away for a moment may be back.
    async fn pause(&self, changes: &mut watch::Receiver<i64>) -> Result<(), Ended> {
        tokio::select! {
            () = self.client_gone() => Err(Ended::Gone),
            changed = timeout(REDIAL_EVERY, changes.changed()) => match changed {
                Ok(Err(_)) => Err(Ended::Gone),
                Ok(Ok(())) | Err(_) => Ok(()),
            },
        }
    }

    /// Comes back when the client hung up while it had to wait. Bytes it may have sent meanwhile stay unread.
    async fn client_gone(&self) {
        loop {
            if self.stream.readable().await.is_err() {
                return;
            }
            match self.stream.peek(&mut [0]).await {
                Ok(0) | Err(_) => return,
                Ok(_) => std::future::pending().await,
            }
        }
    }

    /// Passes a CancelRequest on to the server of a dedicated port, if the client may connect there.
    async fn pass_cancel(&mut self) {
        let Door::Dedicated(port) = self.door else { return };
        let registry = &self.doorman.registry;
        let route = match registry.judge(&Way::Port(port), self.client) {
            Ok(route) => route,
            Err(reason) => return registry.stats.count_refused(&reason),
        };
        let Some(target) = route.target.filter(|_| route.state == RouteState::Open) else { return };
        registry.stats.count_cancel();
        let passed = async {
            let mut server = TcpStream::connect(target).await?;
            server.write_all(&self.heard).await?;
            // The server closes when it has done it; the client waits for the same.
            server.read(&mut [0]).await
        };
        let _ = timeout(self.doorman.limits.dial, passed).await;
    }

    async fn relay(mut self, admitted: Admitted, mut server: TcpStream) {
        tokio::select! {
            _ = relay(&mut self.stream, &mut server) => {}
            () = admitted.cut() => {
                // Bytes that the old server has not got yet must not get there any more.
                let _ = server.set_zero_linger();
            }
        }
        // Sockets first: once the registry counts this connection out it must be closed.
        drop(server);
        drop(self.stream);
        drop(admitted);
    }

    async fn refuse(self, reason: Reason) {
        let doorman = self.doorman;
        doorman.registry.stats.count_refused(&reason);
        tracing::debug!(client = %self.client, reason = %reason.message(), "client refused");
        let told = doorman.farewells.tell(
            self.stream,
            self.spoken,
            self.heard,
            self.server.as_ref(),
            &reason,
        );
        let _ = timeout(doorman.limits.farewell, told).await;
    }
}

/// Connects to the admitted server and, for a client with TLS, brings it to the point where it waits for a
/// ClientHello.
async fn dial(admitted: &Admitted, spoken: Spoken, limits: &Limits) -> Result<TcpStream, Reason> {
    let route = &admitted.route;
    let unreachable = || Reason::Unreachable { server: route.server_name.clone() };
    let target = route.target.ok_or_else(unreachable)?;
    match timeout(limits.dial, dialled(target, spoken, limits)).await {
        Ok(Ok(server)) => Ok(server),
        Ok(Err(error)) => {
            tracing::debug!(server = %route.server_name, %target, %error, "server not reached");
            Err(unreachable())
        }
        Err(_) => Err(unreachable()),
    }
}

async fn dialled(target: SocketAddr, spoken: Spoken, limits: &Limits) -> io::Result<TcpStream> {
    let mut server = TcpStream::connect(target).await?;
    tune(&server, limits);
    if spoken == Spoken::Plain {
        return Ok(server);
    }
    server.write_all(&SSL_REQUEST).await?;
    match server.read_u8().await? {
        b'S' => Ok(server),
        other => Err(io::Error::other(format!("answered the SSLRequest with {other:#x}"))),
    }
}

/// No waiting for more bytes, and a dead peer is found. A socket that refuses an option works without it.
fn tune(stream: &TcpStream, limits: &Limits) {
    use rustix::net::sockopt;
    let _ = stream.set_nodelay(true);
    let _ = sockopt::set_socket_keepalive(stream, true);
    let _ = sockopt::set_tcp_keepidle(stream, limits.keepalive_idle);
    let _ = sockopt::set_tcp_keepintvl(stream, limits.keepalive_interval);
    let _ = sockopt::set_tcp_keepcnt(stream, limits.keepalive_probes);
    let unacknowledged =
        limits.keepalive_idle + limits.keepalive_interval * limits.keepalive_probes;
    let millis = u32::try_from(unacknowledged.as_millis()).unwrap_or(u32::MAX);
    let _ = sockopt::set_tcp_user_timeout(stream, millis);
}

/// Between two tries to reach a server that is away.
const REDIAL_EVERY: Duration = Duration::from_millis(100);

/// Longest wait for the sockets of cut connections to be closed.
pub const CUT_MAX: Duration = Duration::from_secs(5);
