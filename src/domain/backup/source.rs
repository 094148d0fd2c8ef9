//! From which member of a pair the data of a backup are copied: from the standby where it is well, so that the primary's
//! disk and processors are left to its clients.

use super::super::ha::{HighAvailability, ReplicationState};
use super::super::ids::MemberId;

/// Bytes of log that a standby may have to replay yet: pgBackRest waits two minutes until it has the backup's begin.
pub const BEHIND_MAX: u64 = 256 << 20;

/// The member whose data files a backup was copied from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopiedFrom {
    /// All of them.
    Primary,
    /// All but the few that only the primary has right.
    Standby,
}

impl CopiedFrom {
    pub const ALL: [CopiedFrom; 2] = [CopiedFrom::Primary, CopiedFrom::Standby];

    pub fn key(self) -> &'static str {
        match self {
            CopiedFrom::Primary => "primary",
            CopiedFrom::Standby => "standby",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|from| from.key() == text)
    }
}

/// What the primary says of its standby.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Follower {
    /// "streaming", "catchup", …
    pub state: String,
    /// "sync", "async", …
    pub sync_state: String,
    /// Bytes of log that it has not replayed yet; `None` when nobody knows.
    pub behind: Option<u64>,
}

/// The choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// `None` for the primary alone.
    pub standby: Option<MemberId>,
    /// For people.
    pub reason: String,
}

/// Chooses by the row of the pair (`None` for a server without high availability) and by the primary's last word on the
/// row's standby (`None` when it names no such reader of its log).
pub fn source(row: Option<&HighAvailability>, follower: Option<&Follower>) -> Source {
    let standby = row.and_then(|row| row.standby.clone().map(|standby| (row, standby)));
    let Some((row, standby)) = standby else {
        return alone("The data are copied from the primary: there is no standby.");
    };
    match reason_to_stop(row, &standby).or_else(|| reason_against(row, follower)) {
        Some(why) => alone(&format!("The data are copied from the primary: {why}.")),
        None => Source {
            standby: Some(standby),
            reason: "The data are copied from the standby, which is in sync.".into(),
        },
    }
}

fn alone(reason: &str) -> Source {
    Source { standby: None, reason: reason.into() }
}

fn reason_against(row: &HighAvailability, follower: Option<&Follower>) -> Option<String> {
    if row.state != ReplicationState::Sync {
        return Some("the pair is being changed".into());
    }
    let Some(seen) = follower else {
        return Some("the standby does not read the primary's log".into());
    };
    if seen.state != "streaming" || seen.sync_state != "sync" {
        return Some(format!(
            "the standby is “{}, {}” to the primary",
            seen.state, seen.sync_state
        ));
    }
    match seen.behind {
        None => Some("how far the standby is behind is not known".into()),
        Some(behind) if behind > BEHIND_MAX => {
            Some(format!("the standby has {} MiB of log to replay", behind >> 20))
        }
        Some(_) => None,
    }
}

/// Why a copy from this standby is not begun, or given up while it goes on; `None` while it counts.
pub fn reason_to_stop(row: &HighAvailability, standby: &MemberId) -> Option<String> {
    match &row.standby {
        Some(now) if now == standby && row.is_promotable => None,
        Some(now) if now == standby => Some("the standby does not count as complete".into()),
        _ => Some("the standby was removed or replaced".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::ha::{Durability, HaMode, Lsn, Move};
    use super::super::super::ids::ServerId;
    use super::*;
    use chrono::DateTime;

    fn member(end: u8) -> MemberId {
        MemberId::parse(&format!("01890a5d-ac96-774b-bcce-b302099a80{end:02}")).unwrap()
    }

    /// In sync, with member 2 as the standby.
    fn pair() -> HighAvailability {
        let server = ServerId::parse("01890a5d-ac96-774b-bcce-b302099a8057").unwrap();
        let (now, one) = (DateTime::UNIX_EPOCH, "1".to_owned());
        let row =
            HighAvailability::asked(server, HaMode::SameZone, Durability::Preferred, one, now);
        let moves = [
            Move::PrimaryPlaced { member: member(1) },
            Move::BuildBegins { standby: member(2) },
            Move::Follows { timeline: 1 },
            Move::ArmBegins,
            Move::Armed { lsn: Lsn(1), marked_at: row.version },
        ];
        moves.iter().fold(row, |row, step| row.after(step, now).unwrap())
    }

    fn well() -> Follower {
        Follower { state: "streaming".into(), sync_state: "sync".into(), behind: Some(0) }
    }

    #[test]
    fn a_standby_that_counts_and_follows_closely_is_copied_from() {
        let chosen = source(Some(&pair()), Some(&well()));
        assert_eq!(chosen.standby, Some(member(2)), "{}", chosen.reason);
        let close = Follower { behind: Some(BEHIND_MAX), ..well() };
        assert_eq!(source(Some(&pair()), Some(&close)).standby, Some(member(2)));
    }

    #[test]
    fn every_other_one_is_left_alone_with_the_reason() {
        let why = |row: Option<&HighAvailability>, follower: Option<&Follower>| {
            let chosen = source(row, follower);
            assert_eq!(chosen.standby, None, "{}", chosen.reason);
            chosen.reason
        };
        let row = pair();
        assert!(why(None, None).contains("there is no standby"));
        let single = HighAvailability { standby: None, ..pair() };
        assert!(why(Some(&single), Some(&well())).contains("there is no standby"));
        assert!(why(Some(&row), None).contains("does not read"));
        let late = Follower { behind: Some(BEHIND_MAX + 1), ..well() };
        assert!(why(Some(&row), Some(&late)).contains("256 MiB of log to replay"));
        let unknown = Follower { behind: None, ..well() };
        assert!(why(Some(&row), Some(&unknown)).contains("not known"));
        for (state, sync) in [("catchup", "sync"), ("streaming", "async")] {
            let seen = Follower { state: state.into(), sync_state: sync.into(), behind: Some(0) };
            assert!(why(Some(&row), Some(&seen)).contains(state), "{state}");
        }
        let disarming = row.after(&Move::DisarmBegins, DateTime::UNIX_EPOCH).unwrap();
        assert!(why(Some(&disarming), Some(&well())).contains("does not count"));
        let restarting = row.after(&Move::RestartBegins, DateTime::UNIX_EPOCH).unwrap();
        assert!(why(Some(&restarting), Some(&well())).contains("is being changed"));
    }

    #[test]
    fn a_copy_goes_on_only_while_its_own_standby_counts() {
        let row = pair();
        assert_eq!(reason_to_stop(&row, &member(2)), None);
        assert!(reason_to_stop(&row, &member(3)).unwrap().contains("replaced"));
        let disarming = row.after(&Move::DisarmBegins, DateTime::UNIX_EPOCH).unwrap();
        assert!(reason_to_stop(&disarming, &member(2)).is_some());
        assert_eq!(
            CopiedFrom::ALL.map(|from| CopiedFrom::parse(from.key())),
            CopiedFrom::ALL.map(Some)
        );
    }
}
