//! The object storage of the configuration file, with the files that it names.

use crate::config::{OBJECT_STORAGE_SECRET, ObjectStorageConfig, object_storage_secret};
use crate::postgres::pgbackrest::Storage;
use crate::secrets::Secret;
use anyhow::{Context, bail};
use std::path::Path;

/// What is configured, checked and read. pgflex does not start with one that cannot be used: backups would go nowhere.
///
/// # Errors
/// What cannot be used, that nothing was changed, and what to do.
pub(super) fn read(config: &ObjectStorageConfig) -> anyhow::Result<Storage> {
    open(config, object_storage_secret()).context(
        "the object storage of the configuration file cannot be used, so pgflex was not started and nothing was changed",
    )
}

fn open(config: &ObjectStorageConfig, from_environment: Option<String>) -> anyhow::Result<Storage> {
    let at = config.place().map_err(|why| anyhow::anyhow!("in [object_storage]: {why}"))?;
    if !is_key(&config.key_id) {
        bail!(
            "in [object_storage]: key_id is empty or has characters that no key has. Write it as the storage gave it."
        );
    }
    let authority = config.ca.as_deref().map(text).transpose()?;
    if authority.as_ref().is_some_and(|pem| !pem.contains("-----BEGIN CERTIFICATE-----")) {
        bail!(
            "in [object_storage]: ca names a file without a certificate. It is a PEM file, and may hold several."
        );
    }
    let secret_key = match (&config.secret_key_file, from_environment) {
        (Some(path), _) => Secret::new(text(path)?.trim()),
        (None, Some(value)) => Secret::new(value.trim()),
        (None, None) => bail!(
            "in [object_storage]: there is no secret key. Name a file with it as secret_key_file, or set {OBJECT_STORAGE_SECRET}."
        ),
    };
    if !is_key(secret_key.reveal()) {
        bail!(
            "in [object_storage]: the secret key is empty or has characters that no key has. It is one line."
        );
    }
    Ok(Storage { at, authority, key_id: config.key_id.clone(), secret_key })
}

/// Each is one line of the file that pgBackRest reads.
fn is_key(text: &str) -> bool {
    !text.is_empty() && text.len() <= 1024 && text.chars().all(|c| c.is_ascii_graphic())
}

fn text(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path)
        .with_context(|| format!("the file {} cannot be read", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "walnut/marmalade+0815";

    fn config(more: &str) -> ObjectStorageConfig {
        let usual =
            "endpoint = 'https://s3.example.org'\nbucket = 'b'\nregion = 'eu'\nkey_id = 'K'\n";
        toml::from_str(&format!("{usual}{more}")).unwrap()
    }

    fn refused(config: &ObjectStorageConfig, secret: Option<&str>) -> String {
        let why = open(config, secret.map(str::to_owned)).unwrap_err();
        assert!(!format!("{why:?}").contains(SECRET), "{why:?}");
        format!("{why:#}")
    }

    #[test]
    fn a_secret_key_comes_from_a_file_or_the_environment_and_is_never_shown() {
        let read = open(&config(""), Some(format!("{SECRET}\n"))).unwrap();
        assert_eq!(read.secret_key.reveal(), SECRET);
        assert_eq!((read.at.prefix.as_str(), read.at.is_path_style), ("pgflex", true));
        assert!(!format!("{read:?}").contains(SECRET));
        let path = std::env::temp_dir().join(format!("pgflex-secret-{}", std::process::id()));
        std::fs::write(&path, format!("{SECRET}\n")).unwrap();
        let named = config(&format!("secret_key_file = '{}'", path.display()));
        assert_eq!(open(&named, Some("other".into())).unwrap().secret_key.reveal(), SECRET);
        std::fs::remove_file(&path).unwrap();
        let why = refused(&named, Some(SECRET));
        assert!(why.contains("cannot be read"), "{why}");
    }

    #[test]
    fn what_cannot_be_used_says_what_to_do() {
        let none = refused(&config(""), None);
        assert!(none.contains("secret_key_file") && none.contains(OBJECT_STORAGE_SECRET), "{none}");
        let two = refused(&config(""), Some(&format!("{SECRET}\nrepo1-cipher-type=none")));
        assert!(two.contains("one line"), "{two}");
        let bad = ObjectStorageConfig { endpoint: "http://a".into(), ..config("") };
        assert!(refused(&bad, Some(SECRET)).contains("https://HOST"));
        let bad = ObjectStorageConfig { key_id: "a b".into(), ..config("") };
        assert!(refused(&bad, Some(SECRET)).contains("key_id"));
        assert!(toml::from_str::<ObjectStorageConfig>("endpoint = 'x'\nsecret_key = 'y'").is_err());
    }
}
