//! Time and identifiers come from here, as arguments: everything else is forbidden to ask the system.

use chrono::{DateTime, Duration, Utc};
use std::sync::{Arc, Mutex};

/// Where "now" comes from.
pub trait Clock: Send + Sync {
    /// The time, cut to microseconds: what the store keeps.
    fn now(&self) -> DateTime<Utc>;
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
    fn now(&self) -> DateTime<Utc> {
        cut(Utc::now())
    }
}

/// A clock that a test winds by hand.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<Mutex<DateTime<Utc>>>);

impl ManualClock {
    pub fn at(time: DateTime<Utc>) -> Self {
        Self(Arc::new(Mutex::new(cut(time))))
    }

    /// Moves the clock forward.
    pub fn wind(&self, by: Duration) {
        if let Ok(mut now) = self.0.lock() {
            *now += by;
        }
    }
}

impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        self.0.lock().map_or(DateTime::UNIX_EPOCH, |now| *now)
    }
}

fn cut(time: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(time.timestamp_micros()).unwrap_or(DateTime::UNIX_EPOCH)
}

/// A new UUIDv7 in canonical text.
pub fn new_uuid() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// A new identifier of any kind: `let id: ServerId = new_id(ServerId::parse);`
pub fn new_id<T>(parse: impl Fn(&str) -> Option<T>) -> T {
    loop {
        if let Some(id) = parse(&new_uuid()) {
            return id;
        }
    }
}

/// `N` bytes from the operating system's generator.
///
/// # Panics
/// When the operating system has no random numbers: nothing safe can be done then.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    #[expect(clippy::expect_used, reason = "a system without random numbers must not go on")]
    getrandom::fill(&mut bytes).expect("the operating system gives random numbers");
    bytes
}
