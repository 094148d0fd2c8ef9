//! One pair: looks at its members, decides, submits. Between a look and the submit nothing is written and no engine is
//! asked; the row is read again, because what follows counts for the row as it is.

use super::eye::{Eye, Look};
use super::follower::{Follower, Of};
use super::looks::{Board, show};
use super::pair::{self, Pair};
use super::request::{self, Tries};
use super::sight::Sight;
use crate::domain::ha::{
    Action, Decision, Pause, ReplicationState, SeenMember, Sql, WaitsFor, decide,
};
use crate::domain::ids::{MemberId, ServerId};
use crate::domain::server::Member;
use crate::operations::context::Services;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::Instant;

/// Follows a pair until its sender is gone.
pub async fn follow(look: Look, board: Arc<Board>, mut pairs: watch::Receiver<Arc<Pair>>) {
    let server = pairs.borrow().row.server_id.clone();
    let mut watcher = Watcher {
        look,
        server,
        eyes: HashMap::new(),
        tries: Tries::default(),
        unfollowed: None,
        follower: Follower::default(),
        is_stalled: false,
        since: None,
    };
    loop {
        let pair = pairs.borrow_and_update().clone();
        watcher.keep_eyes(&pair);
        let decision = watcher.step(&pair).await;
        watcher.show(&board, &pair, &decision);
        tokio::select! {
            () = watcher.look.moved.notified() => {}
            () = tokio::time::sleep(watcher.look.pace.look_every) => {}
            changed = pairs.changed() => if changed.is_err() { return },
        }
    }
}

struct Watcher {
    look: Look,
    server: ServerId,
    eyes: HashMap<MemberId, (Member, Eye)>,
    tries: Tries,
    /// The epoch and the standby that the primary answers without, and since when.
    unfollowed: Option<(Of, Instant)>,
    /// What the standby confirms.
    follower: Follower,
    is_stalled: bool,
    /// The last action and when it was decided first, microseconds UTC.
    since: Option<(Action, i64)>,
}

impl Watcher {
    fn services(&self) -> &Services {
        &self.look.services
    }

    /// An eye for each member that the row names. A new container of a member is another thing to look at.
    fn keep_eyes(&mut self, pair: &Pair) {
        let named: Vec<&Member> = [pair.primary(), pair.standby()].into_iter().flatten().collect();
        self.eyes.retain(|id, (member, _)| {
            named.iter().any(|one| {
                one.id == *id
                    && one.host_id == member.host_id
                    && one.container() == member.container()
            })
        });
        for member in named {
            self.eyes
                .entry(member.id.clone())
                .or_insert_with(|| (member.clone(), Eye::open(&self.look, member)));
        }
    }

    fn sights(&self) -> HashMap<MemberId, Sight> {
        self.eyes.iter().map(|(id, (_, eye))| (id.clone(), eye.sight())).collect()
    }

    /// Since when the primary answers and its log is not read by the standby of this row, or read and not confirmed.
    fn note_follower(&mut self, pair: &Pair, sights: &HashMap<MemberId, Sight>, at: Instant) {
        let primary = pair.primary().and_then(|member| sights.get(&member.id));
        let primary = primary.map(|sight| sight.seen(at)).unwrap_or_default();
        let pair_now = (pair.row.epoch, pair.row.standby.clone());
        let confirmed = pair.sender(&primary).and_then(|sender| sender.flushed);
        let stalled = self.follower.note(pair_now.clone(), primary.written, confirmed, at);
        self.is_stalled = stalled.is_some();
        let is_followed = pair.is_followed(&primary) && !self.is_stalled;
        // Before commits wait for it there is nothing to count: a standby that was just made has never followed.
        let waits = matches!(pair.row.waits_for(), WaitsFor::Standby(_));
        self.unfollowed = match self.unfollowed.take() {
            _ if is_followed || !waits || primary.sql != Sql::Answers => None,
            Some((of, since)) if of == pair_now => Some((of, since)),
            _ => Some((pair_now, stalled.unwrap_or(at))),
        };
    }

    async fn step(&mut self, pair: &Pair) -> Decision {
        // The row is read after the look: a change of it that explains what was seen is never missed.
        let (sights, at) = (self.sights(), Instant::now());
        self.note_follower(pair, &sights, at);
        let decision = self.decide(pair, &sights, at);
        let Some(kind) = request::kind(decision.action) else { return decision };
        if !self.tries.may_try(kind, Instant::now()) {
            return decision;
        }
        // The pair that was handed over may be a second old: what is submitted follows from the row as it is now.
        let fresh = pair::one(&self.services().store, &self.server, self.services().clock.now());
        let fresh = match fresh.await {
            Ok(Some(fresh)) => fresh,
            Ok(None) => return decision,
            Err(error) => return self.no_store(decision, &error),
        };
        let decision = self.decide(&fresh, &sights, at);
        let Some(kind) = request::kind(decision.action) else { return decision };
        let seen_at = self.first_sign(&fresh, decision.action);
        self.tries.tried(kind, Instant::now());
        match request::submit(self.services(), &self.server, kind, &decision.reason, seen_at).await
        {
            Ok(None) => decision,
            Ok(Some(why)) => Decision { reason: format!("{} {why}", decision.reason), ..decision },
            Err(error) => self.no_store(decision, &error),
        }
    }

    /// Without the store nothing is decided: the members go on as they are.
    fn no_store(&self, decision: Decision, error: &crate::store::StoreError) -> Decision {
        tracing::warn!(server.id = %self.server, %error, action = ?decision.action, "nothing was submitted: the store does not answer");
        decision
    }

    fn decide(&self, pair: &Pair, sights: &HashMap<MemberId, Sight>, at: Instant) -> Decision {
        let of = (pair.row.epoch, pair.row.standby.clone());
        let unfollowed = self.unfollowed.as_ref().filter(|(pair, _)| *pair == of);
        let unfollowed = unfollowed.map(|(_, since)| at.saturating_duration_since(*since));
        let now = self.services().clock.now();
        let mut seen = pair.seen(sights, unfollowed, at, now);
        // One that confirms nothing does not stream, whatever the primary says of the link.
        if self.is_stalled && unfollowed.is_some() {
            seen.primary.senders.retain(|sender| !pair.is_its(sender));
        }
        let decision = decide(&pair.row, &seen, now);
        // Its engine's word is no silence, and a promotion that was begun only goes forward.
        if decision.action != Action::Failover
            || seen.primary.is_gone()
            || pair.row.state == ReplicationState::Promoting
        {
            return decision;
        }
        let is_witnessed = seen.standby.as_ref().is_some_and(SeenMember::has_lost_its_primary);
        match self.look.horizon.blindness(Instant::now(), is_witnessed) {
            None => decision,
            Some(why) => Decision {
                action: Action::Wait(Pause::Unsure),
                reason: format!("The primary does not answer. Nothing is done yet: {why}."),
            },
        }
    }

    /// When the first sign of it was seen, by the clock that the store keeps times in.
    fn first_sign(&self, pair: &Pair, action: Action) -> chrono::DateTime<chrono::Utc> {
        let member = match action {
            Action::Disarm | Action::BuildStandby => pair.standby(),
            _ => pair.primary(),
        };
        let sight = member.and_then(|member| self.eyes.get(&member.id)).map(|(_, eye)| eye.sight());
        let ago = sight.map(|sight| sight.since().elapsed()).unwrap_or_default();
        self.services().clock.now() - chrono::Duration::from_std(ago).unwrap_or_default()
    }

    fn show(&mut self, board: &Board, pair: &Pair, decision: &Decision) {
        let now = self.services().clock.now();
        let since = match self.since {
            Some((action, since)) if action == decision.action => since,
            _ => now.timestamp_micros(),
        };
        if self.since.is_none_or(|(action, _)| action != decision.action) {
            tracing::info!(server.id = %self.server, state = pair.row.state.key(), action = ?decision.action, reason = %decision.reason, "a pair is decided upon");
        }
        self.since = Some((decision.action, since));
        board.put(&self.server, show(pair, &self.sights(), decision, since, now));
    }
}
