//! Sentences about a pair that several pages say.

use super::{Durability, HighAvailability, ReplicationState};
use chrono::{DateTime, Utc};

/// On how many hosts a commit is now, since when, and what that means. `hosts`: how many different hosts the
/// primary and the standby are on. The time is that of the last change of state: it was so before as well when the
/// primary was only restarted.
pub fn where_commits_are(row: &HighAvailability, hosts: usize, now: DateTime<Utc>) -> String {
    use ReplicationState as S;
    let since = since(row.changed_at, now);
    match row.state {
        S::Stopped => {
            format!("The server is stopped {since}; {}.", stored(row.is_promotable, hosts))
        }
        S::Promoting => format!("The primary is being changed {since}: no commits are taken."),
        _ if row.is_promotable => format!("Commits are on {} now, {since}.", both(hosts)),
        S::Blocked => format!("Nothing is provably complete {since}: a person must decide."),
        _ => alone(row, &since),
    }
}

fn alone(row: &HighAvailability, since: &str) -> String {
    match row.durability {
        Durability::Preferred if row.state == ReplicationState::Arming => format!(
            "Commits are being made to wait for the standby {since}; until it counts they are on 1 host."
        ),
        Durability::Preferred => format!(
            "Commits are on 1 host now, {since}: there is no standby that counts. A loss of that host would lose them."
        ),
        Durability::Required => format!(
            "New commits wait {since}, because durability is required and no standby counts."
        ),
    }
}

fn both(hosts: usize) -> String {
    match hosts {
        0 | 1 => "2 members, both on the same host".to_owned(),
        hosts => format!("{hosts} hosts"),
    }
}

fn stored(is_promotable: bool, hosts: usize) -> String {
    match is_promotable {
        true => format!("all commits are on {}", both(hosts)),
        false => "all commits are on 1 host".to_owned(),
    }
}

/// `since 12 November 2026, 10:01:02 UTC (3 min)`.
fn since(time: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let minutes = (now - time).num_minutes();
    let ago = match minutes {
        ..1 => "less than a minute".to_owned(),
        1..120 => format!("{minutes} min"),
        120..2880 => format!("{} h", minutes / 60),
        _ => format!("{} days", minutes / 1440),
    };
    format!("since {} ({ago})", time.format("%-d %B %Y, %H:%M:%S UTC"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ha::{HaMode, Lsn};
    use crate::domain::ids::ServerId;
    use chrono::{Duration, TimeZone};

    fn row(state: ReplicationState, durability: Durability) -> HighAvailability {
        let id = ServerId::parse("00000000-0000-7000-8000-000000000001").unwrap();
        let then = Utc.with_ymd_and_hms(2026, 11, 12, 10, 1, 2).unwrap();
        let row = HighAvailability::asked(id, HaMode::ZoneRedundant, durability, "2".into(), then);
        let is_promotable = state == ReplicationState::Sync;
        HighAvailability { state, is_promotable, armed_lsn: Some(Lsn(1)), ..row }
    }

    fn says(row: &HighAvailability, hosts: usize) -> String {
        where_commits_are(row, hosts, row.changed_at + Duration::minutes(3))
    }

    #[test]
    fn the_number_of_hosts_is_that_of_the_commits_not_of_the_members() {
        use Durability as D;
        use ReplicationState as S;
        let sync = row(S::Sync, D::Preferred);
        let since = "since 12 November 2026, 10:01:02 UTC (3 min)";
        assert_eq!(says(&sync, 2), format!("Commits are on 2 hosts now, {since}."));
        assert_eq!(
            says(&sync, 1),
            format!("Commits are on 2 members, both on the same host now, {since}.")
        );
        for state in [S::Single, S::Building, S::CatchUp, S::Disarming] {
            assert!(says(&row(state, D::Preferred), 2).starts_with("Commits are on 1 host now"));
            assert!(says(&row(state, D::Required), 2).starts_with("New commits wait"), "{state:?}");
        }
    }
}
