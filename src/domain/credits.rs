//! CPU credits of burstable sizes: pure rules. One credit is one vCore at full use for one minute. A size
//! earns at its baseline, spends what it uses, and keeps what is over up to a limit. Without credits it is
//! held to its baseline until some are there again.

use super::catalog::Sku;
use chrono::{DateTime, Duration, Utc};

/// Metric id: what is left.
pub const CREDITS_REMAINING: &str = "cpu_credits_remaining";
/// Metric id: what was spent since the sample before.
pub const CREDITS_CONSUMED: &str = "cpu_credits_consumed";
/// Credits that a new server begins with, for each vCore.
const INITIAL_FOR_EACH_VCORE: f64 = 30.0;
/// A held size is let go when it has earned for this long without spending: one that went back and forth
/// each minute would be neither fast nor steady.
const RELEASE_AFTER_HOURS: f64 = 1.0 / 12.0;

/// What a burstable size earns and keeps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Burst {
    /// vCores that it may use for ever.
    pub baseline_vcores: f64,
    pub credits_per_hour: f64,
    pub credits_max: f64,
}

const fn burst(baseline_percent: u32, per_hour: u32, max: u32) -> Burst {
    Burst {
        baseline_vcores: baseline_percent as f64 / 100.0,
        credits_per_hour: per_hour as f64,
        credits_max: max as f64,
    }
}

/// The rules of a size; `None` for one that is not burstable.
pub fn burst_of(sku: &Sku) -> Option<Burst> {
    Some(match sku.short_name() {
        "B1ms" => burst(20, 12, 288),
        "B2s" => burst(40, 24, 576),
        "B2ms" => burst(60, 36, 864),
        "B4ms" => burst(90, 54, 1296),
        "B8ms" => burst(135, 81, 1944),
        "B12ms" => burst(202, 121, 2908),
        "B16ms" => burst(270, 162, 3888),
        "B20ms" => burst(337, 203, 4867),
        _ => return None,
    })
}

impl Burst {
    /// Credits at which a held server is let go.
    pub fn release_at(&self) -> f64 {
        self.credits_per_hour * RELEASE_AFTER_HOURS
    }
}

/// The CPU limit of a container: that of its size, or the baseline while it is held.
pub fn effective_vcores(sku: &Sku, is_held: bool) -> f64 {
    match burst_of(sku) {
        Some(burst) if is_held => burst.baseline_vcores,
        _ => f64::from(sku.vcores),
    }
}

/// What a server has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Balance {
    pub credits: f64,
    /// Held to the baseline because none were left.
    pub is_held: bool,
}

impl Balance {
    /// Of a new server.
    pub fn initial(sku: &Sku) -> Self {
        Self { credits: INITIAL_FOR_EACH_VCORE * f64::from(sku.vcores), is_held: false }
    }

    /// After some time in which some CPU was used.
    #[must_use]
    pub fn after(self, burst: &Burst, spell: Spell) -> Self {
        let hours = spell.lasted.num_milliseconds().max(0) as f64 / 3_600_000.0;
        let credits = self.credits + burst.credits_per_hour * hours - spell.credits();
        let credits = credits.clamp(0.0, burst.credits_max);
        let is_held = match self.is_held {
            true => credits < burst.release_at(),
            false => credits <= 0.0,
        };
        Self { credits, is_held }
    }
}

/// Some time and the CPU used in it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spell {
    pub lasted: Duration,
    pub used_seconds: f64,
}

impl Spell {
    /// Credits spent.
    pub fn credits(&self) -> f64 {
        self.used_seconds / 60.0
    }
}

/// The CPU counter of a container at a moment. It begins again at zero when the container starts.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Which run of which container: another one has another counter.
    pub run: String,
    pub nanos: u64,
    pub at: DateTime<Utc>,
}

impl Reading {
    /// What lies between the reading before and this one. After a start, everything since that start
    /// counts: nothing was earned while nothing ran.
    pub fn since(&self, before: Option<&Reading>, started_at: Option<DateTime<Utc>>) -> Spell {
        let same = before.filter(|before| before.run == self.run && before.nanos <= self.nanos);
        let (begun, nanos) = match same {
            Some(before) => (before.at, self.nanos - before.nanos),
            None => (started_at.unwrap_or(self.at), self.nanos),
        };
        Spell { lasted: (self.at - begun).max(Duration::zero()), used_seconds: nanos as f64 / 1e9 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::catalog::Tier;

    fn sku(name: &str) -> &'static Sku {
        Sku::by_name(&format!("Standard_{name}")).unwrap()
    }

    fn minute(used_seconds: f64) -> Spell {
        Spell { lasted: Duration::minutes(1), used_seconds }
    }

    #[test]
    fn every_burstable_size_has_rules_and_no_other() {
        for tier in Tier::ALL {
            for sku in tier.skus() {
                let burst = burst_of(sku);
                assert_eq!(burst.is_some(), tier == Tier::Burstable, "{}", sku.name);
                let Some(burst) = burst else { continue };
                // Held to its baseline, a size earns what it spends.
                let earned = burst.baseline_vcores * 60.0;
                assert!((earned - burst.credits_per_hour).abs() < 1.0, "{}", sku.name);
                assert!(burst.baseline_vcores <= f64::from(sku.vcores), "{}", sku.name);
                assert!(Balance::initial(sku).credits < burst.credits_max, "{}", sku.name);
            }
        }
    }

    #[test]
    fn credits_are_earned_idle_and_spent_above_the_baseline() {
        let burst = burst_of(sku("B1ms")).unwrap();
        let begun = Balance::initial(sku("B1ms"));
        assert!((begun.credits - 30.0).abs() < 1e-9);
        assert!((begun.after(&burst, minute(0.0)).credits - 30.2).abs() < 1e-9);
        assert!((begun.after(&burst, minute(12.0)).credits - 30.0).abs() < 1e-9, "at baseline");
        assert!((begun.after(&burst, minute(60.0)).credits - 29.2).abs() < 1e-9);
        let week = Spell { lasted: Duration::days(7), used_seconds: 0.0 };
        assert!((begun.after(&burst, week).credits - 288.0).abs() < 1e-9, "the bank is full");
    }

    #[test]
    fn without_credits_it_is_held_and_let_go_after_a_while() {
        let burst = burst_of(sku("B1ms")).unwrap();
        let mut balance = Balance { credits: 0.5, is_held: false };
        balance = balance.after(&burst, minute(60.0));
        assert_eq!(balance, Balance { credits: 0.0, is_held: true });
        assert!((effective_vcores(sku("B1ms"), true) - 0.2).abs() < 1e-9);
        assert!((effective_vcores(sku("B1ms"), false) - 1.0).abs() < 1e-9);
        assert!((effective_vcores(sku("D2ds_v5"), true) - 2.0).abs() < 1e-9);
        balance = balance.after(&burst, minute(12.0));
        assert!(balance.is_held, "at its baseline it earns nothing");
        for _ in 0..4 {
            balance = balance.after(&burst, minute(0.0));
        }
        assert!(balance.is_held, "0.8 credits are not enough");
        balance = balance.after(&burst, minute(0.0)).after(&burst, minute(0.0));
        assert!(!balance.is_held);
    }

    #[test]
    fn a_restart_begins_a_new_counter_and_a_stop_earns_nothing() {
        let at = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        let reading = |run: &str, nanos, seconds| Reading {
            run: run.into(),
            nanos,
            at: at + Duration::seconds(seconds),
        };
        let first = reading("a", 5_000_000_000, 0);
        let next = reading("a", 8_000_000_000, 60);
        assert_eq!(next.since(Some(&first), None), minute(3.0));
        let restarted = reading("b", 1_000_000_000, 600);
        let begun = Some(at + Duration::seconds(540));
        assert_eq!(restarted.since(Some(&next), begun), minute(1.0));
        let back = reading("a", 1_000_000_000, 60);
        assert_eq!(back.since(Some(&first), Some(at)), minute(1.0), "a counter never runs back");
        assert_eq!(first.since(None, None).lasted, Duration::zero());
    }
}
