//! Whether the archive is whole: what a repository was seen to hold, against what its backups need.
//!
//! Pieces are needed from the one in which the oldest good backup began to the one that was archived last, along the line of
//! the log that the primary writes now. A line that ended at a change of primary counts up to the place at which the
//! next one left it: the piece with that place is read from the next one, which has all of it.

use super::{Backup, Gap, Piece};
use crate::domain::ha::Lsn;
use chrono::{DateTime, Duration, Utc};
use std::collections::{BTreeMap, BTreeSet};

/// Pieces that are followed at most: 64 TiB of log. A backup that claims to begin further away was not read right.
const PIECES_MAX: u64 = 1 << 22;
/// Clocks of two hosts may be apart by this much.
const SKEW: Duration = Duration::seconds(2);

/// The line of the log that a primary writes, with those it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Line {
    pub timeline: i64,
    /// Former timelines, oldest first, each with the place at which the next one left it.
    pub former: Vec<(i64, Lsn)>,
}

impl Line {
    /// On which timeline this piece of the line is read.
    fn timeline_of(&self, number: u64, bytes: u64) -> i64 {
        let left = |(_, place): &&(i64, Lsn)| number < place.0 / bytes.max(1);
        self.former.iter().find(left).map_or(self.timeline, |(timeline, _)| *timeline)
    }

    fn piece(&self, number: u64, bytes: u64) -> Piece {
        Piece { timeline: self.timeline_of(number, bytes), number }
    }

    /// Whether a place that was reached on a timeline is of this line, and not behind where the line left that one.
    fn holds(&self, timeline: i64, place: Lsn) -> bool {
        let former = self.former.iter().find(|(former, _)| *former == timeline);
        former.map_or(timeline == self.timeline, |(_, left)| place <= *left)
    }
}

/// Every commit until this moment lies before this place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    pub at: DateTime<Utc>,
    pub timeline: i64,
    pub place: Lsn,
}

/// A whole piece of the log in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// When it was written there, by the repository's clock.
    pub at: DateTime<Utc>,
    /// Files of this name with different content: with more than one nobody knows which is right, and pgBackRest
    /// gives none.
    pub contents: u32,
    /// Of all files of this name.
    pub bytes: u64,
}

/// What one look found in a repository, with what was on record when it began.
#[derive(Debug, Clone)]
pub struct Look<'a> {
    /// Of this repository, good and bad.
    pub backups: &'a [Backup],
    /// Labels that have a list of their files there.
    pub labels: &'a BTreeSet<String>,
    pub pieces: &'a BTreeMap<Piece, Stored>,
    pub line: &'a Line,
    pub piece_bytes: u64,
    /// The piece that PostgreSQL had handed over last when the look began.
    pub archived: Piece,
    pub moments: &'a [Moment],
    pub at: DateTime<Utc>,
}

/// What follows from it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Finding {
    /// Label and, for people, why it cannot be used.
    pub condemned: Vec<(String, String)>,
    /// What is missing between what is good, oldest first.
    pub gaps: Vec<Gap>,
    /// Pieces that are needed and not there, also those of backups that cannot be used without them.
    pub missing: Vec<Piece>,
    /// Pieces that the backups need.
    pub needed: u64,
}

/// Judges a look.
///
/// # Errors
/// A sentence for the log, when what is on record cannot be compared with it.
pub fn judge(look: &Look<'_>) -> Result<Finding, String> {
    let mut found = Finding { condemned: vanished(look), ..Finding::default() };
    let is_condemned = |found: &Finding, one: &Backup| {
        found.condemned.iter().any(|(label, _)| *label == one.label)
    };
    let mut left: Vec<(&Backup, Piece)> = vec![];
    for one in look.backups.iter().filter(|one| one.is_good()) {
        if is_condemned(&found, one) {
            continue;
        }
        let (first, last) = span(one, look.piece_bytes)?;
        let missing = needed_by(look, first, last);
        if !look.line.holds(first.timeline, one.lsn.1) {
            found.condemned.push((one.label.clone(), OTHER_LINE.into()));
        } else if let Some(piece) = missing.first() {
            let why = format!(
                "WAL file {} is not in the repository; without it what was copied is of no one moment.",
                piece.name(look.piece_bytes)
            );
            found.condemned.push((one.label.clone(), why));
            found.missing.extend(missing);
        } else {
            left.push((one, first));
        }
    }
    if let Some(from) = left.iter().map(|(_, first)| first.number).min() {
        let holes = holes(look, from)?;
        found.needed = (look.archived.number + 1).saturating_sub(from);
        found.gaps = holes.iter().map(|hole| gap(look, *hole, &left)).collect();
        let all = holes.iter().flat_map(|(first, last)| *first..=*last);
        found.missing.extend(all.map(|number| look.line.piece(number, look.piece_bytes)));
    }
    found.missing.sort_unstable();
    found.missing.dedup();
    Ok(found)
}

const OTHER_LINE: &str = "It ends on a line of the log that a change of primary left before that: the log does not lead from it to what the server holds now.";

/// Backups on record whose files are gone, with those that rest on them.
fn vanished(look: &Look<'_>) -> Vec<(String, String)> {
    let mut gone: Vec<(String, String)> = vec![];
    let mut left: Vec<&Backup> = look.backups.iter().filter(|one| one.is_good()).collect();
    loop {
        let before = gone.len();
        left.retain(|one| {
            let base = one.based_on.as_ref();
            let base = base.filter(|base| gone.iter().any(|(label, _)| label == *base));
            let why = match base {
                _ if !look.labels.contains(&one.label) => Some(
                    "It is not in the repository any more: somebody or something removed its files there.".into(),
                ),
                Some(base) => {
                    Some(format!("It rests on {base}, which is not in the repository any more."))
                }
                None => None,
            };
            gone.extend(why.map(|why| (one.label.clone(), why)));
            gone.last().is_none_or(|(label, _)| *label != one.label)
        });
        if gone.len() == before {
            return gone;
        }
    }
}

fn span(one: &Backup, bytes: u64) -> Result<(Piece, Piece), String> {
    let wrong =
        || format!("the log of backup {} is from {} to {}", one.label, one.wal.0, one.wal.1);
    let ends = Piece::parse(&one.wal.0, bytes).zip(Piece::parse(&one.wal.1, bytes));
    let (first, last) = ends.ok_or_else(wrong)?;
    let is_one = first.number <= last.number && last.number - first.number < PIECES_MAX;
    is_one.then_some((first, last)).ok_or_else(wrong)
}

fn is_there(look: &Look<'_>, piece: Piece) -> bool {
    look.pieces.get(&piece).is_some_and(|stored| stored.contents == 1)
}

/// What a backup needs of the log and the repository has not. The last pieces of a former timeline may be read from either.
fn needed_by(look: &Look<'_>, first: Piece, last: Piece) -> Vec<Piece> {
    let own = |number| Piece { timeline: first.timeline, number };
    let lacks = |number: &u64| {
        !is_there(look, own(*number)) && !is_there(look, look.line.piece(*number, look.piece_bytes))
    };
    (first.number..=last.number).filter(lacks).map(own).collect()
}

/// First and last number of what is missing in a row.
fn holes(look: &Look<'_>, from: u64) -> Result<Vec<(u64, u64)>, String> {
    let to = look.archived.number;
    if to.saturating_sub(from) >= PIECES_MAX {
        return Err(format!("the log from piece {from} to piece {to} is too long to follow"));
    }
    let mut all: Vec<(u64, u64)> = vec![];
    for number in from..=to {
        if is_there(look, look.line.piece(number, look.piece_bytes)) {
            continue;
        }
        match all.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => all.push((number, number)),
        }
    }
    Ok(all)
}

/// A hole in times that claim nothing which cannot be restored.
///
/// It begins at the newest moment all of whose commits are known to lie before the first missing piece: as measured by a
/// look at the log, or as a backup began, whose first place is behind all that was committed before. When files were
/// written in the repository says nothing here: a piece may arrive long after it was begun.
///
/// It ends when the piece behind it was written there, which is after every commit of the missing ones; or with the begin of
/// a backup that needs none of them, if that was earlier. Every backup that does need them begins before its end, whatever
/// the clocks say: that is what cuts the window of each.
fn gap(look: &Look<'_>, (first, last): (u64, u64), left: &[(&Backup, Piece)]) -> Gap {
    let place = Lsn(first.saturating_mul(look.piece_bytes));
    let measured = look.moments.iter().filter(|one| one.place <= place);
    let measured =
        measured.filter(|one| look.line.holds(one.timeline, one.place)).map(|one| one.at);
    let begun = left.iter().filter(|(one, _)| one.lsn.0 <= place);
    let began_at = measured.chain(begun.map(|(one, _)| one.started_at - SKEW)).max();
    let starts = |behind: bool| {
        let side = left.iter().filter(move |(_, piece)| (piece.number > last) == behind);
        side.map(|(one, _)| one.started_at)
    };
    let next = look.line.piece(last + 1, look.piece_bytes);
    let written = look.pieces.get(&next).map_or(look.at, |stored| stored.at.min(look.at));
    let end = starts(true).min().map_or(written, |start| start.min(written));
    let needs = starts(false).max().map(|start| start + Duration::seconds(1));
    let ended_at = needs.map_or(end, |needs| needs.max(end));
    let missing = last - first + 1;
    let name = look.line.piece(first, look.piece_bytes).name(look.piece_bytes);
    let reason = match missing {
        1 => format!("WAL file {name} is not in the repository."),
        more => format!("{more} WAL files from {name} on are not in the repository."),
    };
    let began_at = began_at.unwrap_or(look.at).min(ended_at);
    Gap {
        repository: look.backups.first().map_or(0, |one| one.repository),
        began_at,
        ended_at: Some(ended_at),
        reason,
    }
}

#[cfg(test)]
#[path = "continuity_tests.rs"]
mod tests;
