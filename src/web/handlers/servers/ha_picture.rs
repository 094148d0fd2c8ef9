//! The picture of a pair, for its own page and for the overview: both members, and what goes from one to the other.

use super::ha_facts::{HaFacts, zone_of};
use super::ha_view::{self as view, Link, MemberCard, MemberFacts};
use crate::domain::ha::{HighAvailability, MemberRole};
use crate::domain::server::{Member, Server};
use chrono::{DateTime, Utc};

/// Members and link, as they were last seen.
pub struct Picture {
    pub primary: Option<MemberCard>,
    pub standby: Option<MemberCard>,
    /// Where the standby will be, while there is none.
    pub standby_zone: String,
    pub link: Link,
}

/// What pictures of one server are drawn from.
pub struct Drawing<'a> {
    pub facts: &'a HaFacts,
    pub server: &'a Server,
    pub now: DateTime<Utc>,
}

impl Drawing<'_> {
    /// The picture of a pair by its row.
    pub fn picture(&self, row: &HighAvailability) -> Picture {
        let Drawing { facts, now, .. } = self;
        let card = |role, title, purpose| {
            facts.in_role(role).map(|member| self.card(title, purpose, member))
        };
        let look = facts.look.as_ref().map(|look| (&look.facts, look.at));
        Picture {
            primary: card(MemberRole::Primary, "Primary", "takes all reads and writes"),
            standby: card(MemberRole::Standby, "Standby", "follows, cannot be read, takes over"),
            standby_zone: row.standby_zone.clone(),
            link: view::link(row, look, *now),
        }
    }

    /// One member, whatever its role.
    pub fn card(&self, role: &'static str, purpose: &'static str, member: &Member) -> MemberCard {
        let Drawing { facts, server, now } = self;
        let look = facts.look.as_ref().filter(|look| view::is_fresh(look.at, *now));
        let seen = look.and_then(|look| {
            let both = [Some(&look.facts.primary), look.facts.standby.as_ref()];
            both.into_iter().flatten().find(|one| one.member == member.id.as_str())
        });
        let of = MemberFacts {
            member,
            zone: zone_of(member, server),
            host: facts.host_name(member),
            look: seen,
            observation: facts.seen_of(member),
            now: *now,
        };
        view::member_card(role, purpose, &of)
    }
}
