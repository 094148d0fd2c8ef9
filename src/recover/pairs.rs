//! Which member of a pair is the primary now, told by the data themselves: it may be another one than when the backup was made.

use crate::domain::ha::{HighAvailability, ReplicationState};
use crate::domain::ids::MemberId;
use crate::engine::Engine;

/// What was seen of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberLook {
    pub member: MemberId,
    /// Whether its data say that it is a standby; `None` when they could not be read.
    pub is_standby: Option<bool>,
    pub runs: bool,
    /// Timeline of its last checkpoint; 0 when it could not be read.
    pub timeline: i64,
    /// Whether its host answers and has nothing of it, or is lost for good: then it is no primary.
    pub is_gone: bool,
}

impl MemberLook {
    /// Of a member that could not be looked at.
    pub fn nothing(member: &MemberId) -> Self {
        Self { member: member.clone(), is_standby: None, runs: false, timeline: 0, is_gone: false }
    }
}

/// What becomes of the row of a pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is right; the standby is armed anew.
    Stays,
    /// Another member is the primary.
    Moved(MemberId),
    /// A person must see to it first.
    Unsure(&'static str),
}

/// Offset of the timeline of the last checkpoint in `pg_control`: behind the identity of the system (8), two version numbers (8), the
/// state (8 with padding), a time (8), the checkpoint's place (8) and its redo point (8). The same in all majors offered.
const TIMELINE_AT: usize = 48;

/// Looks at the data of a member through its container, running or not. Nothing is asked of PostgreSQL: it may be down.
pub async fn look(engine: &dyn Engine, member: &MemberId, container: &str) -> MemberLook {
    let nothing = MemberLook::nothing(member);
    let Ok(Some(facts)) = engine.container(container).await else { return nothing };
    let Ok(signal) = engine.get_file(container, "data/standby.signal").await else {
        return nothing;
    };
    let control = engine.get_file(container, "data/global/pg_control").await.ok().flatten();
    MemberLook {
        is_standby: Some(signal.is_some()),
        runs: facts.state == "running",
        timeline: control.as_deref().and_then(timeline).unwrap_or(0),
        ..nothing
    }
}

fn timeline(control: &[u8]) -> Option<i64> {
    let bytes: [u8; 4] = control.get(TIMELINE_AT..TIMELINE_AT + 4)?.try_into().ok()?;
    Some(u32::from_le_bytes(bytes).into())
}

/// Decides. The only primary there can be is a member whose data are no standby's; of two, that of the later timeline. While a member
/// may lie where nobody can look, it may be the one that took over: then nobody is.
pub fn verdict(row: &HighAvailability, looks: &[MemberLook]) -> Verdict {
    let Some(primary) = &row.primary else { return Verdict::Stays };
    if looks.iter().any(|look| look.is_standby.is_none() && !look.is_gone) {
        return Verdict::Unsure(
            "a member of it could not be looked at, and that one may have become the primary",
        );
    }
    let of = |id: &MemberId| looks.iter().find(|look| look.member == *id);
    let own = of(primary).and_then(|look| Some((look.is_standby?, look.timeline)));
    let others = looks.iter().filter(|look| look.member != *primary);
    let promoted = others.filter(|look| look.is_standby == Some(false));
    let best = promoted.max_by_key(|look| (look.timeline, look.runs));
    match (own, best) {
        // Its promotion may still be under way: the watch goes on with it.
        (Some((true, _)), None) if row.state == ReplicationState::Promoting => Verdict::Stays,
        (Some((true, _)), None) => Verdict::Unsure(
            "the primary on record is a standby now, and no other member was found to be the primary",
        ),
        // Nobody else was ever promoted: even when nothing of it is left, it is the primary.
        (Some((false, _)) | None, None) => Verdict::Stays,
        (Some((true, _)), Some(best)) => Verdict::Moved(best.member.clone()),
        (Some((false, timeline)), Some(best)) => match timeline.cmp(&best.timeline) {
            std::cmp::Ordering::Less => Verdict::Moved(best.member.clone()),
            std::cmp::Ordering::Greater => Verdict::Stays,
            std::cmp::Ordering::Equal => {
                Verdict::Unsure("two members have the data of a primary, of the same timeline")
            }
        },
        // A former primary is without the mark of a standby as well: only a later timeline is proof.
        (None, Some(best)) if best.timeline > row.timeline => Verdict::Moved(best.member.clone()),
        (None, Some(_)) => Verdict::Unsure(
            "nothing is left of the primary on record, and another member has the data of a primary",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::new_id;
    use crate::domain::ha::{Durability, HaMode};
    use crate::domain::ids::ServerId;
    use chrono::DateTime;

    fn row(primary: &MemberId, standby: &MemberId) -> HighAvailability {
        let asked = HighAvailability::asked(
            new_id(ServerId::parse),
            HaMode::ALL[0],
            Durability::Preferred,
            "2".into(),
            DateTime::UNIX_EPOCH,
        );
        HighAvailability {
            primary: Some(primary.clone()),
            standby: Some(standby.clone()),
            state: ReplicationState::Sync,
            timeline: 3,
            ..asked
        }
    }

    fn seen(member: &MemberId, is_standby: Option<bool>, runs: bool, timeline: i64) -> MemberLook {
        MemberLook { is_standby, runs, timeline, ..MemberLook::nothing(member) }
    }

    #[test]
    fn the_data_say_who_is_the_primary() {
        let (a, b) = (new_id(MemberId::parse), new_id(MemberId::parse));
        let row = row(&a, &b);
        let decide = |a, b| verdict(&row, &[a, b]);
        let (standby, primary) = (Some(true), Some(false));
        let gone = |member: &MemberId| MemberLook { is_gone: true, ..seen(member, None, false, 0) };
        // As on record, whatever runs.
        assert_eq!(decide(seen(&a, primary, true, 3), seen(&b, standby, true, 3)), Verdict::Stays);
        assert_eq!(decide(seen(&a, primary, false, 3), seen(&b, standby, true, 3)), Verdict::Stays);
        assert_eq!(decide(seen(&a, primary, true, 3), gone(&b)), Verdict::Stays);
        assert_eq!(decide(gone(&a), seen(&b, standby, true, 3)), Verdict::Stays);
        assert_eq!(decide(gone(&a), gone(&b)), Verdict::Stays);
        // A failover since then: rebuilt, stopped, or lost for good.
        let moved = Verdict::Moved(b.clone());
        assert_eq!(decide(seen(&a, standby, true, 4), seen(&b, primary, true, 4)), moved);
        assert_eq!(decide(seen(&a, primary, false, 3), seen(&b, primary, true, 4)), moved);
        assert_eq!(decide(gone(&a), seen(&b, primary, true, 4)), moved);
        // And back again: the former primary is still there as it was left.
        assert_eq!(decide(seen(&a, primary, true, 5), seen(&b, primary, false, 4)), Verdict::Stays);
        // Not to be told: nothing may be started by itself.
        for (a, b) in [
            // It runs, and the other host is silent: it may be the one that was left behind.
            (seen(&a, primary, true, 3), seen(&b, None, false, 0)),
            (seen(&a, None, false, 0), seen(&b, standby, true, 3)),
            (seen(&a, None, false, 0), seen(&b, primary, true, 4)),
            (seen(&a, primary, false, 3), seen(&b, None, false, 0)),
            (seen(&a, standby, true, 4), seen(&b, None, false, 0)),
            (seen(&a, standby, true, 4), gone(&b)),
            (seen(&a, primary, true, 3), seen(&b, primary, true, 3)),
            (gone(&a), seen(&b, primary, false, 3)),
            (seen(&a, None, false, 0), seen(&b, None, false, 0)),
        ] {
            assert!(matches!(decide(a.clone(), b.clone()), Verdict::Unsure(_)), "{a:?} {b:?}");
        }
    }

    #[test]
    fn the_timeline_is_where_postgresql_has_it() {
        let mut control = vec![0; 8192];
        control[48..52].copy_from_slice(&7u32.to_le_bytes());
        assert_eq!(timeline(&control), Some(7));
        assert_eq!(timeline(&control[..50]), None);
    }
}
