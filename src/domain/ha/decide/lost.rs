//! The primary is dead: the matrix F2, and rules C1, F13, F14, A7, Z1 and Z3.

use super::verdict::{Death, Fitness};
use super::{
    Action, Case, Decision, FAILOVERS_PER_HOUR, PATIENCE, Pause, RESTART_BUDGET, STARTS_IN_A_ROW,
    for_time,
};
use crate::domain::ha::{ReplicationState, Sql};
use crate::domain::operation::OperationKind;

impl Case<'_> {
    pub(super) fn lost(&self, death: Death) -> Decision {
        match self.change_at_work() {
            Some(kind) if self.is_expected() => {
                self.at_work(kind, "it stopped the primary on purpose and brings it back")
            }
            _ if self.row.is_promotable => self.lost_in_a_pair(death),
            _ => self.lost_alone(death),
        }
    }

    /// C1: whether a change that is under way explains the silence. In a pair the row says so, for as long as the
    /// budget lasts: then the standby takes over, whatever the change does (the row stops it). Alone the change is
    /// waited for when it has clients held, as one does before it stops the only member: there is nothing better to
    /// do. One that goes member by member stops no primary while the standby does not count, and would wait for it.
    fn is_expected(&self) -> bool {
        use OperationKind as K;
        use ReplicationState as S;
        match self.row.state {
            S::Restarting | S::Switching => self.in_state_for() < RESTART_BUDGET,
            _ if self.row.is_promotable => false,
            _ => self.seen.is_held || matches!(self.seen.change, Some(K::Start | K::Repair)),
        }
    }

    /// F2 where the standby has everything.
    fn lost_in_a_pair(&self, death: Death) -> Decision {
        match self.fitness() {
            Fitness::Fit => self.take_over(death, "has every acknowledged commit and takes over"),
            Fitness::Unknown(what) => {
                self.wait(Pause::Unsure, format!("{}; {what}: a look more is waited for.", self.died(death)))
            }
            // A7: the primary is complete by definition, so it comes back where it can.
            Fitness::Startable | Fitness::Unfit(_) if death == Death::Gone => self.recover(
                death,
                "The standby cannot take over at once, so the primary is started again in place.",
            ),
            // A7: both died and only the standby's host came back.
            Fitness::Startable => self.take_over(
                death,
                "does not run either, but has every acknowledged commit: it is started and takes over",
            ),
            Fitness::Unfit(what) => self.helpless(death, &what),
        }
    }

    /// F3, unless F14 says that a person must look first.
    fn take_over(&self, death: Death, what: &str) -> Decision {
        let count = self.seen.failovers_within_hour;
        let reason = format!("{}. {} {what}.", self.died(death), capital(&self.standby_name()));
        if count < FAILOVERS_PER_HOUR {
            return self.rescue(Action::Failover, reason);
        }
        let ago = self
            .seen
            .since_failover
            .map_or_else(String::new, |ago| format!(", the last one {} ago", for_time(ago)));
        let damped = format!(
            "There were {count} automatic failovers within an hour{ago}, so no other one follows"
        );
        if death == Death::Gone {
            return self
                .recover(death, &format!("{damped}: the primary is started again in place."));
        }
        self.blocked(
            format!("{}. {damped}.", self.died(death)),
            "Look at both hosts, then force a failover: the standby is complete, nothing is lost by it.",
        )
    }

    /// F2, last row: only the primary may come back.
    fn lost_alone(&self, death: Death) -> Decision {
        match death {
            Death::Gone => self.recover(
                death,
                "No standby counts, so only the primary has every commit: it is started again in place.",
            ),
            Death::HostUnknown => self.wait(
                Pause::Unsure,
                format!("{}, and no standby counts; its engine is asked next.", self.died(death)),
            ),
            _ => self.helpless(death, "no standby counts"),
        }
    }

    /// C1, Z1: in place, and only because its engine says that it does not run. Z3: not for ever.
    fn recover(&self, death: Death, why: &str) -> Decision {
        let reason = format!("{}. {why}", self.died(death));
        match self.seen.rescue_failed {
            Some(failed) if failed.in_a_row >= STARTS_IN_A_ROW => self.blocked(
                format!(
                    "{} It did not come up {} times in a row, so nobody tries any more.",
                    reason, failed.in_a_row
                ),
                "Read its log, free its storage or its host, then use “Repair”.",
            ),
            _ => self.rescue(Action::RecoverPrimary, reason),
        }
    }

    /// Nothing can be done without risking a commit. Where silence may end by itself, a person is not called at once.
    fn helpless(&self, death: Death, why: &str) -> Decision {
        let what = format!("{}, and {why}.", self.died(death));
        let advice = match death {
            Death::HostSilent => self.advice_without_host(),
            Death::Frozen => "Unfreeze its container (docker unpause).",
            _ => "Read its log; “Restart” starts it again.",
        };
        if matches!(death, Death::Hung | Death::HostUnknown) && self.silent_for() < PATIENCE {
            let limit = for_time(PATIENCE);
            return self
                .wait(Pause::Unsure, format!("{what} It may be starting: it is given {limit}."));
        }
        self.blocked(what, advice)
    }

    /// F13.
    fn advice_without_host(&self) -> &'static str {
        let answers = self.seen.standby.as_ref().is_some_and(|standby| standby.sql == Sql::Answers);
        match (answers, self.row.is_promotable) {
            (true, false) => {
                "Bring its host back, or force a failover and accept that the last commits may be lost."
            }
            (_, true) => "Bring either host back: each of the two has every acknowledged commit.",
            (false, false) => "Bring its host back: no other member has every commit.",
        }
    }

    fn died(&self, death: Death) -> String {
        let since = match death {
            Death::Gone => String::new(),
            _ => format!(" (for {})", for_time(self.silent_for())),
        };
        let during = self.change_at_work().map_or_else(String::new, |kind: OperationKind| {
            format!(", and “{}” did not bring it back", kind.label())
        });
        format!("{} {}{since}{during}", self.primary_name(), death.says())
    }
}

pub(super) fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
