//! Bills: what meters counted in a stretch of time, times the price list.
//!
//! Seconds are whole, an amount is rounded to cents once for each line, and every sum is a sum of lines:
//! what a page shows adds up.

use super::catalog::Sku;
use super::cost::{HOURS_PER_MONTH, PriceList};
use super::meter::{Meter, MeterInterval, per_member};
use chrono::{DateTime, Datelike, NaiveDate, Utc};
use std::iter::Sum;

/// An amount of money in hundredths of the list's currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Cents(pub i64);

impl Cents {
    /// The nearest whole number of cents.
    pub fn of(amount: f64) -> Self {
        Self((amount * 100.0).round() as i64)
    }

    /// As a number for a file: `12.30`.
    pub fn decimal(self) -> String {
        let sign = if self.0 < 0 { "-" } else { "" };
        format!("{sign}{}.{:02}", self.0.abs() / 100, self.0.abs() % 100)
    }
}

impl Sum for Cents {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        Self(all.map(|cents| cents.0).sum())
    }
}

/// A calendar month, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Month {
    year: i32,
    month: u32,
}

impl Month {
    pub fn of(time: DateTime<Utc>) -> Self {
        Self { year: time.year(), month: time.month() }
    }

    /// Parses `2026-11`.
    pub fn parse(text: &str) -> Option<Self> {
        let (year, month) = text.split_once('-')?;
        let is_digits = |text: &str, length| {
            text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit())
        };
        if !is_digits(year, 4) || !is_digits(month, 2) {
            return None;
        }
        let month = Self { year: year.parse().ok()?, month: month.parse().ok()? };
        (1..=12).contains(&month.month).then_some(month)
    }

    pub fn key(self) -> String {
        format!("{:04}-{:02}", self.year, self.month)
    }

    /// `November 2026`.
    pub fn label(self) -> String {
        self.start().format("%B %Y").to_string()
    }

    pub fn start(self) -> DateTime<Utc> {
        NaiveDate::from_ymd_opt(self.year, self.month, 1)
            .and_then(|day| day.and_hms_opt(0, 0, 0))
            .map_or(DateTime::UNIX_EPOCH, |time| time.and_utc())
    }

    pub fn next(self) -> Self {
        match self.month {
            12 => Self { year: self.year + 1, month: 1 },
            month => Self { month: month + 1, ..self },
        }
    }

    pub fn previous(self) -> Self {
        match self.month {
            1 => Self { year: self.year - 1, month: 12 },
            month => Self { month: month - 1, ..self },
        }
    }

    /// The month as far as it is over.
    pub fn until(self, now: DateTime<Utc>) -> Period {
        let (from, end) = (self.start(), self.next().start());
        Period { from, to: end.min(now).max(from) }
    }
}

/// A stretch of time; its end does not belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
}

/// How long one meter ran with one quantity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    pub meter: Meter,
    /// SKU or GiB, of so many members.
    pub quantity: String,
    pub seconds: i64,
}

/// Sums intervals up: for each meter and quantity the seconds that lie in the period.
pub fn usage(intervals: &[MeterInterval], period: Period) -> Vec<Usage> {
    let mut sums: Vec<(Meter, &str, i64)> = vec![];
    for interval in intervals {
        let from = interval.started_at.max(period.from);
        let to = interval.ended_at.unwrap_or(period.to).min(period.to);
        // A clock that was set back makes an interval empty, never negative.
        let micros = (to - from).num_microseconds().unwrap_or(0).max(0);
        let same =
            |sum: &&mut (Meter, &str, i64)| sum.0 == interval.meter && sum.1 == interval.quantity;
        match sums.iter_mut().find(same) {
            Some(sum) => sum.2 += micros,
            None => sums.push((interval.meter, &interval.quantity, micros)),
        }
    }
    let whole = |(meter, quantity, micros): (Meter, &str, i64)| Usage {
        meter,
        quantity: quantity.to_owned(),
        seconds: micros / 1_000_000,
    };
    sums.into_iter().map(whole).filter(|usage| usage.seconds > 0).collect()
}

/// What one unit costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Price {
    /// For an hour.
    Hour(f64),
    /// For so many GiB, one of them for a month of 730 hours.
    GibMonth { gib: f64, price: f64 },
}

impl Price {
    fn amount(self, seconds: i64) -> Cents {
        let hours = seconds as f64 / 3600.0;
        Cents::of(match self {
            Price::Hour(price) => hours * price,
            Price::GibMonth { gib, price } => hours * gib * price / HOURS_PER_MONTH,
        })
    }
}

/// One line of a bill.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    pub usage: Usage,
    /// `None` for a quantity that the list has no price for; such a line adds nothing.
    pub price: Option<Price>,
    /// What is charged; nothing for time in which the server was stopped.
    pub amount: Cents,
    /// What the time in which the server was stopped would have cost.
    pub saved: Cents,
}

impl PriceList {
    fn price(&self, usage: &Usage) -> Option<Price> {
        let (members, each) = per_member(&usage.quantity);
        let members = f64::from(members);
        let gib = || each.parse::<f64>().ok().filter(|gib| gib.is_finite() && *gib >= 0.0);
        let gib = || gib().map(|gib| gib * members);
        match usage.meter {
            Meter::Compute | Meter::Stopped => {
                Sku::by_name(each).map(|sku| Price::Hour(self.compute_hour(sku) * members))
            }
            Meter::Storage => {
                gib().map(|gib| Price::GibMonth { gib, price: self.storage_gib_month })
            }
            Meter::Backup => gib().map(|gib| Price::GibMonth { gib, price: self.backup_gib_month }),
        }
    }

    /// What a usage costs.
    pub fn line(&self, usage: Usage) -> Line {
        let price = self.price(&usage);
        let worth = price.map_or(Cents(0), |price| price.amount(usage.seconds));
        let (amount, saved) = match usage.meter {
            Meter::Stopped => (Cents(0), worth),
            Meter::Compute | Meter::Storage | Meter::Backup => (worth, Cents(0)),
        };
        Line { usage, price, amount, saved }
    }

    /// What this usage costs in an hour if it goes on.
    pub fn hourly(&self, meter: Meter, quantity: &str) -> f64 {
        let usage = Usage { meter, quantity: quantity.to_owned(), seconds: 0 };
        match self.price(&usage) {
            _ if meter == Meter::Stopped => 0.0,
            Some(Price::Hour(price)) => price,
            Some(Price::GibMonth { gib, price }) => gib * price / HOURS_PER_MONTH,
            None => 0.0,
        }
    }
}

/// Sums of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sums {
    pub compute: Cents,
    pub storage: Cents,
    pub backup: Cents,
    pub saved: Cents,
}

impl Sums {
    pub fn add(&mut self, line: &Line) {
        match line.usage.meter {
            Meter::Compute => self.compute.0 += line.amount.0,
            Meter::Storage => self.storage.0 += line.amount.0,
            Meter::Backup => self.backup.0 += line.amount.0,
            Meter::Stopped => self.saved.0 += line.saved.0,
        }
    }

    pub fn of<'a>(lines: impl IntoIterator<Item = &'a Line>) -> Self {
        let mut sums = Self::default();
        lines.into_iter().for_each(|line| sums.add(line));
        sums
    }

    /// What is charged.
    pub fn total(&self) -> Cents {
        Cents(self.compute.0 + self.storage.0 + self.backup.0)
    }
}

#[cfg(test)]
#[path = "bill_tests.rs"]
mod tests;
