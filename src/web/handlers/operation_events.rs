//! `GET /operations/{id}/events`: the live part of an operation's page as server-sent events.
//!
//! An event `message` carries the part as HTML, whenever something changed and at least once a second
//! while it goes on; `done` ends the stream. Progress of this process wakes the stream at once; that of
//! other processes is seen by looking at the store. A stream ends after a while: the browser comes again,
//! and with that its session is checked again.

use crate::domain::ids::{OperationId, UserId};
use crate::store::assignments::Thing;
use crate::store::scope::Viewer;
use crate::web::error::{PageError, PageResult};
use crate::web::handlers::operations::facts::{self, Usual};
use crate::web::handlers::operations::show::{OperationPage, frame};
use crate::web::page::Layout;
use crate::web::paths;
use crate::web::session::SessionFacts;
use crate::web::state::AppState;
use crate::web::visit::{Reader, Signed};
use actix_web::HttpResponse;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::{self, Bytes};
use askama::Template;
use futures_util::stream;
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Streams of one person at the same time in one process. A browser opens six connections to a host
/// at most; these must leave some for pages. A page beyond them polls.
const STREAMS_PER_USER: usize = 4;
/// A stream ends after this long; the browser opens the next one.
const LIFE: Duration = Duration::from_secs(600);
/// At least this often the store is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// News that come closer together than this are one event.
const CALM: Duration = Duration::from_millis(100);
/// This often a stream says that it is alive, and looks whether its person is still signed in.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// What the browser waits before it comes again, in milliseconds.
const COME_AGAIN: &str = "retry: 2000\n\n";

/// `GET /operations/{id}/events`
pub async fn get(who: Signed<Reader>, id: web::Path<String>) -> PageResult {
    let operation = facts::find(&who.state.store, &id, &who.viewer()?).await?;
    let slot = Slot::take(&who.user.id).ok_or_else(|| PageError::TooMany {
        text: "Too many pages of yours follow operations at the same time.".into(),
        retry_seconds: 3,
    })?;
    let feed = Feed {
        usual: facts::usual(&who.state.store, &operation).await?,
        id: operation.id,
        frame: frame(&who),
        session: who.session.clone(),
        progress: who.state.poke.watch_progress(),
        state: who.state.clone(),
        born: Instant::now(),
        checked: Instant::now(),
        last: String::new(),
        phase: Phase::First,
        _slot: slot,
    };
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream; charset=utf-8")
        .insert_header((CACHE_CONTROL, "no-store"))
        // Proxies that would collect the events before they hand them on.
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(stream::unfold(feed, Feed::next)))
}

enum Phase {
    First,
    Watching,
    /// The last part was sent; the word that it is over follows.
    Settled,
    Over,
}

struct Feed {
    state: web::Data<AppState>,
    id: OperationId,
    frame: Layout,
    session: SessionFacts,
    usual: Usual,
    progress: watch::Receiver<u64>,
    born: Instant,
    /// When the session was looked at last.
    checked: Instant,
    last: String,
    phase: Phase,
    _slot: Slot,
}

impl Feed {
    /// The next piece of the stream; `None` ends it.
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        let text = match self.phase {
            Phase::Over => return None,
            Phase::Settled => {
                self.phase = Phase::Over;
                event("done", "settled")
            }
            Phase::First => {
                self.phase = Phase::Watching;
                format!("{COME_AGAIN}{}", self.look().await?.unwrap_or_default())
            }
            Phase::Watching => self.wait_for_news().await?,
        };
        Some((Ok(Bytes::from(text)), self))
    }

    async fn wait_for_news(&mut self) -> Option<String> {
        while self.born.elapsed() < LIFE {
            if tokio::time::timeout(LOOK_EVERY, self.progress.changed()).await.is_ok() {
                tokio::time::sleep(CALM).await;
                self.progress.mark_unchanged();
            }
            if self.checked.elapsed() >= HEARTBEAT {
                self.checked = Instant::now();
                if !self.is_signed_in().await {
                    self.phase = Phase::Over;
                    return Some(event("done", &paths::sign_in_then(&paths::operation(&self.id))));
                }
                return Some(": alive\n\n".into());
            }
            if let Some(news) = self.look().await? {
                return Some(news);
            }
        }
        None
    }

    /// Draws the part as it is now; `Some(None)` when it is as before. `None`, so the end of the stream, when
    /// it cannot be drawn: the browser comes again and then gets the error as a page.
    async fn look(&mut self) -> Option<Option<String>> {
        match self.draw().await {
            Ok((html, _)) if html == self.last => Some(None),
            Ok((html, is_settled)) => {
                if is_settled {
                    self.phase = Phase::Settled;
                }
                let text = event("message", &html);
                self.last = html;
                Some(Some(text))
            }
            Err(error) => {
                tracing::warn!(operation.id = %self.id, %error, "a live page could not be drawn");
                None
            }
        }
    }

    /// The part as its person may see it now: a role that was taken ends the stream, a lower one closes
    /// the controls.
    async fn draw(&mut self) -> Result<(String, bool), PageError> {
        let store = &self.state.store;
        let person = &self.session.user_id;
        let role = store.role_on(person, Thing::Operation(&self.id)).await?;
        self.frame.may_change = role.ok_or(PageError::NotFound)?.may_change_servers();
        let viewer = Viewer::Person(person.clone());
        let operation = facts::find(store, self.id.as_str(), &viewer).await?;
        let is_settled = operation.status.is_settled();
        let facts = facts::load(store, operation, self.usual.clone()).await?;
        let page = OperationPage::new(self.frame.clone(), &facts, self.state.now());
        Ok((page.as_live().render()?, is_settled))
    }

    async fn is_signed_in(&self) -> bool {
        let now = self.state.now();
        let sessions = self.state.store.sessions_of(&self.session.user_id, now).await;
        sessions.is_ok_and(|all| all.iter().any(|session| session.id == self.session.id))
    }
}

/// One event. Every line of the data gets its own field, whatever ends it.
fn event(name: &str, data: &str) -> String {
    let mut text = format!("event: {name}\n");
    for line in data.split(['\n', '\r']) {
        text.push_str("data: ");
        text.push_str(line);
        text.push('\n');
    }
    text.push('\n');
    text
}

static STREAMS: Mutex<Option<HashMap<UserId, usize>>> = Mutex::new(None);

/// One stream counted to its person, as long as it lives.
struct Slot(UserId);

impl Slot {
    fn take(user: &UserId) -> Option<Self> {
        let mut streams = STREAMS.lock().unwrap_or_else(PoisonError::into_inner);
        let count = streams.get_or_insert_default().entry(user.clone()).or_insert(0);
        if *count >= STREAMS_PER_USER {
            return None;
        }
        *count += 1;
        Some(Self(user.clone()))
    }
}

/// How many streams a person has open: tests wait for them instead of for a time.
#[cfg(feature = "test-util")]
pub fn open_streams(user: &UserId) -> usize {
    let streams = STREAMS.lock().unwrap_or_else(PoisonError::into_inner);
    streams.as_ref().and_then(|streams| streams.get(user).copied()).unwrap_or(0)
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut streams = STREAMS.lock().unwrap_or_else(PoisonError::into_inner);
        let streams = streams.get_or_insert_default();
        if let Some(count) = streams.get_mut(&self.0) {
            *count -= 1;
            if *count == 0 {
                streams.remove(&self.0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::new_id;

    #[test]
    fn an_event_keeps_its_lines_together() {
        assert_eq!(event("message", "a\nb\rc"), "event: message\ndata: a\ndata: b\ndata: c\n\n");
    }

    #[test]
    fn streams_are_counted_by_person_and_given_back() {
        let (ada, bob) = (new_id(UserId::parse), new_id(UserId::parse));
        let held: Vec<_> = (0..STREAMS_PER_USER).map(|_| Slot::take(&ada).unwrap()).collect();
        assert!(Slot::take(&ada).is_none() && Slot::take(&bob).is_some());
        drop(held);
        assert!(Slot::take(&ada).is_some());
    }
}
