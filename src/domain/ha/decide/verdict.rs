//! What the looks say about a member: dead only with a witness (N5), fit only with an answer (F1).

use super::{Case, FROZEN_GRACE, for_time};
use crate::domain::ha::{SeenMember, Sql};

/// About the primary.
pub(super) enum Verdict {
    Serves,
    Dead(Death),
    /// Neither; with what is known.
    Unsure(String),
}

/// How a primary is dead. All of these are about its SQL as well: a silent engine alone is no death.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Death {
    /// Its engine says that its container does not run.
    Gone,
    /// Its engine says that it is frozen, and it has been silent for long.
    Frozen,
    /// Its container runs, and it was silent three times in a row.
    Hung,
    /// It was silent three times in a row, and so is its engine.
    HostSilent,
    /// It was silent three times in a row; nobody asked its engine yet.
    HostUnknown,
}

/// About the standby, as a primary to be (F1).
pub(super) enum Fitness {
    /// It answers, is in recovery, and on the timeline of the row.
    Fit,
    /// It lies complete on a host that answers, and its container does not run (A7).
    Startable,
    /// Too little was seen.
    Unknown(String),
    /// It cannot be had.
    Unfit(String),
}

impl Case<'_> {
    pub(super) fn verdict(&self) -> Verdict {
        let primary = &self.seen.primary;
        match primary.sql {
            // What answers is not dead, whatever its engine said a moment before.
            Sql::Answers => Verdict::Serves,
            _ if primary.is_gone() => Verdict::Dead(Death::Gone),
            Sql::Silent => self.silent(primary),
            Sql::Unknown => Verdict::Unsure(format!(
                "{} did not answer the last look; fewer than three misses prove nothing.",
                self.primary_name()
            )),
        }
    }

    fn silent(&self, primary: &SeenMember) -> Verdict {
        let since = for_time(primary.sql_for);
        if primary.is_paused() && primary.sql_for < FROZEN_GRACE {
            let limit = for_time(FROZEN_GRACE);
            return Verdict::Unsure(format!(
                "{} is frozen, silent for {since}; a freeze shorter than {limit} is let pass.",
                self.primary_name()
            ));
        }
        Verdict::Dead(match primary.engine_answers {
            _ if primary.is_paused() => Death::Frozen,
            Some(true) => Death::Hung,
            Some(false) => Death::HostSilent,
            None => Death::HostUnknown,
        })
    }

    /// F1, as far as looks can say; the operation asks again before it commits itself.
    pub(super) fn fitness(&self) -> Fitness {
        let name = self.standby_name();
        let Some(standby) = self.seen.standby.as_ref().filter(|_| self.row.standby.is_some())
        else {
            return Fitness::Unfit("there is no standby".into());
        };
        let since = for_time(standby.sql_for);
        match (standby.sql, standby.in_recovery, standby.timeline) {
            (Sql::Answers, Some(false), _) => {
                Fitness::Unfit(format!("{name} is not in recovery: it is no standby"))
            }
            (Sql::Answers, Some(true), Some(timeline)) if timeline == self.row.timeline => {
                Fitness::Fit
            }
            (Sql::Answers, Some(true), Some(timeline)) => Fitness::Unfit(format!(
                "{name} is on timeline {timeline}, the primary's is {}",
                self.row.timeline
            )),
            (Sql::Answers, _, _) => {
                Fitness::Unknown(format!("{name} answers, and did not say how it stands"))
            }
            _ if standby.is_gone() && standby.container.as_deref() == Some("missing") => {
                Fitness::Unfit(format!("the container of {name} is missing"))
            }
            _ if standby.is_gone() => Fitness::Startable,
            (Sql::Silent, _, _) => Fitness::Unfit(format!("{name} has not answered for {since}")),
            (Sql::Unknown, _, _) => {
                Fitness::Unknown(format!("{name} did not answer the last look"))
            }
        }
    }
}

impl Death {
    /// What was seen, as the end of a sentence about the primary.
    pub(super) fn says(self) -> &'static str {
        match self {
            Death::Gone => "does not run, as its engine says",
            Death::Frozen => "is frozen, as its engine says, and does not answer",
            Death::Hung => "does not answer, although its container runs",
            Death::HostSilent => "does not answer, and neither does its host",
            Death::HostUnknown => "does not answer",
        }
    }
}
