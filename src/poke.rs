//! Named wake-ups inside one process. They only save waiting: everything also polls, so a lost poke costs time, never work.

use std::sync::Arc;
use tokio::sync::{Notify, watch};

/// Handles for waking the loops of the process. Clones share the same loops.
#[derive(Debug, Clone)]
pub struct Poke {
    runner: Arc<Notify>,
    monitor: Arc<Notify>,
    routes: Arc<Notify>,
    hosts: Arc<Notify>,
    /// Counts changes of operations; pages with live parts watch it.
    progress: watch::Sender<u64>,
}

impl Default for Poke {
    fn default() -> Self {
        Self {
            runner: Arc::default(),
            monitor: Arc::default(),
            routes: Arc::default(),
            hosts: Arc::default(),
            progress: watch::channel(0).0,
        }
    }
}

impl Poke {
    /// An operation was submitted or may go on.
    pub fn runner(&self) {
        self.runner.notify_one();
    }

    /// Something on a host changed: look now.
    pub fn monitor(&self) {
        self.monitor.notify_one();
    }

    /// A route or a firewall rule changed.
    pub fn routes(&self) {
        self.routes.notify_one();
    }

    /// A host was added, changed or removed.
    pub fn hosts(&self) {
        self.hosts.notify_one();
    }

    /// A step began, ended or wrote a line.
    pub fn progress(&self) {
        self.progress.send_modify(|count| *count += 1);
    }

    pub async fn wait_runner(&self) {
        self.runner.notified().await;
    }

    pub async fn wait_monitor(&self) {
        self.monitor.notified().await;
    }

    pub async fn wait_routes(&self) {
        self.routes.notified().await;
    }

    pub async fn wait_hosts(&self) {
        self.hosts.notified().await;
    }

    /// A receiver that changes with every progress of any operation in this process.
    pub fn watch_progress(&self) -> watch::Receiver<u64> {
        self.progress.subscribe()
    }
}
