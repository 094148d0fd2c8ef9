//! A repository in object storage.
//!
//! A server's own network has no way out, and what writes into the storage may delete every server's backups there. So
//! members hand their log over to the server of a repository beside them, as they do with one on a host, and that alone
//! knows the storage's key; so do restores and drills. Helpers that take and remove backups reach the storage themselves,
//! from a volume that is thrown away: up to 2.45 pgBackRest backs up and expires nowhere else.

use super::{Access, DIRECTORY, Reach, file, header};
use crate::domain::backup::ObjectStorage;
use crate::postgres::conf::ConfigFile;
use crate::secrets::Secret;

/// Repositories that one file of a member names, at most.
const NUMBERS: [u32; 3] = [1, 2, 3];
const AUTHORITY: &str = "object-ca.crt";

/// The configured object storage with what opens it.
#[derive(Debug, Clone)]
pub struct Storage {
    pub at: ObjectStorage,
    /// PEM of the authority of its certificate; `None` for those that every machine trusts.
    pub authority: Option<String>,
    pub key_id: String,
    pub secret_key: Secret,
}

/// The same storage: whoever has another key of it still finds the same objects.
impl PartialEq for Storage {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Storage {}

/// What the server of a repository reaches the storage by. A client names one of these files, by its own number of the
/// repository; it never reads one.
pub fn relay_files(storage: &Storage) -> Vec<ConfigFile> {
    let mut files: Vec<ConfigFile> = NUMBERS
        .iter()
        .map(|number| {
            let mut text = header();
            push_direct(&mut text, storage, *number);
            file(&relay_name(*number), &text)
        })
        .collect();
    files.extend(authority_file(storage));
    files
}

/// Where a client's server finds the file for the client's repository of this number.
pub(super) fn relay_conf(number: u32) -> String {
    format!("{DIRECTORY}/{}", relay_name(number))
}

fn relay_name(number: u32) -> String {
    format!("object-{number}.conf")
}

/// The certificate by which the storage is known; nothing where the usual ones do.
pub fn authority_file(storage: &Storage) -> Option<ConfigFile> {
    storage.authority.as_ref().map(|pem| file(AUTHORITY, pem))
}

pub(super) fn push_direct(text: &mut String, storage: &Storage, number: u32) {
    let at = &storage.at;
    let mut line = |name: &str, value: &str| {
        text.push_str(&format!("repo{number}-{name}={value}\n"));
    };
    line("path", &at.path());
    line("type", "s3");
    line("s3-endpoint", &at.host);
    line("storage-port", &at.port.to_string());
    line("s3-bucket", &at.bucket);
    line("s3-region", &at.region);
    line("s3-uri-style", if at.is_path_style { "path" } else { "host" });
    line("s3-key", &storage.key_id);
    line("s3-key-secret", storage.secret_key.reveal());
    if storage.authority.is_some() {
        line("storage-ca-file", &format!("{DIRECTORY}/{AUTHORITY}"));
    }
}

/// What the removal of a deleted server's objects works from: no key of its backups, which is gone by then.
pub fn erase_files(storage: &Storage) -> Vec<ConfigFile> {
    let mut text = header();
    push_direct(&mut text, storage, 1);
    let mut files = vec![file("backup.conf", &text)];
    files.extend(authority_file(storage));
    files
}

/// Files that a helper needs beside its own, by how it reaches the repository.
pub fn helper_extras(one: &Access<'_>) -> Vec<ConfigFile> {
    match &one.reach {
        Reach::Storage(storage) => authority_file(storage).into_iter().collect(),
        Reach::Mounted | Reach::Tls { .. } | Reach::Relay { .. } => vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::backup::Retention;
    use crate::domain::version::Major;
    use crate::postgres::pgbackrest::{
        Client, REPOSITORY_NAME, archive_file, helper_file, recovery_file, server_file,
    };

    fn storage(authority: Option<&str>) -> Storage {
        let at =
            ObjectStorage::parse("https://s3.example.org:9000", "bucket", "eu", "pgflex", "path");
        Storage {
            at: at.unwrap(),
            authority: authority.map(str::to_owned),
            key_id: "KEYID".into(),
            secret_key: Secret::new("SECRETKEY"),
        }
    }

    fn text(file: &ConfigFile) -> String {
        String::from_utf8(file.content.clone()).unwrap()
    }

    fn access(number: i64, reach: Reach, key: &Secret) -> Access<'_> {
        Access { stanza: "pgflex-1", number, major: Major::V17, reach, key }
    }

    #[test]
    fn a_member_hands_its_log_over_without_knowing_the_key_of_the_storage() {
        let key = Secret::new("k".repeat(64));
        let near = Reach::Tls { host: REPOSITORY_NAME.into(), port: 5432 };
        let relay = Reach::Relay { host: "relay".into(), port: 5432, path: "/pgflex".into() };
        let file = archive_file(&[access(1, near, &key), access(3, relay.clone(), &key)]);
        let archive = text(&file);
        assert!(archive.contains("repo1-path=/var/lib/pgbackrest\n"), "{archive}");
        assert!(archive.contains("repo2-path=/pgflex\n"), "{archive}");
        assert!(archive.contains("repo2-host=relay\nrepo2-host-type=tls\n"), "{archive}");
        assert!(archive.contains("repo2-host-config=/var/lib/pgflex/config/object-2.conf\n"));
        assert_eq!(archive.matches(&"k".repeat(64)).count(), 2, "encrypted before it leaves");
        let recovery = text(&recovery_file(&access(3, relay, &key)));
        assert!(recovery.contains("repo1-host-config=/var/lib/pgflex/config/object-1.conf\n"));
        assert!(!format!("{archive}{recovery}").contains("SECRET"));
    }

    #[test]
    fn the_server_of_a_repository_knows_the_storage_and_no_key_of_backups() {
        let files = relay_files(&storage(Some("PEM")));
        assert_eq!(files.len(), 4);
        assert!(files.iter().all(|file| file.mode == 0o600));
        let second = text(&files[1]);
        for line in [
            "repo2-path=/pgflex\n",
            "repo2-type=s3\n",
            "repo2-s3-endpoint=s3.example.org\n",
            "repo2-storage-port=9000\n",
            "repo2-s3-bucket=bucket\n",
            "repo2-s3-region=eu\n",
            "repo2-s3-uri-style=path\n",
            "repo2-s3-key=KEYID\nrepo2-s3-key-secret=SECRETKEY\n",
            "repo2-storage-ca-file=/var/lib/pgflex/config/object-ca.crt\n",
        ] {
            assert!(second.contains(line), "{line}{second}");
        }
        assert!(!second.contains("cipher") && !second.contains("repo1-"), "{second}");
        let client = Client { name: "a".into(), stanzas: vec!["pgflex-1".into()] };
        assert!(!text(&server_file(&[client])).contains("SECRET"));
        assert_eq!(relay_files(&storage(None)).len(), 3);
    }

    #[test]
    fn a_helper_reaches_the_storage_itself_and_encrypts() {
        let key = Secret::new("k".repeat(64));
        let reach = Reach::Storage(std::sync::Arc::new(storage(Some("PEM"))));
        let one = access(3, reach, &key);
        let helper = text(&helper_file(&one, Retention::default()));
        assert!(helper.contains("repo1-type=s3\n") && helper.contains("repo1-s3-key=KEYID\n"));
        assert!(helper.contains("repo1-cipher-type=aes-256-cbc\n"), "{helper}");
        assert_eq!(helper.matches("repo1-path=").count(), 1, "{helper}");
        assert!(!helper.contains("repo1-host"), "{helper}");
        assert_eq!(helper_extras(&one).len(), 1);
        assert!(!format!("{one:?}").contains("SECRET"));
    }
}
