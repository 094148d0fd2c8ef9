//! The banner of a server that is otherwise on its host than on record: what differs, what happens next,
//! and the way to the repair.

use super::overview_view::Seen;
use crate::domain::drift::{
    Drift, DriftLook, Next, OBSERVATION, REPAIRS_MAX, REPAIRS_WITHIN, Severity,
};
use crate::domain::server::{Server, SettledState};
use crate::web::error::PageError;
use crate::web::paths;
use crate::web::visit::Visit;
use chrono::{DateTime, Utc};

/// The banner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriftNotice {
    /// CSS class of the banner.
    pub class: &'static str,
    pub title: &'static str,
    /// What differs: a sentence and what a person can do about it, which may be empty.
    pub lines: Vec<(String, String)>,
    pub next: String,
    pub seen: Option<Seen>,
    /// The page that asks before a repair; `None` for who may not.
    pub repair: Option<String>,
}

/// The banner of a server; `None` where all is right, nobody looked, or an operation is at work.
///
/// # Errors
/// When the store does not answer.
pub async fn of(
    visit: &Visit,
    server: &Server,
    may_change: bool,
) -> Result<Option<DriftNotice>, PageError> {
    if server.active.is_some() {
        return Ok(None);
    }
    let repair = may_change.then(|| paths::server_repair(&server.id));
    match server.settled {
        SettledState::Ready => {
            let look =
                visit.state.store.server_observation::<DriftLook>(&server.id, OBSERVATION).await?;
            Ok(look.and_then(|look| drifted(&look.facts, (look.at, visit.now), repair)))
        }
        SettledState::Failed if visit.state.store.was_in_service(&server.id).await? => {
            Ok(Some(fallen(repair)))
        }
        SettledState::New | SettledState::Stopped | SettledState::Failed => Ok(None),
    }
}

fn drifted(
    look: &DriftLook,
    (at, now): (DateTime<Utc>, DateTime<Utc>),
    repair: Option<String>,
) -> Option<DriftNotice> {
    let worst = look.drifts.iter().map(|drift| drift.severity).max()?;
    let (class, title) = match worst {
        Severity::Down => {
            ("banner-danger", "The database is down: its container is not as it should be.")
        }
        Severity::Wrong if look.drifts.iter().all(|drift| drift.of_standby) => {
            ("banner-warn", "The standby’s container is not as it should be.")
        }
        Severity::Wrong => ("banner-warn", "The container is not as it should be."),
        Severity::Note => ("banner-info", "Something on the host is not as it should be."),
    };
    let line = |drift: &Drift| (drift.sentence(), drift.advice.clone());
    Some(DriftNotice {
        class,
        title,
        lines: look.drifts.iter().map(line).collect(),
        next: next(look.next),
        seen: Some(Seen::new(at, now)),
        repair: repair.filter(|_| worst > Severity::Note),
    })
}

/// What the portal does next, as a sentence.
pub fn next(next: Next) -> String {
    match next {
        Next::Nothing => String::new(),
        Next::LookAgain => "If the next look, seconds from now, finds the same, it is repaired by itself. The data is on its volume.".into(),
        Next::Repair => "It is being repaired by itself. The data is on its volume.".into(),
        Next::GaveUp => format!(
            "It was repaired {REPAIRS_MAX} times within {} minutes and drifts again, so nothing more is done by itself. Find out who or what changes it on the host, then repair. The data is on its volume.",
            REPAIRS_WITHIN.num_minutes()
        ),
        Next::Person => "Nothing is done by itself: only a person can decide here.".into(),
    }
}

/// A change was given up half way.
fn fallen(repair: Option<String>) -> DriftNotice {
    DriftNotice {
        class: "banner-warn",
        title: "This server was in service before.",
        lines: vec![],
        next: "If its data volume is still on the host, a repair puts a container around it and brings the server back with its data. If the volume is gone, the repair says so and makes nothing.".into(),
        seen: None,
        repair,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::drift::{self, SeenContainer, Wanted};

    fn look(container: Option<SeenContainer>) -> DriftLook {
        let wanted = Wanted {
            container: "c-g1".into(),
            image: String::new(),
            vcores: 1.0,
            memory_bytes: 2 << 30,
            network: "n".into(),
            volume: "v".into(),
            data_volume: "v".into(),
            image_tag: "t".into(),
            keeper: drift::Keeper::Engine,
        };
        let seen = drift::Seen { container, has_volume: Some(true), images: None };
        DriftLook::after(None, drift::drifts(&wanted, &seen), 0, DateTime::UNIX_EPOCH)
    }

    #[test]
    fn the_banner_says_what_differs_and_what_happens_next() {
        let now = DateTime::UNIX_EPOCH;
        let told = drifted(&look(None), (now, now), Some("/repair".into())).unwrap();
        assert_eq!(told.class, "banner-danger");
        assert_eq!(told.lines[0].0, "The container is missing; c-g1 is right.");
        assert!(told.next.contains("repaired by itself") && told.repair.is_some());
        assert!(next(Next::GaveUp).contains("3 times within 30 minutes"));
    }
}
