//! CPU credits of a burstable server in words and as a line over the last hour.

use super::overview_view::Seen;
use crate::domain::credits::{CREDITS_CONSUMED, CREDITS_REMAINING, burst_of, effective_vcores};
use crate::domain::server::Server;
use crate::store::credits::Sample;
use crate::web::error::PageError;
use crate::web::label::{Chip, Icon, Tone};
use crate::web::time::Stamp;
use crate::web::visit::Visit;
use chrono::{DateTime, Duration, Utc};

/// What is shown as a line.
const SPAN: Duration = Duration::hours(1);
const SAMPLES_MAX: i64 = 120;
/// Size of the drawing, in its own units.
const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 120.0;

const FREE: Chip = Chip::new("Full CPU", Icon::Check, Tone::Ok);
const HELD: Chip = Chip::new("Held to baseline", Icon::Pause, Tone::Warn);
const UNKNOWN: Chip = Chip::new("Not measured yet", Icon::Ring, Tone::Idle);

/// The credits of a server.
pub struct CreditsView {
    pub chip: Chip,
    /// "29.4 of 288"; empty while not measured.
    pub remaining: String,
    /// "20 % of 1 vCore"
    pub baseline: String,
    pub per_hour: f64,
    pub credits_max: f64,
    /// "1 credit"
    pub release_at: String,
    pub is_held: bool,
    pub seen: Option<Seen>,
    pub chart: Option<Chart>,
    /// One line for each minute, newest first.
    pub minutes: Vec<Minute>,
}

/// One sample of both metrics.
pub struct Minute {
    pub at: Stamp,
    pub remaining: String,
    pub consumed: String,
}

/// The line, in units of the drawing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chart {
    pub points: String,
    /// What it shows, in words.
    pub words: String,
    pub top: String,
}

impl CreditsView {
    /// `None` for a size that is not burstable.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn load(visit: &Visit, server: &Server) -> Result<Option<Self>, PageError> {
        let sku = server.spec.sku();
        let Some(burst) = burst_of(sku) else { return Ok(None) };
        let (store, from) = (&visit.state.store, visit.now - SPAN);
        let row = store.credits(&server.id).await?;
        let remaining = store.samples(&server.id, CREDITS_REMAINING, from, SAMPLES_MAX).await?;
        let consumed = store.samples(&server.id, CREDITS_CONSUMED, from, SAMPLES_MAX).await?;
        let percent = (effective_vcores(sku, true) * 100.0).round();
        Ok(Some(Self {
            chip: row.as_ref().map_or(UNKNOWN, |row| if row.balance.is_held { HELD } else { FREE }),
            remaining: row.as_ref().map_or_else(String::new, |row| {
                format!("{} of {:.0}", credits(row.balance.credits), burst.credits_max)
            }),
            baseline: format!("{percent:.0} % of 1 vCore"),
            per_hour: burst.credits_per_hour,
            credits_max: burst.credits_max,
            release_at: release_text(burst.release_at()),
            is_held: row.as_ref().is_some_and(|row| row.balance.is_held),
            seen: row.as_ref().map(|row| Seen::measured(row.reading.at, visit.now)),
            chart: chart(&remaining, from),
            minutes: minutes(&remaining, &consumed),
        }))
    }
}

/// "1 credit", "6.75 credits"
fn release_text(credits: f64) -> String {
    let text = format!("{credits:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "1" { "1 credit".into() } else { format!("{text} credits") }
}

/// Shown as it is kept, to a tenth; never rounded up to what is not there.
fn credits(value: f64) -> String {
    format!("{:.1}", (value * 10.0).floor() / 10.0)
}

fn minutes(remaining: &[Sample], consumed: &[Sample]) -> Vec<Minute> {
    let spent = |at: DateTime<Utc>| consumed.iter().find(|sample| sample.at == at);
    let minute = |sample: &Sample| Minute {
        at: Stamp(sample.at),
        remaining: credits(sample.value),
        consumed: spent(sample.at)
            .map_or_else(|| "not measured".into(), |sample| format!("{:.2}", sample.value)),
    };
    remaining.iter().rev().map(minute).collect()
}

/// A line needs two points.
fn chart(samples: &[Sample], from: DateTime<Utc>) -> Option<Chart> {
    let (first, last) = (samples.first()?, samples.last()?);
    if samples.len() < 2 {
        return None;
    }
    let most = samples.iter().map(|sample| sample.value).fold(1.0, f64::max);
    let point = |sample: &Sample| {
        let along = (sample.at - from).num_milliseconds() as f64 / SPAN.num_milliseconds() as f64;
        let (x, y) = (along * WIDTH, HEIGHT - sample.value / most * HEIGHT);
        format!("{:.1},{:.1}", x.clamp(0.0, WIDTH), y.clamp(0.0, HEIGHT))
    };
    Some(Chart {
        points: samples.iter().map(point).collect::<Vec<_>>().join(" "),
        words: format!(
            "CPU credits remaining in the last hour: from {} to {}, at most {}.",
            credits(first.value),
            credits(last.value),
            credits(most)
        ),
        top: credits(most),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_stays_in_its_frame_and_has_words() {
        let from = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        let sample = |minutes, value| Sample { at: from + Duration::minutes(minutes), value };
        assert_eq!(chart(&[sample(1, 3.0)], from), None);
        let chart = chart(&[sample(0, 30.0), sample(30, 15.0), sample(60, 0.0)], from).unwrap();
        assert_eq!(chart.points, "0.0,0.0 300.0,60.0 600.0,120.0");
        assert!(chart.words.contains("from 30.0 to 0.0, at most 30.0"));
        assert_eq!(credits(0.99), "0.9");
        let texts = [1.0, 2.0, 6.75].map(release_text);
        assert_eq!(texts, ["1 credit", "2 credits", "6.75 credits"]);
    }
}
