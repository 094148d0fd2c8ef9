//! Pure: what another size changes in PostgreSQL's configuration, and whether that needs a restart.

use crate::domain::catalog::{Sku, Tier};
use crate::domain::server::Server;
use crate::postgres::conf::{self, Settings};

/// Parameters that follow the size and that PostgreSQL takes over while it runs. Everything else is taken
/// for one that needs a restart: one that is missing here costs a restart, not a wrong value.
const RELOADABLE: &[&str] = &[
    "effective_cache_size",
    "maintenance_work_mem",
    "work_mem",
    "max_parallel_workers",
    "max_parallel_workers_per_gather",
];
const GIB: u64 = 1 << 30;

/// What scaling does to PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScalePlan {
    /// PostgreSQL is stopped and started in a new container.
    pub restarts: bool,
    pub changes: Vec<ParameterChange>,
    /// Parameters that follow the size unless a person set them, as one did: they stay.
    pub kept: Vec<(String, String)>,
}

/// A parameter that follows the size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterChange {
    pub name: String,
    pub from: String,
    pub to: String,
    pub needs_restart: bool,
}

/// What becomes of a server that gets another size. Less memory always restarts: the limit may only be
/// lowered when PostgreSQL uses less.
pub fn plan(server: &Server, to: &'static Sku) -> ScalePlan {
    let from = server.spec.sku();
    let before = conf::values(&Settings::of(server));
    let after = conf::values(&Settings { sku: to, ..Settings::of(server) });
    let changes: Vec<ParameterChange> = after
        .iter()
        .filter_map(|(name, value)| {
            let old = before.get(name).filter(|old| *old != value)?;
            Some(ParameterChange {
                name: name.clone(),
                from: old.clone(),
                to: value.clone(),
                needs_restart: !RELOADABLE.contains(&name.as_str()),
            })
        })
        .collect();
    let restarts =
        to.memory_gib < from.memory_gib || changes.iter().any(|change| change.needs_restart);
    ScalePlan { restarts, changes, kept: kept(server, to) }
}

/// Found by rendering once without what people set.
fn kept(server: &Server, to: &'static Sku) -> Vec<(String, String)> {
    let mut configuration = server.configuration.clone();
    let parameters = std::mem::take(&mut configuration.parameters);
    let of = |sku| {
        conf::values(&Settings { sku, configuration: &configuration, ..Settings::of(server) })
    };
    let (before, after) = (of(server.spec.sku()), of(to));
    let follows = |name: &String| before.get(name) != after.get(name);
    parameters.into_iter().filter(|(name, _)| follows(name)).collect()
}

/// Why a pair cannot have a size. The original offers none of this tier with high availability, and neither do
/// we: a standby that replays with a baseline of a fifth of a core holds up every commit.
pub fn reason_against_pair(has_ha: bool, to: &Sku) -> Option<String> {
    (has_ha && to.tier == Tier::Burstable).then(|| {
        "Burstable sizes have no high availability. Switch high availability off first.".into()
    })
}

/// Why a size cannot hold what a person set: PostgreSQL would not start, or be killed.
pub fn reason_against(server: &Server, to: &Sku) -> Option<String> {
    if to.tier == Tier::Burstable && server.configuration.pooler.enabled {
        return Some(
            "Burstable sizes have no built-in PgBouncer. Switch connection pooling off first."
                .into(),
        );
    }
    let set = server.configuration.parameters.get("shared_buffers")?;
    let bytes = buffers_bytes(set)?;
    (bytes > to.memory_bytes() / 4 * 3).then(|| {
        format!(
            "shared_buffers was set to {set}, more than three quarters of {} GiB. Lower it or reset it first.",
            to.memory_gib
        )
    })
}

/// A value of `shared_buffers`: with a unit, or a number of 8 KiB blocks.
fn buffers_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim() {
        "" => 8192,
        "B" => 1,
        "kB" => 1 << 10,
        "MB" => 1 << 20,
        "GB" => GIB,
        "TB" => GIB << 10,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
#[path = "scale_plan_tests.rs"]
pub(in crate::operations) mod tests;
