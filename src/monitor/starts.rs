//! A server without a standby, from the moment on when something became of its container: its address is followed, its
//! absence is repaired, its failed starts are counted.
//!
//! Its engine starts it again after a crash. One that never comes to answer is not started for ever: after a few failures the
//! engine is told to leave it (Z3). That is done here and not by an operation, for the reasons that [`super::credits`] gives: it
//! follows from a count by a rule, on a server on which nothing is under way, and is taken back when the server answers again.

use super::observe::{self, Look};
use crate::domain::activity::{ActivityOutcome, Actor, NewActivity};
use crate::domain::drift::{GONE_AFTER, SURE_AFTER};
use crate::domain::ha::MemberRole;
use crate::domain::ids::{HostId, ServerId};
use crate::domain::server::Member;
use crate::domain::starts::{FAILED_MAX, FAILED_WITHIN, GivenUp, OBSERVATION, Starts};
use crate::engine::{ContainerFacts, Engine, EngineEvent, EventKind};
use crate::operations::context::Services;
use crate::operations::runner::chain;
use crate::store::{Record, StoreError};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Events that belong together come within this time.
const CALM: Duration = Duration::from_millis(50);
/// Looks whether PostgreSQL answers after a start, and how many.
const ASK_EVERY: Duration = Duration::from_millis(250);
const ASKS_MAX: u32 = 240;
/// A little more than the time after which a second look is sure.
const MARGIN: Duration = Duration::from_millis(100);
const STOP: Duration = Duration::from_secs(5);
/// Longest line of a log that is kept.
const LINE_MAX: usize = 300;

/// Looks at a server for as long as something becomes of it.
pub async fn visit(
    services: Arc<Services>,
    host: HostId,
    server: ServerId,
    mut events: mpsc::Receiver<Arc<EngineEvent>>,
) {
    loop {
        tokio::time::sleep(CALM).await;
        let mut heard = vec![];
        while let Ok(event) = events.try_recv() {
            heard.push(event);
        }
        if heard.is_empty() {
            // Whoever comes from now on makes another visit.
            events.close();
            if events.is_empty() {
                return;
            }
            continue;
        }
        if let Err(error) = look(&services, &host, &server, &heard, &events).await {
            tracing::warn!(server.id = %server, error = %chain(&error), "a server was not looked at; the next look does");
        }
    }
}

async fn look(
    services: &Arc<Services>,
    host: &HostId,
    server: &ServerId,
    heard: &[Arc<EngineEvent>],
    more: &mpsc::Receiver<Arc<EngineEvent>>,
) -> Result<(), StoreError> {
    // Of a pair only its watcher knows what follows.
    if services.store.ha(server).await?.is_some() {
        return Ok(());
    }
    let members = services.store.members(server).await?;
    let Some(member) = members.into_iter().find(|member| member.host_id == *host) else {
        return Ok(());
    };
    let name = member.container();
    let own: Vec<_> = heard.iter().filter(|event| event.container == name).collect();
    if own.is_empty() {
        return Ok(());
    }
    let died: Vec<&str> = own
        .iter()
        .filter(|event| event.what == EventKind::Died)
        .map(|event| event.id.as_str())
        .collect();
    count(services, &member, &died).await?;
    let looks = observe::look_at(services, server).await?;
    let Some(seen) = looks.iter().find(|look| look.member.id == member.id) else { return Ok(()) };
    if seen.facts.accepts_queries == Some(false) {
        return wait_for_answer(services, seen, more).await;
    }
    let pause = match seen.facts.container_state.as_str() {
        "running" => return Ok(()),
        "missing" => GONE_AFTER,
        _ => SURE_AFTER,
    };
    // Two looks make a drift.
    tokio::time::sleep(pause.to_std().unwrap_or_default() + MARGIN).await;
    if more.is_empty() {
        observe::look_at(services, server).await?;
    }
    Ok(())
}

/// Nothing is written until it answers: a recovery may take its time.
async fn wait_for_answer(
    services: &Arc<Services>,
    seen: &Look,
    more: &mpsc::Receiver<Arc<EngineEvent>>,
) -> Result<(), StoreError> {
    for _ in 0..ASKS_MAX {
        tokio::time::sleep(ASK_EVERY).await;
        if !more.is_empty() {
            return Ok(());
        }
        if observe::ask(services, &seen.member, &seen.facts).await.0 {
            observe::look_at(services, &seen.member.server_id).await?;
            return Ok(());
        }
    }
    Ok(())
}

/// Counts the ends before an answer. The look before says whether the start that ended now had come to answer.
/// `died`: the engine's ids of what ended. One that somebody removed did not fail to start, and whatever has its name
/// by now is none of it.
async fn count(services: &Arc<Services>, member: &Member, died: &[&str]) -> Result<(), StoreError> {
    let id = &member.server_id;
    let Some(engine) = services.engines.get(&member.host_id) else { return Ok(()) };
    let Ok(Some(facts)) = engine.container(&member.container()).await else { return Ok(()) };
    let is_removed = matches!(facts.state.as_str(), "removing" | "dead");
    let ends = died.iter().filter(|died| **died == facts.id).count();
    if ends == 0 || is_removed || !is_quiet(services, id).await? {
        return Ok(());
    }
    let before = services.store.member_observations(id).await?;
    let answered = before
        .iter()
        .any(|look| look.member_id == member.id && look.facts.accepts_queries == Some(true));
    let failed = ends - usize::from(answered);
    if failed == 0 {
        return Ok(());
    }
    let starts = services.store.server_observation::<Starts>(id, OBSERVATION).await?;
    let now = services.clock.now();
    let before = starts.map(|observed| observed.facts).unwrap_or_default();
    let mut starts = (0..failed).fold(before, |starts, _| starts.failed_at(now));
    if starts.is_loop() {
        starts.given_up = Some(given_up(services, &engine, member).await);
        tell(services, member, &starts).await?;
    }
    services.store.observe_servers(now, OBSERVATION, &[(id.clone(), starts.clone())]).await?;
    if starts.given_up.is_some() && is_quiet(services, id).await? {
        leave(&engine, &facts, id).await;
    }
    Ok(())
}

/// An operation that starts a container sees for itself whether it stays.
async fn is_quiet(services: &Services, server: &ServerId) -> Result<bool, StoreError> {
    Ok(services.store.quiet_servers().await?.contains_key(server.as_str()))
}

async fn given_up(services: &Services, engine: &Arc<dyn Engine>, member: &Member) -> GivenUp {
    let name = member.container();
    let facts = engine.container(&name).await.ok().flatten();
    let lines = engine.tail(&name, 40).await.unwrap_or_default();
    // The line that says why comes before the one that says good-bye.
    let why = lines.iter().rev().find(|line| line.contains("FATAL:") || line.contains("PANIC:"));
    let line = why.or(lines.last()).map(|line| line.chars().take(LINE_MAX).collect());
    GivenUp {
        at: services.clock.now(),
        exit_code: facts.and_then(|facts| facts.exit_code),
        line: line.unwrap_or_default(),
    }
}

/// The engine does not start it again. One that does not answer is told at the next end. By its id and not by its name: a
/// repair that begins at this moment makes another container of the same name, which is not to be stopped.
async fn leave(engine: &Arc<dyn Engine>, looped: &ContainerFacts, server: &ServerId) {
    let left = async {
        engine.set_restart(&looped.id, false).await?;
        engine.stop_container(&looped.id, STOP).await
    };
    if let Err(error) = left.await {
        tracing::warn!(server.id = %server, %error, "a container that does not come up was not stopped");
    }
}

async fn tell(services: &Services, member: &Member, starts: &Starts) -> Result<(), StoreError> {
    let Some(server) = services.store.server(&member.server_id).await? else { return Ok(()) };
    let line = starts.given_up.as_ref().map(|it| it.line.clone()).unwrap_or_default();
    let tx = services.store.begin_write(services.clock.now()).await?;
    tx.commit(Record::activity(NewActivity {
        actor: Actor::system(),
        action: "server.start_given_up",
        subject: server.spec.name.to_string(),
        server_id: Some(server.id),
        operation_id: None,
        outcome: ActivityOutcome::Failed,
        detail: format!(
            "PostgreSQL ended right after its start {FAILED_MAX} times within {} minutes; nobody starts it any more by itself. {line}",
            FAILED_WITHIN.num_minutes()
        ),
    }))
    .await
}

/// What answers again starts with a clean slate, and its engine may start it again.
///
/// # Errors
/// When the store does not answer.
pub async fn answered(
    services: &Arc<Services>,
    quiet: &HashMap<String, i64>,
    looks: &[Look],
) -> Result<(), StoreError> {
    let starts = services.store.server_observations::<Starts>(OBSERVATION).await?;
    let failed: HashMap<&String, &Starts> = starts
        .iter()
        .filter(|(_, observed)| observed.facts != Starts::default())
        .map(|(id, observed)| (id, &observed.facts))
        .collect();
    for look in looks {
        let id = &look.member.server_id;
        let answers = look.facts.accepts_queries == Some(true);
        let Some(starts) = failed.get(&id.to_string()).filter(|_| answers) else { continue };
        let is_single = look.member.role == MemberRole::Primary
            && services.store.ha(id).await?.is_none()
            && quiet.contains_key(id.as_str());
        let engine = services.engines.get(&look.member.host_id).filter(|_| is_single);
        let Some(engine) = engine else { continue };
        if starts.given_up.is_some()
            && let Err(error) = engine.set_restart(&look.member.container(), true).await
        {
            tracing::warn!(server.id = %id, %error, "an engine was not told to start a container again after a crash");
            continue;
        }
        let none = [(id.clone(), Starts::default())];
        services.store.observe_servers(services.clock.now(), OBSERVATION, &none).await?;
    }
    Ok(())
}
