//! To which servers high availability is offered, and what a person asks for.

use super::{Durability, HaMode};
use crate::domain::catalog::Tier;
use crate::domain::network::Access;

/// What a person asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedHa {
    pub mode: HaMode,
    pub durability: Durability,
    /// The primary's for [`HaMode::SameZone`], another one for [`HaMode::ZoneRedundant`].
    pub standby_zone: String,
}

/// Why a server like this has no high availability, in words for the control that is closed by it.
pub fn reason_against(tier: Tier, access: Access, has_pooler: bool) -> Option<&'static str> {
    if tier == Tier::Burstable {
        return Some(
            "Not on the tier Burstable: a standby that is held to its baseline would hold up every commit. Choose General Purpose or Memory Optimized.",
        );
    }
    if access == Access::Private {
        return Some(
            "Not with private access in this version: clients would reach a container and not the server. Choose public access.",
        );
    }
    has_pooler.then_some(
        "Not with the built-in PgBouncer in this version: it runs beside one member. Switch connection pooling off first.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_hindrance_has_its_reason() {
        let reason = |tier, access, pooler| reason_against(tier, access, pooler).unwrap_or("none");
        assert!(reason(Tier::Burstable, Access::Public, false).contains("Burstable"));
        assert!(reason(Tier::GeneralPurpose, Access::Private, false).contains("private access"));
        assert!(reason(Tier::MemoryOptimized, Access::Public, true).contains("PgBouncer"));
        assert_eq!(reason(Tier::GeneralPurpose, Access::Public, false), "none");
    }
}
