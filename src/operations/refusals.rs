//! Why work is refused at the door, in words.

use crate::domain::names::ServerName;
use crate::domain::refusal::Refusal;

pub(super) fn name_taken(name: &ServerName) -> Refusal {
    Refusal::at("name", format!("There is a server named {name} already. Choose another name."))
}

/// A creation that fails deletes the volume it was making: it must never meet one with a person's data,
/// such as that of a server whose deletion was given up half way.
pub(super) fn was_in_use() -> Refusal {
    Refusal::whole(
        "This server was in use, and its volume may still hold data. Nothing was changed. Delete the server; to keep the data, copy the volume on its host first.",
    )
}

pub(super) fn network_gone() -> Refusal {
    Refusal::whole(
        "The chosen virtual network does not exist any more. Choose another one on the tab Networking.",
    )
}

pub(super) fn never_in_service() -> Refusal {
    Refusal::whole(
        "This server was never in service, so there is nothing to repair. Nothing was changed. Retry its creation, or delete it.",
    )
}

pub(super) fn no_port() -> Refusal {
    Refusal::whole(
        "Every port of the gateway is in use. Widen the range in the configuration or delete a server.",
    )
}
