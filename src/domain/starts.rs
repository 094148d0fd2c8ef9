//! Starts that failed: a PostgreSQL that ends before it answered, again and again, is not started for ever (Z3). Pure.

use super::drift::{Drift, Remedy, Severity, VOLUME_IN_USE, What};
use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};

/// Under which it is kept among the observations of a server.
pub const OBSERVATION: &str = "starts";
/// So many failed starts within [`FAILED_WITHIN`] are enough.
pub const FAILED_MAX: usize = 3;
pub const FAILED_WITHIN: Duration = Duration::minutes(10);

/// Failed starts of a server since it last answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Starts {
    /// Oldest first.
    pub failed: Vec<DateTime<Utc>>,
    /// `None` while its engine goes on trying.
    pub given_up: Option<GivenUp>,
}

/// Nobody starts it any more by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenUp {
    pub at: DateTime<Utc>,
    pub exit_code: Option<i64>,
    /// What it wrote last; a line of the user's server.
    pub line: String,
}

impl Starts {
    /// After one more start that failed.
    #[must_use]
    pub fn failed_at(&self, now: DateTime<Utc>) -> Self {
        let recent = self.failed.iter().copied().filter(|at| now - *at < FAILED_WITHIN);
        Self { failed: recent.chain([now]).collect(), given_up: self.given_up.clone() }
    }

    /// Whether it is time to stop trying.
    pub fn is_loop(&self) -> bool {
        self.given_up.is_none() && self.failed.len() >= FAILED_MAX
    }

    /// For the pages: what differs, while nobody tries any more. `volume` is the member's.
    pub fn drift(&self, volume: &str) -> Option<Drift> {
        let given_up = self.given_up.as_ref()?;
        Some(Drift {
            what: What::Start,
            severity: Severity::Down,
            remedy: Remedy::ByPerson,
            wanted: "running".into(),
            seen: format!(
                "not started any more: it ended right after its start {} times within {} minutes{}",
                self.failed.len().max(FAILED_MAX),
                FAILED_WITHIN.num_minutes(),
                code(given_up.exit_code),
            ),
            advice: given_up.advice(volume),
            of_standby: false,
        })
    }
}

fn code(exit_code: Option<i64>) -> String {
    exit_code.map(|code| format!(", at last with exit code {code}")).unwrap_or_default()
}

impl GivenUp {
    fn advice(&self, volume: &str) -> String {
        if self.exit_code == Some(VOLUME_IN_USE) {
            return format!(
                "Another container runs on its volume, and two would destroy the data. On the host: docker ps --filter volume={volume}. Stop the other one, then repair."
            );
        }
        let line = match self.line.as_str() {
            "" => String::new(),
            line => format!("Its last words: “{line}”. "),
        };
        format!(
            "{line}The data is on its volume. Mend what the log names (often the host’s memory or disk), then repair."
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_failures_within_ten_minutes_are_enough_and_slower_ones_are_not() {
        let at = |minutes| DateTime::UNIX_EPOCH + Duration::minutes(minutes);
        let starts = |times: &[i64]| {
            times.iter().fold(Starts::default(), |starts, minutes| starts.failed_at(at(*minutes)))
        };
        assert!(!starts(&[0, 1]).is_loop());
        assert!(starts(&[0, 1, 9]).is_loop());
        assert!(!starts(&[0, 6, 12, 18]).is_loop());
        assert_eq!(starts(&[0, 1, 2]).drift("v"), None, "its engine goes on trying");
        let up = |exit_code, line: &str| Starts {
            given_up: Some(GivenUp { at: at(3), exit_code, line: line.into() }),
            ..starts(&[0, 1, 2])
        };
        let given_up = up(Some(1), "FATAL: x");
        assert!(!given_up.is_loop(), "once is enough");
        let drift = given_up.drift("v").unwrap();
        assert!(drift.sentence().contains("3 times within 10 minutes, at last with exit code 1"));
        assert!(drift.advice.contains("FATAL: x"));
        let taken = up(Some(75), "").drift("the-volume").unwrap();
        assert!(taken.advice.contains("volume=the-volume"), "{}", taken.advice);
    }
}
