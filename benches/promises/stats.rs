//! Percentiles, and figures as text.

use std::time::Duration;

/// Times of one thing, in milliseconds.
#[derive(Debug, Clone, Default)]
pub struct Times(Vec<f64>);

impl Times {
    pub fn add(&mut self, time: Duration) {
        self.0.push(time.as_secs_f64() * 1e3);
    }

    pub fn extend(&mut self, other: Times) {
        self.0.extend(other.0);
    }

    /// The smallest value that at least `percent` of all are not above (nearest rank); 0 without any.
    pub fn percentile(&self, percent: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.max(1) - 1).copied().unwrap_or(0.0)
    }

    pub fn p50(&self) -> f64 {
        self.percentile(50.0)
    }

    pub fn p95(&self) -> f64 {
        self.percentile(95.0)
    }

    pub fn p99(&self) -> f64 {
        self.percentile(99.0)
    }

    pub fn max(&self) -> f64 {
        self.percentile(100.0)
    }
}

impl FromIterator<Duration> for Times {
    fn from_iter<I: IntoIterator<Item = Duration>>(times: I) -> Self {
        let mut all = Times::default();
        times.into_iter().for_each(|time| all.add(time));
        all
    }
}

/// The median of plain figures.
pub fn median(values: &[f64]) -> f64 {
    Times(values.to_vec()).p50()
}

/// Milliseconds as text: seconds from one second on.
pub fn time(millis: f64) -> String {
    if millis >= 1000.0 {
        format!("{:.2} s", millis / 1000.0)
    } else if millis >= 10.0 {
        format!("{millis:.0} ms")
    } else {
        format!("{millis:.2} ms")
    }
}

/// "p50 / p95" as text.
pub fn spread(times: &Times) -> String {
    format!("{} / {}", time(times.p50()), time(times.p95()))
}
