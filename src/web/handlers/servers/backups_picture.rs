//! The restorable time as a drawing, and the same as a table.

use super::backups_facts::BackupFacts;
use crate::domain::backup::{Backup, Gap, Protection, Window};
use crate::web::time::{Stamp, duration_text};
use chrono::{DateTime, Duration, Utc};

/// Stretches between the days that are written below the drawing.
const DAYS_MAX: i32 = 4;
/// Numbers of gaps that are written above them, at most: more would lie on each other.
const NUMBERS_MAX: usize = 12;
/// Lines that are nearer would run together, in hundredths of the width.
const TICKS_APART: f64 = 1.2;
/// What is narrower could not be seen, in hundredths of the width.
const NARROWEST: f64 = 0.5;

/// From `from` to `to`, all places in hundredths of the width.
pub struct Picture {
    /// Of which repository it is.
    pub title: String,
    pub from: Stamp,
    pub spans: Vec<Bar>,
    pub gaps: Vec<Bar>,
    /// One line for each good backup; full ones are higher.
    pub ticks: Vec<Tick>,
    pub days: Vec<Day>,
    pub rows: Vec<Row>,
    /// In words, for those who do not see it.
    pub told: String,
}

/// A stretch.
pub struct Bar {
    pub x: String,
    pub width: String,
    /// Where its number stands, and the number; `None` for one without.
    pub label: Option<(String, usize)>,
    pub title: String,
}

pub struct Tick {
    pub x: String,
    pub is_full: bool,
    pub title: String,
}

pub struct Day {
    pub x: String,
    pub text: String,
    /// SVG's `text-anchor`.
    pub anchor: &'static str,
}

/// A stretch as a row.
pub struct Row {
    pub from: Stamp,
    pub to: Stamp,
    pub length: String,
    pub is_whole: bool,
    pub what: String,
}

struct Axis {
    from: DateTime<Utc>,
    to: DateTime<Utc>,
}

impl Axis {
    fn place(&self, at: DateTime<Utc>) -> f64 {
        let length = (self.to - self.from).num_milliseconds().max(1) as f64;
        let part = (at - self.from).num_milliseconds() as f64 / length;
        (part * 100.0).clamp(0.0, 100.0)
    }

    fn bar(&self, from: DateTime<Utc>, to: DateTime<Utc>, title: String) -> Bar {
        let (mut x, end) = (self.place(from), self.place(to));
        let width = (end - x).max(NARROWEST);
        x = x.min(100.0 - width);
        Bar { x: percent(x), width: percent(width), label: None, title }
    }
}

fn percent(place: f64) -> String {
    format!("{place:.2}%")
}

fn day_text(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// A drawing for each repository that holds something.
pub fn pictures(facts: &BackupFacts) -> Vec<Picture> {
    let all = &facts.protection.repositories;
    let drawn = all.iter().filter_map(|one| {
        let picture = draw(&facts.protection, one.number, facts.now)?;
        let title = format!("Repository {}, {}", one.number, facts.where_is(one));
        Some(Picture { title, ..picture })
    });
    drawn.collect()
}

fn draw(protection: &Protection, repository: i64, now: DateTime<Utc>) -> Option<Picture> {
    let window = protection.window_of(repository);
    let earliest = window.earliest()?;
    let asked = now - Duration::days(protection.policy.retention.as_days());
    let axis = Axis { from: earliest.min(asked), to: now.max(window.latest()?) };
    let spans = window.spans.iter().map(|span| {
        axis.bar(span.from, span.to, format!("{} to {}", day_text(span.from), day_text(span.to)))
    });
    let holes = holes(&window, &protection.gaps, repository, now);
    let gaps = holes.iter().enumerate().map(|(at, hole)| {
        let mut bar = axis.bar(hole.from, hole.to, format!("Gap {}: {}", at + 1, hole.why));
        let middle = f64::midpoint(axis.place(hole.from), axis.place(hole.to)).clamp(2.0, 98.0);
        bar.label = (at < NUMBERS_MAX).then(|| (percent(middle), at + 1));
        bar
    });
    let ticks = ticks(&axis, protection.good_in(repository));
    Some(Picture {
        title: String::new(),
        from: Stamp(axis.from),
        spans: spans.collect(),
        gaps: gaps.collect(),
        ticks,
        days: days(&axis),
        rows: rows(&window, &holes),
        told: told(&window, protection, repository),
    })
}

/// What lies on each other is drawn once, a full backup before others.
fn ticks<'a>(axis: &Axis, backups: impl Iterator<Item = &'a Backup>) -> Vec<Tick> {
    let mut all: Vec<&Backup> = backups.collect();
    all.sort_by_key(|one| one.based_on.is_some());
    let mut drawn: Vec<(f64, &Backup)> = vec![];
    for one in all {
        let place = axis.place(one.ended_at);
        if drawn.iter().all(|(other, _)| (place - other).abs() >= TICKS_APART) {
            drawn.push((place, one));
        }
    }
    drawn.iter().map(|(_, one)| tick(axis, one)).collect()
}

fn tick(axis: &Axis, one: &Backup) -> Tick {
    let is_full = one.based_on.is_none();
    let title = format!("{} backup, {}", one.kind.label(), day_text(one.ended_at));
    Tick { x: percent(axis.place(one.ended_at)), is_full, title }
}

struct Hole {
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    why: String,
}

/// What lies between two spans, and after the last one while a gap goes on, with the reason that was noted.
fn holes(window: &Window, gaps: &[Gap], repository: i64, now: DateTime<Utc>) -> Vec<Hole> {
    let pairs = window.spans.iter().zip(window.spans.iter().skip(1));
    let hole = |(before, after): (&crate::domain::backup::Span, &crate::domain::backup::Span)| {
        let of_it = |gap: &&Gap| {
            gap.repository == repository
                && gap.began_at < after.from
                && gap.ended_at.is_none_or(|end| end > before.to)
        };
        let why =
            gaps.iter().find(of_it).map_or("the log of this time is missing", |gap| &gap.reason);
        Hole { from: before.to, to: after.from, why: why.to_owned() }
    };
    let open = gaps.iter().find(|gap| gap.repository == repository && gap.ended_at.is_none());
    let last = window.latest().filter(|latest| *latest < now);
    let last = open.zip(last).map(|(gap, from)| Hole { from, to: now, why: gap.reason.clone() });
    pairs.map(hole).chain(last).collect()
}

fn days(axis: &Axis) -> Vec<Day> {
    let length = axis.to - axis.from;
    let day = |at: i32| Day {
        x: percent(f64::from(at) * 100.0 / f64::from(DAYS_MAX)),
        text: (axis.from + length * at / DAYS_MAX).format("%b %-d").to_string(),
        anchor: match at {
            0 => "start",
            DAYS_MAX => "end",
            _ => "middle",
        },
    };
    (0..=DAYS_MAX).map(day).collect()
}

fn rows(window: &Window, holes: &[Hole]) -> Vec<Row> {
    let row = |from, to, is_whole, what| Row {
        from: Stamp(from),
        to: Stamp(to),
        length: if from == to { "one moment".into() } else { duration_text(to - from) },
        is_whole,
        what,
    };
    let mut rows = vec![];
    for (at, span) in window.spans.iter().enumerate() {
        let what = if span.from == span.to { "only this moment" } else { "every moment" };
        rows.push(row(span.from, span.to, true, what.into()));
        if let Some(hole) = holes.get(at) {
            rows.push(row(hole.from, hole.to, false, format!("gap {}: {}", at + 1, hole.why)));
        }
    }
    rows.reverse();
    rows
}

fn told(window: &Window, protection: &Protection, repository: i64) -> String {
    let stretches = window.spans.len();
    let backups = protection.good_in(repository).count();
    format!(
        "The last {} days: {stretches} restorable stretches and {backups} backups. The table below says the same.",
        protection.policy.retention.as_days()
    )
}
