//! Pure: the files from which a member's PostgreSQL starts, rendered whole from typed values.
//!
//! Nothing is patched and nothing that a person typed gets in except through a typed value, so there
//! is no line to inject. Formulas for memory are the original's (inventory 9.2).

mod archive;
mod hba;
mod recovery;
mod replication;
mod values;

pub use archive::Archiving;
pub use hba::Admission;
pub use recovery::{Recovery, RecoveryTarget};
pub use replication::{
    Commits, NOBODY, Replication, ReplicationFiles, Source, replication_files, standby_signal,
};

use crate::domain::catalog::{RESERVED_CONNECTIONS, Sku, StorageSize};
use crate::domain::configuration::Configuration;
use crate::domain::extensions;
use crate::domain::names::ServerName;
use crate::domain::network::Access;
use crate::domain::server::Server;
use crate::domain::version::Major;
use crate::secrets::Secret;
use hba::pg_hba_conf;
use std::collections::BTreeMap;
use std::fmt;
use values::Value::{self, Amount, Bytes, Number, Seconds, Text, Word};

/// Directory of the rendered files below the volume.
const DIRECTORY: &str = "config";
/// The same, as PostgreSQL in the container sees it.
const PATH: &str = "/var/lib/pgflex/config";
/// Readable by PostgreSQL alone.
const MODE: u32 = 0o600;
const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

/// A file below the volume.
#[derive(Clone, PartialEq, Eq)]
pub struct ConfigFile {
    /// Such as `config/postgresql.conf`.
    pub path: String,
    pub mode: u32,
    pub content: Vec<u8>,
}

impl fmt::Debug for ConfigFile {
    /// Some contents are keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConfigFile({}, {} bytes)", self.path, self.content.len())
    }
}

/// What the settings of a member depend on.
#[derive(Debug, Clone)]
pub struct Settings<'a> {
    pub name: &'a ServerName,
    pub major: Major,
    pub sku: &'static Sku,
    pub storage: &'static StorageSize,
    pub configuration: &'a Configuration,
    pub admission: Admission,
    pub replication: Replication,
    pub archiving: Archiving,
}

impl<'a> Settings<'a> {
    /// A private server lets nobody in until it is said from which network: see [`Settings::admitting`].
    pub fn of(server: &'a Server) -> Self {
        let spec = &server.spec;
        Self {
            name: &spec.name,
            major: spec.major,
            sku: spec.sku(),
            storage: spec.storage(),
            configuration: &server.configuration,
            admission: match spec.access {
                Access::Public => Admission::Everyone,
                Access::Private => Admission::Nobody,
            },
            replication: Replication::None,
            archiving: Archiving::Waiting,
        }
    }

    /// The same with people from elsewhere.
    pub fn admitting(self, admission: Admission) -> Self {
        Self { admission, ..self }
    }

    /// The same as a member of a pair.
    pub fn replicating(self, replication: Replication) -> Self {
        Self { replication, ..self }
    }

    /// The same with a log that goes there.
    pub fn archiving(self, archiving: Archiving) -> Self {
        Self { archiving, ..self }
    }
}

/// What PostgreSQL needs for TLS; all PEM.
#[derive(Debug, Clone)]
pub struct TlsFiles<'a> {
    pub certificate: &'a str,
    pub key: &'a Secret,
    /// CA of the portal's own client certificate for this server.
    pub client_authority: &'a str,
}

/// Every file that must be there before the first start.
pub fn all_files(settings: &Settings<'_>, tls: &TlsFiles<'_>) -> Vec<ConfigFile> {
    let mut files = vec![
        file("postgresql.conf", postgresql_conf(settings)),
        file("pg_hba.conf", pg_hba_conf(settings)),
        file("pg_ident.conf", "# No mappings.\n".into()),
    ];
    files.extend(tls_files(tls));
    files
}

/// The files that a renewed certificate replaces; PostgreSQL reads them again on SIGHUP.
pub fn tls_files(tls: &TlsFiles<'_>) -> Vec<ConfigFile> {
    vec![
        file("server.crt", tls.certificate.to_owned()),
        file("server.key", tls.key.reveal().to_owned()),
        file("client-ca.crt", tls.client_authority.to_owned()),
    ]
}

fn file(name: &str, content: String) -> ConfigFile {
    ConfigFile { path: format!("{DIRECTORY}/{name}"), mode: MODE, content: content.into_bytes() }
}

/// Every parameter that the file sets, as it stands there; of a name that stands twice the last counts.
pub fn values(settings: &Settings<'_>) -> BTreeMap<String, String> {
    let text = postgresql_conf(settings);
    let pairs = text.lines().filter(|line| !line.starts_with('#'));
    let pairs = pairs.filter_map(|line| line.split_once(" = "));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// What the server gets where no person set anything, by name in small letters: the default of each parameter
/// that is rendered.
pub fn defaults(settings: &Settings<'_>) -> BTreeMap<String, String> {
    let groups = groups(settings).into_iter().flat_map(|(_, group)| group);
    groups.map(|(name, value)| (name.to_ascii_lowercase(), value.plain())).collect()
}

fn groups(settings: &Settings<'_>) -> [(&'static str, Group); 8] {
    [
        ("Connections", connections(settings)),
        ("TLS and passwords", security(settings.major)),
        ("Memory", memory(settings.sku)),
        ("Extensions", extensions(settings.configuration)),
        ("Workers", workers(settings)),
        ("Write-ahead log", write_ahead_log(settings.storage)),
        ("Log", log()),
        ("Language and time", locale()),
    ]
}

fn postgresql_conf(settings: &Settings<'_>) -> String {
    let mut text = String::from("# Rendered by pgflex; changes are lost.\n");
    for (title, group) in groups(settings) {
        push_group(&mut text, title, group);
    }
    text.push_str("\n# Set by a person; of a name that stands twice the last counts.\n");
    for (name, value) in &settings.configuration.parameters {
        text.push_str(&format!("{name} = {}\n", Text(value.clone())));
    }
    // Behind what a person set: a full storage is no matter of taste.
    if settings.configuration.write_protected {
        push_group(&mut text, "Protection of a storage that is nearly full", protection());
    }
    // Behind all else: no setting may undo what a restore or an acknowledged commit rests on.
    push_group(&mut text, "Archive of the log", archive::group(settings));
    if let Some(group) = replication::group(settings) {
        push_group(&mut text, "Replication", group);
    }
    text
}

type Group = Vec<(&'static str, Value)>;

fn push_group(text: &mut String, title: &str, group: Group) {
    text.push_str(&format!("\n# {title}\n"));
    for (name, value) in group {
        text.push_str(&format!("{name} = {value}\n"));
    }
}

fn connections(settings: &Settings<'_>) -> Group {
    let mut group = vec![
        ("listen_addresses", Text("*".into())),
        ("port", Number(5432)),
        // No socket: whoever could reach one is in the container already.
        ("unix_socket_directories", Text(String::new())),
        ("max_connections", Number(settings.sku.max_connections.into())),
        ("authentication_timeout", Seconds(30)),
        // A client that vanished is noticed after two minutes idle, or while its query runs.
        ("tcp_keepalives_idle", Seconds(60)),
        ("tcp_keepalives_interval", Seconds(10)),
        ("tcp_keepalives_count", Number(6)),
        ("client_connection_check_interval", Seconds(10)),
        ("cluster_name", Text(settings.name.to_string())),
    ];
    // Since 16 part of what is kept for the service can be given to roles that are no superusers.
    let for_roles = if settings.major > Major::V15 { 5 } else { 0 };
    let for_us = RESERVED_CONNECTIONS - for_roles;
    group.push(("superuser_reserved_connections", Number(for_us.into())));
    if for_roles > 0 {
        group.push(("reserved_connections", Number(for_roles.into())));
    }
    group
}

fn security(major: Major) -> Group {
    let path = |name: &str| Text(format!("{PATH}/{name}"));
    let mut group = vec![
        ("hba_file", path("pg_hba.conf")),
        ("ident_file", path("pg_ident.conf")),
        ("ssl", Word("on")),
        ("ssl_cert_file", path("server.crt")),
        ("ssl_key_file", path("server.key")),
        ("ssl_ca_file", path("client-ca.crt")),
        ("ssl_min_protocol_version", Word("TLSv1.2")),
        // Of TLS 1.2: forward secrecy and authenticated encryption only. TLS 1.3 has nothing else.
        ("ssl_ciphers", Text("ECDHE+AESGCM:ECDHE+CHACHA20".into())),
        ("password_encryption", Word("scram-sha-256")),
    ];
    if major >= Major::V17 {
        // What stands here is the portal's to change; before 17 only superusers can, which no user is.
        group.push(("allow_alter_system", Word("off")));
    }
    group
}

fn memory(sku: &Sku) -> Group {
    let memory = sku.memory_bytes();
    // An eighth up to 2 GiB, where each connection's own memory weighs more; a quarter above.
    let share = if sku.memory_gib <= 2 { 8 } else { 4 };
    let maintenance_kib = (82.5 * f64::from(sku.memory_gib).ln() + 40.0) as u64 * 1024;
    vec![
        ("shared_buffers", Bytes(memory / share)),
        ("effective_cache_size", Bytes(memory / 4 * 3)),
        ("maintenance_work_mem", Bytes(maintenance_kib * 1024)),
        ("work_mem", Bytes(4 * MIB)),
        // Huge pages are not counted in the container's limit, so a size would not be what it says.
        ("huge_pages", Word("off")),
        ("dynamic_shared_memory_type", Word("posix")),
    ]
}

/// `pgextwlist` lets people who are no superusers create what is allowed, and nothing else: no extension of the
/// image is trusted. Query statistics are loaded always, for the performance pages.
fn extensions(configuration: &Configuration) -> Group {
    let allowed = &configuration.extensions;
    let offered: Vec<String> = allowed
        .iter()
        .filter(|name| extensions::is_offered(name))
        .map(|name| format!("\"{name}\""))
        .collect();
    let mut group = vec![
        ("shared_preload_libraries", Text(extensions::libraries(allowed).join(","))),
        ("session_preload_libraries", Text("pgextwlist".into())),
        ("extwlist.extensions", Text(offered.join(","))),
    ];
    if allowed.contains("pg_cron") {
        // Jobs run in workers: no connection of theirs would pass the rules of pg_hba.conf.
        group.push(("cron.use_background_workers", Word("on")));
        group.push(("cron.database_name", Text("postgres".into())));
    }
    group
}

fn workers(settings: &Settings<'_>) -> Group {
    let vcores = settings.sku.vcores;
    let mut group = vec![
        ("max_worker_processes", Number(vcores.max(8).into())),
        ("max_parallel_workers", Number(vcores.max(2).into())),
        ("max_parallel_workers_per_gather", Number(vcores.div_ceil(2).min(4).into())),
    ];
    if settings.major >= Major::V18 {
        // io_uring is closed to containers by the engine's filter of system calls.
        group.push(("io_method", Word("worker")));
    }
    group
}

/// `replica`, not `logical`: it is the original's default, enough for standbys and backups, and writes less.
fn write_ahead_log(storage: &StorageSize) -> Group {
    let max_wal = (storage.bytes() / 32).clamp(GIB, 16 * GIB);
    vec![
        ("wal_level", Word("replica")),
        ("max_wal_senders", Number(10)),
        ("max_replication_slots", Number(10)),
        ("max_wal_size", Bytes(max_wal)),
        ("min_wal_size", Bytes(max_wal / 8)),
        ("wal_compression", Word("lz4")),
        // A slot that nobody reads may not fill the volume.
        ("max_slot_wal_keep_size", Bytes((storage.bytes() / 4).min(64 * GIB))),
    ]
}

/// To the container's output, where the engine keeps it within bounds.
fn log() -> Group {
    vec![
        ("log_destination", Word("stderr")),
        ("logging_collector", Word("off")),
        ("log_line_prefix", Text("%m [%p] %q%u@%d %a ".into())),
        ("log_timezone", Text("UTC".into())),
        ("log_lock_waits", Word("on")),
        ("log_temp_files", Amount(64 * MIB / 1024, "kB")),
    ]
}

fn locale() -> Group {
    vec![
        ("timezone", Text("UTC".into())),
        ("datestyle", Text("iso, mdy".into())),
        ("lc_messages", Text("C.UTF-8".into())),
        ("lc_monetary", Text("C.UTF-8".into())),
        ("lc_numeric", Text("C.UTF-8".into())),
        ("lc_time", Text("C.UTF-8".into())),
        ("default_text_search_config", Text("pg_catalog.english".into())),
    ]
}

/// Sessions may still make themselves read-write, to delete what fills the storage.
fn protection() -> Group {
    vec![("default_transaction_read_only", Word("on"))]
}

#[cfg(test)]
#[path = "conf_tests.rs"]
mod tests;
