//! Pure: the files from which pgBackRest works, rendered whole from typed values, and what it answers.
//!
//! Three programs read such a file: a member's PostgreSQL, which hands each piece of its log over; the helper that
//! takes a backup or gives one back; and the server of a repository. All but the last hold the key that encrypts:
//! what lies in a repository is scrambled before it leaves the container of the member or of the helper, and the
//! server of the repository never has the key.
//!
//! The server of a repository lets a client into the stanzas that its certificate is allowed, and pgBackRest as a client
//! asks for no other. Its protocol does not check paths within the repository: a program that runs inside a member's
//! container as PostgreSQL's user could name others. What it found there is encrypted with keys that it does not have.
//! Files of the container beside the repository are not: those with the key of an object storage lie there, too.

mod door;
mod info;
pub mod listing;
mod object;

pub use door::{beside, door_command, door_files, door_name, door_port, through};
pub use info::{BackupSet, InfoError, StanzaInfo, parse_info};
pub use object::{Storage, authority_file, erase_files, helper_extras, relay_files};

use super::conf::ConfigFile;
use crate::domain::backup::{Piece, Retention, path_of};
use crate::domain::version::Major;
use crate::secrets::Secret;
use std::fmt;
use std::sync::Arc;

/// The role that takes backups, by client certificate and nothing else.
pub const BACKUP_ROLE: &str = "pgflex_backup";
/// Name under which a repository is reached in the networks of its host; its certificate carries it.
pub const REPOSITORY_NAME: &str = "pgflex-repository";
/// Where a member's PostgreSQL finds the file that it archives by.
pub const ARCHIVE_CONF: &str = "/var/lib/pgflex/config/archive.conf";
/// Where helpers on a member's volume find theirs.
pub const HELPER_CONF: &str = "/var/lib/pgflex/config/backup.conf";
/// Where a recovering member finds the file that it fetches its log by.
pub const RECOVERY_CONF: &str = "/var/lib/pgflex/config/recovery.conf";
/// Port of a repository's server inside its container: the one that engines publish of every container.
pub const REPOSITORY_PORT: u16 = 5432;

const DIRECTORY: &str = "/var/lib/pgflex/config";
const DATA: &str = "/var/lib/pgflex/data";
/// Processes that copy side by side.
const PROCESSES: u32 = 2;

/// How a repository is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// Its volume is mounted.
    Mounted,
    /// Through its server, at a name or address that its certificate carries.
    Tls { host: String, port: u16 },
    /// In object storage, through a repository's server at this name, which knows the storage. The path is that of the
    /// repository within the bucket.
    Relay { host: String, port: u16, path: String },
    /// In object storage, by its own key.
    Storage(Arc<Storage>),
}

/// A server's part of one repository, with the key.
#[derive(Clone)]
pub struct Access<'a> {
    pub stanza: &'a str,
    /// The server's own number of the repository.
    pub number: i64,
    pub major: Major,
    pub reach: Reach,
    /// What backups and log are encrypted with; at least 48 random bytes, written as text.
    pub key: &'a Secret,
}

impl fmt::Debug for Access<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Access({}, {:?})", self.stanza, self.reach)
    }
}

/// What proves a member to the server of a repository; PEM.
#[derive(Clone)]
pub struct RepositoryTls<'a> {
    pub root_certificate: &'a str,
    pub certificate: &'a str,
    pub key: &'a Secret,
}

/// The certificates by which a repository's server and a client of it know each other.
pub fn tls_files(tls: &RepositoryTls<'_>) -> Vec<ConfigFile> {
    vec![
        file("repository-ca.crt", tls.root_certificate),
        file("repository.crt", tls.certificate),
        file("repository.key", tls.key.reveal()),
    ]
}

/// What a member's PostgreSQL archives by; each piece of the log goes into every repository.
pub fn archive_file(repositories: &[Access<'_>]) -> ConfigFile {
    let mut text = header();
    repositories.iter().zip(1..).for_each(|(one, number)| push_repository(&mut text, one, number));
    // Pieces go side by side; what is on its way is noted below the volume. A piece that cannot be handed over is
    // kept and tried again: none is ever given up for space.
    // A shutdown of PostgreSQL hands over what is left and waits so long for each try.
    text.push_str(
        "archive-async=y\narchive-timeout=10\nspool-path=/var/lib/pgflex/spool\nprocess-max=2\n",
    );
    push_stanza(&mut text, repositories);
    file("archive.conf", &text)
}

/// Where [`archive_file`] lies in a member's volume.
pub const ARCHIVE_FILE: &str = "config/archive.conf";

/// The key in what [`archive_file`] once wrote for this stanza; `None` when it is not understood.
pub fn key_in(text: &str, stanza: &str) -> Option<Secret> {
    let section = format!("[{stanza}]");
    let is_its_own = text.lines().any(|line| line == section);
    let key = text.lines().find_map(|line| line.strip_prefix("repo1-cipher-pass="))?;
    (is_its_own && !key.is_empty()).then(|| Secret::new(key))
}

/// The command by which PostgreSQL hands a piece of its log over.
pub fn archive_command(stanza: &str) -> String {
    format!("pgbackrest --config={ARCHIVE_CONF} --stanza={stanza} archive-push %p")
}

/// What a recovering PostgreSQL fetches its log by, from one repository.
pub fn recovery_file(from: &Access<'_>) -> ConfigFile {
    let mut text = header();
    push_repository(&mut text, from, 1);
    push_stanza(&mut text, std::slice::from_ref(from));
    file("recovery.conf", &text)
}

/// The command by which PostgreSQL fetches a piece of its log.
///
/// pgBackRest ends with 1 when the archive has no such piece. PostgreSQL takes every code up to 125 for that, and would
/// become a server in the middle of the log when the repository does not answer or a piece is damaged. So each other
/// error is told by a code that ends the recovery.
pub fn restore_command(stanza: &str) -> String {
    format!(
        "pgbackrest --config={RECOVERY_CONF} --stanza={stanza} archive-get %f \"%p\" || {{ test $? -eq 1 && exit 1; exit 126; }}"
    )
}

/// The piece of the log that a recovery asked for last and the archive has not, by the lines that PostgreSQL and
/// [`restore_command`] wrote. A recovery that came to the end of the archive asked for the piece behind the last one;
/// one that ended at a damaged piece did not.
pub fn asked_in_vain(lines: &[String], piece_bytes: u64) -> Option<Piece> {
    let name = |line: &String| {
        let (_, rest) = line.split_once("unable to find ")?;
        let (name, _) = rest.split_once(" in the archive")?;
        Piece::parse(name, piece_bytes)
    };
    lines.iter().rev().find_map(name)
}

/// What a helper takes a backup by, or gives one back: one repository, which is its number 1.
pub fn helper_file(one: &Access<'_>, retention: Retention) -> ConfigFile {
    let mut text = header();
    push_repository(&mut text, one, 1);
    let days = retention.as_days();
    text.push_str(&format!(
        "repo1-bundle=y\nrepo1-retention-full-type=time\nrepo1-retention-full={days}\n\
         expire-auto=n\nstart-fast=y\narchive-check=y\narchive-timeout=120\nprocess-max={PROCESSES}\n"
    ));
    if one.major > Major::V15 {
        // Stable since pgBackRest 2.46; PostgreSQL 15 comes with an older one.
        text.push_str("repo1-block=y\n");
    }
    push_stanza(&mut text, std::slice::from_ref(one));
    text.push_str(&format!("pg1-user={BACKUP_ROLE}\npg1-database=postgres\n"));
    file("backup.conf", &text)
}

/// A client of a repository's server and the stanzas it is let into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Common name of its certificate.
    pub name: String,
    pub stanzas: Vec<String>,
}

/// What the server of a repository works from.
pub fn server_file(clients: &[Client]) -> ConfigFile {
    let mut text = header();
    text.push_str(&format!(
        "repo1-path=/var/lib/pgbackrest\ntls-server-address=*\ntls-server-port={REPOSITORY_PORT}\n\
         tls-server-ca-file={DIRECTORY}/repository-ca.crt\ntls-server-cert-file={DIRECTORY}/repository.crt\n\
         tls-server-key-file={DIRECTORY}/repository.key\n"
    ));
    for client in clients.iter().filter(|client| !client.stanzas.is_empty()) {
        text.push_str(&format!("tls-server-auth={}={}\n", client.name, client.stanzas.join(",")));
    }
    file("server.conf", &text)
}

/// Arguments of the server of a repository.
pub fn server_command() -> Vec<String> {
    ["pgbackrest", &format!("--config={DIRECTORY}/server.conf"), "server"].map(Into::into).into()
}

/// Arguments of a helper on a member's volume. pgBackRest knows no way over TCP to PostgreSQL but what libpq reads
/// from its environment; nothing in it is secret.
pub fn helper_command(server: Host<'_>, stanza: &str, command: &[&str]) -> Vec<String> {
    let mut words = server_name(server);
    words.extend([
        "pgbackrest".into(),
        format!("--config={HELPER_CONF}"),
        format!("--stanza={stanza}"),
    ]);
    words.extend(command.iter().map(|word| (*word).to_owned()));
    words
}

/// PostgreSQL as libpq inside of pgBackRest shall find it: the name in its certificate, and its address where that is
/// known. A member that was promoted has no name in its network until it is made anew.
pub type Host<'a> = (&'a str, Option<&'a str>);

fn server_name((name, address): Host<'_>) -> Vec<String> {
    let address = address.map(|address| format!("PGHOSTADDR={address}"));
    let mut words = vec!["env".into(), format!("PGHOST={name}")];
    words.extend(address);
    words.extend([
        "PGSSLMODE=verify-full".into(),
        format!("PGSSLROOTCERT={DIRECTORY}/repository-ca.crt"),
        format!("PGSSLCERT={DIRECTORY}/backup.crt"),
        format!("PGSSLKEY={DIRECTORY}/backup.key"),
    ]);
    words
}

fn header() -> String {
    "# Rendered by pgflex; changes are lost.\n[global]\nlog-level-console=info\nlog-level-file=off\n\
     lock-path=/tmp/pgbackrest\ncompress-type=zst\n"
        .into()
}

fn push_repository(text: &mut String, one: &Access<'_>, number: u32) {
    let mut line = |name: &str, value: &str| {
        text.push_str(&format!("repo{number}-{name}={value}\n"));
    };
    line("cipher-type", "aes-256-cbc");
    line("cipher-pass", one.key.reveal());
    match &one.reach {
        Reach::Mounted => line("path", &path_of(one.number)),
        Reach::Tls { host, port } => {
            line("path", &path_of(one.number));
            push_host(text, (host, *port), number);
        }
        Reach::Relay { host, port, path } => {
            line("path", path);
            line("host-config", &object::relay_conf(number));
            push_host(text, (host, *port), number);
        }
        Reach::Storage(storage) => object::push_direct(text, storage, number),
    }
}

fn push_host(text: &mut String, (host, port): (&str, u16), number: u32) {
    let mut line = |name: &str, value: &str| {
        text.push_str(&format!("repo{number}-{name}={value}\n"));
    };
    line("host", host);
    line("host-type", "tls");
    line("host-port", &port.to_string());
    line("host-ca-file", &format!("{DIRECTORY}/repository-ca.crt"));
    line("host-cert-file", &format!("{DIRECTORY}/repository.crt"));
    line("host-key-file", &format!("{DIRECTORY}/repository.key"));
}

fn push_stanza(text: &mut String, repositories: &[Access<'_>]) {
    if let Some(first) = repositories.first() {
        text.push_str(&format!("\n[{}]\npg1-path={DATA}\n", first.stanza));
    }
}

fn file(name: &str, content: &str) -> ConfigFile {
    ConfigFile { path: format!("config/{name}"), mode: 0o600, content: content.as_bytes().to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(file: &ConfigFile) -> String {
        String::from_utf8(file.content.clone()).unwrap()
    }

    #[test]
    fn a_member_archives_into_every_repository_with_the_key() {
        let key = Secret::new("k".repeat(64));
        let far = Reach::Tls { host: "10.0.0.2".into(), port: 22999 };
        let near = Reach::Tls { host: REPOSITORY_NAME.into(), port: REPOSITORY_PORT };
        let access = |number, reach| Access {
            stanza: "pgflex-1",
            number,
            major: Major::V17,
            reach,
            key: &key,
        };
        let text = text(&archive_file(&[access(1, near), access(2, far)]));
        assert!(text.contains("repo1-path=/var/lib/pgbackrest\n"), "{text}");
        assert!(text.contains("repo2-path=/var/lib/pgbackrest/2\n"), "never the same twice");
        assert!(text.contains("repo1-host=pgflex-repository\n"), "{text}");
        assert!(text.contains("repo2-host=10.0.0.2\nrepo2-host-type=tls\nrepo2-host-port=22999\n"));
        assert_eq!(text.matches(&"k".repeat(64)).count(), 2);
        assert!(!text.contains("archive-push-queue-max"), "no piece is given up for space");
    }

    #[test]
    fn the_server_of_a_repository_has_no_key_and_lets_nobody_into_everything() {
        let client = |name: &str, stanzas: &[&str]| Client {
            name: name.into(),
            stanzas: stanzas.iter().map(|one| (*one).to_owned()).collect(),
        };
        let text = text(&server_file(&[client("a", &["pgflex-1", "pgflex-2"]), client("b", &[])]));
        assert!(text.contains("tls-server-auth=a=pgflex-1,pgflex-2\n"), "{text}");
        assert!(!text.contains("tls-server-auth=b"), "{text}");
        assert!(!text.contains("cipher") && !text.contains("=*\ntls-server-auth"), "{text}");
    }

    #[test]
    fn a_recovery_that_came_to_the_end_is_told_from_one_that_did_not() {
        let lines = |names: &[&str]| -> Vec<String> {
            names
                .iter()
                .map(|name| format!("P00   INFO: unable to find {name} in the archive"))
                .collect()
        };
        let asked =
            |names: &[&str]| asked_in_vain(&lines(names), 16 << 20).map(|piece| piece.number);
        assert_eq!(asked(&["000000010000000000000004", "00000002.history"]), Some(4));
        assert_eq!(asked(&["00000002.history"]), None);
        assert!(restore_command("s").ends_with("|| { test $? -eq 1 && exit 1; exit 126; }"));
    }

    #[test]
    fn blocks_are_copied_where_the_version_can() {
        let key = Secret::new("k".to_owned());
        let has = |major| {
            let one = Access { stanza: "s", number: 1, major, reach: Reach::Mounted, key: &key };
            text(&helper_file(&one, Retention::default())).contains("repo1-block=y")
        };
        assert_eq!([Major::V15, Major::V17, Major::V18].map(has), [false, true, true]);
    }
}
