//! Pure: the proof that a backup can be restored. What the helper of a drill runs, and what it says of it.
//!
//! The helper has no network, the repository to read, and a volume that is thrown away. It restores, starts PostgreSQL on
//! a socket that nobody else reaches, lets it replay all of the log, counts every row of every table, has `pg_amcheck`
//! read every page of every table and index, and stops. What it prints is of a user's data and hostile: numbers only,
//! each line once.

use super::conf::{ConfigFile, Recovery, RecoveryTarget};
use super::pgbackrest::{self, parse_info};
use crate::domain::backup::Piece;
use chrono::{DateTime, Utc};

const SCRIPT: &str = include_str!("restore_drill.sh");
/// Of a piece of the log: `initdb` is never told another size.
const PIECE_BYTES: u64 = 16 << 20;
/// The last stage of one that came to its end.
const DONE: &str = "done";

/// Arguments of the helper.
pub fn command(stanza: &str, label: &str) -> Vec<String> {
    let words = ["sh", "-euc", SCRIPT, "drill"].map(str::to_owned);
    [&words[..], &[format!("--stanza={stanza}"), format!("--set={label}")]].concat()
}

/// The settings of the copy: what a recovery needs and nothing of what the server loads. No file of it is the server's.
pub fn files(stanza: &str) -> Vec<ConfigFile> {
    let restore_command = pgbackrest::restore_command(stanza);
    let recovery = Recovery { restore_command, target: RecoveryTarget::End };
    let settings = format!(
        "# Rendered by pgflex; thrown away.
listen_addresses = ''
unix_socket_directories = '/run/postgresql'
hba_file = '/var/lib/pgflex/config/pg_hba.conf'
archive_mode = off
shared_buffers = '128MB'
max_connections = 20
max_prepared_transactions = 1000
max_logical_replication_workers = 0
autovacuum = off
log_destination = stderr
{}",
        recovery.lines()
    );
    let file = |name: &str, content: String| ConfigFile {
        path: format!("config/{name}"),
        mode: 0o600,
        content: content.into_bytes(),
    };
    let rules = "local all pgflex_control trust\n".to_owned();
    vec![file("postgresql.conf", settings), file("pg_hba.conf", rules)]
}

/// What a helper told, as far as it came.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Told {
    /// `restore`, `replay`, `count`, `check`, or `done`.
    pub stage: String,
    pub restore_micros: Option<i64>,
    pub replay_micros: Option<i64>,
    pub bytes: Option<i64>,
    pub databases: Option<i64>,
    pub tables: Option<i64>,
    pub rows: Option<i64>,
    /// Tables for which the time was too short.
    pub uncounted: Option<i64>,
    pub checked: Option<i64>,
    pub last_commit_at: Option<DateTime<Utc>>,
    /// The last piece of the log in the repository before the restore.
    last: Option<Piece>,
    /// The piece that PostgreSQL asked for last and that is not there.
    asked: Option<Piece>,
}

const STAGES: [&str; 5] = ["restore", "replay", "count", "check", DONE];

/// Reads what a helper wrote to its standard output.
///
/// # Errors
/// A sentence, when it is anything else than what the helper writes.
pub fn parse(output: &str) -> Result<Told, String> {
    let mut told = Told::default();
    let mut seen: Vec<&str> = vec![];
    for line in output.lines() {
        let (key, value) = line.split_once('=').ok_or("a line of the drill is none of its own")?;
        if key == "stage" {
            told.stage =
                (*STAGES.iter().find(|stage| **stage == value).ok_or("a stage is unknown")?)
                    .to_owned();
            continue;
        }
        if seen.contains(&key) {
            return Err(format!("the drill said “{key}” twice"));
        }
        seen.push(key);
        put(&mut told, key, value)?;
    }
    Ok(told)
}

fn put(told: &mut Told, key: &str, value: &str) -> Result<(), String> {
    match key {
        "archive" => {
            let info = parse_info(value).map_err(|error| error.to_string())?;
            told.last = info.wal.and_then(|(_, last)| Piece::parse(&last, PIECE_BYTES));
            return Ok(());
        }
        "asked" => {
            told.asked = Piece::parse(value, PIECE_BYTES);
            return Ok(());
        }
        _ => {}
    }
    let is_number =
        !value.is_empty() && value.len() < 19 && value.bytes().all(|b| b.is_ascii_digit());
    let number = value.parse::<i64>().ok().filter(|_| is_number);
    let number = number.ok_or_else(|| format!("“{key}” of the drill is no number"))?;
    let place = match key {
        "restore_micros" => &mut told.restore_micros,
        "replay_micros" => &mut told.replay_micros,
        "bytes" => &mut told.bytes,
        "databases" => &mut told.databases,
        "tables" => &mut told.tables,
        "rows" => &mut told.rows,
        "uncounted" => &mut told.uncounted,
        "checked" => &mut told.checked,
        "last_commit" => {
            told.last_commit_at = DateTime::from_timestamp_micros(number).filter(|_| number > 0);
            return Ok(());
        }
        _ => return Err("the drill said something else than it should".into()),
    };
    *place = Some(number);
    Ok(())
}

impl Told {
    /// Whether everything that a drill checks was checked and found right. `has_gap`: a piece behind the backup is known
    /// to be missing, so the log ends before its end.
    ///
    /// # Errors
    /// A sentence that says what is wrong; `lines` are the last that the helper wrote, for the reason.
    pub fn verdict(&self, code: i64, lines: &[String], has_gap: bool) -> Result<(), String> {
        let why = || reason(lines);
        match (self.stage.as_str(), code) {
            (DONE, 0) => {}
            ("restore", _) => return Err(format!("The backup could not be restored: {}", why())),
            ("replay", _) => {
                return Err(format!("PostgreSQL did not come up from the backup: {}", why()));
            }
            ("check", 3) => return Err(format!("pg_amcheck found damage: {}", why())),
            (_, code) => {
                return Err(format!("The drill broke off (code {code}): {}", why()));
            }
        }
        let numbers = [
            self.restore_micros,
            self.replay_micros,
            self.bytes,
            self.databases,
            self.tables,
            self.rows,
            self.uncounted,
            self.checked,
        ];
        if numbers.contains(&None) {
            return Err("The drill did not say all that it measured.".into());
        }
        // Every database has hundreds of catalogs and indexes.
        if self.databases == Some(0) || self.checked == Some(0) {
            return Err("The drill found nothing that it could check.".into());
        }
        let came_to_the_end = match (self.last, self.asked) {
            (Some(last), Some(asked)) => asked.number > last.number,
            _ => false,
        };
        if came_to_the_end || has_gap {
            return Ok(());
        }
        Err("The log could not be replayed to its end: a WAL file in the repository is damaged or missing.".into())
    }
}

/// The line that says why, which comes before those that say good-bye.
fn reason(lines: &[String]) -> String {
    let telling = ["ERROR:", "PANIC:", "FATAL:", "error:"];
    let is_usual = |line: &&String| line.contains("the database system is starting up");
    let says = |line: &&String| telling.iter().any(|word| line.contains(word)) && !is_usual(line);
    let found =
        lines.iter().find(says).or_else(|| lines.iter().rev().find(|line| !line.trim().is_empty()));
    let text = found.map_or("it wrote nothing", |line| line.trim());
    let told = telling.iter().find_map(|word| text.split_once(word).map(|(_, rest)| rest.trim()));
    told.unwrap_or(text).chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the script wrote it of a real repository.
    const OUTPUT: &str = concat!(
        "stage=restore\n",
        r#"archive=[{"archive":[{"database":{"id":1,"repo-key":1},"id":"17-1","max":"000000010000000000000003","min":"000000010000000000000001"}],"backup":[],"db":[{"id":1,"repo-key":1,"system-id":7711399360497061903,"version":"17"}],"name":"s1","status":{"code":0,"message":"ok"}}]"#,
        "\nrestore_micros=2789443\nbytes=31196606\nstage=replay\nreplay_micros=1039233\nlast_commit=1795452562309726\n",
        "asked=000000010000000000000004\nstage=count\ndatabases=3\ntables=2\nrows=1502\nuncounted=0\nstage=check\nchecked=821\nstage=done\n"
    );

    fn lines(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn a_drill_that_found_everything_right_passes() {
        let told = parse(OUTPUT).unwrap();
        assert_eq!((told.tables, told.rows, told.checked), (Some(2), Some(1502), Some(821)));
        assert_eq!(told.last_commit_at.unwrap().timestamp(), 1_795_452_562);
        assert_eq!(told.verdict(0, &[], false), Ok(()));
    }

    #[test]
    fn nothing_passes_that_was_not_checked() {
        let verdict = |output: &str, code| parse(output).unwrap().verdict(code, &[], false);
        for (from, to) in [
            ("stage=done\n", ""),
            ("checked=821", "checked=0"),
            ("databases=3", "databases=0"),
            ("asked=000000010000000000000004", "asked=000000010000000000000003"),
            ("asked=000000010000000000000004", "asked="),
            ("rows=1502\n", ""),
        ] {
            assert!(verdict(&OUTPUT.replace(from, to), 0).is_err(), "{from} → {to}");
        }
        assert!(verdict(OUTPUT, 1).is_err());
        assert!(verdict("", 0).is_err());
        let cut = OUTPUT.replace("asked=000000010000000000000004", "asked=");
        assert_eq!(parse(&cut).unwrap().verdict(0, &[], true), Ok(()), "a gap is known");
    }

    #[test]
    fn what_is_not_of_the_script_is_refused() {
        for bad in [
            "hello",
            "stage=x",
            "rows=-1",
            "rows=1e9",
            "rows=",
            "rows=1\nrows=2",
            "more=1",
            "archive=x",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(parse(&format!("rows={}", "9".repeat(19))).is_err());
    }

    #[test]
    fn a_drill_that_failed_says_why() {
        let said = lines(&[
            "2026-11-23 16:51:57 FATAL:  the database system is starting up",
            "P00  ERROR: [075]: no backup set found to restore",
            "P00   INFO: restore command end: aborted with exception [075]",
        ]);
        let told = parse("stage=restore").unwrap();
        assert_eq!(
            told.verdict(75, &said, false).unwrap_err(),
            "The backup could not be restored: [075]: no backup set found to restore"
        );
    }

    #[test]
    fn the_copy_listens_to_nobody_and_loads_nothing() {
        let files = files("pgflex-1");
        let text = String::from_utf8(files[0].content.clone()).unwrap();
        assert!(text.contains("listen_addresses = ''\n") && text.contains("archive_mode = off\n"));
        assert!(!text.contains("preload"));
        assert!(text.contains("--stanza=pgflex-1 archive-get"), "{text}");
        assert_eq!(command("s", "l")[3..], lines(&["drill", "--stanza=s", "--set=l"]));
    }
}
