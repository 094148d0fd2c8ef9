//! What `pgbackrest info --output=json` says of one stanza. It comes from files that a member could have written:
//! numbers are bounded, labels are checked, and what does not parse is an error.

use crate::domain::backup::{BackupType, RestoreTarget};
use crate::domain::ha::Lsn;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Backups that are read of one stanza; a retention of 35 days needs far fewer.
const BACKUPS_MAX: usize = 2000;
/// Characters that are kept of what pgBackRest says is wrong.
const LINE_MAX: usize = 500;

/// Why an answer was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InfoError {
    #[error("pgBackRest's answer is no list of stanzas: {0}")]
    Shape(String),
    #[error("pgBackRest says of the repository: {0}")]
    Status(String),
    /// What is not decrypted cannot be told from what is damaged.
    #[error(
        "the list of backups in the repository cannot be read: the key that the portal keeps is not the key of these backups, or the list is damaged"
    )]
    Unreadable,
    #[error("a backup in the list has {0}")]
    Backup(String),
}

/// One stanza as its repository has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StanzaInfo {
    /// Oldest first.
    pub backups: Vec<BackupSet>,
    /// First and last file of the log, by name, over all lines of data; `None` without any.
    pub wal: Option<(String, String)>,
    /// PostgreSQL's own identity of the data; `None` before the stanza is made.
    pub system_identifier: Option<String>,
}

/// One backup of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupSet {
    pub label: String,
    pub kind: BackupType,
    pub started_at: DateTime<Utc>,
    pub ended_at: DateTime<Utc>,
    pub bytes: u64,
    pub stored_bytes: u64,
    pub wal: (String, String),
    pub lsn: (Lsn, Lsn),
    pub based_on: Option<String>,
    /// Whether pgBackRest found broken pages while it copied.
    pub has_errors: bool,
    pub annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct RawStanza {
    #[serde(default)]
    archive: Vec<RawArchive>,
    #[serde(default)]
    backup: Vec<RawBackup>,
    #[serde(default)]
    db: Vec<RawDatabase>,
    /// Before pgBackRest 2.32 there was one without a word of its own.
    #[serde(default)]
    repo: Vec<RawRepository>,
    status: RawStatus,
}

#[derive(Deserialize)]
struct RawRepository {
    status: RawStatus,
}

#[derive(Deserialize)]
struct RawArchive {
    min: Option<String>,
    max: Option<String>,
}

#[derive(Deserialize)]
struct RawDatabase {
    #[serde(rename = "system-id")]
    system_id: u64,
}

#[derive(Deserialize)]
struct RawStatus {
    code: i64,
    message: String,
}

#[derive(Deserialize)]
struct RawRange<T> {
    start: Option<T>,
    stop: Option<T>,
}

#[derive(Deserialize)]
struct RawInfo {
    size: u64,
    #[serde(default)]
    repository: RawStored,
}

#[derive(Deserialize, Default)]
struct RawStored {
    #[serde(default)]
    delta: u64,
}

#[derive(Deserialize)]
struct RawBackup {
    label: String,
    #[serde(rename = "type")]
    kind: String,
    prior: Option<String>,
    #[serde(default)]
    error: Option<bool>,
    archive: RawRange<String>,
    lsn: Option<RawRange<String>>,
    timestamp: RawRange<i64>,
    info: RawInfo,
    #[serde(default)]
    annotation: Option<BTreeMap<String, String>>,
}

/// Status of a stanza that is not there yet, and of one without backups.
const NOTHING_YET: [i64; 2] = [1, 2];

/// Reads the answer for one stanza.
///
/// # Errors
/// When it is no such answer, the repository has an error, or a backup in it cannot be one.
pub fn parse_info(text: &str) -> Result<StanzaInfo, InfoError> {
    // It quotes what it could not read of a file as it is, and JSON has no control characters in its texts.
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let stanzas: Vec<RawStanza> =
        serde_json::from_str(text.trim()).map_err(|error| InfoError::Shape(error.to_string()))?;
    let Some(stanza) = stanzas.into_iter().next() else { return Ok(StanzaInfo::default()) };
    if stanza.status.code != 0 && !NOTHING_YET.contains(&stanza.status.code) {
        return Err(wrong_with(stanza));
    }
    let backups =
        stanza.backup.into_iter().take(BACKUPS_MAX).map(read).collect::<Result<_, _>>()?;
    // The last entry is the line of data that is written now.
    let archive = stanza.archive.into_iter().next_back();
    Ok(StanzaInfo {
        backups,
        wal: archive.and_then(|one| one.min.zip(one.max)),
        system_identifier: stanza.db.last().map(|db| db.system_id.to_string()),
    })
}

/// The stanza itself only says "other"; its repository says what.
fn wrong_with(stanza: RawStanza) -> InfoError {
    let mut said = stanza.repo.into_iter().map(|one| one.status).filter(|one| one.code != 0);
    let said = said.next().unwrap_or(stanza.status).message;
    // By another key there is an error of the cipher, or now and then bytes that mean nothing.
    let is_unread = said.contains("unable to load info file")
        && ["CryptoError", "FormatError", "ChecksumError"].iter().any(|kind| said.contains(kind));
    if is_unread {
        return InfoError::Unreadable;
    }
    let line = said.lines().next().unwrap_or_default();
    InfoError::Status(line.chars().filter(|c| !c.is_control()).take(LINE_MAX).collect())
}

fn read(raw: RawBackup) -> Result<BackupSet, InfoError> {
    let wrong = |what: &str| InfoError::Backup(what.to_owned());
    RestoreTarget::backup(&raw.label).map_err(|_| wrong("a label that is none"))?;
    let time = |seconds: Option<i64>| seconds.and_then(|at| DateTime::from_timestamp(at, 0));
    let place = |text: Option<String>| text.as_deref().and_then(Lsn::parse);
    let times = time(raw.timestamp.start).zip(time(raw.timestamp.stop));
    let (started_at, ended_at) = times.ok_or_else(|| wrong("no time"))?;
    let lsn = raw.lsn.and_then(|lsn| place(lsn.start).zip(place(lsn.stop)));
    let wal = raw.archive.start.zip(raw.archive.stop);
    Ok(BackupSet {
        kind: BackupType::parse(&raw.kind).ok_or_else(|| wrong("a type that is none"))?,
        label: raw.label,
        started_at,
        ended_at,
        bytes: raw.info.size,
        stored_bytes: raw.info.repository.delta,
        wal: wal.ok_or_else(|| wrong("no log"))?,
        lsn: lsn.ok_or_else(|| wrong("no place in the log"))?,
        based_on: raw.prior,
        has_errors: raw.error.unwrap_or(false),
        annotations: raw.annotation.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As 2.55.1 wrote it, shortened.
    const ANSWER: &str = r#"[{"archive":[{"database":{"id":1,"repo-key":1},"id":"17-1","max":"000000010000000000000002","min":"000000010000000000000001"}],"backup":[{"annotation":{"pgflex-name":"hello"},"archive":{"start":"000000010000000000000002","stop":"000000010000000000000002"},"backrest":{"format":5,"version":"2.55.1"},"database":{"id":1,"repo-key":1},"error":false,"info":{"delta":23416374,"repository":{"delta":2823144,"delta-map":24768,"size-map":24768},"size":23416374},"label":"20261123-160800F","lsn":{"start":"0/2000028","stop":"0/2000120"},"prior":null,"reference":null,"timestamp":{"start":1795450080,"stop":1795450081},"type":"full"}],"cipher":"aes-256-cbc","db":[{"id":1,"repo-key":1,"system-id":7711399360497061903,"version":"17"}],"name":"stanza1","repo":[{"cipher":"aes-256-cbc","key":1,"status":{"code":0,"message":"ok"}}],"status":{"code":0,"lock":{"backup":{"held":false}},"message":"ok"}}]"#;

    #[test]
    fn the_answer_of_a_repository_is_read() {
        let info = parse_info(ANSWER).unwrap();
        let [backup] = &info.backups[..] else { panic!("{info:?}") };
        assert_eq!((backup.label.as_str(), backup.kind), ("20261123-160800F", BackupType::Full));
        assert_eq!((backup.bytes, backup.stored_bytes), (23_416_374, 2_823_144));
        assert_eq!(backup.ended_at.timestamp(), 1_795_450_081);
        assert_eq!(backup.annotations["pgflex-name"], "hello");
        assert_eq!(info.system_identifier.as_deref(), Some("7711399360497061903"));
    }

    #[test]
    fn what_is_no_answer_or_no_backup_is_an_error() {
        assert!(matches!(parse_info("x"), Err(InfoError::Shape(_))));
        let bad = ANSWER.replace("20261123-160800F", "../../x");
        assert!(matches!(parse_info(&bad), Err(InfoError::Backup(_))));
        let broken = r#"[{"name":"s","status":{"code":99,"message":"other"}}]"#;
        assert_eq!(parse_info(broken), Err(InfoError::Status("other".into())));
        let of_key = r#"[{"name":"s","repo":[{"key":1,"status":{"code":99,"message":"[CryptoError] unable to load info file '/r/backup.info' or '/r/backup.info.copy':\nCryptoError: unable to flush\nHINT: is or was the repo encrypted?"}}],"status":{"code":99,"message":"other"}}]"#;
        assert_eq!(parse_info(of_key), Err(InfoError::Unreadable));
        let of_bytes =
            of_key.replace("CryptoError: unable to flush", "FormatError: key \u{fffd}\u{1}");
        assert_eq!(parse_info(&of_bytes), Err(InfoError::Unreadable));
        let away =
            of_key.replace("[CryptoError] unable to load info file", "[HostConnectError] no");
        let said = "[HostConnectError] no '/r/backup.info' or '/r/backup.info.copy':";
        assert_eq!(parse_info(&away), Err(InfoError::Status(said.into())));
        let none = r#"[{"archive":[],"backup":[],"db":[],"name":"s","status":{"code":1,"message":"missing stanza path"}}]"#;
        assert_eq!(parse_info(none), Ok(StanzaInfo::default()));
    }
}
