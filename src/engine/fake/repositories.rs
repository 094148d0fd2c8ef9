//! Plays pgBackRest on the fake engine: what lies in the repository volumes of a host, and what each command of a helper
//! does to it. A backup is in the list only when its helper ended well.

mod retention;

use super::FakeEngine;
use super::objects::Volume;
use crate::engine::RepositoryMount;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The first backup is of this second (2026-11-23 10:00 UTC); each further one is a minute later.
const FIRST: i64 = 1_795_428_000;

/// With this file in it a data directory recovers from an archive before it becomes a server.
pub(super) const RECOVERY_SIGNAL: &str = "data/recovery.signal";

/// One backup in a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FakeSet {
    pub label: String,
    /// "full", "diff" or "incr".
    pub kind: String,
    /// Seconds UTC.
    pub ended_at: i64,
    pub annotations: BTreeMap<String, String>,
    pub based_on: Option<String>,
}

#[derive(Debug, Clone, Default)]
struct Stanza {
    /// The directory that it lies in.
    path: String,
    sets: Vec<FakeSet>,
    /// Labels of sets that a verification finds damaged.
    damaged: Vec<String>,
    /// Names of pieces of the log that are not there, of those that every stanza has.
    lost: Vec<String>,
    /// Labels of sets that are in the list and have no files.
    hollow: Vec<String>,
    /// Lists of files are longer than an answer can be, unless a part of them is asked for.
    is_long: bool,
}

/// Pieces that a stanza has: what the fake PostgreSQL says is archived, and all before it.
const PIECES: std::ops::RangeInclusive<u32> = 1..=9;

/// By volume, then by name of the stanza.
#[derive(Default)]
pub(super) struct Repositories {
    volumes: BTreeMap<String, BTreeMap<String, Stanza>>,
    /// What lies in object storage, which is on no engine.
    stored: Arc<Mutex<BTreeMap<String, Stanza>>>,
    taken: i64,
    /// Seconds UTC at which backups end; counted where nobody says.
    now: Option<i64>,
    /// By command: how often it fails from now on, and with which line.
    faults: Vec<(String, String)>,
    /// How often a helper that is started from now on is found still running.
    slow: u32,
    /// Helpers that still run: what they were told, and how often they are still found so.
    running: BTreeMap<String, (Vec<String>, u32)>,
}

/// What a helper was told.
pub(super) struct Order {
    pub(super) words: Vec<String>,
    pub(super) repository: Option<RepositoryMount>,
    /// Names under which doors are open in the helper's network.
    pub(super) doors: Vec<String>,
    /// The networks that it is in.
    pub(super) networks: Vec<String>,
}

pub(super) struct End {
    pub(super) code: i64,
    pub(super) text: String,
}

pub(super) fn is_server(command: &str) -> bool {
    command.contains("pgbackrest") && command.ends_with(" server")
}

/// Path of the file that a server of pgBackRest's protocol works from.
pub(super) fn server_file(words: &[String]) -> Option<String> {
    let path = words.iter().find_map(|word| word.strip_prefix("--config="))?;
    path.strip_prefix("/var/lib/pgflex/").map(str::to_owned)
}

pub(super) fn is_tool(command: &str) -> bool {
    command.contains("pgbackrest") && !is_server(command)
}

const COMMANDS: [&str; 10] = [
    "stanza-create",
    "stanza-delete",
    "backup",
    "expire",
    "info",
    "repo-ls",
    "verify",
    "restore",
    "drill",
    "erase",
];

impl Order {
    fn command(&self) -> &str {
        let is_command = |word: &&String| COMMANDS.contains(&word.as_str());
        self.words.iter().find(is_command).map_or("", String::as_str)
    }

    fn option(&self, name: &str) -> Option<String> {
        let prefix = format!("--{name}=");
        self.words.iter().find_map(|word| word.strip_prefix(&prefix)).map(str::to_owned)
    }
}

impl Repositories {
    /// Whether a helper that is started now goes on for a while.
    pub(super) fn begin(&mut self, name: &str, words: &[String]) -> bool {
        if self.slow > 0 {
            self.running.insert(name.to_owned(), (words.to_vec(), self.slow));
        }
        self.slow > 0
    }

    /// Somebody looks whether it has ended: what it was told when this is the time.
    pub(super) fn look(&mut self, name: &str) -> Option<Vec<String>> {
        let (_, left) = self.running.get_mut(name)?;
        *left = left.saturating_sub(1);
        if *left > 0 {
            return None;
        }
        self.running.remove(name).map(|(words, _)| words)
    }

    /// It is killed: what it would have done is not done.
    pub(super) fn forget(&mut self, name: &str) {
        self.running.remove(name);
    }

    pub(super) fn play(&mut self, order: &Order, data: &mut Volume) -> End {
        let command = order.command().to_owned();
        if let Some(at) = self.faults.iter().position(|(name, _)| *name == command) {
            let (_, line) = self.faults.remove(at);
            // A drill says where it is before anything else.
            let stage = if command == "drill" { "stage=restore\n" } else { "" };
            return End { code: 39, text: format!("{stage}ERROR: [039]: {line}") };
        }
        match self.act(&command, order, data) {
            Ok(text) => End { code: 0, text },
            Err(line) => End { code: 56, text: format!("ERROR: [056]: {line}") },
        }
    }

    fn act(&mut self, command: &str, order: &Order, data: &mut Volume) -> Result<String, String> {
        let conf = data.files.get("config/backup.conf").cloned().unwrap_or_default();
        let conf = String::from_utf8_lossy(&conf).into_owned();
        let (is_direct, is_relayed) =
            (conf.contains("\nrepo1-type=s3\n"), conf.contains("\nrepo1-host-config="));
        if is_direct && !order.networks.iter().any(|name| name.ends_with("-repository-out")) {
            return Err(
                "unable to get address for the storage: Temporary failure in name resolution"
                    .into(),
            );
        }
        // Without a mount it works through the server of some repository: there is one of each in these tests.
        let volume = match &order.repository {
            Some(mount) => mount.volume.clone(),
            None if is_direct || is_relayed => String::new(),
            None => self.volumes.keys().next().cloned().ok_or("no repository answers")?,
        };
        let stored = self.stored.clone();
        let mut stored = locked(&stored);
        let stanzas = match volume.as_str() {
            "" => &mut *stored,
            volume => self.volumes.entry(volume.to_owned()).or_default(),
        };
        if command == "erase" {
            return retention::erase(stanzas, order, is_direct);
        }
        // Without its file it knows neither the repository nor the key.
        if !data.files.contains_key("config/backup.conf") {
            return Err("unable to open missing file 'backup.conf' for read".into());
        }
        let is_through_door = conf.contains("\npg1-host=");
        if matches!(command, "backup" | "stanza-create") && data.is_initialised == is_through_door {
            return Err("unable to find primary cluster - cannot proceed".into());
        }
        if command == "backup" {
            check_source(&conf, order)?;
        }
        let is_read_only = order.repository.as_ref().is_some_and(|mount| mount.read_only);
        if is_read_only && !matches!(command, "info" | "repo-ls" | "verify" | "restore" | "drill") {
            return Err("unable to open file for write: [30] Read-only file system".into());
        }
        let name = order.option("stanza").unwrap_or_default();
        if command == "stanza-create" {
            stanzas.entry(name).or_default().path = retention::path_in(&conf);
            return Ok("stanza-create command end: completed successfully".into());
        }
        if command == "stanza-delete" {
            stanzas.remove(&name);
            return Ok("stanza-delete command end: completed successfully".into());
        }
        if command == "info" {
            return Ok(answer(&name, stanzas.get(&name)));
        }
        if command == "repo-ls" {
            return listing(order, &name, stanzas.get(&name));
        }
        let missing = || format!("stanza '{name}' is missing");
        let stanza = stanzas.get_mut(&name).ok_or_else(missing)?;
        self.taken += i64::from(command == "backup");
        let now = self.now.unwrap_or(FIRST + self.taken * 60);
        match command {
            "backup" => stanza.back_up(order, &conf, (now, self.taken)),
            "expire" => stanza.expire(order.option("set").as_deref(), (&conf, now)),
            "verify" => Ok(stanza.verify(&name, order.option("set").as_deref())),
            "restore" => stanza.restore(order.option("set").as_deref(), data),
            "drill" => stanza.drill(&name, order, data),
            other => Err(format!("invalid command '{other}'")),
        }
    }
}

/// From where a backup is copied, and that it says so. As the real one, it knows no standby unless it is told all of it.
fn check_source(conf: &str, order: &Order) -> Result<(), String> {
    let has = |line: &str| conf.contains(&format!("\n{line}"));
    let wants_standby = has("backup-standby=y\n");
    let knows = ["path=/var/lib/pgflex/data", "user=pgflex_backup", "host=", "host-type=tls"];
    let is_known = knows.iter().all(|line| has(&format!("pg2-{line}")));
    if wants_standby && !(is_known && is_open(conf, 2, order)) {
        return Err("unable to find standby cluster - cannot proceed".into());
    }
    let is_one_twice = |option: &str| {
        let of = |member: u8| {
            let name = format!("pg{member}-{option}=");
            conf.lines().find_map(|line| line.strip_prefix(&name))
        };
        of(1).is_some() && of(1) == of(2)
    };
    if is_one_twice("host") && is_one_twice("host-port") {
        return Err("primary and standby are one".into());
    }
    let truth = if wants_standby { "standby" } else { "primary" };
    if !is_open(conf, 1, order) {
        return Err("unable to find primary cluster - cannot proceed".into());
    }
    match order.option("annotation=pgflex-copied-from").as_deref() {
        Some(said) if said == truth => Ok(()),
        said => Err(format!("it is copied from the {truth}, but says {said:?}")),
    }
}

/// Whether the door of a member is open. One at an address is on an engine that is not looked at here.
fn is_open(conf: &str, member: u8, order: &Order) -> bool {
    let name = format!("pg{member}-host=");
    let host = conf.lines().find_map(|line| line.strip_prefix(&name));
    host.is_none_or(|host| host.contains('.') || order.doors.iter().any(|door| door == host))
}

fn locked(stored: &Mutex<BTreeMap<String, Stanza>>) -> MutexGuard<'_, BTreeMap<String, Stanza>> {
    stored.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stanza {
    fn take(&mut self, order: &Order, ended_at: i64, number: i64) -> &FakeSet {
        let full = self.sets.iter().rev().find(|set| set.kind == "full").cloned();
        let asked = order.option("type").unwrap_or_else(|| "incr".into());
        let time = chrono::DateTime::from_timestamp(ended_at, 0).unwrap_or_default();
        let stamp = format!("{}{:02}", time.format("%Y%m%d-%H%M"), number % 60);
        let (kind, label, based_on) = match (asked.as_str(), full) {
            ("full", _) | (_, None) => ("full".to_owned(), format!("{stamp}F"), None),
            (kind, Some(full)) => {
                let letter = if kind == "diff" { "D" } else { "I" };
                let label = format!("{}_{stamp}{letter}", full.label);
                (kind.to_owned(), label, Some(full.label))
            }
        };
        let annotation = |word: &String| {
            let (key, value) = word.strip_prefix("--annotation=")?.split_once('=')?;
            Some((key.to_owned(), value.to_owned()))
        };
        let annotations = order.words.iter().filter_map(annotation).collect();
        self.sets.push(FakeSet { label, kind, ended_at, annotations, based_on });
        &self.sets[self.sets.len() - 1]
    }

    /// As `--output=text --verbose` writes it.
    fn verify(&self, name: &str, label: Option<&str>) -> String {
        let looked = self.sets.iter().filter(|set| label.is_none_or(|label| set.label == label));
        let is_bad = |set: &FakeSet| {
            let base = set.based_on.clone().unwrap_or_default();
            self.damaged.contains(&set.label) || self.damaged.contains(&base)
        };
        let about = |set: &FakeSet| {
            let (status, bad) = if is_bad(set) { ("invalid", 1) } else { ("valid", 0) };
            let (label, whole) = (&set.label, 966 - bad);
            format!(
                "\n  backup: {label}, status: {status}, total files checked: 966, total valid files: {whole}\n    missing: 0, checksum invalid: {bad}, size invalid: 0, other: 0"
            )
        };
        let status = if self.sets.iter().any(is_bad) { "error" } else { "ok" };
        let sets: String = looked.map(about).collect();
        format!("stanza: {name}\nstatus: {status}{sets}")
    }

    fn restore(&self, label: Option<&str>, data: &mut Volume) -> Result<String, String> {
        let has = |label: &str| self.sets.iter().any(|set| set.label == label);
        let is_whole = |set: &FakeSet| set.based_on.as_deref().is_none_or(has);
        let is_there = |set: &FakeSet| label.is_none_or(|label| set.label == label);
        if !self.sets.iter().any(|set| is_there(set) && is_whole(set)) {
            return Err("no backup set found to restore".into());
        }
        data.is_initialised = true;
        data.files.insert(RECOVERY_SIGNAL.into(), vec![]);
        Ok("restore command end: completed successfully".into())
    }

    /// All that the script of a drill prints, of a database with two tables.
    fn drill(&self, name: &str, order: &Order, data: &Volume) -> Result<String, String> {
        let label = order.option("set").unwrap_or_default();
        if !self.sets.iter().any(|set| set.label == label) || self.damaged.contains(&label) {
            return Err("no backup set found to restore".into());
        }
        let needed = ["config/postgresql.conf", "config/pg_hba.conf", "config/recovery.conf"];
        if let Some(file) = needed.iter().find(|file| !data.files.contains_key(**file)) {
            return Err(format!("could not open file {file}"));
        }
        Ok(format!(
            "stage=restore\narchive={}\nrestore_micros=2500000\nbytes=23416374\nstage=replay\nreplay_micros=500000\n\
             last_commit=1795428000000000\nasked=00000001000000000000000A\nstage=count\ndatabases=2\ntables=2\nrows=1502\n\
             uncounted=0\nstage=check\nchecked=821\nstage=done",
            answer(name, Some(self))
        ))
    }
}

/// As `repo-ls --recurse --output=json` writes it for the two filters that are used; a path that is not there is empty.
fn listing(order: &Order, name: &str, stanza: Option<&Stanza>) -> Result<String, String> {
    let has = |word: &str| order.words.iter().any(|one| one == word);
    if !has("--recurse") || !has("--output=json") {
        return Err("the fake lists with --recurse and --output=json alone".into());
    }
    let filter = order.option("filter").unwrap_or_default();
    let file = json!({ "type": "file", "size": 70, "time": FIRST });
    let mut all = serde_json::Map::new();
    let (is_archive, is_backup) = (has(&format!("archive/{name}")), has(&format!("backup/{name}")));
    match stanza {
        Some(stanza) if is_archive && filter.contains("archive") => {
            all.insert("archive.info".into(), file.clone());
            let part = filter.split_once("{23}").and_then(|(_, rest)| rest.chars().next());
            for piece in PIECES.map(|number| format!("0000000100000000{number:08X}")) {
                let is_asked = part.is_none_or(|part| piece.ends_with(part));
                if is_asked && !stanza.lost.contains(&piece) {
                    let sum = "a".repeat(40);
                    all.insert(format!("17-1/{}/{piece}-{sum}.zst", &piece[..16]), file.clone());
                }
            }
            if stanza.is_long && part.is_none() {
                let text = Value::Object(all).to_string();
                return Ok(text.chars().take(text.len() / 2).collect());
            }
        }
        Some(stanza) if is_backup && filter.contains("manifest") => {
            all.insert("backup.info".into(), file.clone());
            for set in stanza.sets.iter().filter(|set| !stanza.hollow.contains(&set.label)) {
                all.insert(format!("{}/backup.manifest", set.label), file.clone());
            }
        }
        Some(_) => return Err(format!("nothing lists {:?}", order.words)),
        None => {}
    }
    Ok(Value::Object(all).to_string())
}

/// As `info --output=json` writes it.
fn answer(name: &str, stanza: Option<&Stanza>) -> String {
    let Some(stanza) = stanza else {
        let status = json!({ "code": 1, "message": "missing stanza path" });
        return json!([{ "name": name, "archive": [], "backup": [], "db": [], "status": status }])
            .to_string();
    };
    let backups: Vec<Value> = stanza.sets.iter().map(described).collect();
    let wal = json!({ "min": "000000010000000000000001", "max": "000000010000000000000009" });
    json!([{
        "name": name, "archive": [wal], "backup": backups, "db": [{ "system-id": 7_711_399_360_497_061_903_u64 }],
        "status": { "code": if backups.is_empty() { 2 } else { 0 }, "message": "ok" },
    }])
    .to_string()
}

fn described(set: &FakeSet) -> Value {
    json!({
        "label": set.label, "type": set.kind, "prior": set.based_on, "error": false, "annotation": set.annotations,
        "archive": { "start": "000000010000000000000002", "stop": "000000010000000000000002" },
        "lsn": { "start": "0/2000028", "stop": "0/2000120" },
        "timestamp": { "start": set.ended_at - 1, "stop": set.ended_at },
        "info": { "size": 23_416_374, "repository": { "delta": 2_823_144 } },
    })
}

impl FakeEngine {
    /// Backups of a stanza in the repository of this volume, oldest first.
    pub fn backups(&self, volume: &str, stanza: &str) -> Vec<FakeSet> {
        let state = self.state();
        let stanzas = state.objects.repositories.volumes.get(volume);
        stanzas.and_then(|all| all.get(stanza)).map(|one| one.sets.clone()).unwrap_or_default()
    }

    /// Both engines reach one object storage from now on.
    pub fn share_object_storage(&self, other: &FakeEngine) {
        let stored = self.state().objects.repositories.stored.clone();
        other.state().objects.repositories.stored = stored;
    }

    /// Backups of a stanza in object storage, oldest first; `None` when the stanza is not there.
    pub fn stored_backups(&self, stanza: &str) -> Option<Vec<FakeSet>> {
        let state = self.state();
        let stored = locked(&state.objects.repositories.stored);
        stored.get(stanza).map(|one| one.sets.clone())
    }

    /// Whether the stanza is there.
    pub fn has_stanza(&self, volume: &str, stanza: &str) -> bool {
        let state = self.state();
        state.objects.repositories.volumes.get(volume).is_some_and(|all| all.contains_key(stanza))
    }

    /// The next run of this command of pgBackRest (`backup`, `restore`, …) ends badly with this line.
    pub fn fail_backup_tool(&self, command: &str, line: &str) {
        self.state().objects.repositories.faults.push((command.to_owned(), line.to_owned()));
    }

    /// Helpers of pgBackRest that are started from now on are found running so often before they end. What they do is
    /// done at their end.
    pub fn slow_backup_tool(&self, looks: u32) {
        self.state().objects.repositories.slow = looks;
    }

    /// Bytes of a backup are not what they were.
    pub fn damage_backup(&self, volume: &str, stanza: &str, label: &str) {
        let mut state = self.state();
        let stanzas = state.objects.repositories.volumes.get_mut(volume);
        if let Some(stanza) = stanzas.and_then(|all| all.get_mut(stanza)) {
            stanza.damaged.push(label.to_owned());
        }
    }

    /// Somebody removes a piece of the log from a stanza.
    pub fn lose_piece(&self, volume: &str, stanza: &str, name: &str) {
        self.with_stanza(volume, stanza, |one| one.lost.push(name.to_owned()));
    }

    /// Pieces that were lost are archived again.
    pub fn archive_again(&self, volume: &str, stanza: &str, names: &[String]) {
        self.with_stanza(volume, stanza, |one| one.lost.retain(|lost| !names.contains(lost)));
    }

    /// Somebody removes the files of a backup, which stays in pgBackRest's list.
    pub fn empty_backup(&self, volume: &str, stanza: &str, label: &str) {
        self.with_stanza(volume, stanza, |one| one.hollow.push(label.to_owned()));
    }

    /// Whole lists of a stanza's files are longer than an answer can be from now on.
    pub fn lengthen_lists(&self, volume: &str, stanza: &str) {
        self.with_stanza(volume, stanza, |one| one.is_long = true);
    }

    fn with_stanza(&self, volume: &str, stanza: &str, change: impl FnOnce(&mut Stanza)) {
        let mut state = self.state();
        let stanzas = state.objects.repositories.volumes.get_mut(volume);
        if let Some(one) = stanzas.and_then(|all| all.get_mut(stanza)) {
            change(one);
        }
    }

    /// Backups end at this time from now on.
    pub fn set_backup_time(&self, at: chrono::DateTime<chrono::Utc>) {
        self.state().objects.repositories.now = Some(at.timestamp());
    }
}
