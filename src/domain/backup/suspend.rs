//! When the log stops waiting for a repository: that is not reached, before it fills the server's disk; or that is not asked for.

use super::{Protection, Repository, RepositoryState};
use chrono::{DateTime, Duration, Utc};

/// A repository is waited for so long.
pub const PATIENCE: Duration = Duration::minutes(10);

/// What was seen of a server and of the host of one of its repositories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sight {
    /// Since when the repository's host has not answered; `None` while it does.
    pub silent_since: Option<DateTime<Utc>>,
    /// Since when pieces of the log are refused by any repository.
    pub failing_since: Option<DateTime<Utc>>,
    /// Bytes of log on the primary's disk, and what is free there; `None` while it is not measured.
    pub disk: Option<(u64, u64)>,
}

/// Why a repository shall be suspended now, for people; `None` while it is waited for.
pub fn reason_to_suspend(
    now: DateTime<Utc>,
    repository: &Repository,
    sight: &Sight,
) -> Option<String> {
    if repository.state != RepositoryState::Active {
        return None;
    }
    let presses = sight.disk.is_some_and(|(log, free)| log > free / 3);
    match (sight.silent_since, sight.failing_since) {
        (Some(since), _) if now - since >= PATIENCE => Some(format!(
            "Its host has not answered for {} minutes.",
            (now - since).num_minutes()
        )),
        (Some(_), Some(_)) if presses => Some(
            "Its host does not answer, and the log that waits takes more than a third of the space that is left.".into(),
        ),
        // Whichever refuses it: a full disk would stop the database.
        (None, Some(since)) if presses && now - since >= PATIENCE => Some(
            "WAL files are refused, and the log that waits takes more than a third of the space that is left.".into(),
        ),
        _ => None,
    }
}

/// Why the log shall not go any more into a repository that is not asked for; `None` while it does not, or would go into none.
pub fn reason_to_end(protection: &Protection, repository: &Repository) -> Option<&'static str> {
    let is_active = |one: &Repository| one.state == RepositoryState::Active;
    let mut others = protection.repositories.iter().filter(|one| one.number != repository.number);
    let ends = !protection.asks_for(repository.number) && is_active(repository);
    (ends && others.any(is_active))
        .then_some("Backups are locally redundant since somebody chose so.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{HostId, ServerId};
    use crate::domain::version::Major;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + minute * 60, 0).unwrap()
    }

    fn suspends(state: RepositoryState, sight: Sight) -> bool {
        let repository = Repository {
            server_id: ServerId::parse("01890a5d-ac96-774b-bcce-b302099a8057").unwrap(),
            number: 2,
            host_id: HostId::parse("01890a5d-ac96-774b-bcce-b302099a8058").unwrap(),
            stanza: "s".into(),
            major: Major::V17,
            state,
            since: at(0),
            looked_at: None,
            bytes: None,
        };
        reason_to_suspend(at(100), &repository, &sight).is_some()
    }

    #[test]
    fn a_repository_is_waited_for_until_it_is_away_for_long_or_the_disk_fills() {
        use RepositoryState::{Active, Planned, Suspended};
        let silent = |since| Sight { silent_since: Some(at(since)), ..Sight::default() };
        assert!(suspends(Active, silent(90)) && !suspends(Active, silent(91)));
        assert!(!suspends(Planned, silent(0)) && !suspends(Suspended, silent(0)));
        let full = Some((34, 100));
        let waits = Sight { failing_since: Some(at(99)), ..silent(99) };
        assert!(!suspends(Active, waits));
        assert!(suspends(Active, Sight { disk: full, ..waits }));
        assert!(!suspends(Active, Sight { disk: Some((33, 100)), ..waits }));
        let refused = Sight { failing_since: Some(at(90)), disk: full, ..Sight::default() };
        assert!(suspends(Active, refused), "a host that answers, but takes nothing");
        assert!(!suspends(Active, Sight { disk: None, ..refused }), "no disk that fills");
        let taken = Sight { failing_since: None, ..refused };
        assert!(!suspends(Active, taken), "much log alone is no reason");
    }
}
