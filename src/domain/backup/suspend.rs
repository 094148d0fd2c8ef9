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

/// Since when the log may be refused by this repository of a server, of which pgBackRest does not say by which. The farthest
/// one is given up first, and the others have the time from then on to show that it was not they.
pub fn refused_by(
    all: &[Repository],
    one: &Repository,
    failing_since: Option<DateTime<Utc>>,
) -> Option<DateTime<Utc>> {
    let is = |state| move |other: &&Repository| other.state == state;
    let farthest = all.iter().filter(is(RepositoryState::Active)).map(|other| other.number).max();
    let given_up = all.iter().filter(is(RepositoryState::Suspended)).map(|other| other.since).max();
    failing_since
        .filter(|_| farthest == Some(one.number))
        .map(|since| given_up.map_or(since, |at| at.max(since)))
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
    (ends && others.any(is_active)).then_some("Somebody chose that backups go into it no more.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{HostId, ServerId};
    use crate::domain::version::Major;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + minute * 60, 0).unwrap()
    }

    fn repository(number: i64, state: RepositoryState) -> Repository {
        Repository {
            server_id: ServerId::parse("01890a5d-ac96-774b-bcce-b302099a8057").unwrap(),
            number,
            host_id: HostId::parse("01890a5d-ac96-774b-bcce-b302099a8058").unwrap(),
            location: None,
            stanza: "s".into(),
            major: Major::V17,
            state,
            since: at(0),
            looked_at: None,
            bytes: None,
        }
    }

    fn suspends(state: RepositoryState, sight: Sight) -> bool {
        reason_to_suspend(at(100), &repository(2, state), &sight).is_some()
    }

    #[test]
    fn of_several_the_farthest_is_given_up_first_and_the_others_only_after_their_own_time() {
        use RepositoryState::{Active, Suspended};
        let (near, far) = (repository(1, Active), repository(3, Active));
        let both = [near.clone(), far.clone()];
        assert_eq!(refused_by(&both, &near, Some(at(5))), None);
        assert_eq!(refused_by(&both, &far, Some(at(5))), Some(at(5)));
        let gone = Repository { state: Suspended, since: at(20), ..far };
        let left = [near.clone(), gone];
        assert_eq!(
            refused_by(&left, &near, Some(at(5))),
            Some(at(20)),
            "not by the other's refusals"
        );
        assert_eq!(refused_by(&left, &near, Some(at(30))), Some(at(30)));
        assert_eq!(refused_by(&left, &near, None), None);
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
