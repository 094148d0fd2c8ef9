//! Archives that are whole, and every way in which one is not.

use super::super::BackupType;
use super::*;

const SIZE: u64 = 16 << 20;

fn at(minute: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + minute * 60, 0).unwrap()
}

fn piece(timeline: i64, number: u64) -> Piece {
    Piece { timeline, number }
}

/// A backup that began in this piece of this timeline at that minute and needs no other.
fn backup(timeline: i64, number: u64, minute: i64) -> Backup {
    let name = piece(timeline, number).name(SIZE);
    Backup {
        copied_from: None,
        repository: 1,
        label: format!("{minute}F"),
        kind: BackupType::Full,
        name: String::new(),
        started_at: at(minute),
        ended_at: at(minute + 1),
        bytes: 1,
        stored_bytes: 1,
        wal: (name.clone(), name),
        lsn: (Lsn(number * SIZE + 40), Lsn(number * SIZE + 300)),
        based_on: None,
        verified_at: None,
        failure: String::new(),
        operation_id: None,
    }
}

/// Each minute a piece is filled and written into the repository.
fn world(pieces: &[(i64, std::ops::RangeInclusive<u64>)]) -> World {
    let all = pieces.iter().flat_map(|(timeline, numbers)| {
        numbers.clone().map(|number| (piece(*timeline, number), stored(number)))
    });
    let pieces: BTreeMap<_, _> = all.collect();
    let archived = *pieces.keys().next_back().unwrap();
    let line = Line { timeline: archived.timeline, former: vec![] };
    let backups = vec![backup(1, 2, 2)];
    World {
        labels: BTreeSet::from(["2F".into()]),
        backups,
        pieces,
        line,
        archived,
        moments: vec![],
    }
}

fn stored(number: u64) -> Stored {
    Stored { at: at(i64::try_from(number).unwrap() + 1), contents: 1, bytes: 70 }
}

struct World {
    backups: Vec<Backup>,
    labels: BTreeSet<String>,
    pieces: BTreeMap<Piece, Stored>,
    line: Line,
    archived: Piece,
    moments: Vec<Moment>,
}

impl World {
    fn judge(&self) -> Finding {
        judge(&Look {
            backups: &self.backups,
            labels: &self.labels,
            pieces: &self.pieces,
            line: &self.line,
            piece_bytes: SIZE,
            archived: self.archived,
            moments: &self.moments,
            at: at(100),
        })
        .unwrap()
    }

    fn add(&mut self, one: Backup) {
        self.labels.insert(one.label.clone());
        self.backups.push(one);
    }
}

fn times(found: &Finding) -> Vec<(DateTime<Utc>, DateTime<Utc>)> {
    found.gaps.iter().map(|gap| (gap.began_at, gap.ended_at.unwrap())).collect()
}

#[test]
fn an_archive_without_a_hole_is_whole() {
    let world = world(&[(1, 1..=9)]);
    assert_eq!(world.judge(), Finding { needed: 8, ..Finding::default() });
}

#[test]
fn what_no_backup_needs_may_be_missing() {
    let mut world = world(&[(1, 1..=9)]);
    world.pieces.remove(&piece(1, 1));
    world.archived = piece(1, 8);
    world.pieces.remove(&piece(1, 9));
    assert_eq!(world.judge().missing, []);
}

#[test]
fn a_piece_that_is_missing_in_the_middle_is_a_gap_that_claims_nothing() {
    let mut world = world(&[(1, 1..=9)]);
    world.pieces.remove(&piece(1, 5));
    world.pieces.remove(&piece(1, 6));
    let moment = |minute, place| Moment { at: at(minute), timeline: 1, place: Lsn(place) };
    // The second one lies within what is missing, the last one is of a line that nobody follows.
    world.moments = vec![moment(4, 4 * SIZE + 9), moment(5, 5 * SIZE + 1)];
    world.moments.push(Moment { timeline: 7, ..moment(6, SIZE) });
    let found = world.judge();
    assert_eq!(found.missing, [piece(1, 5), piece(1, 6)]);
    assert_eq!(times(&found), [(at(4), at(8))], "until the next one was written");
    assert!(found.gaps[0].reason.contains("2 WAL files from 000000010000000000000005"));
    world.moments.clear();
    assert_eq!(times(&world.judge()), [(at(2) - SKEW, at(8))], "without looks since the backup");
    assert!(found.condemned.is_empty());
}

#[test]
fn a_gap_ends_with_the_first_backup_behind_it_and_cuts_all_before() {
    let mut world = world(&[(1, 1..=9)]);
    world.pieces.remove(&piece(1, 5));
    // Its log arrived late: the backup behind the hole began before.
    world.pieces.insert(piece(1, 6), Stored { at: at(50), contents: 1, bytes: 70 });
    world.add(backup(1, 7, 20));
    assert_eq!(times(&world.judge()), [(at(2) - SKEW, at(20))]);
    // By its clock it began after the piece behind the hole was written, yet it needs what is missing.
    world.add(backup(1, 4, 30));
    let end = at(30) + Duration::seconds(1);
    assert_eq!(times(&world.judge())[0].1, end);
}

#[test]
fn the_end_of_the_archive_is_a_gap_until_now() {
    let mut world = world(&[(1, 1..=9)]);
    world.pieces.remove(&piece(1, 9));
    assert_eq!(times(&world.judge()), [(at(2) - SKEW, at(100))]);
}

#[test]
fn two_files_of_one_piece_that_differ_are_none() {
    let mut world = world(&[(1, 1..=9)]);
    world.pieces.insert(piece(1, 6), Stored { contents: 2, ..stored(6) });
    assert_eq!(world.judge().missing, [piece(1, 6)]);
}

#[test]
fn a_line_is_followed_over_changes_of_primary() {
    let mut world = world(&[(1, 1..=5), (2, 5..=7), (3, 7..=9)]);
    world.line.former = vec![(1, Lsn(5 * SIZE + 77)), (2, Lsn(7 * SIZE))];
    assert_eq!(world.judge().missing, [], "the last one of each is read from the next line");
    world.pieces.remove(&piece(1, 5));
    world.pieces.remove(&piece(2, 7));
    assert_eq!(world.judge().missing, []);
    for lost in [piece(1, 4), piece(2, 5), piece(2, 6), piece(3, 7)] {
        let stored = world.pieces.remove(&lost).unwrap();
        assert_eq!(world.judge().missing, [lost]);
        world.pieces.insert(lost, stored);
    }
    // What the old primary wrote behind the fork is no part of the line.
    world.pieces.insert(piece(1, 6), stored(6));
    world.pieces.remove(&piece(2, 6));
    assert_eq!(world.judge().missing, [piece(2, 6)]);
}

#[test]
fn a_backup_of_a_line_that_was_left_before_its_end_leads_nowhere() {
    let mut world = world(&[(1, 1..=6), (2, 5..=9)]);
    world.line.former = vec![(1, Lsn(5 * SIZE + 77))];
    world.add(backup(1, 6, 10));
    let found = world.judge();
    assert_eq!(found.condemned, [("10F".into(), OTHER_LINE.into())]);
    assert_eq!(found.gaps, []);
}

#[test]
fn a_backup_without_its_own_log_is_none() {
    let mut world = world(&[(1, 1..=9)]);
    world.pieces.remove(&piece(1, 2));
    world.add(backup(1, 6, 10));
    let found = world.judge();
    assert_eq!(found.condemned.len(), 1);
    assert_eq!((found.condemned[0].0.as_str(), found.needed), ("2F", 4));
    assert!(found.condemned[0].1.contains("000000010000000000000002"), "{found:?}");
    assert_eq!((found.missing, found.gaps.len()), (vec![piece(1, 2)], 0));
}

#[test]
fn what_was_removed_by_hand_is_told_with_all_that_rests_on_it() {
    let mut world = world(&[(1, 1..=9)]);
    world.add(Backup { based_on: Some("2F".into()), ..backup(1, 4, 4) });
    world.add(Backup { based_on: Some("4F".into()), ..backup(1, 5, 5) });
    world.add(Backup { failure: "damaged".into(), ..backup(1, 6, 6) });
    world.add(backup(1, 7, 7));
    world.labels.remove("2F");
    world.labels.remove("6F");
    let found = world.judge();
    let labels: Vec<&str> = found.condemned.iter().map(|(label, _)| label.as_str()).collect();
    assert_eq!(labels, ["2F", "4F", "5F"], "what was known to be bad stays as it is told");
    assert!(
        found.condemned[0].1.contains("removed") && found.condemned[1].1.contains("rests on 2F")
    );
    world.labels.clear();
    assert_eq!(world.judge().condemned.len(), 4);
    assert_eq!(world.judge().gaps, [], "without backups nothing is claimed anyway");
}

#[test]
fn a_backup_that_cannot_be_is_an_error_and_no_long_walk() {
    let mut world = world(&[(1, 1..=9)]);
    world.backups[0].wal.1 = "00000001FFFFFFFF000000FF".into();
    let look = |world: &World| {
        judge(&Look {
            backups: &world.backups,
            labels: &world.labels,
            pieces: &world.pieces,
            line: &world.line,
            piece_bytes: SIZE,
            archived: world.archived,
            moments: &[],
            at: at(100),
        })
    };
    assert!(look(&world).is_err());
    world.backups[0] = backup(1, 2, 2);
    world.archived = piece(1, u64::MAX - 1);
    assert!(look(&world).is_err());
}
