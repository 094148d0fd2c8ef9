//! Checks over several parameters and the server's size: what would keep PostgreSQL from starting is an
//! error, what is likely to hurt is a warning.

use super::{Catalogue, Fault};
use crate::domain::catalog::{RESERVED_CONNECTIONS, Sku};
use std::collections::{BTreeMap, BTreeSet};

/// Connections that must be left for people.
const PEOPLE_MIN: u32 = 10;
/// Milliseconds below which the portal's own short transactions would be cut off.
const TRANSACTION_MIN: f64 = 10_000.0;
/// Processes for workers of all sorts: the container has room for this many beside its connections.
const WORKERS_MAX: f64 = 128.0;

/// What a check of everything together found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Findings {
    pub faults: Vec<(&'static str, Fault)>,
    pub warnings: Vec<String>,
}

/// The values that would be in force: those set by a person over the defaults of the catalogue.
pub struct Wanted<'a> {
    pub catalogue: &'a Catalogue,
    pub sku: &'static Sku,
    /// Everything that a person will have set.
    pub set: &'a BTreeMap<String, String>,
}

impl Wanted<'_> {
    fn text(&self, name: &str) -> Option<&str> {
        let default = || self.catalogue.find(name).map(|found| found.default.as_str());
        self.set.get(name).map(String::as_str).or_else(default)
    }

    fn number(&self, name: &str) -> Option<f64> {
        self.catalogue.find(name)?.number(self.text(name)?)
    }

    /// In bytes; the parameter counts in `unit` bytes.
    fn bytes(&self, name: &str, unit: f64) -> Option<f64> {
        Some(self.number(name)? * unit)
    }

    /// Everything that is wrong or doubtful with what changes.
    pub fn check(&self, changed: &BTreeSet<String>) -> Findings {
        let mut found = Findings::default();
        self.check_connections(&mut found);
        self.check_memory(&mut found);
        self.check_processes(&mut found);
        if self.text("autovacuum") == Some("off") {
            found.warnings.push("Without autovacuum tables grow, plans get worse, and in the end PostgreSQL stops taking writes.".into());
        }
        if self.number("transaction_timeout").is_some_and(|ms| ms > 0.0 && ms < TRANSACTION_MIN) {
            let text = "It must be 0 (no limit) or at least 10s: the portal's own transactions are limited by it too.";
            found.faults.push(("transaction_timeout", Fault(text.into())));
        }
        // What somebody set before and leaves alone does not stand in the way of another change.
        found.faults.retain(|(name, _)| changed.contains(*name));
        found
    }

    fn check_connections(&self, found: &mut Findings) {
        let Some(connections) = self.number("max_connections") else { return };
        let (least, most) = (RESERVED_CONNECTIONS + PEOPLE_MIN, self.sku.max_connections);
        if connections < f64::from(least) {
            let text = format!(
                "It must be at least {least}: {RESERVED_CONNECTIONS} are kept for the service."
            );
            found.faults.push(("max_connections", Fault(text)));
        }
        if connections > f64::from(most) {
            let text = format!(
                "{} has room for the processes and memory of {most} connections. Choose a larger size, or use connection pooling.",
                self.sku.short_name()
            );
            found.faults.push(("max_connections", Fault(text)));
        }
    }

    fn check_memory(&self, found: &mut Findings) {
        let memory = self.sku.memory_bytes() as f64;
        if self.bytes("shared_buffers", 8192.0).is_some_and(|bytes| bytes > memory * 0.75) {
            let text = format!(
                "It must leave a quarter of the server's {} GiB for everything else.",
                self.sku.memory_gib
            );
            found.faults.push(("shared_buffers", Fault(text)));
        }
        let work = self.bytes("work_mem", 1024.0).zip(self.number("max_connections"));
        if work.is_some_and(|(bytes, connections)| bytes * connections > memory * 2.0) {
            found.warnings.push(format!("If every connection used work_mem once, that would be more than twice the server's {} GiB. PostgreSQL is ended when memory runs out.", self.sku.memory_gib));
        }
        let workers = self.number("autovacuum_max_workers").unwrap_or(3.0);
        if self
            .bytes("maintenance_work_mem", 1024.0)
            .is_some_and(|bytes| bytes * workers > memory / 2.0)
        {
            found.warnings.push("Autovacuum's workers together could take more than half of the memory as maintenance_work_mem.".into());
        }
    }

    fn check_processes(&self, found: &mut Findings) {
        for name in ["max_worker_processes", "autovacuum_max_workers", "max_prepared_transactions"]
        {
            let most = if name == "max_prepared_transactions" { 10_000.0 } else { WORKERS_MAX };
            if self.number(name).is_some_and(|number| number > most) {
                found.faults.push((name, Fault(format!("It must be at most {most}."))));
            }
        }
        if self.number("max_worker_processes").is_some_and(|number| number < 8.0) {
            let text =
                "It must be at least 8: PostgreSQL's own and the portal's workers need them.";
            found.faults.push(("max_worker_processes", Fault(text.into())));
        }
    }
}
