//! One pair as the store has it, and what was seen of it, in the shape that the decision takes.

use super::sight::Sight;
use crate::domain::ha::{Failed, HighAvailability, MemberRole, Seen, SeenMember, SeenSender};
use crate::domain::ids::{MemberId, ServerId};
use crate::domain::operation::{Lane, OperationKind};
use crate::domain::server::{Member, SettledState};
use crate::store::ha_watch::{Ended, FailoverCount};
use crate::store::{Store, StoreError};
use chrono::{DateTime, Utc};
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// Reads of one row until nobody changed it in between.
const READS_MAX: u32 = 5;

/// A pair on record.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    pub row: HighAvailability,
    /// Every member of the server.
    pub members: Vec<Member>,
    /// What is under way, of every lane.
    pub active: Vec<OperationKind>,
    pub failovers: FailoverCount,
    /// Whether the way in is held.
    pub is_held: bool,
    /// Operations of its lanes that ended lately, newest first.
    pub ended: Vec<Ended>,
}

/// Every pair whose server is Ready.
///
/// # Errors
/// When the store does not answer.
pub async fn all(store: &Store, now: DateTime<Utc>) -> Result<HashMap<ServerId, Pair>, StoreError> {
    // The row before what is under way: an operation is active before it changes the row.
    let rows = store.ha_all().await?;
    if rows.is_empty() {
        return Ok(HashMap::new());
    }
    let mut active = store.active_kinds_all().await?;
    let failovers = store.failover_counts(now).await?;
    let mut ended = store.pair_operations_ended(now).await?;
    let held = store.held_servers().await?;
    let mut members: HashMap<ServerId, Vec<Member>> = HashMap::new();
    for (member, _, settled) in store.members_all().await? {
        if settled == SettledState::Ready {
            members.entry(member.server_id.clone()).or_default().push(member);
        }
    }
    let pairs = rows.into_iter().filter_map(|row| {
        let id = row.server_id.clone();
        let pair = Pair {
            row,
            members: members.remove(&id)?,
            active: active.remove(id.as_str()).unwrap_or_default(),
            failovers: failovers.get(id.as_str()).copied().unwrap_or_default(),
            is_held: held.contains(id.as_str()),
            ended: ended.remove(id.as_str()).unwrap_or_default(),
        };
        Some((id, pair))
    });
    Ok(pairs.collect())
}

/// One pair as it is at this moment: row and operations belong together. `None` when the server has no pair any
/// more or is not Ready.
///
/// # Errors
/// When the store does not answer.
pub async fn one(
    store: &Store,
    server: &ServerId,
    now: DateTime<Utc>,
) -> Result<Option<Pair>, StoreError> {
    for _ in 0..READS_MAX {
        let Some(row) = store.ha(server).await? else { return Ok(None) };
        let active = store.active_kinds_of(server).await?;
        let failovers = store.failover_counts(now).await?;
        let failovers = failovers.get(server.as_str()).copied().unwrap_or_default();
        let mut ended = store.pair_operations_ended(now).await?;
        let ended = ended.remove(server.as_str()).unwrap_or_default();
        let is_held = store.held_servers().await?.contains(server.as_str());
        let members = store.members(server).await?;
        let found = store.server(server).await?;
        if found.is_none_or(|server| server.settled != SettledState::Ready) {
            return Ok(None);
        }
        // An operation that ended in between changed the row before it ended.
        if store.ha(server).await?.as_ref() == Some(&row) {
            return Ok(Some(Pair { row, members, active, failovers, is_held, ended }));
        }
    }
    Ok(None)
}

impl Pair {
    /// The member that is the primary, by the row.
    pub fn primary(&self) -> Option<&Member> {
        self.members.iter().find(|member| Some(&member.id) == self.row.primary.as_ref())
    }

    /// The member that is the standby, by the row.
    pub fn standby(&self) -> Option<&Member> {
        self.members.iter().find(|member| Some(&member.id) == self.row.standby.as_ref())
    }

    /// Members that count for nothing in this epoch.
    pub fn former(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.role == MemberRole::Former)
    }

    /// Whether an operation of a lane is under way.
    pub fn is_busy(&self, lane: Lane) -> bool {
        self.active.iter().any(|kind| kind.lane() == lane)
    }

    /// Whether a reader of the primary's log is the standby of this row.
    pub fn is_its(&self, sender: &SeenSender) -> bool {
        self.row.standby.as_ref().map(HighAvailability::standby_name).as_ref() == Some(&sender.name)
    }

    /// The standby of this row, as the primary saw it.
    pub fn sender<'a>(&self, primary: &'a SeenMember) -> Option<&'a SeenSender> {
        primary.senders.iter().find(|sender| self.is_its(sender))
    }

    /// Whether the primary's log is read by the standby of this row, as the primary saw it.
    pub fn is_followed(&self, primary: &SeenMember) -> bool {
        self.sender(primary).is_some_and(|sender| sender.state == "streaming")
    }

    /// What is decided from. A member without a sight was not looked at yet.
    pub fn seen(
        &self,
        sights: &HashMap<MemberId, Sight>,
        unfollowed_for: Option<Duration>,
        at: Instant,
        now: DateTime<Utc>,
    ) -> Seen {
        let look = |member: Option<&Member>| -> SeenMember {
            let sight = member.and_then(|member| sights.get(&member.id));
            sight.map(|sight| sight.seen(at)).unwrap_or_default()
        };
        let since = |last: DateTime<Utc>| (now - last).to_std().unwrap_or(Duration::ZERO);
        Seen {
            primary: look(self.primary()),
            standby: self.row.standby.is_some().then(|| look(self.standby())),
            unfollowed_for,
            is_held: self.is_held,
            build_failed: failed(&self.ended, Lane::Standby, now),
            rescue_failed: failed(&self.ended, Lane::Rescue, now),
            change: self.active.iter().copied().find(|kind| kind.lane() == Lane::Change),
            is_building: self.active.contains(&OperationKind::BuildStandby),
            is_rescuing: self.is_busy(Lane::Rescue),
            since_failover: self.failovers.last.map(since),
            failovers_within_hour: self.failovers.within_hour,
        }
    }
}

/// The operations of a lane that ended badly since the last one that did not.
fn failed(ended: &[Ended], lane: Lane, now: DateTime<Utc>) -> Option<Failed> {
    let mut of_lane =
        ended.iter().filter(|it| it.kind.lane() == lane).take_while(|it| !it.succeeded);
    let last = of_lane.next()?;
    Some(Failed {
        ago: (now - last.at).to_std().unwrap_or_default(),
        in_a_row: 1 + u32::try_from(of_lane.count()).unwrap_or(u32::MAX - 1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_back_to_the_last_success_of_the_lane() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        let ended = |kind, succeeded, seconds| Ended { kind, succeeded, at: at(seconds) };
        let story = [
            ended(OperationKind::Disarm, false, 90),
            ended(OperationKind::BuildStandby, true, 80),
            ended(OperationKind::RecoverPrimary, false, 70),
            ended(OperationKind::Disarm, true, 60),
            ended(OperationKind::Failover, false, 50),
        ];
        let rescue = failed(&story, Lane::Rescue, at(100));
        assert_eq!(rescue, Some(Failed { ago: Duration::from_secs(10), in_a_row: 2 }));
        assert_eq!(failed(&story, Lane::Standby, at(100)), None);
    }
}
