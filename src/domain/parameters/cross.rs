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
/// Part of the memory that PostgreSQL may take at its start for all of its processes together.
const SHARED_PART: f64 = 0.75;
/// Bytes of shared memory for each place in the tables of locks, rounded up.
const LOCK_BYTES: f64 = 400.0;
/// Areas of shared memory beside `shared_buffers`, in blocks of 8 kB; 0 and -1 are small and PostgreSQL's own choice.
const SHARED_BLOCKS: [&str; 8] = [
    "wal_buffers",
    "commit_timestamp_buffers",
    "multixact_member_buffers",
    "multixact_offset_buffers",
    "notify_buffers",
    "serializable_buffers",
    "subtransaction_buffers",
    "transaction_buffers",
];
/// Areas that grow with the connections, and bytes for each one of the number.
const SHARED_EACH: [(&str, f64); 3] = [
    ("max_locks_per_transaction", LOCK_BYTES),
    ("max_pred_locks_per_transaction", LOCK_BYTES),
    ("track_activity_query_size", 1.0),
];

/// Entries of query statistics, with bytes for each one: their place in shared memory and in its index.
const SHARED_ENTRIES: (&str, f64) = ("pg_stat_statements.max", 512.0);

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
    /// Whether the server has a standby, or is to have one.
    pub has_ha: bool,
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
        self.check_shared_memory(&mut found);
        self.check_processes(&mut found);
        self.check_search_path(&mut found);
        self.check_commits(&mut found);
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

    /// With less, commits of everybody would be acknowledged that the standby does not have: what the page of the pair
    /// promises would not be so. The file of a pair holds `on` whatever is asked for, so a value below it could only
    /// be shown, never be in force.
    fn check_commits(&self, found: &mut Findings) {
        let is_enough =
            matches!(self.text("synchronous_commit"), None | Some("on" | "remote_apply"));
        if self.has_ha && !is_enough {
            let text = "With high availability it is on or remote_apply: with anything less an acknowledged commit could be lost. A session may choose less for itself by SET.";
            found.faults.push(("synchronous_commit", Fault(text.into())));
        }
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

    /// PostgreSQL would take these values and not start with them the next time.
    fn check_shared_memory(&self, found: &mut Findings) {
        let number = |name| self.number(name).unwrap_or(0.0).max(0.0);
        let sessions =
            number("max_connections") + number("max_prepared_transactions") + WORKERS_MAX;
        let blocks: f64 = SHARED_BLOCKS.iter().map(|name| number(name) * 8192.0).sum();
        let each: f64 =
            SHARED_EACH.iter().map(|(name, bytes)| number(name) * bytes * sessions).sum();
        let (entries, bytes) = SHARED_ENTRIES;
        let all = number("shared_buffers") * 8192.0 + blocks + each + number(entries) * bytes;
        if all <= self.sku.memory_bytes() as f64 * SHARED_PART {
            return;
        }
        let names = SHARED_BLOCKS.into_iter().chain(SHARED_EACH.map(|(name, _)| name));
        let names = names.chain([entries]);
        found.faults.extend(names.map(|name| {
            let text = format!(
                "With it PostgreSQL would take more than three quarters of the server's {} GiB at its start, and might not start.",
                self.sku.memory_gib
            );
            (name, Fault(text))
        }));
    }

    /// What runs with a superuser's rights in the server, such as the scheduler of pg_cron, names operators
    /// without a schema. Behind another schema, those of PostgreSQL could be replaced by anybody's.
    fn check_search_path(&self, found: &mut Findings) {
        let Some(path) = self.set.get("search_path") else { return };
        let is_catalog =
            |name: &str| name.trim().trim_matches('"').eq_ignore_ascii_case("pg_catalog");
        if path.split(',').skip(1).any(is_catalog) {
            let text = "pg_catalog may only come first. Leave it out: then it is searched first.";
            found.faults.push(("search_path", Fault(text.into())));
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
