//! Backups of the portal's own store: made, put on a host, read back.
//!
//! On every host they lie in a volume of their own, below a container that is made of any image of ours and never started: files are put
//! and read through it. The names of the files are few and used again and again, so nothing ever has to be cleared:
//! two for the last ones, one for each hour of a day, one for each day of a week. An engine that is cut off while it writes spoils one
//! of them, and each backup is written under three.

use crate::engine::{
    ContainerSpec, Engine, EngineError, FILE_BYTES_MAX, FileSpec, Labels, VolumeSpec, label,
};
use crate::secrets::stream::{SealedLines, SealedWriter};
use crate::secrets::{Sealer, SecretError};
use crate::store::dump::{self, Checked, DumpError, Header, Sink};
use crate::store::{Store, StoreError};
use chrono::{DateTime, Timelike, Utc};
use std::path::Path;
use std::sync::Arc;

/// Folder below the data folder with the same files as on every host.
pub const FOLDER: &str = "store-backups";

const HOURS: i64 = 24;
const DAYS: i64 = 7;
const MIB: u64 = 1 << 20;

/// Why no backup was made.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("the store could not be read")]
    Store(#[from] StoreError),
    #[error("the backup could not be sealed")]
    Seal(#[from] SecretError),
    #[error("the backup that was made is not whole: {0}")]
    NotWhole(DumpError),
    #[error("the backup is larger than {} MiB, which no host takes in one file", FILE_BYTES_MAX / (1 << 20))]
    TooLarge,
}

/// A backup in memory: sealed, whole.
#[derive(Debug, Clone)]
pub struct StoreFile {
    pub header: Header,
    pub content: Arc<Vec<u8>>,
}

struct SealedSink<'a>(SealedWriter<'a>);

impl Sink for SealedSink<'_> {
    /// In a piece of its own: whoever looks for the newest backup opens no more than this.
    fn header(&mut self, line: &str) {
        self.0.push(line.as_bytes());
        self.0.end_piece();
    }

    fn row(&mut self, line: &str) {
        self.0.push(line.as_bytes());
    }

    fn footer(&mut self, line: &str) {
        self.0.push(line.as_bytes());
    }
}

/// Reads the store as of one moment and seals what was read.
///
/// # Errors
/// When the store does not answer.
pub async fn make(
    store: &Store,
    sealer: &Sealer,
    install_id: &str,
    now: DateTime<Utc>,
) -> Result<StoreFile, BackupError> {
    let mut sink = SealedSink(SealedWriter::new(sealer));
    let header = store.dump(now, install_id, &mut sink).await?;
    let content = sink.0.finish()?;
    // The rest is for the archive around it.
    if content.len() > FILE_BYTES_MAX - (1 << 20) {
        return Err(BackupError::TooLarge);
    }
    verify(sealer, &content).map_err(BackupError::NotWhole)?;
    Ok(StoreFile { header, content: Arc::new(content) })
}

/// Reads a backup to its end.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn verify(sealer: &Sealer, file: &[u8]) -> Result<Checked, DumpError> {
    let lines = SealedLines::new(sealer, file);
    dump::check(lines.map_err(|error| DumpError::Unreadable(error.to_string()))?)
}

/// The names under which a backup of this moment is kept. `turn` counts: two that follow each other never write the same `recent`.
/// They are below a folder of the key's own: backups of another key, which a portal of a new one cannot read, are never
/// written over.
pub fn slots(sealer: &Sealer, at: DateTime<Utc>, turn: u64) -> [String; 3] {
    let key = folder(sealer);
    let day = at.timestamp().div_euclid(86_400).rem_euclid(DAYS);
    let hour = at.hour();
    [
        format!("{key}/recent/{}", turn % 2),
        format!("{key}/hourly/{hour:02}"),
        format!("{key}/daily/{day}"),
    ]
}

/// Every name there can be for a key, those of the last ones first.
pub fn all_slots(sealer: &Sealer) -> Vec<String> {
    let recent = (0..2).map(|turn| format!("recent/{turn}"));
    let hourly = (0..HOURS).map(|hour| format!("hourly/{hour:02}"));
    let names = recent.chain(hourly).chain((0..DAYS).map(|day| format!("daily/{day}")));
    let key = folder(sealer);
    names.map(|name| format!("{key}/{name}")).collect()
}

fn folder(sealer: &Sealer) -> String {
    format!("key-{}", sealer.mark())
}

/// Name of the volume, and of the container around it. Of the end of the identity: its begin is a time, which two
/// installations may share.
pub fn volume_name(install_id: &str) -> String {
    let end = install_id.rsplit('-').next().unwrap_or(install_id);
    format!("pgflex-{end}-store")
}

/// What became of a backup on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It is there: it was read back and is the same.
    Kept,
    /// The host has no image of ours yet to make the container of: it has no server yet either.
    Waiting,
}

/// Puts a backup on a host and reads it back.
///
/// # Errors
/// When the engine does not take it, or gives back something else.
pub async fn put(
    engine: &dyn Engine,
    install_id: &str,
    is_test: bool,
    slots: &[String],
    content: &[u8],
) -> Result<Put, EngineError> {
    let name = volume_name(install_id);
    if engine.container(&name).await?.is_none() && engine.facts().await?.images.is_empty() {
        return Ok(Put::Waiting);
    }
    let carrier = ensure_carrier(engine, install_id, is_test).await?;
    let file =
        |path: &String| FileSpec { path: path.clone(), mode: 0o600, content: content.to_vec() };
    engine.put_files(&carrier, &slots.iter().map(file).collect::<Vec<_>>()).await?;
    let Some(first) = slots.first() else { return Ok(Put::Waiting) };
    match engine.get_file(&carrier, first).await? {
        Some(back) if back == content => Ok(Put::Kept),
        _ => Err(EngineError::Refused(
            "what was read back is not what was written: the backup on this host is not to be relied on".into(),
        )),
    }
}

/// Reads a backup back; `None` when there is none of that name. Makes nothing but the container, where only that was lost.
///
/// # Errors
/// When the engine does not answer.
pub async fn get(
    engine: &dyn Engine,
    install_id: &str,
    slot: &str,
) -> Result<Option<Vec<u8>>, EngineError> {
    let name = volume_name(install_id);
    if engine.container(&name).await?.is_none() {
        if !engine.has_volume(&name).await? {
            return Ok(None);
        }
        ensure_carrier(engine, install_id, false).await?;
    }
    engine.get_file(&name, slot).await
}

async fn ensure_carrier(
    engine: &dyn Engine,
    install_id: &str,
    is_test: bool,
) -> Result<String, EngineError> {
    let name = volume_name(install_id);
    let mut labels = Labels::from([
        (label::INSTALL.into(), install_id.to_owned()),
        (label::STORE.into(), "1".into()),
    ]);
    if is_test {
        labels.insert(label::TEST.into(), "1".into());
    }
    engine.ensure_volume(&VolumeSpec { name: name.clone(), labels: labels.clone() }).await?;
    if engine.container(&name).await?.is_none() {
        let image = engine.facts().await?.images.pop().ok_or_else(no_image)?;
        engine.ensure_container(&carrier(&name, image, labels)).await?;
    }
    Ok(name)
}

fn no_image() -> EngineError {
    EngineError::Refused(
        "the host has no image of PostgreSQL yet; it gets the backup when its first server is made"
            .into(),
    )
}

fn carrier(name: &str, image: String, labels: Labels) -> ContainerSpec {
    ContainerSpec {
        name: name.to_owned(),
        image,
        // Should somebody start it, it ends at once.
        command: vec!["true".into()],
        labels,
        volume: name.to_owned(),
        repository: None,
        network: None,
        joins: vec![],
        publish: None,
        vcores: 0.1,
        memory_bytes: 32 * MIB,
        shm_bytes: MIB,
        pids_max: 8,
        restart: false,
        stop_seconds: 1,
    }
}

/// Puts a backup into the portal's own folder: for each name whole or not at all.
///
/// # Errors
/// When the file system refuses.
pub fn put_local(folder: &Path, slots: &[String], content: &[u8]) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    for slot in slots {
        let path = folder.join(slot);
        let parent = path.parent().unwrap_or(folder);
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        write_whole(&path, parent, content)?;
    }
    Ok(())
}

fn write_whole(path: &Path, parent: &Path, content: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let new = path.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    // The rename itself survives a power cut only with its folder.
    std::fs::File::open(parent)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_few_and_each_is_found_again() {
        let sealer = Sealer::from_key([7; 32]);
        let all = all_slots(&sealer);
        assert_eq!(all.len(), 33);
        let mut at = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        for turn in 0..500 {
            assert!(slots(&sealer, at, turn).iter().all(|slot| all.contains(slot)));
            at += chrono::Duration::minutes(47);
        }
        let (now, later) = (slots(&sealer, at, 4), slots(&sealer, at, 5));
        assert_ne!(now[0], later[0], "the last but one is not touched");
        let other = all_slots(&Sealer::from_key([8; 32]));
        assert!(
            other.iter().all(|slot| !all.contains(slot)),
            "those of another key are not either"
        );
    }

    #[test]
    fn a_local_backup_is_private_and_replaced_whole() {
        use std::os::unix::fs::PermissionsExt;
        let folder = std::env::temp_dir().join(format!("pgflex-{}", crate::clock::new_uuid()));
        let slots = ["hourly/03".to_owned()];
        put_local(&folder, &slots, b"one").unwrap();
        put_local(&folder, &slots, b"two").unwrap();
        let path = folder.join("hourly/03");
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.join("hourly")).unwrap().count(), 1);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
