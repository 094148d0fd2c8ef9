//! What pages read of a pair. Looks come twice a second for each pair; the store gets one transaction for all pairs together,
//! at once when something is otherwise than before, and every few seconds for the numbers.

use super::pair::Pair;
use super::sight::Sight;
use crate::domain::ha::{Action, Decision, HaLook, HighAvailability, LookMember, OBSERVATION, Sql};
use crate::domain::ids::{MemberId, ServerId};
use crate::domain::server::Member;
use crate::operations::context::Services;
use crate::store::StoreError;
use chrono::{DateTime, Utc};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use tokio::time::Instant;

/// The newest look at each pair.
#[derive(Debug, Default)]
pub struct Board(Mutex<HashMap<ServerId, Entry>>);

#[derive(Debug)]
struct Entry {
    look: HaLook,
    is_news: bool,
    is_written: bool,
}

impl Board {
    pub fn put(&self, server: &ServerId, look: HaLook) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = entries.get(server);
        let is_news = before.is_none_or(|entry| entry.is_news || differs(&entry.look, &look));
        entries.insert(server.clone(), Entry { look, is_news, is_written: false });
    }

    pub fn forget(&self, server: &ServerId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(server);
    }

    /// Takes what is to be written: the news, or with `all` every look that came since.
    fn take(&self, all: bool) -> Vec<(ServerId, HaLook)> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = entries.iter_mut().filter(|(_, it)| it.is_news || (all && !it.is_written));
        due.map(|(server, entry)| {
            (entry.is_news, entry.is_written) = (false, true);
            (server.clone(), entry.look.clone())
        })
        .collect()
    }

    /// Writes what is due.
    ///
    /// # Errors
    /// When the store does not answer: the next looks are written later.
    pub async fn write(&self, services: &Services, all: bool) -> Result<(), StoreError> {
        let due = self.take(all);
        services.store.observe_servers(services.clock.now(), OBSERVATION, &due).await
    }
}

/// Sentences hold times and numbers, and lags move always: they are no news.
fn differs(before: &HaLook, now: &HaLook) -> bool {
    let still = |look: &HaLook| HaLook {
        reason: String::new(),
        lag_bytes: None,
        lag_seconds: None,
        ..look.clone()
    };
    still(before) != still(now)
}

/// The look at a pair, for its page.
pub fn show(
    pair: &Pair,
    sights: &HashMap<MemberId, Sight>,
    decision: &Decision,
    since_micros: i64,
    now: DateTime<Utc>,
) -> HaLook {
    let at = Instant::now();
    let sight = |member: Option<&Member>| member.and_then(|member| sights.get(&member.id));
    let (primary, standby) = (sight(pair.primary()), sight(pair.standby()));
    let seen = |sight: Option<&Sight>| sight.map(|sight| sight.seen(at)).unwrap_or_default();
    let (p, s) = (seen(primary), seen(standby));
    let name = pair.row.standby.as_ref().map(HighAvailability::standby_name);
    let sender = p.senders.iter().find(|sender| Some(&sender.name) == name.as_ref());
    let age = s.replayed.and_then(|place| primary?.age_behind(place, at));
    HaLook {
        epoch: pair.row.epoch,
        action: action_name(decision.action).into(),
        reason: decision.reason.clone(),
        since_micros,
        primary: look_member(pair.row.primary.as_ref(), primary, at, now),
        standby: pair.row.standby.as_ref().map(|id| look_member(Some(id), standby, at, now)),
        lag_bytes: p.written.zip(s.written).map(|(end, flushed)| end.since(flushed)),
        lag_seconds: age.map(|age| age.as_secs_f64()),
        sync_state: sender.map(|sender| sender.sync_state.clone()).unwrap_or_default(),
    }
}

/// Why it waits stands in the sentence.
fn action_name(action: Action) -> &'static str {
    match action {
        Action::Nothing => "Nothing",
        Action::Wait(_) => "Wait",
        Action::Failover => "Failover",
        Action::RecoverPrimary => "RecoverPrimary",
        Action::Disarm => "Disarm",
        Action::BuildStandby => "BuildStandby",
        Action::Blocked => "Blocked",
    }
}

fn look_member(
    id: Option<&MemberId>,
    sight: Option<&Sight>,
    at: Instant,
    now: DateTime<Utc>,
) -> LookMember {
    let answers = sight.and_then(|sight| match sight.sql() {
        Sql::Unknown => None,
        Sql::Answers => Some(true),
        Sql::Silent => Some(false),
    });
    let since = sight.filter(|_| answers.is_some()).map(|sight| {
        let ago = at.saturating_duration_since(sight.since());
        // Cut to seconds: the difference of two clocks is another one at each look.
        let since = now - chrono::Duration::from_std(ago).unwrap_or_default();
        since.timestamp() * 1_000_000
    });
    LookMember {
        member: id.map(ToString::to_string).unwrap_or_default(),
        answers,
        answers_since_micros: since,
        container: sight.map(|sight| sight.container().to_owned()).unwrap_or_default(),
    }
}
