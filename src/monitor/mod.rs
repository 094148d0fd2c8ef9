//! Periodic tasks: observe, decide, submit. Nothing here changes a host but [`credits`], which says why;
//! what must change is submitted as an operation. A tick takes no input, so a restart, a poke and the timer share one path, and
//! the next tick is the retry.

pub mod credits;
pub mod databases;
pub mod drift;
pub mod drills;
pub mod meters;
pub mod networks;
pub mod observe;
pub mod parameters;
pub mod pooler;
pub mod power;
pub mod schedule;
pub mod storage;

use crate::operations::context::Services;
use crate::operations::runner::chain;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Time between two looks at hosts and members.
const OBSERVE_EVERY: Duration = Duration::from_secs(15);
/// Time between two looks at what is due by the calendar.
const SCHEDULE_EVERY: Duration = Duration::from_secs(600);
/// Time between two looks at the CPU that burstable servers use.
const CREDITS_EVERY: Duration = Duration::from_secs(60);
/// Pokes that come close together make one tick.
const CALM: Duration = Duration::from_millis(150);

/// Runs until `stop` is set.
pub async fn run(services: Arc<Services>, mut stop: watch::Receiver<bool>) {
    let mut schedule = tokio::time::interval(SCHEDULE_EVERY);
    let mut credits = tokio::time::interval(CREDITS_EVERY);
    while !*stop.borrow() {
        logged("observe", observe::tick(&services)).await;
        logged("networks", networks::tick(&services)).await;
        logged("parameters", parameters::tick(&services)).await;
        logged("pooler", pooler::tick(&services)).await;
        logged("databases", databases::tick(&services)).await;
        logged("storage", storage::tick(&services)).await;
        tokio::select! {
            () = tokio::time::sleep(OBSERVE_EVERY) => {}
            () = services.poke.wait_monitor() => tokio::time::sleep(CALM).await,
            _ = schedule.tick() => {
                logged("schedule", schedule::tick(&services)).await;
                logged("meters", meters::tick(&services)).await;
            }
            _ = credits.tick() => logged("credits", credits::tick(&services)).await,
            _ = stop.changed() => {}
        }
    }
}

async fn logged(
    task: &'static str,
    tick: impl Future<Output = Result<(), crate::store::StoreError>>,
) {
    if let Err(error) = tick.await {
        tracing::warn!(task, error = %chain(&error), "a tick failed; the next one tries again");
    }
}
