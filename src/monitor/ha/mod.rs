//! The watch over pairs: the eyes of high availability.
//!
//! A loop of its own, apart from the other looks, which may be slow. Once a second it reads the pairs on record and keeps a
//! watcher for each whose server is Ready. A watcher looks at both members twice a second, [`crate::domain::ha::decide`] says
//! what follows from the row and what was seen, and the watcher submits it. It changes nothing itself but [`fence`], which says why.
//!
//! - [`sight`]: what one member looks like. Three looks without an answer are a silence; that its container ended is its
//!   engine's word and counts at once. An engine that does not answer decides nothing.
//! - [`eye`]: the looks. PostgreSQL and engine are asked side by side, never one after the other.
//! - [`follower`]: whether the standby confirms what the primary writes.
//! - [`watcher`] and [`request`]: decision and submit. [`horizon`]: when a silence is not trusted.
//! - [`looks`]: what pages get.
//!
//! Several processes may watch: see [`request`].

pub mod eye;
pub mod fence;
pub mod follower;
pub mod horizon;
pub mod looks;
pub mod pair;
pub mod request;
pub mod sight;
pub mod watcher;

use super::events::Bell;
use crate::domain::ids::ServerId;
use crate::operations::context::Services;
use crate::operations::runner::chain;
use crate::store::StoreError;
use eye::Look;
use horizon::Horizon;
use looks::Board;
use pair::Pair;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How often is looked, and when a silence is trusted.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Time between two looks at a member's PostgreSQL.
    pub look_every: Duration,
    /// Time between two questions to an engine while nothing asks for one.
    pub engine_every: Duration,
    /// Time between two reads of the pairs on record.
    pub follow_every: Duration,
    /// Time between two writes of numbers for pages.
    pub show_every: Duration,
    /// Time after the start in which a silence alone proves nothing.
    pub settle: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            look_every: Duration::from_millis(500),
            engine_every: Duration::from_secs(10),
            follow_every: Duration::from_secs(1),
            show_every: Duration::from_secs(5),
            settle: Duration::from_secs(15),
        }
    }
}

/// Runs until `stop` is set.
pub async fn run(services: Arc<Services>, bell: Bell, pace: Pace, mut stop: watch::Receiver<bool>) {
    let horizon = Arc::new(Horizon::new(pace.settle));
    let mut watch = Supervisor {
        look: Look { services, horizon, bell, pace, moved: Arc::new(Notify::new()) },
        board: Arc::default(),
        watchers: HashMap::new(),
        shown_at: Instant::now(),
    };
    let mut again = tokio::time::interval(pace.follow_every);
    again.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !*stop.borrow() {
        tokio::select! {
            _ = again.tick() => {}
            _ = stop.changed() => return,
        }
        if let Err(error) = watch.tick().await {
            // The watchers go on with what they have; without the store they can submit nothing either.
            tracing::warn!(error = %chain(&error), "the pairs on record were not read");
        }
    }
}

/// The tasks of one pair. They end with it.
struct Watched {
    pair: watch::Sender<Arc<Pair>>,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

struct Supervisor {
    look: Look,
    board: Arc<Board>,
    watchers: HashMap<ServerId, Watched>,
    shown_at: Instant,
}

impl Supervisor {
    async fn tick(&mut self) -> Result<(), StoreError> {
        let services = &self.look.services;
        let pairs = pair::all(&services.store, services.clock.now()).await?;
        self.watchers.retain(|server, _| {
            let stays = pairs.contains_key(server);
            if !stays {
                self.board.forget(server);
            }
            stays
        });
        for (server, pair) in pairs {
            self.hand_over(server, pair);
        }
        let all = self.shown_at.elapsed() >= self.look.pace.show_every;
        if all {
            self.shown_at = Instant::now();
        }
        self.board.write(&self.look.services, all).await
    }

    fn hand_over(&mut self, server: ServerId, pair: Pair) {
        // A task that ended did so by a panic: another one takes its place.
        let lives =
            self.watchers.get(&server).filter(|it| !it.tasks.iter().any(JoinHandle::is_finished));
        if let Some(watched) = lives {
            watched.pair.send_if_modified(|before| {
                let is_news = **before != pair;
                if is_news {
                    *before = Arc::new(pair);
                }
                is_news
            });
            return;
        }
        let (sender, receiver) = watch::channel(Arc::new(pair));
        let look = Look { moved: Arc::new(Notify::new()), ..self.look.clone() };
        let tasks = [
            tokio::spawn(fence::follow(look.clone(), receiver.clone())),
            tokio::spawn(watcher::follow(look, self.board.clone(), receiver)),
        ];
        self.watchers.insert(server, Watched { pair: sender, tasks });
    }
}
