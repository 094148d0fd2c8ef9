//! What clients saw, and when: facts only. [`super::verify`] judges them.

use std::fmt::Write as _;
use std::time::Duration;

/// How a write ended for the client that asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The server said that it is committed.
    Ok,
    /// The server said that it is not.
    Fail,
    /// Nobody said: the row may be there or not.
    Unknown,
}

/// One insert of a single row. Times count from the begin of the run, on one monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Write {
    pub client: i32,
    /// Counts up for each client and is never used twice.
    pub id: i64,
    pub invoked: Duration,
    pub ended: Duration,
    pub outcome: Outcome,
}

/// One look at the largest id of every client, and at the sum of all accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    pub started: Duration,
    pub ended: Duration,
    /// By client; 0 where there is no row.
    pub largest: Vec<i64>,
    pub sum: i64,
}

/// A row as it was found at the end. `place` grows with every row that is inserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    pub client: i32,
    pub id: i64,
    pub place: i64,
}

/// What was found when all was well again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    pub rows: Vec<Row>,
    pub sum: i64,
}

/// Everything that happened in one run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    pub writes: Vec<Write>,
    pub reads: Vec<Read>,
    /// Transfers between accounts that the server said are committed.
    pub transfers: u64,
    /// What the accounts hold together from begin to end.
    pub sum: i64,
}

impl History {
    pub fn count(&self, outcome: Outcome) -> usize {
        self.writes.iter().filter(|write| write.outcome == outcome).count()
    }

    /// The longest time without an acknowledged write that lies wholly or in part between two moments.
    /// A run that was never acknowledged again waits until `to`.
    pub fn longest_gap(&self, from: Duration, to: Duration) -> Duration {
        let ok = self.writes.iter().filter(|write| write.outcome == Outcome::Ok);
        let mut ends: Vec<Duration> = ok.map(|write| write.ended).collect();
        ends.sort();
        let before = ends.iter().rev().find(|end| **end <= from).copied().unwrap_or(from);
        let after = ends.iter().find(|end| **end >= to).copied().unwrap_or(to);
        let inside = ends.into_iter().filter(|end| *end > from && *end < to);
        let moments: Vec<Duration> = std::iter::once(before).chain(inside).chain([after]).collect();
        moments.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }

    /// As text, one fact a line, for the file of a run that failed.
    pub fn as_text(&self, found: &Found) -> String {
        let mut text =
            format!("sum {} found {} transfers {}\n", self.sum, found.sum, self.transfers);
        for Write { client, id, invoked, ended, outcome } in &self.writes {
            let (from, to) = (invoked.as_micros(), ended.as_micros());
            let _ = writeln!(text, "write client={client} id={id} us={from}..{to} {outcome:?}");
        }
        for Read { started, ended, largest, sum } in &self.reads {
            let (from, to) = (started.as_micros(), ended.as_micros());
            let _ = writeln!(text, "read us={from}..{to} largest={largest:?} sum={sum}");
        }
        for Row { client, id, place } in &found.rows {
            let _ = writeln!(text, "row client={client} id={id} place={place}");
        }
        text
    }
}
