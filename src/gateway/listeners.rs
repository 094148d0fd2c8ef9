//! Ports that are open. They follow the table; a port that is taken is tried again now and then.

use super::lanes::Lanes;
use super::proxy::{Door, Doorman, serve};
use super::table::Table;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Pause after an accept that failed, mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The open ports.
pub struct Listeners {
    address: IpAddr,
    shared_port: u16,
    doorman: Arc<Doorman>,
    lanes: Arc<Lanes>,
    open: HashMap<u16, JoinHandle<()>>,
    /// Ports that could not be opened, with what to tell people.
    troubles: BTreeMap<u16, String>,
}

impl Listeners {
    /// None is open yet. A shared port of 0 is switched off.
    pub fn new(
        address: IpAddr,
        shared_port: u16,
        doorman: Arc<Doorman>,
        lanes: Arc<Lanes>,
    ) -> Self {
        let (open, troubles) = (HashMap::new(), BTreeMap::new());
        Self { address, shared_port, doorman, lanes, open, troubles }
    }

    /// Opens what the table needs and is not open, and closes what it no longer has.
    /// Connections that were accepted on a closed port are not its business.
    pub async fn follow(&mut self, table: &Table) {
        let mut wanted: BTreeMap<u16, (Door, String)> = table
            .ports()
            .map(|(port, server)| {
                (port, (Door::Dedicated(port), format!("port {port} of server {server}")))
            })
            .collect();
        if self.shared_port != 0 {
            let what = format!("shared port {}", self.shared_port);
            wanted.insert(self.shared_port, (Door::Shared, what));
        }
        self.close_all_but(&wanted).await;
        self.troubles.retain(|port, _| wanted.contains_key(port));
        for (port, (door, what)) in wanted {
            if !self.open.contains_key(&port) {
                self.open_port(port, door, &what).await;
            }
        }
    }

    /// Closes every port.
    pub async fn close(&mut self) {
        self.close_all_but(&BTreeMap::new()).await;
    }

    async fn close_all_but(&mut self, wanted: &BTreeMap<u16, (Door, String)>) {
        let closed: Vec<u16> =
            self.open.keys().filter(|port| !wanted.contains_key(port)).copied().collect();
        for listener in closed.into_iter().filter_map(|port| self.open.remove(&port)) {
            listener.abort();
            // The socket is closed when the task is gone, and its port may be wanted again at once.
            let _ = listener.await;
        }
    }

    async fn open_port(&mut self, port: u16, door: Door, what: &str) {
        match TcpListener::bind(SocketAddr::new(self.address, port)).await {
            Ok(listener) => {
                let accepting = accept(listener, door, self.doorman.clone(), self.lanes.clone());
                self.open.insert(port, tokio::spawn(accepting));
                if self.troubles.remove(&port).is_some() {
                    tracing::info!("the {what} is open now");
                }
            }
            Err(error) => {
                let trouble =
                    format!("The {what} could not be opened on {}: {error}.", self.address);
                if self.troubles.insert(port, trouble.clone()).is_none() {
                    tracing::warn!(
                        "{trouble} It is tried again every few seconds; other ports work."
                    );
                }
            }
        }
    }

    pub fn has_troubles(&self) -> bool {
        !self.troubles.is_empty()
    }

    /// What could not be opened, in sentences; empty when all is well.
    pub fn notes(&self) -> String {
        self.troubles.values().cloned().collect::<Vec<_>>().join(" ")
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        for listener in self.open.values() {
            listener.abort();
        }
    }
}

async fn accept(listener: TcpListener, door: Door, doorman: Arc<Doorman>, lanes: Arc<Lanes>) {
    let mut failing = false;
    loop {
        let accepted = match listener.accept().await {
            Ok((stream, client)) => stream.into_std().map(|stream| (stream, client)),
            Err(error) => Err(error),
        };
        match accepted {
            Ok((stream, client)) => {
                failing = false;
                lanes.spawn(serve(doorman.clone(), stream, client.ip(), door));
            }
            Err(error) => {
                if !failing {
                    tracing::warn!(%error, "the gateway cannot accept clients");
                }
                failing = true;
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
