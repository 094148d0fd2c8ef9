//! The page that asks before durability is changed: both choices in plain words, and what the change does right
//! now. A form is good for what its page has said: where that is no longer so, it is asked again.

use super::ha_facts::HaFacts;
use super::nav::{self, Frame, Tab};
use crate::clock::new_uuid;
use crate::domain::ha::{Durability, HighAvailability, ReplicationState};
use crate::domain::operation::OperationKind;
use crate::domain::refusal::Refusal;
use crate::operations::submit::Change;
use crate::web::error::{PageError, PageResult};
use crate::web::form::{FormState, Posted};
use crate::web::page::{self, Layout};
use crate::web::paths;
use crate::web::visit::{Contributor, Signed, Visit};
use actix_web::http::StatusCode;
use actix_web::web::Path;
use askama::Template;
use serde_json::json;

const KIND: OperationKind = OperationKind::ChangeDurability;

/// How the pair stands, as far as the change does something different.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// A standby counts.
    Both,
    /// None does, and one did before.
    Alone,
    /// None ever did: commits wait for nobody under either choice.
    First,
    /// A primary is being started or changed.
    Changing,
}

impl Standing {
    fn of(row: &HighAvailability) -> Self {
        use ReplicationState as S;
        match row.state {
            S::Restarting | S::Switching | S::Promoting => Standing::Changing,
            _ if row.is_promotable => Standing::Both,
            _ if row.had_standby() => Standing::Alone,
            _ => Standing::First,
        }
    }

    fn key(self) -> &'static str {
        match self {
            Standing::Both => "both",
            Standing::Alone => "alone",
            Standing::First => "first",
            Standing::Changing => "changing",
        }
    }

    /// What happens right now, one sentence each.
    fn effects(self, to: Durability) -> &'static [&'static str] {
        use Durability::{Preferred, Required};
        match (self, to) {
            (Standing::Both, Required) => &[
                "A standby counts now: every commit is on both members, and nothing changes for writes.",
                "From then on, if the standby is lost, writes wait until there is a standby again.",
            ],
            (Standing::Both, Preferred) => &[
                "A standby counts now: every commit is on both members, and nothing changes for writes that it confirms.",
                "If the standby is lost and writes wait for it, they are acknowledged and go on a few seconds after the change, on one host.",
            ],
            (Standing::Alone, Required) => &[
                "No standby counts now: as soon as this is done, every write waits until a standby is there again. Reads go on.",
                "Applications may run into their own time limits. The standby is made by itself, where a host for it answers.",
            ],
            (Standing::Alone, Preferred) => &[
                "No standby counts now: as soon as this is done, all writes that wait are acknowledged and go on, on one host.",
                "A standby that is being made goes on being made. Until it counts, a loss of the primary's host loses what was written alone.",
            ],
            (Standing::First, Required) => &[
                "The first standby is not there yet: until it is, writes wait for nobody under either choice, and commits are on one host.",
                "Once it is there, no commit is acknowledged while only one member has it.",
            ],
            (Standing::First, Preferred) => &[
                "The first standby is not there yet: until it is, writes wait for nobody under either choice, and commits are on one host.",
                "Once it is there, commits are on both members; if it is lost, writes go on after about 3 s on one host.",
            ],
            (Standing::Changing, _) => &[
                "The primary is being started or changed now. The change of durability waits until that has ended.",
                "If a standby counts then, nothing changes for writes; if none does, they go by the new choice at once.",
            ],
        }
    }
}

/// One of the two choices.
struct Side {
    label: &'static str,
    meaning: &'static str,
    is_now: bool,
}

impl Side {
    fn of(durability: Durability, now: Durability) -> Self {
        let meaning = match durability {
            Durability::Preferred => {
                "Stay available. If the standby is lost, writes go on after a short wait (about 3 s), on one host, until there is a standby again. A loss of that host before then loses what was written alone."
            }
            Durability::Required => {
                "Always on two. If the standby is lost, writes wait until there is a standby again. Reads go on. No commit is acknowledged while only one member has it."
            }
        };
        Self { label: durability.key(), meaning, is_now: durability == now }
    }
}

/// The choice that is not in force; there are two.
fn other(durability: Durability) -> Durability {
    match durability {
        Durability::Preferred => Durability::Required,
        Durability::Required => Durability::Preferred,
    }
}

/// What a page has said, for the form that comes from it.
fn seen(row: &HighAvailability) -> String {
    format!("{}.{}.{}", row.epoch, row.durability.key(), Standing::of(row).key())
}

#[derive(Template)]
#[template(path = "servers/ha_durability.html")]
struct DurabilityPage {
    layout: Layout,
    frame: Frame,
    f: FormState,
    sides: Vec<Side>,
    /// What it would be changed to.
    to: &'static str,
    effects: &'static [&'static str],
    /// Whether writes stop, or go on on one host, with the change itself.
    is_danger: bool,
    version: String,
    why_closed: Option<String>,
    key: String,
}

impl DurabilityPage {
    async fn new(visit: &Visit, frame: Frame, f: FormState) -> Result<Self, PageError> {
        let facts = HaFacts::load(visit, &frame.server).await?;
        // Without a pair the page only says why it is closed.
        let row = facts.row.as_ref();
        let now = row.map_or(Durability::Preferred, |row| row.durability);
        let standing = row.map(Standing::of);
        Ok(Self {
            layout: frame.layout(visit, "Change durability"),
            sides: row.map_or(vec![], |_| Durability::ALL.map(|one| Side::of(one, now)).into()),
            to: other(now).key(),
            effects: standing.map_or(&[], |standing| standing.effects(other(now))),
            is_danger: standing == Some(Standing::Alone),
            version: row.map_or(String::new(), seen),
            why_closed: facts.why_closed(&frame, KIND),
            key: new_uuid(),
            frame,
            f,
        })
    }

    fn action(&self) -> String {
        paths::server_ha_part(&self.frame.server.id, "durability")
    }

    fn back(&self) -> String {
        paths::server_ha(&self.frame.server.id)
    }
}

/// `GET /servers/{id}/high-availability/durability`
pub async fn get(visit: Signed<Contributor>, id: Path<String>) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::HighAvailability).await? else {
        return nav::gone(&visit, &id).await;
    };
    page::ok(&DurabilityPage::new(&visit, frame, FormState::new()).await?)
}

/// `POST /servers/{id}/high-availability/durability`
pub async fn post(visit: Signed<Contributor>, id: Path<String>, posted: Posted) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::HighAvailability).await? else {
        return nav::gone(&visit, &id).await;
    };
    // The same form come twice: what it asked for may have changed the pair already.
    let key = nav::submission_key(&visit, &posted)?;
    if let Some(earlier) = visit.state.store.operation_by_key(&key).await? {
        return page::see(&paths::operation(&earlier.id));
    }
    let facts = HaFacts::load(&visit, &frame.server).await?;
    let change = match asked(facts.row.as_ref(), &posted) {
        Ok(change) => change,
        Err(refusal) => return refused(&visit, frame, refusal).await,
    };
    match nav::submit(&visit, &frame.server.id, &posted, change).await? {
        Ok(way) => Ok(way),
        Err(refusal) => refused(&visit, frame, refusal).await,
    }
}

async fn refused(visit: &Signed<Contributor>, frame: Frame, refusal: Refusal) -> PageResult {
    let mut f = FormState::new();
    f.refuse(refusal);
    let frame = frame.renewed(visit).await?;
    page::with_status(StatusCode::CONFLICT, &DurabilityPage::new(visit, frame, f).await?)
}

/// What is asked for, of the pair that the page has told of.
fn asked(row: Option<&HighAvailability>, posted: &Posted) -> Result<Change, Refusal> {
    let row = row
        .ok_or_else(|| Refusal::whole("High availability is not enabled. Nothing was changed."))?;
    let to = Durability::parse(posted.text("durability"))
        .ok_or_else(|| Refusal::whole("Choose Preferred or Required. Nothing was changed."))?;
    if to == row.durability {
        let text = format!("Durability is {} already. Nothing was changed.", to.key());
        return Err(Refusal::whole(text));
    }
    if posted.text("version") != seen(row) {
        return Err(Refusal::whole(
            "The pair has changed since this page was opened. Nothing was changed. Read what happens now, then choose again.",
        ));
    }
    Ok(Change::new(KIND, &format!("to {}", to.key()), &json!({ "durability": to })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ha::{HaMode, Lsn};
    use crate::domain::ids::ServerId;
    use chrono::DateTime;

    /// A form is good for what the page has said: not for another choice, and not for other effects.
    #[test]
    fn what_a_page_has_said_changes_with_the_choice_and_with_what_it_does() {
        let id = ServerId::parse("01890a5d-ac96-774b-bcce-b302099a8057").unwrap();
        let (mode, now) = (HaMode::ZoneRedundant, DateTime::UNIX_EPOCH);
        let first = HighAvailability::asked(id, mode, Durability::Preferred, "2".into(), now);
        let alone = HighAvailability { armed_lsn: Some(Lsn(1)), ..first.clone() };
        let both = HighAvailability {
            state: ReplicationState::Sync,
            is_promotable: true,
            ..alone.clone()
        };
        let required = HighAvailability { durability: Durability::Required, ..alone.clone() };
        let all = [seen(&first), seen(&alone), seen(&both), seen(&required)];
        let unlike: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(unlike.len(), all.len(), "{all:?}");
        // A build that begins and ends beside a person who reads changes nothing of what was said.
        let building =
            HighAvailability { state: ReplicationState::Building, version: 9, ..alone.clone() };
        assert_eq!(seen(&building), seen(&alone));
    }
}
