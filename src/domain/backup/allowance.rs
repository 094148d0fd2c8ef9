//! What the backups of a server take, and how much of it is beyond the free allowance: as much as is provisioned.

use super::Protection;

const GIB: u64 = 1 << 30;

/// What is on record of what backups take, over all repositories of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Taken {
    /// Bytes of the backups, and of the log as far as it was measured.
    pub bytes: u64,
    /// Whether the log was measured in every repository that has backups.
    pub has_log: bool,
}

/// What is on record; `None` while no list of backups was read.
pub fn taken(protection: &Protection) -> Option<Taken> {
    let known: Vec<(i64, u64)> =
        protection.repositories.iter().filter_map(|one| Some((one.number, one.bytes?))).collect();
    let log = |number: i64| {
        let mut checks = protection.checks.iter();
        checks.find(|check| check.repository == number).map(|check| check.log_bytes)
    };
    (!known.is_empty()).then(|| Taken {
        bytes: known.iter().fold(0, |sum, (number, bytes)| {
            sum.saturating_add(*bytes).saturating_add(log(*number).unwrap_or(0))
        }),
        has_log: known.iter().all(|(number, _)| log(*number).is_some()),
    })
}

/// Tenths of a GiB beyond the allowance, in whole tenths: a figure that changed with every byte would fill the meters.
pub fn tenths_beyond(bytes: u64, provisioned_gib: u32) -> u64 {
    let beyond = bytes.saturating_sub(u64::from(provisioned_gib) * GIB);
    // Divided first: nothing that a file of the repository says may overflow.
    (beyond / GIB) * 10 + (beyond % GIB) * 10 / GIB
}

/// The quantity of the meter; `None` within the allowance.
pub fn quantity(bytes: u64, provisioned_gib: u32) -> Option<String> {
    let tenths = tenths_beyond(bytes, provisioned_gib);
    (tenths > 0).then(|| format!("{}.{}", tenths / 10, tenths % 10))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::backup::{ArchiveCheck, Repository, RepositoryState};
    use crate::domain::ids::{HostId, ServerId};
    use crate::domain::version::Major;
    use chrono::{DateTime, Utc};

    const AT: DateTime<Utc> = DateTime::<Utc>::UNIX_EPOCH;

    fn repository(number: i64, bytes: Option<u64>) -> Repository {
        Repository {
            server_id: ServerId::parse("01890a5d-ac96-774b-bcce-b302099a8057").unwrap(),
            number,
            host_id: HostId::parse("01890a5d-ac96-774b-bcce-b302099a8058").unwrap(),
            location: None,
            stanza: "s".into(),
            major: Major::V17,
            state: RepositoryState::Active,
            since: AT,
            looked_at: None,
            bytes,
        }
    }

    fn check(repository: i64, log_bytes: u64) -> ArchiveCheck {
        ArchiveCheck { repository, at: AT, needed: 1, missing: 0, log_bytes }
    }

    #[test]
    fn both_repositories_and_their_logs_count() {
        let mut protection = Protection::default();
        assert_eq!(taken(&protection), None);
        protection.repositories = vec![repository(1, None)];
        assert_eq!(taken(&protection), None, "nothing was read yet");
        protection.repositories = vec![repository(1, Some(100)), repository(2, Some(10))];
        protection.checks = vec![check(1, 5)];
        assert_eq!(taken(&protection), Some(Taken { bytes: 115, has_log: false }));
        protection.checks.push(check(2, 7));
        assert_eq!(taken(&protection), Some(Taken { bytes: 122, has_log: true }));
    }

    #[test]
    fn what_is_beyond_what_is_provisioned_counts_in_tenths() {
        assert_eq!(quantity(32 * GIB, 32), None);
        assert_eq!(quantity(32 * GIB + GIB / 11, 32), None, "less than a tenth");
        assert_eq!(quantity(33 * GIB + GIB / 2, 32).as_deref(), Some("1.5"));
        assert_eq!(quantity(42 * GIB, 32).as_deref(), Some("10.0"));
        assert!(tenths_beyond(u64::MAX, 32) > 0);
    }
}
