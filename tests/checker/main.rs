//! The judge of acknowledged commits finds every kind of wrong: histories of a seeded run that was right, each spoiled in
//! one place. A checker that cannot fail proves nothing. The runs on three engines are in `tests/zones`.
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[path = "../zones/checker/history.rs"]
mod history;
#[path = "../zones/checker/verify.rs"]
mod verify;

use history::{Found, History, Outcome, Read, Row, Write};
use std::time::Duration;
use verify::{Anomaly, verify};

const CLIENTS: i32 = 4;
const SUM: i64 = 1_000;

/// A small generator: the same seed gives the same run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// A run of a database that does everything right: each client in turn writes, some answers are lost, some
/// are refusals, and a reader looks now and then.
fn right(seed: u64) -> (History, Found) {
    let mut random = Random(seed);
    let mut history = History { sum: SUM, ..History::default() };
    let mut found = Found { sum: SUM, ..Found::default() };
    let (mut now, mut place) = (Duration::ZERO, 0);
    let mut largest = vec![0; CLIENTS as usize];
    for id in 1..=60 {
        for client in 0..CLIENTS {
            let invoked = now;
            now += Duration::from_millis(1 + random.below(5));
            let (outcome, is_there) = match random.below(10) {
                0 => (Outcome::Unknown, true),
                1 => (Outcome::Unknown, false),
                2 => (Outcome::Fail, false),
                _ => (Outcome::Ok, true),
            };
            if is_there {
                place += 1 + i64::try_from(random.below(3)).unwrap();
                found.rows.push(Row { client, id, place });
                largest[client as usize] = id;
            }
            history.writes.push(Write { client, id, invoked, ended: now, outcome });
        }
        if random.below(2) == 0 {
            let started = now;
            now += Duration::from_millis(1);
            let largest = largest.clone();
            history.reads.push(Read { started, ended: now, largest, sum: SUM });
        }
    }
    (history, found)
}

/// The acknowledged writes of a client, and where their rows are.
fn acknowledged(history: &History, found: &Found, client: i32) -> Vec<(Write, usize)> {
    let ok = history.writes.iter().filter(|w| w.client == client && w.outcome == Outcome::Ok);
    ok.map(|write| {
        let at = found.rows.iter().position(|r| (r.client, r.id) == (client, write.id)).unwrap();
        (*write, at)
    })
    .collect()
}

fn for_seeds(test: impl Fn(Random, History, Found)) {
    for seed in 1..=200 {
        let (history, found) = right(seed);
        assert_eq!(verify(&history, &found), [], "seed {seed}");
        test(Random(seed ^ 0xFA17), history, found);
    }
}

fn one_of<T: Copy>(random: &mut Random, list: &[T]) -> T {
    list[random.below(list.len() as u64) as usize]
}

#[test]
fn a_lost_acknowledged_write_is_found() {
    for_seeds(|mut random, history, mut found| {
        let client = random.below(4) as i32;
        let (write, at) = one_of(&mut random, &acknowledged(&history, &found, client));
        found.rows.remove(at);
        let wrong = verify(&history, &found);
        assert!(wrong.contains(&Anomaly::Lost { client, id: write.id }), "{wrong:?}");
    });
}

#[test]
fn a_row_that_is_there_twice_is_found() {
    for_seeds(|mut random, history, mut found| {
        let row = one_of(&mut random, &found.rows);
        let place = found.rows.last().unwrap().place + 1;
        found.rows.push(Row { place, ..row });
        let wrong = verify(&history, &found);
        let expected = Anomaly::Duplicate { client: row.client, id: row.id };
        assert!(wrong.contains(&expected), "{wrong:?}");
    });
}

#[test]
fn a_row_that_was_refused_or_never_asked_for_is_found() {
    for_seeds(|mut random, history, mut found| {
        let refused: Vec<Write> =
            history.writes.iter().filter(|w| w.outcome == Outcome::Fail).copied().collect();
        let Write { client, id, .. } = one_of(&mut random, &refused);
        let place = found.rows.last().unwrap().place + 1;
        found.rows.push(Row { client, id, place });
        found.rows.push(Row { client, id: 9_999, place: place + 1 });
        let expected = [Anomaly::Phantom { client, id }, Anomaly::Phantom { client, id: 9_999 }];
        assert_eq!(verify(&history, &found), expected);
    });
}

#[test]
fn a_read_that_is_behind_is_found() {
    for_seeds(|mut random, mut history, found| {
        let (client, at) = (random.below(4) as i32, random.below(history.reads.len() as u64));
        let read = &history.reads[at as usize];
        let before = acknowledged(&history, &found, client);
        let before = before.iter().filter(|(write, _)| write.ended <= read.started);
        let Some(acknowledged) = before.map(|(write, _)| write.id).max() else { return };
        let seen = acknowledged - 1;
        history.reads[at as usize].largest[client as usize] = seen;
        let wrong = verify(&history, &found);
        let expected = Anomaly::Stale { client, acknowledged, seen };
        assert!(wrong.contains(&expected), "{wrong:?}");
    });
}

#[test]
fn a_broken_order_is_found() {
    for_seeds(|mut random, history, mut found| {
        let client = random.below(4) as i32;
        let ok = acknowledged(&history, &found, client);
        let at = random.below(ok.len() as u64 - 1) as usize;
        let ((earlier, first), (later, second)) = (ok[at], ok[at + 1]);
        let place = found.rows[first].place;
        found.rows[first].place = found.rows[second].place;
        found.rows[second].place = place;
        let wrong = verify(&history, &found);
        let expected = Anomaly::Order { client, earlier: earlier.id, later: later.id };
        assert!(wrong.contains(&expected), "{wrong:?}");
    });
}

fn last_of(found: &Found, client: i32) -> i64 {
    let ids = found.rows.iter().filter(|row| row.client == client).map(|row| row.id);
    ids.max().unwrap_or(0)
}

/// An unknown write that somebody saw must stay, though nobody was told that it is committed.
#[test]
fn what_was_read_and_vanished_is_found() {
    let (mut history, mut found) = right(7);
    let ended = history.reads.last().unwrap().ended;
    history.writes.push(Write {
        client: 0,
        id: 61,
        invoked: ended,
        ended: ended + Duration::from_secs(1),
        outcome: Outcome::Unknown,
    });
    let mut read = history.reads.last().unwrap().clone();
    read.started = ended + Duration::from_secs(2);
    read.largest = (0..CLIENTS).map(|client| last_of(&found, client)).collect();
    read.largest[0] = 61;
    history.reads.push(read);
    assert_eq!(verify(&history, &found), [Anomaly::Vanished { client: 0, id: 61 }]);
    let place = found.rows.last().unwrap().place + 1;
    found.rows.push(Row { client: 0, id: 61, place });
    assert_eq!(verify(&history, &found), []);
}

#[test]
fn money_that_came_or_went_is_found() {
    for_seeds(|mut random, mut history, mut found| {
        let at = random.below(history.reads.len() as u64) as usize;
        history.reads[at].sum -= 5;
        found.sum += 5;
        let sum = |seen| Anomaly::Sum { expected: SUM, seen };
        assert_eq!(verify(&history, &found), [sum(SUM - 5), sum(SUM + 5)]);
    });
}

#[test]
fn the_longest_gap_counts_only_what_was_acknowledged() {
    let at = Duration::from_millis;
    let write =
        |ended: u64, outcome| Write { client: 0, id: 1, invoked: at(0), ended: at(ended), outcome };
    let (ok, unknown) = (Outcome::Ok, Outcome::Unknown);
    let writes = vec![write(100, ok), write(900, ok), write(500, unknown), write(950, ok)];
    let history = History { writes, ..History::default() };
    assert_eq!(history.longest_gap(at(0), at(960)), at(800));
    // The write before the moment and the one after it belong to the gap.
    assert_eq!(history.longest_gap(at(400), at(410)), at(800));
    assert_eq!(history.longest_gap(at(910), at(920)), at(50));
    assert_eq!(history.longest_gap(at(940), at(5_950)), at(5_000), "it never came back");
}

/// The file of a run that failed has every fact of it.
#[test]
fn a_history_as_text_has_a_line_for_each_fact() {
    let (history, found) = right(3);
    let text = history.as_text(&found);
    let lines = |word: &str| text.lines().filter(|line| line.starts_with(word)).count();
    assert_eq!(lines("write "), history.writes.len());
    assert_eq!(lines("read "), history.reads.len());
    assert_eq!(lines("row "), found.rows.len());
    assert!(text.starts_with("sum 1000 found 1000 transfers 0\n"));
    assert_eq!(history.count(Outcome::Fail), text.matches(" Fail\n").count());
}
