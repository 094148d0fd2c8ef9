//! Whether a backup fits on its repository's host.

use super::{Backup, BackupType};

/// Kept free beside it: a disk that a backup fills stops every server of the host.
const RESERVE: u64 = 1 << 30;

/// What the next backup of this type is expected to take: what the newest good one of the same repository took, and a tenth more.
/// Before the first one nothing is known.
pub fn expected<'a>(kind: BackupType, backups: impl Iterator<Item = &'a Backup>) -> Option<u64> {
    let same = backups.filter(|one| one.is_good() && one.kind == kind);
    let last = same.max_by_key(|one| one.started_at)?.stored_bytes;
    Some(last.saturating_add(last / 10))
}

/// Whether it would not fit. What is not known is no reason to go without a backup.
pub fn is_too_little(free: Option<u64>, expected: Option<u64>) -> bool {
    let both = free.zip(expected);
    both.is_some_and(|(free, expected)| free < expected.saturating_add(RESERVE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_not_to_fit_is_held() {
        let gib = |count: u64| Some(count << 30);
        assert!(is_too_little(gib(10), gib(10)), "nothing would be left");
        assert!(!is_too_little(gib(11), gib(10)));
        assert!(is_too_little(gib(0), gib(0)));
        assert!(!is_too_little(None, gib(10)) && !is_too_little(gib(0), None));
        assert!(is_too_little(gib(10), Some(u64::MAX)));
    }
}
