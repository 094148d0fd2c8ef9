//! A moment as people type it: date, time and the zone's distance from UTC; and back again.
//!
//! The zone is a distance, not a name: it says one moment only, also in the hour that summer time repeats.

use crate::domain::refusal::Refusal;
use crate::web::form::Choice;
use chrono::{DateTime, Duration, FixedOffset, NaiveDate, NaiveTime, Timelike, Utc};

/// Distances in use, in minutes.
const OFFSETS: [i32; 38] = [
    -720, -660, -600, -570, -540, -480, -420, -360, -300, -240, -210, -180, -150, -120, -60, 0, 60,
    120, 180, 210, 240, 270, 300, 330, 345, 360, 390, 420, 480, 525, 540, 570, 600, 630, 660, 720,
    780, 840,
];
/// Where some people live, to find a distance by.
const PLACES: [(i32, &str); 11] = [
    (-480, "Los Angeles in winter"),
    (-300, "New York in winter"),
    (-240, "New York in summer"),
    (-180, "São Paulo"),
    (0, "UTC; London in winter"),
    (60, "Amsterdam in winter, London in summer"),
    (120, "Amsterdam in summer"),
    (330, "Mumbai"),
    (480, "Singapore"),
    (540, "Tokyo"),
    (600, "Sydney in winter"),
];

/// `+05:30`
pub fn offset_text(minutes: i32) -> String {
    let sign = if minutes < 0 { '-' } else { '+' };
    format!("{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
}

/// What the select offers.
pub fn offsets() -> Vec<Choice> {
    let choice = |minutes: &i32| {
        let text = offset_text(*minutes);
        let place = PLACES.iter().find(|(at, _)| at == minutes).map_or("", |(_, place)| place);
        Choice::new(&text, format!("UTC{text}")).detail(place)
    };
    OFFSETS.iter().map(choice).collect()
}

fn parse_offset(typed: &str) -> Option<FixedOffset> {
    let minutes = OFFSETS.iter().find(|minutes| offset_text(**minutes) == typed)?;
    FixedOffset::east_opt(minutes * 60)
}

/// The moment that three fields say.
///
/// # Errors
/// A refusal at the field that is at fault.
pub fn parse(date: &str, time: &str, offset: &str) -> Result<DateTime<Utc>, Refusal> {
    let day = NaiveDate::parse_from_str(date.trim(), "%Y-%m-%d")
        .map_err(|_| Refusal::at("date", "Enter a date as year-month-day, such as 2026-11-23."))?;
    let clock = ["%H:%M:%S%.f", "%H:%M"]
        .iter()
        .find_map(|form| NaiveTime::parse_from_str(time.trim(), form).ok());
    // A leap second is no moment that PostgreSQL knows.
    let clock = clock.filter(|clock| clock.nanosecond() < 1_000_000_000).ok_or_else(|| {
        Refusal::at("time", "Enter a time as hours:minutes:seconds, such as 16:05:30.")
    })?;
    let offset = parse_offset(offset)
        .ok_or_else(|| Refusal::at("offset", "Choose one of the time zones in the list."))?;
    let local = day.and_time(clock).and_local_timezone(offset).single();
    local.map(|local| local.to_utc()).ok_or_else(|| Refusal::at("date", "There is no such moment."))
}

/// Date and time of a moment in a zone, for the fields.
pub fn fields(at: DateTime<Utc>, offset: &str) -> (String, String) {
    let offset = parse_offset(offset).unwrap_or_else(|| Utc.fix());
    let local = at.with_timezone(&offset);
    let form = if at.nanosecond() == 0 { "%H:%M:%S" } else { "%H:%M:%S%.6f" };
    (local.format("%Y-%m-%d").to_string(), local.format(form).to_string())
}

use chrono::Offset;

/// The same moment, or a whole second beside it that can be restored as well and is easier to read.
pub fn readable(at: DateTime<Utc>, can_be: impl Fn(DateTime<Utc>) -> bool) -> DateTime<Utc> {
    let down = at.with_nanosecond(0).unwrap_or(at);
    let whole = [down, down + Duration::seconds(1)];
    whole.into_iter().find(|whole| can_be(*whole)).unwrap_or(at)
}

/// "2026-11-23 16:05:30 UTC", with as many digits as there are.
pub fn utc_text(at: DateTime<Utc>) -> String {
    let form =
        if at.nanosecond() == 0 { "%Y-%m-%d %H:%M:%S UTC" } else { "%Y-%m-%d %H:%M:%S%.6f UTC" };
    at.format(form).to_string()
}

/// The same in the zone in which it was typed: "2026-11-23 17:05:30 UTC+01:00"; empty for UTC.
pub fn typed_text(at: DateTime<Utc>, offset: &str) -> String {
    if offset == offset_text(0) {
        return String::new();
    }
    let (date, time) = fields(at, offset);
    format!("{date} {time} UTC{offset}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_one_moment_in_every_zone() {
        let at = parse("2026-11-23", "17:05:30", "+01:00").unwrap();
        assert_eq!(utc_text(at), "2026-11-23 16:05:30 UTC");
        assert_eq!(typed_text(at, "+01:00"), "2026-11-23 17:05:30 UTC+01:00");
        assert_eq!(typed_text(at, "+00:00"), "");
        assert_eq!(fields(at, "+05:45"), ("2026-11-23".into(), "21:50:30".into()));
        assert_eq!(parse("2026-11-23", "16:05", "+00:00").unwrap(), at - Duration::seconds(30));
        let exact = parse("2026-11-23", "16:05:30.25", "+00:00").unwrap();
        let (date, time) = fields(exact, "-03:30");
        assert_eq!(parse(&date, &time, "-03:30").unwrap(), exact, "nothing is lost on the way");
    }

    /// T7.
    #[test]
    fn the_hour_that_summer_time_repeats_is_two_hours() {
        let in_summer = parse("2026-10-25", "02:30:00.25", "+02:00").unwrap();
        let in_winter = parse("2026-10-25", "02:30:00.25", "+01:00").unwrap();
        assert_eq!(in_winter - in_summer, Duration::hours(1));
        assert_eq!(utc_text(in_summer), "2026-10-25 00:30:00.250000 UTC");
        assert_eq!(utc_text(in_winter), "2026-10-25 01:30:00.250000 UTC");
        assert_eq!(typed_text(in_summer, "+02:00"), "2026-10-25 02:30:00.250000 UTC+02:00");
        assert_eq!(typed_text(in_winter, "+01:00"), "2026-10-25 02:30:00.250000 UTC+01:00");
        // Nor is an hour lost in spring: by its distance it is a moment as any other.
        assert_eq!(
            parse("2026-03-29", "02:30:00", "+01:00"),
            parse("2026-03-29", "03:30:00", "+02:00")
        );
    }

    #[test]
    fn what_is_no_moment_is_refused_at_its_field() {
        let field = |date, time, offset| parse(date, time, offset).unwrap_err().field;
        assert_eq!(field("23.11.2026", "16:05:30", "+00:00"), Some("date"));
        assert_eq!(field("2026-02-30", "16:05:30", "+00:00"), Some("date"));
        assert_eq!(field("2026-11-23", "25:05:30", "+00:00"), Some("time"));
        assert_eq!(field("2026-11-23", "23:59:60", "+00:00"), Some("time"));
        assert_eq!(field("2026-11-23", "16:05:30", "+09:99"), Some("offset"));
        assert_eq!(offsets().len(), OFFSETS.len());
    }

    #[test]
    fn a_readable_moment_is_one_that_can_be_restored() {
        let at = DateTime::from_timestamp(1_790_000_000, 300_000_000).unwrap();
        assert_eq!(readable(at, |whole| whole >= at).timestamp(), 1_790_000_001);
        assert_eq!(readable(at, |whole| whole <= at).timestamp(), 1_790_000_000);
        assert_eq!(readable(at, |whole| whole == at), at);
    }
}
