use super::*;
use crate::domain::ids::{GroupId, ServerId};
use chrono::{Duration, TimeZone};
use proptest::prelude::*;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn interval(meter: Meter, quantity: &str, from: &str, to: Option<&str>) -> MeterInterval {
    MeterInterval {
        server_id: ServerId::parse("01890a5d-ac96-774b-bcce-b302099a8057").unwrap(),
        server_name: "shop".into(),
        group_id: GroupId::default_group(),
        meter,
        quantity: quantity.into(),
        started_at: at(from),
        ended_at: to.map(at),
    }
}

const SKU: &str = "Standard_D2ds_v5";

#[test]
fn months_follow_the_calendar() {
    let december = Month::parse("2026-12").unwrap();
    assert_eq!(
        (december.next().key(), december.previous().key()),
        ("2027-01".into(), "2026-11".into())
    );
    assert_eq!(december.label(), "December 2026");
    let february = Month::parse("2028-02").unwrap();
    assert_eq!((february.next().start() - february.start()).num_days(), 29, "a leap year");
    for bad in ["", "2026", "2026-13", "2026-00", "2026-1", "-026-01", "99999-01", "2026-1x"] {
        assert_eq!(Month::parse(bad), None, "{bad}");
    }
    let future = Month::parse("2030-01").unwrap().until(at("2026-11-23T00:00:00Z"));
    assert_eq!(future.from, future.to, "nothing has happened yet");
}

#[test]
fn an_interval_counts_where_it_lies_in_the_month() {
    let november = Month::parse("2026-11").unwrap().until(at("2026-11-23T00:00:00Z"));
    let intervals = [
        interval(Meter::Compute, SKU, "2026-10-31T23:00:00Z", Some("2026-11-01T01:00:00Z")),
        interval(Meter::Stopped, SKU, "2026-11-01T01:00:00Z", Some("2026-11-01T03:00:00.9Z")),
        interval(Meter::Compute, SKU, "2026-11-22T22:00:00Z", None),
        interval(Meter::Compute, "Standard_B1ms", "2026-11-23T00:00:00Z", None),
        // The clock was set back while it ran.
        interval(Meter::Storage, "128", "2026-11-05T00:00:00Z", Some("2026-11-04T00:00:00Z")),
    ];
    let seen = usage(&intervals, november);
    let expected = [(Meter::Compute, SKU, 3 * 3600), (Meter::Stopped, SKU, 7200)];
    let expected = expected.map(|(meter, quantity, seconds)| Usage {
        meter,
        quantity: quantity.into(),
        seconds,
    });
    assert_eq!(seen, expected);
}

#[test]
fn a_line_is_rounded_once_and_stopped_time_costs_nothing() {
    let prices = PriceList::default();
    let line = |meter, quantity: &str, seconds| {
        prices.line(Usage { meter, quantity: quantity.into(), seconds })
    };
    assert_eq!(line(Meter::Compute, SKU, 3600).amount, Cents(17));
    assert_eq!(line(Meter::Compute, SKU, 100).amount, Cents(0), "0.47 cents");
    let stopped = line(Meter::Stopped, SKU, 36_000);
    assert_eq!((stopped.amount, stopped.saved), (Cents(0), Cents(170)));
    assert_eq!(line(Meter::Storage, "128", 730 * 3600).amount, Cents(1408));
    assert_eq!(line(Meter::Backup, "0.5", 730 * 3600).amount, Cents(5), "4.5 cents");
    for unknown in ["Standard_Q1", ""] {
        let line = line(Meter::Compute, unknown, 3600);
        assert_eq!((line.price, line.amount), (None, Cents(0)));
    }
    assert_eq!(line(Meter::Storage, "-5", 3600).price, None);
    assert!((prices.hourly(Meter::Compute, SKU) - 0.17).abs() < 1e-9);
    assert!(prices.hourly(Meter::Stopped, SKU).abs() < 1e-9);
}

proptest! {
    /// However an interval is cut, and wherever the month ends, no second is counted twice or lost.
    #[test]
    fn pieces_count_as_much_as_the_whole(cuts in prop::collection::vec(0i64..5_000_000, 1..12), middle in 0i64..5_000_000) {
        let begin = Utc.timestamp_opt(1_795_000_000, 0).unwrap();
        let time = |seconds: i64| begin + Duration::seconds(seconds);
        let mut cuts = cuts;
        cuts.extend([0, 5_000_000]);
        cuts.sort_unstable();
        let pieces: Vec<MeterInterval> = cuts.windows(2).map(|pair| MeterInterval {
            started_at: time(pair[0]),
            ended_at: Some(time(pair[1])),
            ..interval(Meter::Compute, SKU, "2026-11-01T00:00:00Z", None)
        }).collect();
        let count = |from, to| usage(&pieces, Period { from: time(from), to: time(to) }).iter().map(|usage| usage.seconds).sum::<i64>();
        prop_assert_eq!(count(0, middle) + count(middle, 5_000_000), 5_000_000);
    }
}
