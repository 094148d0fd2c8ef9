//! How much of the world the monitor sees. One that has just started, or that is itself cut off, must not take its own
//! blindness for the death of others (J10).

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
    /// Whether the engine answered when it was asked last, and when that was.
    hosts: Mutex<HashMap<HostId, (bool, Instant)>>,
}

impl Horizon {
    /// `settle` is the time after the start in which a silence alone proves nothing.
    pub fn new(settle: Duration) -> Self {
        Self { clear_at: Instant::now() + settle, hosts: Mutex::default() }
    }

    /// Whether the engine of a host with members of pairs answered just now.
    pub fn answers(&self, host: &HostId, answers: bool) {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.insert(host.clone(), (answers, Instant::now()));
    }

    /// Why a primary that is only silent is not taken for dead now; `None` when it may be.
    pub fn blindness(&self, now: Instant) -> Option<String> {
        if now < self.clear_at {
            return Some(
                "the portal has just started and waits a moment before it trusts a silence".into(),
            );
        }
        let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = hosts.values().filter(|(_, at)| now.saturating_duration_since(*at) < FRESH);
        let answers: Vec<bool> = fresh.map(|(answers, _)| *answers).collect();
        let (silent, all) = (answers.iter().filter(|answers| !**answers).count(), answers.len());
        (silent * 2 > all).then(|| {
            format!(
                "{silent} of {all} hosts with pairs do not answer, so the portal itself may be cut off"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::new_id;

    #[test]
    fn a_silence_is_not_trusted_at_the_start_nor_when_most_hosts_are_silent() {
        let horizon = Horizon::new(Duration::from_secs(15));
        let now = Instant::now();
        assert!(horizon.blindness(now).is_some());
        let later = now + Duration::from_secs(20);
        assert_eq!(horizon.blindness(later), None, "nothing is known of any host");
        let hosts: Vec<HostId> = (0..3).map(|_| new_id(HostId::parse)).collect();
        hosts.iter().for_each(|host| horizon.answers(host, true));
        horizon.answers(&hosts[0], false);
        assert_eq!(horizon.blindness(later), None, "one of three");
        horizon.answers(&hosts[1], false);
        assert!(horizon.blindness(later).is_some_and(|why| why.contains("2 of 3")));
        let much_later = Instant::now() + FRESH;
        assert_eq!(horizon.blindness(much_later), None, "nobody asks them any more");
    }
}
