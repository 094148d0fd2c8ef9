//! `GET /servers/{id}/cost`: what one server used, this month and before.

use super::create_cards::thousands;
use super::nav::{self, Frame, Tab};
use crate::domain::bill::{self, Line, Month, Price, Sums};
use crate::domain::cost::PriceList;
use crate::domain::meter::{Meter, MeterInterval, per_member};
use crate::web::error::PageResult;
use crate::web::page::{self, Layout};
use crate::web::paths;
use crate::web::time::{Stamp, duration_text};
use crate::web::visit::{Reader, Signed};
use actix_web::web;
use askama::Template;
use chrono::{DateTime, Duration, Utc};

/// Earlier months shown, at most.
const MONTHS: usize = 24;

#[derive(Template)]
#[template(path = "servers/cost.html")]
struct CostPage {
    layout: Layout,
    frame: Frame,
    month: String,
    until: Stamp,
    lines: Vec<LineRow>,
    total: String,
    saved: String,
    stopped: String,
    /// What is counted at this moment.
    running: Vec<RunningRow>,
    hourly: String,
    /// Since when it is stopped, while storage goes on.
    stopped_since: Option<Stamp>,
    since: Option<Stamp>,
    /// Whether the server is older than its first meter.
    is_late: bool,
    created: Stamp,
    months: Vec<MonthRow>,
    /// The dearest of them, for the bars.
    most: i64,
    has_backups: bool,
    is_example: bool,
    all: String,
}

struct LineRow {
    meter: &'static str,
    quantity: String,
    counted: String,
    seconds: String,
    price: String,
    amount: String,
}

struct RunningRow {
    meter: &'static str,
    quantity: String,
    since: Stamp,
    price: String,
}

struct MonthRow {
    label: String,
    compute: String,
    storage: String,
    backup: String,
    saved: String,
    total: String,
    cents: i64,
}

/// `GET /servers/{id}/cost`
pub async fn get(visit: Signed<Reader>, id: web::Path<String>) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Cost).await? else {
        return nav::gone(&visit, &id).await;
    };
    let intervals = visit.state.store.server_meters(&frame.server.id).await?;
    let (prices, now) = (&visit.state.config.prices, visit.now);
    let month = Month::of(now);
    let lines = lines(prices, &intervals, month, now);
    let sums = Sums::of(&lines);
    let since = intervals.first().map(|interval| interval.started_at);
    let months = earlier(prices, &intervals, since, now);
    let open: Vec<&MeterInterval> = intervals.iter().filter(|one| one.ended_at.is_none()).collect();
    let stopped = open.iter().find(|one| one.meter == Meter::Stopped);
    let hourly = open.iter().map(|one| prices.hourly(one.meter, &one.quantity)).sum();
    let created = frame.server.created_at;
    page::ok(&CostPage {
        layout: frame.layout(&visit, "Cost"),
        month: month.label(),
        until: now.into(),
        total: prices.money(sums.total()),
        saved: prices.money(sums.saved),
        stopped: crate::web::handlers::costs::view::seconds_text(&lines, Meter::Stopped),
        lines: charged(prices, &lines),
        hourly: prices.price_text(hourly),
        stopped_since: stopped.map(|one| one.started_at.into()),
        running: open
            .iter()
            .filter(|one| one.meter != Meter::Stopped)
            .map(|one| running(prices, one))
            .collect(),
        since: since.map(Stamp),
        // A creation takes seconds to minutes; more is a server from before there were meters.
        is_late: since.is_some_and(|since| since - created > Duration::hours(1)),
        created: created.into(),
        most: months.iter().map(|month| month.cents).max().unwrap_or(0).max(1),
        months,
        has_backups: intervals.iter().any(|one| one.meter == Meter::Backup),
        is_example: prices.is_example,
        all: paths::costs(),
        frame,
    })
}

fn lines(
    prices: &PriceList,
    intervals: &[MeterInterval],
    month: Month,
    now: DateTime<Utc>,
) -> Vec<Line> {
    bill::usage(intervals, month.until(now)).into_iter().map(|usage| prices.line(usage)).collect()
}

fn charged(prices: &PriceList, lines: &[Line]) -> Vec<LineRow> {
    let charged = lines.iter().filter(|line| line.usage.meter != Meter::Stopped);
    let mut rows: Vec<LineRow> = charged
        .map(|line| LineRow {
            meter: line.usage.meter.label(),
            quantity: quantity(line.usage.meter, &line.usage.quantity),
            counted: duration_text(Duration::seconds(line.usage.seconds)),
            seconds: thousands(line.usage.seconds),
            price: price(prices, line.price),
            amount: prices.money(line.amount),
        })
        .collect();
    rows.sort_by_key(|row| row.meter);
    rows
}

fn running(prices: &PriceList, interval: &MeterInterval) -> RunningRow {
    RunningRow {
        meter: interval.meter.label(),
        quantity: quantity(interval.meter, &interval.quantity),
        since: interval.started_at.into(),
        price: format!(
            "{} an hour",
            prices.price_text(prices.hourly(interval.meter, &interval.quantity))
        ),
    }
}

/// The months before this one in which something was counted, newest first.
fn earlier(
    prices: &PriceList,
    intervals: &[MeterInterval],
    since: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Vec<MonthRow> {
    let Some(first) = since.map(Month::of) else { return vec![] };
    std::iter::successors(Some(Month::of(now).previous()), |month| Some(month.previous()))
        .take_while(|month| *month >= first)
        .take(MONTHS)
        .map(|month| month_row(prices, month, &lines(prices, intervals, month, now)))
        .collect()
}

fn month_row(prices: &PriceList, month: Month, lines: &[Line]) -> MonthRow {
    let sums = Sums::of(lines);
    MonthRow {
        label: month.label(),
        compute: prices.money(sums.compute),
        storage: prices.money(sums.storage),
        backup: prices.money(sums.backup),
        saved: prices.money(sums.saved),
        total: prices.money(sums.total()),
        cents: sums.total().0,
    }
}

fn quantity(meter: Meter, quantity: &str) -> String {
    let (members, each) = per_member(quantity);
    let each = match meter {
        Meter::Compute | Meter::Stopped => each.to_owned(),
        Meter::Storage | Meter::Backup => format!("{each} GiB"),
    };
    if members == 1 { each } else { format!("{members} × {each}") }
}

fn price(prices: &PriceList, price: Option<Price>) -> String {
    match price {
        Some(Price::Hour(price)) => format!("{} an hour", prices.price_text(price)),
        Some(Price::GibMonth { price, .. }) => {
            format!("{} for a GiB and month", prices.price_text(price))
        }
        None => "no price in the list".into(),
    }
}
