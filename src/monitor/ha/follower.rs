//! Whether the standby confirms what the primary writes. PostgreSQL keeps a link on which nothing comes back for ten
//! seconds and more, says "streaming" of it all the time, and every commit waits. A standby that is slow confirms
//! late; one from which nothing new comes at all, although there is something to confirm, is lost (D5, K5). Lag
//! alone, however long, is no sign (D7).

use crate::domain::ha::Lsn;
use crate::domain::ids::MemberId;
use std::time::Duration;
use tokio::time::Instant;

/// Time without any progress after which a standby counts as one that does not follow: two looks and a half, so that
/// one look at a wrong moment is none.
const STALLED: Duration = Duration::from_millis(1_250);

/// What one standby has confirmed lately to one primary.
#[derive(Debug, Clone, Default)]
pub struct Follower {
    last: Option<(Of, Lsn, Instant)>,
}

/// Of which epoch, and of which standby.
pub type Of = (i64, Option<MemberId>);

impl Follower {
    /// One look: what the primary has written, and what of it is confirmed. `None` is what was not seen. Gives since when
    /// nothing new is confirmed, once that is sure.
    pub fn note(
        &mut self,
        of: Of,
        written: Option<Lsn>,
        confirmed: Option<Lsn>,
        at: Instant,
    ) -> Option<Instant> {
        let missing = written.zip(confirmed).filter(|(written, confirmed)| confirmed < written);
        let Some((_, confirmed)) = missing else {
            self.last = None;
            return None;
        };
        let since = match self.last.take() {
            Some((before, place, since)) if before == of && place == confirmed => since,
            _ => at,
        };
        self.last = Some((of, confirmed, since));
        (at.saturating_duration_since(since) >= STALLED).then_some(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(looks: &[(u64, Option<u64>, Option<u64>)]) -> Vec<Option<u64>> {
        let begin = Instant::now();
        let mut follower = Follower::default();
        let mut look = |&(millis, written, confirmed): &(u64, Option<u64>, Option<u64>)| {
            let at = begin + Duration::from_millis(millis);
            let since = follower.note((1, None), written.map(Lsn), confirmed.map(Lsn), at);
            since.map(|since| u64::try_from((since - begin).as_millis()).unwrap())
        };
        looks.iter().map(&mut look).collect()
    }

    #[test]
    fn one_that_confirms_nothing_is_told_since_its_first_look_behind() {
        let looks = [
            (0, Some(5), Some(5)),
            (500, Some(6), Some(5)),
            (1000, Some(7), Some(5)),
            (2000, Some(7), Some(5)),
            (2500, Some(9), Some(8)),
            (3000, None, None),
        ];
        assert_eq!(run(&looks), [None, None, None, Some(500), None, None]);
    }

    #[test]
    fn one_that_is_late_or_has_everything_follows() {
        let late: Vec<_> = (0..20).map(|n| (n * 500, Some(1000 + n), Some(n))).collect();
        assert!(run(&late).iter().all(Option::is_none));
        let idle: Vec<_> = (0..20).map(|n| (n * 500, Some(7), Some(7))).collect();
        assert!(run(&idle).iter().all(Option::is_none));
    }

    #[test]
    fn another_standby_begins_anew() {
        let (begin, mut follower) = (Instant::now(), Follower::default());
        let (written, confirmed) = (Some(Lsn(9)), Some(Lsn(5)));
        assert_eq!(follower.note((1, None), written, confirmed, begin), None);
        let later = begin + STALLED;
        assert_eq!(follower.note((2, None), written, confirmed, later), None);
        assert_eq!(follower.note((2, None), written, confirmed, later + STALLED), Some(later));
    }
}
