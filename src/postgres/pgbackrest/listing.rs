//! What `pgbackrest repo-ls --output=json` says of a server's part of a repository. Names come from files that a member
//! could have written: whatever is not named as pgBackRest names it counts for nothing.

use crate::domain::backup::continuity::Stored;
use crate::domain::backup::{Piece, RestoreTarget};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// Why an answer was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListingError {
    /// It ends in the middle: ask for parts.
    #[error("pgBackRest's list of files is too long to be read")]
    CutOff,
    #[error("pgBackRest's answer is no list of files: {0}")]
    Shape(String),
}

/// Files of a stanza's log that are asked for: all, or of one part of sixteen.
pub fn archive_filter(part: Option<u8>) -> String {
    match part {
        None => r"^archive\.info(\.copy)?$|/[0-9A-F]{24}-".into(),
        Some(part) => {
            format!(r"^archive\.info(\.copy)?$|/[0-9A-F]{{23}}{:X}-", part % ARCHIVE_PARTS)
        }
    }
}

/// Into so many parts a long list is cut.
pub const ARCHIVE_PARTS: u8 = 16;

/// Files of a stanza's backups that are asked for: the list of each, and the list of all.
pub const BACKUP_FILTER: &str = r"(^|/)backup\.(info|manifest)(\.copy)?$";

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    time: i64,
}

fn files(text: &str) -> Result<BTreeMap<String, Entry>, ListingError> {
    let all: BTreeMap<String, Entry> = serde_json::from_str(text.trim()).map_err(|error| {
        if error.is_eof() { ListingError::CutOff } else { ListingError::Shape(error.to_string()) }
    })?;
    // What was cut off while it was written is no file.
    Ok(all.into_iter().filter(|(_, entry)| entry.kind == "file" && entry.size > 0).collect())
}

/// The whole pieces of the log of a stanza. Empty when pgBackRest's own file about them is gone: it would give none.
///
/// # Errors
/// When it is no such answer.
pub fn parse_archive(
    text: &str,
    piece_bytes: u64,
) -> Result<BTreeMap<Piece, Stored>, ListingError> {
    let files = files(text)?;
    let mut pieces: BTreeMap<Piece, Stored> = BTreeMap::new();
    if !["archive.info", "archive.info.copy"].iter().any(|name| files.contains_key(*name)) {
        return Ok(pieces);
    }
    for (path, entry) in &files {
        let at = DateTime::<Utc>::from_timestamp(entry.time, 0);
        let Some((piece, at)) = piece_of(path, piece_bytes).zip(at) else { continue };
        let stored = pieces.entry(piece).or_insert(Stored { at, contents: 0, bytes: 0 });
        stored.contents = stored.contents.saturating_add(1);
        stored.at = stored.at.max(at);
        stored.bytes = stored.bytes.saturating_add(entry.size);
    }
    Ok(pieces)
}

/// `17-1/0000000100000000/000000010000000000000002-<40 digits>.zst`
fn piece_of(path: &str, piece_bytes: u64) -> Option<Piece> {
    let [id, folder, file] = path.split('/').collect::<Vec<_>>().try_into().ok()?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (major, count) = id.split_once('-')?;
    let (name, sum) = (file.get(..24)?, file.get(24..)?.strip_prefix('-')?);
    let (sum, kind) = sum.split_once('.').unwrap_or((sum, ""));
    let is_sum = sum.len() == 40 && sum.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_kind = kind.len() <= 4 && kind.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let is_named = is_number(major) && is_number(count) && is_sum && is_kind;
    let is_upper = !name.bytes().any(|byte| byte.is_ascii_lowercase());
    (is_named && is_upper && name.get(..16) == Some(folder))
        .then(|| Piece::parse(name, piece_bytes))
        .flatten()
}

/// Labels of the backups that have a list of their files. Empty when the list of all is gone: pgBackRest would find none.
///
/// # Errors
/// When it is no such answer.
pub fn parse_backups(text: &str) -> Result<BTreeSet<String>, ListingError> {
    let files = files(text)?;
    if !["backup.info", "backup.info.copy"].iter().any(|name| files.contains_key(*name)) {
        return Ok(BTreeSet::new());
    }
    let label = |path: &String| {
        let (label, file) = path.split_once('/')?;
        let is_list = matches!(file, "backup.manifest" | "backup.manifest.copy");
        (is_list && RestoreTarget::backup(label).is_ok()).then(|| label.to_owned())
    };
    Ok(files.keys().filter_map(label).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 16 << 20;

    /// As 2.55.1 wrote it, shortened.
    const ARCHIVE: &str = r#"{".":{"type":"path"},"17-1":{"type":"path"},"17-1/0000000100000000":{"type":"path"},"17-1/0000000100000000/000000010000000000000002-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.zst":{"type":"file","size":70,"time":1795463348},"17-1/0000000100000000/000000010000000000000002.00000028.backup":{"type":"file","size":9,"time":1795463348},"17-1/00000002.history":{"type":"file","size":9,"time":1795463348},"17-1/archive.info":{"type":"file","size":9,"time":1795463348},"archive.info":{"type":"file","size":9,"time":1795463348}}"#;

    #[test]
    fn the_pieces_of_a_stanza_are_read() {
        let found = parse_archive(ARCHIVE, SIZE).unwrap();
        let one = Piece { timeline: 1, number: 2 };
        assert_eq!(found.keys().collect::<Vec<_>>(), [&one]);
        assert_eq!((found[&one].at.timestamp(), found[&one].contents), (1_795_463_348, 1));
        let twice = ARCHIVE.replace(
            r#"{".":"#,
            r#"{"17-1/0000000100000000/000000010000000000000002-bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb":{"type":"file","size":1,"time":1},".":"#,
        );
        let found = parse_archive(&twice, SIZE).unwrap();
        assert_eq!((found[&one].contents, found[&one].bytes), (2, 71));
        assert!(parse_archive(&ARCHIVE.replace("archive.info", "x"), SIZE).unwrap().is_empty());
        assert!(parse_archive(&ARCHIVE.replace(":70,", ":0,"), SIZE).unwrap().is_empty(), "empty");
    }

    #[test]
    fn names_that_pgbackrest_does_not_write_count_for_nothing() {
        let sum = "a".repeat(40);
        let name = "000000010000000000000002";
        assert!(piece_of(&format!("17-1/0000000100000000/{name}-{sum}"), SIZE).is_some());
        for path in [
            format!("17-1/0000000200000000/{name}-{sum}"),
            format!("../17-1/0000000100000000/{name}-{sum}"),
            format!("x/0000000100000000/{name}-{sum}"),
            format!("17-1/0000000100000000/{name}.partial-{sum}"),
            format!("17-1/0000000100000000/{name}-{sum}.pgbackrest.tmp"),
            format!("17-1/0000000100000000/{name}-{sum}0"),
            format!("17-1/0000000100000000/{name}"),
            format!("17-1/00000001é0000000/{name}-{sum}"),
            format!("17-1/0000000A00000000/{}-{sum}", name.replace('1', "a")),
        ] {
            assert_eq!(piece_of(&path, SIZE), None, "{path}");
        }
    }

    #[test]
    fn what_is_cut_off_is_told_from_what_is_wrong() {
        assert_eq!(parse_archive(&ARCHIVE[..300], SIZE), Err(ListingError::CutOff));
        assert!(matches!(parse_archive("[1]", SIZE), Err(ListingError::Shape(_))));
        assert_eq!(parse_archive("{}", SIZE), Ok(BTreeMap::new()));
    }

    #[test]
    fn the_backups_of_a_stanza_are_read() {
        let text = r#"{"backup.info":{"type":"file","size":9,"time":1},"20261123-160800F/backup.manifest":{"type":"file","size":9,"time":1},"20261123-160900F/backup.manifest":{"type":"file","size":0,"time":1},"../x/backup.manifest":{"type":"file","size":9,"time":1}}"#;
        let found = parse_backups(text).unwrap();
        assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), ["20261123-160800F"]);
        assert!(parse_backups(&text.replace("backup.info", "x")).unwrap().is_empty());
    }
}
