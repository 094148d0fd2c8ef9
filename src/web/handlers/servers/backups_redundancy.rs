//! In how many zones backups are kept, as a choice: what each survives, what it costs, and why one is closed.

use super::ha_zones::{self, Truth};
use crate::domain::backup::Redundancy;
use crate::domain::ids::HostId;
use crate::domain::placement::HostLoad;
use crate::domain::refusal::Refusal;
use crate::web::form::Choice;

/// Where the second repository would be, or why it cannot be.
pub type Second = Result<HostId, String>;

/// One card for each; `second` and `local` are the reasons that close.
pub fn cards(zone_detail: &str, why_not: impl Fn(Redundancy) -> Option<String>) -> Vec<Choice> {
    let card = |redundancy: Redundancy| {
        let choice = Choice::new(redundancy.key(), redundancy.label());
        let choice = match redundancy {
            Redundancy::Local => choice
                .detail("One repository, on the host where the primary is when the first backup is taken. It survives mistakes in the data and the loss of a volume. If that host or its disk is lost, so are all backups.")
                .fact("backups and log once"),
            Redundancy::Zone => choice
                .detail(zone_detail)
                .fact("backups and log twice: about twice the space on disks and twice the copying"),
        };
        choice.closed(why_not(redundancy).unwrap_or_default())
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

/// The redundancy as posted.
///
/// # Errors
/// A refusal at the field.
pub fn read(typed: &str) -> Result<Redundancy, Refusal> {
    let refused = || Refusal::at("redundancy", "Choose in how many zones backups are kept.");
    Redundancy::parse(typed).ok_or_else(refused)
}
