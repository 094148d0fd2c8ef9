//! How many requests one person, or one address that nobody is signed in from, may send in a minute.
//!
//! A bucket of tokens for each: it holds a minute's share and fills evenly, so a burst is fine and a
//! loop is not. It counts in memory, for each process of the portal: it protects the process, while guesses of
//! passwords are counted in the store.

use crate::web::error::PageError;
use actix_web::http::Method;
use chrono::{DateTime, Utc};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// Of the requests of a minute, one in so many may change something.
const PER_CHANGE: u32 = 10;
/// And one in so many may submit an operation.
const PER_OPERATION: u32 = 60;
/// Buckets kept at one moment; those that are full again are forgotten first.
const BUCKETS_MAX: usize = 20_000;

/// What a request asks of the portal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Weight {
    Look,
    Change,
    /// A change that makes the runner work on hosts.
    Operation,
}

/// Forms that submit an operation.
const OPERATIONS: &[&str] = &[
    "/servers/create/review",
    "/servers/{id}/compute/review",
    "/servers/{id}/databases",
    "/servers/{id}/databases/drop",
    "/servers/{id}/delete",
    "/servers/{id}/extensions/allowed",
    "/servers/{id}/extensions/create",
    "/servers/{id}/extensions/drop",
    "/servers/{id}/extensions/update",
    "/servers/{id}/high-availability/disable",
    "/servers/{id}/high-availability/drill",
    "/servers/{id}/high-availability/durability",
    "/servers/{id}/high-availability/enable",
    "/servers/{id}/high-availability/forced-failover",
    "/servers/{id}/high-availability/planned-failover",
    "/servers/{id}/networking/access",
    "/servers/{id}/parameters/save",
    "/servers/{id}/pooling",
    "/servers/{id}/repair",
    "/servers/{id}/reset-password",
    "/servers/{id}/restart",
    "/servers/{id}/start",
    "/servers/{id}/stop",
    "/servers/{id}/storage",
    "/operations/{id}/retry",
];

/// The weight of a request; `None` for what is not counted: files that every page needs, and probes.
pub fn weight(method: &Method, pattern: &str) -> Option<Weight> {
    match pattern {
        "/static/{file}" | "/healthz" | "/readyz" => None,
        // It changes nothing: it is a POST because the form is long.
        "/servers/create/estimate" => Some(Weight::Look),
        _ if method.is_safe() => Some(Weight::Look),
        pattern if OPERATIONS.contains(&pattern) => Some(Weight::Operation),
        _ => Some(Weight::Change),
    }
}

/// Who is counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Who {
    User(String),
    Address(String),
}

impl Who {
    /// An address; of IPv6 the network, because one household has all addresses of it.
    pub fn address(text: &str) -> Self {
        match text.parse::<IpAddr>() {
            Ok(IpAddr::V6(address)) => {
                let [a, b, c, d, ..] = address.segments();
                Who::Address(format!("{a:x}:{b:x}:{c:x}:{d:x}/64"))
            }
            _ => Who::Address(text.to_owned()),
        }
    }
}

struct Bucket {
    tokens: f64,
    at: DateTime<Utc>,
}

/// All buckets of one process.
pub struct Pace {
    /// Requests in a minute; 0 counts nothing.
    per_minute: u32,
    buckets: Mutex<HashMap<(Who, Weight), Bucket>>,
}

impl Pace {
    pub fn new(per_minute: u32) -> Self {
        Self { per_minute, buckets: Mutex::default() }
    }

    /// Lets one request through, or says when the next may come.
    ///
    /// # Errors
    /// The page that says so.
    pub fn admit(&self, who: &Who, weight: Weight, now: DateTime<Utc>) -> Result<(), PageError> {
        if self.per_minute == 0 {
            return Ok(());
        }
        let max = self.share(weight);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= BUCKETS_MAX {
            forget(&mut buckets, now);
        }
        let full = Bucket { tokens: f64::from(max), at: now };
        let bucket = buckets.entry((who.clone(), weight)).or_insert(full);
        let wait = bucket.take(max, now);
        drop(buckets);
        if wait == 0 { Ok(()) } else { Err(too_many(weight, max, wait)) }
    }

    fn share(&self, weight: Weight) -> u32 {
        let part = match weight {
            Weight::Look => 1,
            Weight::Change => PER_CHANGE,
            Weight::Operation => PER_OPERATION,
        };
        (self.per_minute / part).max(1)
    }
}

impl Bucket {
    /// Takes a token; else gives the seconds until there is one.
    fn take(&mut self, max: u32, now: DateTime<Utc>) -> i64 {
        let per_second = f64::from(max) / 60.0;
        // A clock that was set back fills nothing.
        let passed = ((now - self.at).num_milliseconds() as f64 / 1e3).max(0.0);
        self.tokens = (self.tokens + passed * per_second).min(f64::from(max));
        self.at = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return 0;
        }
        (((1.0 - self.tokens) / per_second).ceil() as i64).max(1)
    }
}

/// A bucket that was not used for a minute is full. Should all be in use, all begin anew: memory has a limit too.
fn forget(buckets: &mut HashMap<(Who, Weight), Bucket>, now: DateTime<Utc>) {
    buckets.retain(|_, bucket| (now - bucket.at).num_seconds() < 60);
    if buckets.len() >= BUCKETS_MAX {
        tracing::warn!(buckets = buckets.len(), "too many senders to count; counting begins anew");
        buckets.clear();
    }
}

fn too_many(weight: Weight, max: u32, retry_seconds: i64) -> PageError {
    let what = match weight {
        Weight::Look => "requests",
        Weight::Change => "changes",
        Weight::Operation => "operations",
    };
    let unit = if retry_seconds == 1 { "second" } else { "seconds" };
    let text = format!(
        "You may send {max} {what} a minute, and you have. The next one is answered in {retry_seconds} {unit}."
    );
    PageError::TooMany { text, retry_seconds }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::Duration;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_790_000_000, 0).unwrap()
    }

    fn wait(pace: &Pace, who: &Who, weight: Weight, now: DateTime<Utc>) -> i64 {
        match pace.admit(who, weight, now) {
            Ok(()) => 0,
            Err(PageError::TooMany { retry_seconds, .. }) => retry_seconds,
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn a_minutes_share_may_come_at_once_and_then_fills_evenly() {
        let (pace, ann) = (Pace::new(600), Who::User("ann".into()));
        for (weight, max, seconds) in
            [(Weight::Look, 600, 1), (Weight::Change, 60, 1), (Weight::Operation, 10, 6)]
        {
            for _ in 0..max {
                assert_eq!(wait(&pace, &ann, weight, now()), 0);
            }
            assert_eq!(wait(&pace, &ann, weight, now()), seconds, "{weight:?}");
            assert_eq!(wait(&pace, &ann, weight, now() - Duration::hours(1)), seconds);
            assert_eq!(wait(&pace, &Who::User("bob".into()), weight, now()), 0);
            assert_eq!(wait(&pace, &ann, weight, now() + Duration::seconds(seconds)), 0);
        }
        let none = Pace::new(0);
        assert!((0..10_000).all(|_| wait(&none, &ann, Weight::Operation, now()) == 0));
    }

    #[test]
    fn every_form_that_submits_an_operation_is_a_route() {
        for pattern in OPERATIONS {
            assert!(crate::web::routes::find(&Method::POST, pattern).is_some(), "{pattern}");
            assert_eq!(weight(&Method::POST, pattern), Some(Weight::Operation), "{pattern}");
        }
    }

    #[test]
    fn addresses_of_one_household_are_one() {
        assert_eq!(Who::address("2001:db8:1:2::3"), Who::address("2001:db8:1:2:ffff::4"));
        assert_ne!(Who::address("2001:db8:1:2::3"), Who::address("2001:db8:1:3::3"));
        assert_ne!(Who::address("192.0.2.1"), Who::address("192.0.2.2"));
    }

    #[test]
    fn memory_has_a_limit() {
        let pace = Pace::new(600);
        for n in 0..BUCKETS_MAX + 10 {
            let _ = pace.admit(&Who::Address(n.to_string()), Weight::Look, now());
        }
        assert!(pace.buckets.lock().unwrap().len() <= BUCKETS_MAX);
    }
}
