//! How much of the world the monitor sees. One that has just started, or that is itself cut off, must not take its own
//! blindness for the death of others (J10).
//!
//! J10 taken by its letter would forbid the failover that a lost zone needs, wherever that zone has most of the hosts. So a
//! silence of most hosts is trusted all the same when something else speaks against the portal's own blindness: all silent
//! hosts are of one zone and another zone answers, or the standby itself, which stands elsewhere, has lost the primary.
//! Neither is needed for safety: the standby is cut from the primary before it takes over (F6), whoever is right.

use crate::domain::ids::HostId;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// A word of an engine that is older counts no more: its host has no pair now, and nobody asks it. Above twice the
/// time between two questions with their answers.
const FRESH: Duration = Duration::from_secs(30);

/// What all watchers of a process know together.
#[derive(Debug)]
pub struct Horizon {
    clear_at: Instant,
    hosts: Mutex<HashMap<HostId, Word>>,
}

/// What was heard of a host last.
#[derive(Debug)]
struct Word {
    /// Empty where it is not known: then the host counts as a zone of its own.
    zone: String,
    answers: bool,
    at: Instant,
}

impl Horizon {
    /// `settle` is the time after the start in which a silence alone proves nothing.
    pub fn new(settle: Duration) -> Self {
        Self { clear_at: Instant::now() + settle, hosts: Mutex::default() }
    }

    /// Whether the engine of a host with members of pairs answered just now. `zone` as its member has it.
    pub fn answers(&self, host: &HostId, zone: &str, answers: bool) {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let word = Word { zone: zone.to_owned(), answers, at: Instant::now() };
        hosts.insert(host.clone(), word);
    }

    /// Why a primary that is only silent is not taken for dead now; `None` when it may be. `is_witnessed`: its standby
    /// answers and says that it has lost it.
    pub fn blindness(&self, now: Instant, is_witnessed: bool) -> Option<String> {
        if now < self.clear_at {
            return Some(
                "the portal has just started and waits a moment before it trusts a silence".into(),
            );
        }
        let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let is_fresh = |word: &Word| now.saturating_duration_since(word.at) < FRESH;
        let (up, silent): (Vec<_>, Vec<_>) =
            hosts.iter().filter(|(_, word)| is_fresh(word)).partition(|(_, word)| word.answers);
        let all = up.len() + silent.len();
        let is_trusted = silent.len() * 2 <= all || is_witnessed || is_one_zone(&silent, &up);
        (!is_trusted).then(|| {
            format!(
                "{} of {all} hosts with pairs do not answer, so the portal itself may be cut off, and no standby has said that it lost the primary",
                silent.len()
            )
        })
    }
}

/// Whether what is silent is one zone, and what answers is another.
fn is_one_zone(silent: &[(&HostId, &Word)], up: &[(&HostId, &Word)]) -> bool {
    let Some(zone) = silent.first().map(|(_, word)| &word.zone).filter(|zone| !zone.is_empty())
    else {
        return false;
    };
    silent.iter().all(|(_, word)| word.zone == *zone)
        && up.iter().any(|(_, word)| word.zone != *zone && !word.zone.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::new_id;

    /// Hosts by zone: `silent` of them do not answer.
    fn seen(hosts: &[(&str, bool)]) -> Horizon {
        let horizon = Horizon::new(Duration::ZERO);
        for (zone, answers) in hosts {
            horizon.answers(&new_id(HostId::parse), zone, *answers);
        }
        horizon
    }

    fn is_blind(hosts: &[(&str, bool)], is_witnessed: bool) -> bool {
        seen(hosts).blindness(Instant::now(), is_witnessed).is_some()
    }

    #[test]
    fn a_silence_is_not_trusted_at_the_start_nor_when_most_hosts_are_silent() {
        let horizon = Horizon::new(Duration::from_secs(15));
        let now = Instant::now();
        assert!(horizon.blindness(now, true).is_some());
        let later = now + Duration::from_secs(20);
        assert_eq!(horizon.blindness(later, false), None, "nothing is known of any host");
        let hosts: Vec<HostId> = (0..3).map(|_| new_id(HostId::parse)).collect();
        hosts.iter().for_each(|host| horizon.answers(host, "", true));
        horizon.answers(&hosts[0], "", false);
        assert_eq!(horizon.blindness(later, false), None, "one of three");
        horizon.answers(&hosts[1], "", false);
        assert!(horizon.blindness(later, false).is_some_and(|why| why.contains("2 of 3")));
        assert_eq!(horizon.blindness(later, true), None, "the standby lost the primary too");
        let much_later = Instant::now() + FRESH;
        assert_eq!(horizon.blindness(much_later, false), None, "nobody asks them any more");
    }

    /// J10 against the promise for a lost zone.
    #[test]
    fn a_lost_zone_is_no_blindness_however_many_hosts_it_has() {
        for lost in [
            &[("1", false), ("2", true)] as &[_],
            &[("1", false), ("2", true), ("3", true)],
            &[("1", false), ("1", false), ("2", true)],
            &[("1", false), ("1", false), ("1", false), ("2", true), ("3", true)],
        ] {
            assert!(!is_blind(lost, false), "{lost:?}");
        }
        for cut_off in [
            // Two of three zones, or all: rather the portal, unless a standby knows better.
            &[("1", false), ("2", false), ("3", true)] as &[_],
            &[("1", false), ("2", false)],
            // One zone in all: the word of another one is missing.
            &[("1", false), ("1", false), ("1", true)],
        ] {
            assert!(is_blind(cut_off, false), "{cut_off:?}");
            assert!(!is_blind(cut_off, true), "{cut_off:?}");
        }
    }
}
