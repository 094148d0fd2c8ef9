//! Stories on three Docker Engines, one for each zone, with a real portal process in front. Needs root; runs with
//! `PGFLEX_TEST_ZONES=1` (as `make test` does where it can), else it says that it was skipped.
//!
//! The engines come up once, the stories run one after the other, each with a portal of its own, and everything is
//! removed at the end: also when a story fails, and by a guard of its own when this process is killed.
//! `cargo test --features test-util --test zones -- WORD` runs the stories with the word in their name.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod backups;
#[path = "../common/tail.rs"]
mod tail;

mod checker;
mod delay;
mod engines;
mod fault;
mod faults;
mod harm;
#[path = "../../benches/promises/http.rs"]
#[expect(dead_code, reason = "the benchmarks use more of it")]
mod http;
mod mishaps;
mod pair;
mod portal;
mod soak;
mod stories;
mod strike;
mod tricks;

use engines::Zones;
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::Arc;

/// One story; what it is told with is its own to break.
pub type Story = fn(Arc<Zones>) -> LocalBoxFuture<'static, ()>;

/// `story!(module::function)`: the entry of an async function of one `Arc<Zones>`.
macro_rules! story {
    ($($path:ident)::+) => {
        (stringify!($($path).+), |zones| Box::pin($($path)::+(zones)))
    };
}

/// In this order; the first ones leave images where later ones find them.
const STORIES: &[(&str, Story)] = &[
    story!(stories::an_image_is_carried_to_a_zone_that_lacks_it),
    story!(stories::a_zone_that_is_cut_off_holds_up_no_other),
    story!(stories::an_engine_that_is_cut_off_is_silent_within_seconds),
    story!(backups::a_lost_zone_is_restored_in_another),
    story!(backups::backups_follow_the_primary),
    story!(faults::the_usual_faults_lose_nothing),
    story!(faults::what_is_required_waits_for_two_hosts),
    story!(faults::a_drill_measures_itself),
];

/// Only with `PGFLEX_ZONES_ALL=1`, or when a word names them: they take long.
const LONG_STORIES: &[(&str, Story)] = &[
    story!(faults::every_fault_loses_nothing),
    story!(faults::every_fault_with_durability_required),
    story!(faults::two_failovers_in_a_row_lose_nothing),
    story!(faults::a_portal_killed_in_a_failover_loses_nothing),
    story!(mishaps::a_slow_link_changes_nothing_but_the_time),
    story!(mishaps::two_portals_lose_nothing),
    story!(mishaps::a_store_that_is_locked_stops_no_client),
    story!(mishaps::waiting_clients_do_not_lock_the_portal_out),
    story!(mishaps::a_gateway_killed_in_a_failover_shows_nothing_old),
    story!(mishaps::a_commit_whose_wait_is_cancelled_is_warned_of),
    story!(soak::soak),
];

#[expect(clippy::disallowed_methods, reason = "tests take their switches from the environment")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn main() -> ExitCode {
    let words: Vec<String> =
        std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let is_named = |name: &str| words.iter().any(|word| name.contains(word));
    let all = variable("PGFLEX_ZONES_ALL").is_some_and(|value| value == "1");
    let usual = STORIES.iter().filter(|(name, _)| words.is_empty() || is_named(name));
    let long = LONG_STORIES.iter().filter(|(name, _)| (words.is_empty() && all) || is_named(name));
    let asked: Vec<_> = usual.chain(long).collect();
    if std::env::args().any(|word| word == "--list") {
        STORIES.iter().chain(LONG_STORIES).for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    if variable("PGFLEX_TEST_ZONES").is_none_or(|value| value != "1") {
        println!("SKIPPED {} stories on three zones: PGFLEX_TEST_ZONES is not 1", asked.len());
        return ExitCode::SUCCESS;
    }
    let zones = Arc::new(Zones::up(3));
    let mut failed = vec![];
    for (name, story) in asked {
        let begin = std::time::Instant::now();
        println!("story {name} …");
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let end = runtime.block_on(AssertUnwindSafe(story(zones.clone())).catch_unwind());
        drop(runtime);
        zones.mend();
        if end.is_err() {
            zones.sweep();
        }
        let word = if end.is_ok() { "ok" } else { "FAILED" };
        println!("story {name} {word} ({:.1} s)", begin.elapsed().as_secs_f64());
        failed.extend(end.is_err().then_some(*name));
    }
    drop(zones);
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("FAILED: {}", failed.join(", "));
    ExitCode::FAILURE
}
