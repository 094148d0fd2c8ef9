//! Periodic tasks: observe, decide, submit. Nothing here changes a host but [`archive_checks`], [`backups`], [`credits`], [`erasure`], [`starts`],
//! [`store_backups`] and [`ha::fence`], which say why; what must change is submitted as an operation. A tick takes no input, so a
//! restart, a poke and the timer share one path, and the next tick is the retry.

pub mod archive_checks;
pub mod backups;
pub mod credits;
pub mod databases;
pub mod drift;
pub mod drills;
pub mod erasure;
pub mod events;
pub mod ha;
pub mod meters;
pub mod networks;
pub mod observe;
pub mod parameters;
pub mod pooler;
pub mod power;
pub mod repositories;
pub mod restore_drills;
pub mod schedule;
pub mod starts;
pub mod storage;
pub mod store_backups;

use crate::domain::ids::HostId;
use crate::operations::context::Services;
use crate::operations::runner::chain;
use crate::store::StoreError;
use std::collections::HashSet;
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

/// Runs until `stop` is set: the looks at everything, and beside them what must never wait for them.
pub async fn run(services: Arc<Services>, stop: watch::Receiver<bool>) {
    let bell = events::Bell::default();
    tokio::join!(
        events::run(services.clone(), bell.clone(), stop.clone()),
        apart(ha::run(services.clone(), bell, ha::Pace::default(), stop.clone())),
        look_at_everything(services, stop),
    );
}

/// In a task of its own: another thread drives it while this one computes.
async fn apart(work: impl Future<Output = ()> + Send + 'static) {
    if let Err(error) = tokio::spawn(work).await {
        tracing::error!(%error, "a watch of the monitor ended");
    }
}

async fn look_at_everything(services: Arc<Services>, mut stop: watch::Receiver<bool>) {
    let mut schedule = tokio::time::interval(SCHEDULE_EVERY);
    let mut credits = tokio::time::interval(CREDITS_EVERY);
    let mut archives = backups::Watch::default();
    let mut checks = archive_checks::Watch::default();
    while !*stop.borrow() {
        logged("observe", observe::tick(&services)).await;
        logged("networks", networks::tick(&services)).await;
        logged("parameters", parameters::tick(&services)).await;
        logged("pooler", pooler::tick(&services)).await;
        logged("databases", databases::tick(&services)).await;
        logged("storage", storage::tick(&services)).await;
        logged("backups", archives.tick(&services)).await;
        let put_right = archives.take_put_right();
        logged("archive checks", checks.tick(&services, &put_right)).await;
        logged("repositories", repositories::tick(&services)).await;
        tokio::select! {
            () = tokio::time::sleep(OBSERVE_EVERY) => {}
            () = services.poke.wait_monitor() => tokio::time::sleep(CALM).await,
            _ = schedule.tick() => {
                logged("schedule", schedule::tick(&services)).await;
                logged("meters", meters::tick(&services)).await;
                logged("restore_drills", restore_drills::tick(&services)).await;
                logged("erasure", erasure::tick(&services)).await;
            }
            _ = credits.tick() => logged("credits", credits::tick(&services)).await,
            _ = stop.changed() => {}
        }
    }
}

/// Hosts whose engine did not answer the look of this tick. Who goes from server to server leaves theirs out: each
/// would take the whole deadline of a call, and the servers of other hosts would wait for all of them.
async fn silent_hosts(services: &Services) -> Result<HashSet<HostId>, StoreError> {
    let seen = services.store.host_observations().await?;
    Ok(seen.into_iter().filter(|host| host.error.is_some()).map(|host| host.host_id).collect())
}

async fn logged(task: &'static str, tick: impl Future<Output = Result<(), StoreError>>) {
    if let Err(error) = tick.await {
        tracing::warn!(task, error = %chain(&error), "a tick failed; the next one tries again");
    }
}
