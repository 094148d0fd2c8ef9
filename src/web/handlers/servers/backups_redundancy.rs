//! In how many places backups are kept, as a choice: what each survives, what it costs, and why one is closed.

use super::ha_zones::{self, Truth};
use crate::config::Config;
use crate::domain::backup::{NO_OBJECT_STORAGE, ObjectStorage, Redundancy};
use crate::domain::ids::HostId;
use crate::domain::placement::HostLoad;
use crate::domain::refusal::Refusal;
use crate::web::form::Choice;

/// Where the second repository would be, or why it cannot be.
pub type Second = Result<HostId, String>;

/// One card for each; `storage` is what is configured, `why_not` gives what else closes one.
pub fn cards(
    zone_detail: &str,
    storage: Option<&ObjectStorage>,
    why_not: impl Fn(Redundancy) -> Option<String>,
) -> Vec<Choice> {
    let place = storage.map_or(String::new(), |storage| format!(" {}", storage.location()));
    let stored = format!(
        "A second repository in the object storage{place}, outside of every host, encrypted before it leaves. It survives the loss of all hosts; at most the last minute of commits is not in it yet."
    );
    let card = |redundancy: Redundancy| {
        let choice = Choice::new(redundancy.key(), redundancy.label());
        let choice = match redundancy {
            Redundancy::Local => choice
                .detail("One repository, on the host where the primary is when the first backup is taken. It survives mistakes in the data and the loss of a volume. If that host or its disk is lost, so are all backups.")
                .fact("backups and log once"),
            Redundancy::Zone => choice
                .detail(zone_detail)
                .fact("backups and log twice: about twice the space on disks and twice the copying"),
            Redundancy::ObjectStorage => choice
                .detail(&stored)
                .fact("backups and log twice: what the storage charges comes on top"),
        };
        let is_missing = redundancy == Redundancy::ObjectStorage && storage.is_none();
        let missing = is_missing.then(|| NO_OBJECT_STORAGE.to_owned());
        choice.closed(why_not(redundancy).or(missing).unwrap_or_default())
    };
    Redundancy::ALL.map(card).into()
}

/// What the second repository survives on this host, by what the engines said of themselves.
pub fn zone_detail(loads: &[HostLoad], near: Option<&HostId>, second: Option<&HostId>) -> String {
    let truth = near.zip(second).map(|(near, second)| ha_zones::of_hosts(loads, near, second));
    let survives = match truth {
        Some(Truth::OneEngine) => {
            "The only host there is the same Docker Engine: it survives the loss of the first repository's volume, not of the host."
        }
        Some(Truth::OneMachine) => {
            "The host there is another Docker Engine of the same machine, by its address: it survives the loss of an engine, not of the machine."
        }
        Some(Truth::Apart) | None => {
            "It survives the loss of the first repository's host and of its zone; at most the last minute of commits is not in it yet."
        }
        Some(Truth::MayShare | Truth::Unknown) => {
            "Whether it would survive the loss of the first repository's host is not known: one of the engines has not answered yet."
        }
    };
    let name = second.and_then(|id| loads.iter().find(|load| load.host.id == *id));
    let there =
        name.map_or(String::new(), |load| format!(" (now that is host {})", load.host.name));
    format!(
        "A second repository on a host of another zone{there}, with backups, log and window of its own. {survives}"
    )
}

/// The object storage that is configured; none is when its words cannot be used, which the start refuses.
pub fn storage(config: &Config) -> Option<ObjectStorage> {
    config.object_storage.as_ref().and_then(|one| one.place().ok())
}

/// The redundancy as posted.
///
/// # Errors
/// A refusal at the field.
pub fn read(typed: &str) -> Result<Redundancy, Refusal> {
    let refused = || Refusal::at("redundancy", "Choose where backups are kept.");
    Redundancy::parse(typed).ok_or_else(refused)
}
