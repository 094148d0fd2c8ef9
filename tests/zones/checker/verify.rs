//! The judge: pure, over what clients saw and what was found when all was well again.

use super::history::{Found, History, Outcome, Read, Write};
use std::collections::{HashMap, HashSet};

/// Something that must never be. Each is a defect of the product, or of this checker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Anomaly {
    /// It was acknowledged and is not there.
    Lost { client: i32, id: i64 },
    /// It is there more than once.
    Duplicate { client: i32, id: i64 },
    /// It is there, and nobody asked for it or it was told to have failed.
    Phantom { client: i32, id: i64 },
    /// Of two acknowledged writes of one client the later was done first.
    Order { client: i32, earlier: i64, later: i64 },
    /// A read that began after an acknowledgement did not see it (I8).
    Stale { client: i32, acknowledged: i64, seen: i64 },
    /// It was read and is not there any more (I10).
    Vanished { client: i32, id: i64 },
    /// Money came or went.
    Sum { expected: i64, seen: i64 },
}

/// Everything that is wrong; empty when nothing is.
pub fn verify(history: &History, found: &Found) -> Vec<Anomaly> {
    let mut wrong = rows(history, found);
    wrong.extend(order(history, found));
    wrong.extend(stale_reads(history));
    wrong.extend(vanished(history, found));
    wrong.extend(sums(history, found));
    wrong
}

/// Acknowledged is a subset of the rows; the rows are a subset of acknowledged and unknown; none is there twice.
fn rows(history: &History, found: &Found) -> Vec<Anomaly> {
    let outcomes: HashMap<(i32, i64), Outcome> =
        history.writes.iter().map(|w| ((w.client, w.id), w.outcome)).collect();
    let mut seen = HashSet::new();
    let mut wrong = vec![];
    for row in &found.rows {
        let (client, id) = (row.client, row.id);
        if !seen.insert((client, id)) {
            wrong.push(Anomaly::Duplicate { client, id });
        }
        if !matches!(outcomes.get(&(client, id)), Some(Outcome::Ok | Outcome::Unknown)) {
            wrong.push(Anomaly::Phantom { client, id });
        }
    }
    let lost = acknowledged(history).filter(|write| !seen.contains(&(write.client, write.id)));
    wrong.extend(lost.map(|write| Anomaly::Lost { client: write.client, id: write.id }));
    wrong
}

/// An unknown write may come late: its bytes were on the way when its client had gone on. So only what
/// was acknowledged has an order.
fn order(history: &History, found: &Found) -> Vec<Anomaly> {
    let places: HashMap<(i32, i64), i64> =
        found.rows.iter().map(|row| ((row.client, row.id), row.place)).collect();
    let mut writes: Vec<&Write> = acknowledged(history).collect();
    writes.sort_by_key(|write| (write.client, write.invoked));
    let mut last: HashMap<i32, (i64, i64)> = HashMap::new();
    let mut wrong = vec![];
    for write in writes {
        let (client, id) = (write.client, write.id);
        let Some(&place) = places.get(&(client, id)) else { continue };
        if let Some(&(earlier, before)) = last.get(&client)
            && place <= before
        {
            wrong.push(Anomaly::Order { client, earlier, later: id });
        }
        last.insert(client, (id, place));
    }
    wrong
}

fn stale_reads(history: &History) -> Vec<Anomaly> {
    let mut ok: Vec<&Write> = acknowledged(history).collect();
    ok.sort_by_key(|write| write.ended);
    let mut reads: Vec<&Read> = history.reads.iter().collect();
    reads.sort_by_key(|read| read.started);
    let mut last: HashMap<i32, i64> = HashMap::new();
    let (mut ok, mut wrong) = (ok.into_iter().peekable(), vec![]);
    for read in reads {
        while let Some(write) = ok.next_if(|write| write.ended <= read.started) {
            let known = last.entry(write.client).or_default();
            *known = write.id.max(*known);
        }
        wrong.extend(last.iter().filter_map(|(&client, &acknowledged)| {
            let seen = largest(read, client);
            (seen < acknowledged).then_some(Anomaly::Stale { client, acknowledged, seen })
        }));
    }
    wrong
}

fn vanished(history: &History, found: &Found) -> Vec<Anomaly> {
    let there: HashSet<(i32, i64)> = found.rows.iter().map(|row| (row.client, row.id)).collect();
    let seen = history.reads.iter().flat_map(|read| (0_i32..).zip(read.largest.iter().copied()));
    let gone: HashSet<(i32, i64)> =
        seen.filter(|&(client, id)| id > 0 && !there.contains(&(client, id))).collect();
    gone.into_iter().map(|(client, id)| Anomaly::Vanished { client, id }).collect()
}

fn sums(history: &History, found: &Found) -> Vec<Anomaly> {
    let seen = history.reads.iter().map(|read| read.sum).chain([found.sum]);
    let wrong = seen.filter(|seen| *seen != history.sum);
    wrong.map(|seen| Anomaly::Sum { expected: history.sum, seen }).collect()
}

fn acknowledged(history: &History) -> impl Iterator<Item = &Write> {
    history.writes.iter().filter(|write| write.outcome == Outcome::Ok)
}

fn largest(read: &Read, client: i32) -> i64 {
    let index = usize::try_from(client).ok();
    index.and_then(|index| read.largest.get(index)).copied().unwrap_or(0)
}
