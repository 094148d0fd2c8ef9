//! The pages that ask before a pair is touched: planned and forced failover, drill, disable. Each says what
//! to expect, from what was measured here; a failover that may lose commits asks for the server's name.

use super::ha_facts::HaFacts;
use super::ha_story;
use super::ha_view::{bytes_text, is_fresh, seconds_text};
use super::nav::{self, Frame, Tab};
use crate::clock::new_uuid;
use crate::domain::ha::{Cause, HaLook};
use crate::domain::operation::OperationKind;
use crate::domain::refusal::Refusal;
use crate::operations::submit::Change;
use crate::store::observations::Observed;
use crate::web::error::{PageError, PageResult};
use crate::web::form::{FormState, Posted};
use crate::web::page::{self, Layout};
use crate::web::paths;
use crate::web::time::ago_text;
use crate::web::visit::{Contributor, Signed, Visit};
use actix_web::http::StatusCode;
use actix_web::web::Path;
use askama::Template;
use chrono::{DateTime, Utc};
use serde_json::json;

/// Promotions that "lately" is made of.
const PROMOTIONS_MAX: i64 = 20;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    Planned,
    Forced,
    Drill,
    Disable,
}

impl Ask {
    fn kind(self) -> OperationKind {
        match self {
            Ask::Planned | Ask::Drill => OperationKind::Switchover,
            Ask::Forced => OperationKind::Failover,
            Ask::Disable => OperationKind::RemoveStandby,
        }
    }

    fn part(self) -> &'static str {
        match self {
            Ask::Planned => "planned-failover",
            Ask::Forced => "forced-failover",
            Ask::Drill => "drill",
            Ask::Disable => "disable",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Ask::Planned => "Planned failover",
            Ask::Forced => "Forced failover",
            Ask::Drill => "Failover drill",
            Ask::Disable => "Disable high availability",
        }
    }

    fn button(self) -> &'static str {
        match self {
            Ask::Planned => "Fail over now",
            Ask::Forced => "Force the failover",
            Ask::Drill => "Start the drill",
            Ask::Disable => "Disable and remove the standby",
        }
    }

    fn causes(self) -> &'static [Cause] {
        match self {
            Ask::Planned => &[Cause::Planned, Cause::Drill],
            Ask::Forced => &[Cause::Forced, Cause::ForcedWithLoss],
            Ask::Drill => &[Cause::Drill, Cause::Planned],
            Ask::Disable => &[],
        }
    }

    /// What happens, one sentence each.
    fn effects(self) -> &'static [&'static str] {
        match self {
            Ask::Planned => &[
                "New connections are held at the gateway, the primary is stopped in order, and the standby becomes the primary when it has the last byte of its log.",
                "Open connections end and their transactions are rolled back. The endpoint stays the same.",
                "No acknowledged commit is lost. If the standby does not take over in time, the old primary goes on.",
                "The old primary follows as the standby afterwards: the zones have changed places.",
            ],
            Ask::Forced => &[
                "The standby becomes the primary at once; the old primary is not waited for and is fenced off: it can acknowledge nothing any more.",
                "Open connections end and their transactions are rolled back. The endpoint stays the same.",
                "The old primary's container is stopped as soon as its host answers; then a standby is made in its zone.",
            ],
            Ask::Drill => &[
                "A planned failover, exactly as in earnest: open connections end, and the endpoint stays the same.",
                "A probe writes a row of its own every 100 ms through the gateway, before, during and after. The longest time without an acknowledged write, and writes that are missing afterwards, are kept on this page.",
                "No acknowledged commit is lost. The zones have changed places afterwards.",
            ],
            Ask::Disable => &[
                "Commits no longer wait for the standby, then its container and its volume are removed. The primary keeps the data.",
                "The database stays available: no connection ends, the endpoint and all settings stay.",
                "From then on commits are on one host: with its disk what is on it is lost.",
                "Its history of failovers and drills stays on this page. It can be enabled again at any time.",
            ],
        }
    }
}

#[derive(Template)]
#[template(path = "servers/ha_ask.html")]
struct AskPage {
    layout: Layout,
    frame: Frame,
    f: FormState,
    ask: Ask,
    /// Median time without writes and how many it is of; `None` while nothing was measured.
    usual: Option<(String, usize)>,
    why_closed: Option<String>,
    /// What may be lost; only when the standby is not provably complete.
    loss: Option<String>,
    /// What the server costs less; only for the end of high availability.
    saves: String,
    /// Version of the row that the page was made of.
    version: i64,
    key: String,
}

impl AskPage {
    async fn new(visit: &Visit, frame: Frame, ask: Ask, f: FormState) -> Result<Self, PageError> {
        let facts = HaFacts::load(visit, &frame.server).await?;
        let promotions = visit.state.store.promotions(&frame.server.id, PROMOTIONS_MAX).await?;
        let (prices, spec) = (&visit.state.config.prices, &frame.server.spec);
        let half = prices.estimate(spec.sku(), spec.storage()).total();
        let is_lossy = ask == Ask::Forced && !facts.is_complete();
        Ok(Self {
            layout: frame.layout(visit, ask.title()),
            usual: ha_story::usual(&promotions, ask.causes()),
            why_closed: facts.why_closed(&frame, ask.kind()),
            loss: is_lossy.then(|| loss_text(facts.look.as_ref(), visit.now)),
            saves: prices.text(half),
            version: facts.row.as_ref().map_or(0, |row| row.version),
            key: new_uuid(),
            ask,
            frame,
            f,
        })
    }

    fn action(&self) -> String {
        paths::server_ha_part(&self.frame.server.id, self.ask.part())
    }

    fn back(&self) -> String {
        paths::server_ha(&self.frame.server.id)
    }

    fn is_disable(&self) -> bool {
        self.ask == Ask::Disable
    }

    fn is_forced(&self) -> bool {
        self.ask == Ask::Forced
    }
}

/// What may be lost, from what was measured last; unknown is said to be unknown.
fn loss_text(look: Option<&Observed<HaLook>>, now: DateTime<Utc>) -> String {
    let Some(look) = look else {
        return "How far the standby is behind was never measured: everything that was committed since it last followed may be lost.".into();
    };
    let age = ago_text(look.at, now);
    let bytes = look.facts.lag_bytes.map(bytes_text);
    let seconds = look.facts.lag_seconds.map(seconds_text);
    match (bytes, seconds) {
        (Some(bytes), Some(seconds)) => format!(
            "When it was last measured ({age}), the standby was {bytes} and {seconds} behind. What was committed since then may be lost as well{}.",
            if is_fresh(look.at, now) { "" } else { ", and that look is old" }
        ),
        (Some(bytes), None) => format!(
            "When it was last measured ({age}), the standby was {bytes} behind. What was committed since then may be lost as well."
        ),
        (None, _) => format!(
            "How far the standby is behind is not known (last look {age}): everything that was committed since it last followed may be lost."
        ),
    }
}

async fn show(visit: &Signed<Contributor>, id: &str, ask: Ask) -> PageResult {
    let Some(frame) = nav::frame(visit, id, Tab::HighAvailability).await? else {
        return nav::gone(visit, id).await;
    };
    page::ok(&AskPage::new(visit, frame, ask, FormState::new()).await?)
}

async fn submit(visit: &Signed<Contributor>, id: &str, posted: &Posted, ask: Ask) -> PageResult {
    let Some(frame) = nav::frame(visit, id, Tab::HighAvailability).await? else {
        return nav::gone(visit, id).await;
    };
    // The same form come twice: what it asked for may have changed the pair already.
    let key = nav::submission_key(visit, posted)?;
    if let Some(earlier) = visit.state.store.operation_by_key(&key).await? {
        return page::see(&paths::operation(&earlier.id));
    }
    let change = match change(visit, &frame, posted, ask).await? {
        Ok(change) => change,
        Err(refusal) => return refused(visit, frame, ask, refusal).await,
    };
    match nav::submit(visit, &frame.server.id, posted, change).await? {
        Ok(way) => Ok(way),
        Err(refusal) => refused(visit, frame, ask, refusal).await,
    }
}

async fn refused(
    visit: &Signed<Contributor>,
    frame: Frame,
    ask: Ask,
    refusal: Refusal,
) -> PageResult {
    let mut f = FormState::new();
    f.refuse(refusal);
    let frame = frame.renewed(visit).await?;
    page::with_status(StatusCode::CONFLICT, &AskPage::new(visit, frame, ask, f).await?)
}

/// The change that is asked for, when it is possible and confirmed.
async fn change(
    visit: &Visit,
    frame: &Frame,
    posted: &Posted,
    ask: Ask,
) -> Result<Result<Change, Refusal>, PageError> {
    let facts = HaFacts::load(visit, &frame.server).await?;
    // What is under way is for the door to judge: it knows whether this is the same request come twice.
    if facts.row.is_none() {
        return Ok(Err(Refusal::whole("High availability is not enabled. Nothing was changed.")));
    }
    let with = |cause: Cause, about: &str| {
        let who = visit.person.as_ref().map_or("Somebody", |person| &person.user.login);
        let what = ha_story::cause_label(cause).to_lowercase();
        let input = json!({
            "cause": cause.key(),
            "reason": format!("{who} asked for a {what}."),
            "seen_at": visit.now,
            "accept_loss": cause == Cause::ForcedWithLoss,
        });
        Change::new(ask.kind(), about, &input)
    };
    Ok(match ask {
        Ask::Planned => Ok(with(Cause::Planned, "")),
        Ask::Drill => Ok(with(Cause::Drill, "as a drill")),
        Ask::Disable => Ok(Change::plain(ask.kind())),
        Ask::Forced if facts.is_complete() => Ok(with(Cause::Forced, "forced")),
        Ask::Forced => confirmed(frame, &facts, posted)
            .map(|()| with(Cause::ForcedWithLoss, "forced, loss accepted")),
    })
}

/// Loss is accepted for what the page has shown, not for what came after.
fn confirmed(frame: &Frame, facts: &HaFacts, posted: &Posted) -> Result<(), Refusal> {
    let version = facts.row.as_ref().map_or(0, |row| row.version).to_string();
    if posted.text("version") != version {
        return Err(Refusal::whole(
            "The pair has changed since this page was opened. Nothing was done. Read what may be lost now, then confirm again.",
        ));
    }
    if posted.text("confirm") != frame.name() {
        return Err(Refusal::at(
            "confirm",
            format!("Type {} to accept that commits may be lost. Nothing was done.", frame.name()),
        ));
    }
    Ok(())
}

/// `GET /servers/{id}/high-availability/planned-failover`
pub async fn planned(visit: Signed<Contributor>, id: Path<String>) -> PageResult {
    show(&visit, &id, Ask::Planned).await
}

/// `POST /servers/{id}/high-availability/planned-failover`
pub async fn post_planned(
    visit: Signed<Contributor>,
    id: Path<String>,
    posted: Posted,
) -> PageResult {
    submit(&visit, &id, &posted, Ask::Planned).await
}

/// `GET /servers/{id}/high-availability/forced-failover`
pub async fn forced(visit: Signed<Contributor>, id: Path<String>) -> PageResult {
    show(&visit, &id, Ask::Forced).await
}

/// `POST /servers/{id}/high-availability/forced-failover`
pub async fn post_forced(
    visit: Signed<Contributor>,
    id: Path<String>,
    posted: Posted,
) -> PageResult {
    submit(&visit, &id, &posted, Ask::Forced).await
}

/// `GET /servers/{id}/high-availability/drill`
pub async fn drill(visit: Signed<Contributor>, id: Path<String>) -> PageResult {
    show(&visit, &id, Ask::Drill).await
}

/// `POST /servers/{id}/high-availability/drill`
pub async fn post_drill(
    visit: Signed<Contributor>,
    id: Path<String>,
    posted: Posted,
) -> PageResult {
    submit(&visit, &id, &posted, Ask::Drill).await
}

/// `GET /servers/{id}/high-availability/disable`
pub async fn disable(visit: Signed<Contributor>, id: Path<String>) -> PageResult {
    show(&visit, &id, Ask::Disable).await
}

/// `POST /servers/{id}/high-availability/disable`
pub async fn post_disable(
    visit: Signed<Contributor>,
    id: Path<String>,
    posted: Posted,
) -> PageResult {
    submit(&visit, &id, &posted, Ask::Disable).await
}
