//! What engines tell while it happens, so that nobody waits for the next look.
//!
//! One task for each engine. It only saves waiting: an event that is lost costs time, the looks every fifteen seconds find
//! the same. After every pause in the telling everything is looked at once.

use super::starts;
use crate::domain::ids::{HostId, ServerId};
use crate::engine::{Engine, EngineEvent, label};
use crate::operations::context::Services;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Events that a listener may be behind; one that is further behind looks for itself.
const KEPT: usize = 256;
/// Pauses before an engine is asked to tell again.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(15);
/// Time between two looks whether an engine that tells nothing is still there.
const ALIVE_EVERY: Duration = Duration::from_secs(15);
const ALIVE: Duration = Duration::from_secs(5);
/// Time between two looks at which hosts there are.
const HOSTS_EVERY: Duration = Duration::from_secs(2);
/// A name that no container of ours has: asking for it costs an engine nothing.
const NOBODY: &str = "pgflex-nobody";

/// Rings for everybody who listens. Clones are one bell.
#[derive(Debug, Clone)]
pub struct Bell(broadcast::Sender<Ring>);

/// What is heard.
#[derive(Debug, Clone)]
pub enum Ring {
    /// Something became of a container of ours on this host.
    Of(HostId, Arc<EngineEvent>),
    /// Events of this host may have been missed.
    Again(HostId),
}

impl Default for Bell {
    fn default() -> Self {
        Self(broadcast::channel(KEPT).0)
    }
}

impl Bell {
    pub fn listen(&self) -> broadcast::Receiver<Ring> {
        self.0.subscribe()
    }

    fn ring(&self, ring: Ring) {
        // Nobody listens where there is no pair.
        let _ = self.0.send(ring);
    }
}

/// Runs until `stop` is set.
pub async fn run(services: Arc<Services>, bell: Bell, mut stop: watch::Receiver<bool>) {
    let mut listeners: HashMap<HostId, (i64, AbortOnDrop)> = HashMap::new();
    let _visits = AbortOnDrop(tokio::spawn(visit(services.clone(), bell.clone())));
    while !*stop.borrow() {
        let hosts = services.engines.now();
        listeners.retain(|host, (version, _)| {
            hosts.get(host).is_some_and(|driven| driven.version == *version)
        });
        for (host, driven) in hosts.iter() {
            listeners.entry(host.clone()).or_insert_with(|| {
                let (services, bell) = (services.clone(), bell.clone());
                let listener = follow(services, bell, host.clone(), driven.engine.clone());
                (driven.version, AbortOnDrop(tokio::spawn(listener)))
            });
        }
        tokio::select! {
            () = tokio::time::sleep(HOSTS_EVERY) => {}
            _ = stop.changed() => {}
        }
    }
}

/// A task that ends with its handle.
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Listens to one engine, again after every end.
async fn follow(services: Arc<Services>, bell: Bell, host: HostId, engine: Arc<dyn Engine>) {
    let mut pause = PAUSE_MIN;
    loop {
        let heard = listen(&services, &bell, &host, &engine).await;
        pause = if heard { PAUSE_MIN } else { (pause * 2).min(PAUSE_MAX) };
        tokio::time::sleep(pause).await;
    }
}

/// Until the engine tells no more; whether it answered at all. The three are driven side by side: one that waits while
/// another holds what it waits for (the engine's connection) would wait for ever.
async fn listen(services: &Services, bell: &Bell, host: &HostId, engine: &Arc<dyn Engine>) -> bool {
    let (sender, mut events) = mpsc::channel(KEPT);
    let is_there = AtomicBool::new(false);
    let ring = async {
        while let Some(event) = events.recv().await {
            bell.ring(Ring::Of(host.clone(), Arc::new(event)));
        }
    };
    let ask = async {
        let mut again = tokio::time::interval(ALIVE_EVERY);
        loop {
            again.tick().await;
            // A connection that broke without a word tells nothing for ever.
            if !matches!(timeout(ALIVE, engine.container(NOBODY)).await, Ok(Ok(_))) {
                return;
            }
            if !is_there.swap(true, Ordering::Relaxed) {
                bell.ring(Ring::Again(host.clone()));
                services.poke.monitor();
            }
        }
    };
    tokio::select! {
        end = engine.events(sender) => tracing::debug!(host.id = %host, ?end, "an engine tells no more"),
        () = ring => {}
        () = ask => tracing::debug!(host.id = %host, "an engine does not answer; its list of events is asked for anew"),
    }
    is_there.into_inner()
}

/// Lets servers without a standby be looked at as soon as something became of them: one visit at a time for each.
async fn visit(services: Arc<Services>, bell: Bell) {
    let mut rings = bell.listen();
    let mut visits: HashMap<ServerId, mpsc::Sender<Arc<EngineEvent>>> = HashMap::new();
    loop {
        let (host, event) = match rings.recv().await {
            Ok(Ring::Of(host, event)) => (host, event),
            Ok(Ring::Again(_)) => continue,
            Err(broadcast::error::RecvError::Lagged(_)) => {
                services.poke.monitor();
                continue;
            }
            Err(broadcast::error::RecvError::Closed) => return,
        };
        let Some(server) = event.labels.get(label::SERVER).and_then(|id| ServerId::parse(id))
        else {
            continue;
        };
        visits.retain(|_, visit| !visit.is_closed());
        let event = match visits.get(&server) {
            Some(visit) => match visit.try_send(event) {
                Ok(()) => continue,
                Err(mpsc::error::TrySendError::Closed(event)) => event,
                // It has enough to do, and looks again at the end.
                Err(mpsc::error::TrySendError::Full(_)) => continue,
            },
            None => event,
        };
        let (sender, receiver) = mpsc::channel(KEPT);
        let _ = sender.try_send(event);
        tokio::spawn(starts::visit(services.clone(), host, server.clone(), receiver));
        visits.insert(server, sender);
    }
}
