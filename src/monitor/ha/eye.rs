//! Looks at one member: its PostgreSQL over a session that stays open, its container when there is a reason. The
//! two do not wait for one another: an engine that hangs delays no look at PostgreSQL, and the other way round.

use super::Pace;
use super::horizon::Horizon;
use super::sight::Sight;
use crate::domain::server::Member;
use crate::engine::{Engine, EventKind};
use crate::monitor::events::{Bell, Ring};
use crate::operations::access;
use crate::operations::context::Services;
use crate::postgres::replication::{Standing, Watch};
use crate::postgres::{PostgresError, Target};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

/// A look, and what it takes to open a session for it where there is none.
const LOOK: Duration = Duration::from_secs(1);
/// A question to an engine.
const ENGINE: Duration = Duration::from_secs(2);
/// Looks of which one writes.
const WRITE_EVERY: u32 = 2;

/// What looks at a member need.
#[derive(Clone)]
pub struct Look {
    pub services: Arc<Services>,
    pub horizon: Arc<Horizon>,
    pub bell: Bell,
    pub pace: Pace,
    /// Told whenever something was seen.
    pub moved: Arc<Notify>,
}

/// Looks at a member for as long as it is kept.
pub struct Eye {
    sight: Arc<Mutex<Sight>>,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Eye {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Eye {
    /// Begins to look.
    pub fn open(look: &Look, member: &Member) -> Self {
        let sight = Arc::new(Mutex::new(Sight::new(Instant::now())));
        let work = Arc::new(Work {
            look: look.clone(),
            member: member.clone(),
            sight: sight.clone(),
            ask_engine: Notify::new(),
            ask_postgres: Notify::new(),
        });
        let postgres = tokio::spawn(follow_postgres(work.clone()));
        let engine = tokio::spawn(follow_engine(work));
        Self { sight, tasks: [postgres, engine] }
    }

    /// What was seen until now.
    pub fn sight(&self) -> Sight {
        lock(&self.sight).clone()
    }
}

fn lock(sight: &Mutex<Sight>) -> MutexGuard<'_, Sight> {
    sight.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Work {
    look: Look,
    member: Member,
    sight: Arc<Mutex<Sight>>,
    ask_engine: Notify,
    ask_postgres: Notify,
}

impl Work {
    fn engine(&self) -> Option<Arc<dyn Engine>> {
        self.look.services.engines.get(&self.member.host_id)
    }

    fn see(&self, change: impl FnOnce(&mut Sight)) {
        change(&mut lock(&self.sight));
        self.look.moved.notify_one();
    }
}

/// A session, and where it leads.
#[derive(Default)]
struct Session {
    open: Option<Box<dyn Watch>>,
    /// Where the member was last reached: kept for the time when its engine does not say.
    address: Option<SocketAddr>,
}

async fn follow_postgres(work: Arc<Work>) {
    let mut session = Session::default();
    let mut looks: u32 = 0;
    loop {
        let (begun, was_open) = (Instant::now(), session.open.is_some());
        let writes = looks.is_multiple_of(WRITE_EVERY);
        let answer = timeout(LOOK, look(&work, &mut session, writes)).await;
        let answer = answer.unwrap_or_else(|_| Err(PostgresError::Silent("no answer".into())));
        let is_well = answer.is_ok();
        match answer {
            Ok(standing) => {
                // A disk that hangs lets reads pass: a look that was missed is not made good by a lesser one.
                looks = looks.wrapping_add(1);
                work.see(|sight| sight.answered(standing, Instant::now()));
            }
            Err(error) => {
                tracing::debug!(member.id = %work.member.id, %error, "a look at a member was missed");
                session.open = None;
                match error {
                    PostgresError::Silent(_) => work.see(|sight| sight.missed(begun)),
                    PostgresError::Refused(_) => work.see(|sight| sight.refused(begun)),
                }
                work.ask_engine.notify_one();
            }
        }
        // The session may have ended alone: another one is tried at once.
        if !is_well && was_open {
            continue;
        }
        tokio::select! {
            () = tokio::time::sleep_until(begun + work.look.pace.look_every) => {}
            () = work.ask_postgres.notified() => {}
        }
    }
}

async fn look(work: &Work, session: &mut Session, writes: bool) -> Result<Standing, PostgresError> {
    if session.open.is_none() {
        let target = target(work, session).await?;
        session.open = Some(work.look.services.postgres.watch(&target).await?);
    }
    let Some(open) = &mut session.open else {
        return Err(PostgresError::Silent("no session".into()));
    };
    if writes { open.look_writing().await } else { open.look().await }
}

/// Asked anew for every session: a container that was started again may be elsewhere, and certificates are renewed.
async fn target(work: &Work, session: &mut Session) -> Result<Target, PostgresError> {
    let silent = |why: String| PostgresError::Silent(why);
    let services = &work.look.services;
    if let Some(published) = access::published_address(services, &work.member) {
        session.address = Some(published);
    } else if let Some(engine) = work.engine()
        && let Ok(Ok(found)) = timeout(LOOK / 2, access::address_of(&engine, &work.member)).await
    {
        session.address = found;
    }
    let address = session.address.ok_or_else(|| silent("it has no address".into()))?;
    let server = services.store.server(&work.member.server_id).await;
    let server = server.map_err(|error| silent(error.to_string()))?;
    let server = server.ok_or_else(|| silent("the server is not on record".into()))?;
    let target = access::target(services, &server, address).await;
    target.map_err(|error| silent(error.to_string()))
}

/// Asks the engine when it tells of the container, when PostgreSQL is silent, and now and then.
async fn follow_engine(work: Arc<Work>) {
    let mut rings = work.look.bell.listen();
    let name = work.member.container();
    loop {
        ask(&work, &name).await;
        let again = tokio::time::sleep(work.look.pace.engine_every);
        tokio::pin!(again);
        loop {
            tokio::select! {
                () = &mut again => break,
                () = work.ask_engine.notified() => break,
                ring = rings.recv() => match ring {
                    Ok(ring) if !is_ours(&ring, &work.member, &name) => {}
                    Ok(Ring::Of(_, event)) if event.what == EventKind::Started => {
                        work.ask_postgres.notify_one();
                        break;
                    }
                    Ok(_) | Err(RecvError::Lagged(_)) => break,
                    // Nobody rings any more: the process ends.
                    Err(RecvError::Closed) => return,
                },
            }
        }
    }
}

fn is_ours(ring: &Ring, member: &Member, name: &str) -> bool {
    match ring {
        Ring::Of(host, event) => *host == member.host_id && event.container == name,
        Ring::Again(host) => *host == member.host_id,
    }
}

async fn ask(work: &Work, name: &str) {
    let Some(engine) = work.engine() else { return };
    let asked_at = Instant::now();
    let answer = timeout(ENGINE, engine.container(name)).await;
    let (host, zone) = (&work.member.host_id, &work.member.zone);
    match answer {
        Ok(Ok(container)) => {
            work.look.horizon.answers(host, zone, true);
            let state = container.as_ref().map(|facts| facts.state.as_str());
            work.see(|sight| sight.engine_said(asked_at, state));
        }
        Ok(Err(error)) => {
            tracing::debug!(member.id = %work.member.id, %error, "an engine did not tell of a container");
            work.look.horizon.answers(host, zone, false);
            work.see(Sight::engine_silent);
        }
        Err(_) => {
            work.look.horizon.answers(host, zone, false);
            work.see(Sight::engine_silent);
        }
    }
}
