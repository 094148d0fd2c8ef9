//! What a host has, what it may promise, and what it has promised.

use crate::domain::host::{EngineFacts, Overcommit};
use crate::domain::placement::Promise;

/// One resource of a host as a row with a bar.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    pub name: &'static str,
    pub promised: String,
    /// What the machine has; "not measured yet" where nobody could look.
    pub capacity: String,
    /// What may be promised at most.
    pub limit: String,
    /// Promised of the limit in percent, at most 100; `None` without a limit.
    pub percent: Option<u32>,
    pub is_over: bool,
}

const UNMEASURED: &str = "not measured yet";
/// The engine answered, and does not tell: of a host without a local socket nobody can measure the disk.
const UNTOLD: &str = "not measured";

/// The resources of a host; without facts the promises stand alone.
pub fn resources(
    promised: &Promise,
    facts: Option<&EngineFacts>,
    factor: &Overcommit,
) -> Vec<Resource> {
    let vcores = facts.map(|facts| f64::from(facts.cpus));
    let memory = facts.map(|facts| facts.memory_bytes as f64);
    let storage = facts.and_then(|facts| facts.storage_total_bytes).map(|bytes| bytes as f64);
    let unknown = if facts.is_some() { UNTOLD } else { UNMEASURED };
    vec![
        row("vCores", f64::from(promised.vcores), vcores.ok_or(unknown), factor.vcores, whole),
        row("Memory", promised.memory_bytes as f64, memory.ok_or(unknown), factor.memory, gib),
        row("Storage", promised.storage_bytes as f64, storage.ok_or(unknown), factor.storage, gib),
    ]
}

fn row(
    name: &'static str,
    promised: f64,
    capacity: Result<f64, &'static str>,
    factor: f64,
    text: fn(f64) -> String,
) -> Resource {
    let limit = capacity.map(|capacity| capacity * factor);
    let share = limit.ok().filter(|limit| *limit > 0.0).map(|limit| promised / limit);
    Resource {
        name,
        promised: text(promised),
        capacity: capacity.map_or_else(Into::into, text),
        limit: limit.map_or_else(Into::into, text),
        percent: share.map(|share| (share * 100.0).round().clamp(0.0, 100.0) as u32),
        is_over: share.is_some_and(|share| share > 1.0),
    }
}

fn whole(value: f64) -> String {
    format!("{value:.0}")
}

fn gib(bytes: f64) -> String {
    gib_text(bytes)
}

/// Bytes as GiB or TiB, with a decimal where it says something.
pub fn gib_text(bytes: f64) -> String {
    let gib = bytes / f64::from(1u32 << 30);
    if gib >= 10_000.0 {
        return format!("{:.1} TiB", gib / 1024.0);
    }
    if gib >= 100.0 || (gib - gib.round()).abs() < 0.05 {
        format!("{gib:.0} GiB")
    } else {
        format!("{gib:.1} GiB")
    }
}

/// The factors in words.
pub fn overcommit_text(factor: &Overcommit) -> String {
    format!(
        "A host may promise {}, {} and {}.",
        share(factor.vcores, "as many vCores as it has"),
        share(factor.memory, "as much memory as it has"),
        share(factor.storage, "as much disk as it has")
    )
}

fn share(factor: f64, whole: &str) -> String {
    if factor == 1.0 { whole.to_owned() } else { format!("{factor} times {whole}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> EngineFacts {
        EngineFacts {
            engine_id: "e".into(),
            engine_version: "26.1".into(),
            operating_system: "Debian".into(),
            kernel: "6.12".into(),
            cpus: 2,
            memory_bytes: 24 << 30,
            storage_total_bytes: None,
            storage_free_bytes: None,
            images: vec![],
            ranges: vec![],
            clock_ahead_ms: None,
        }
    }

    #[test]
    fn a_factor_of_one_is_said_in_words() {
        assert_eq!(
            overcommit_text(&Overcommit::default()),
            "A host may promise 4 times as many vCores as it has, as much memory as it has and 2 times as much disk as it has."
        );
    }

    #[test]
    fn promises_stand_against_the_limit_not_the_capacity() {
        let promised =
            Promise { servers: 3, vcores: 6, memory_bytes: 30 << 30, storage_bytes: 64 << 30 };
        let rows = resources(&promised, Some(&facts()), &Overcommit::default());
        assert_eq!((rows[0].limit.as_str(), rows[0].percent), ("8", Some(75)));
        assert_eq!((rows[1].promised.as_str(), rows[1].is_over), ("30 GiB", true));
        assert_eq!((rows[2].capacity.as_str(), rows[2].percent), ("not measured", None));
    }

    #[test]
    fn a_host_that_never_answered_has_no_invented_capacity() {
        let rows = resources(&Promise::default(), None, &Overcommit::default());
        assert!(rows.iter().all(|row| row.capacity == UNMEASURED && row.percent.is_none()));
    }
}
