//! How backups are kept: for how many days back, and in how many places. The form, and the question before anything goes or moves.

use super::backups_facts::BackupFacts;
use super::backups_moves::{Moves, moves};
use super::backups_redundancy as redundancy;
use super::nav::{self, Frame, Tab};
use crate::domain::backup::{
    Backup, BackupPolicy, ObjectStorage, Redundancy, Retention, choose_second_of,
    reason_against_leaving, reason_against_second,
};
use crate::domain::refusal::Refusal;
use crate::domain::server::{Member, ServerSpec};
use crate::operations::submit::SubmitError;
use crate::web::error::{PageError, PageResult};
use crate::web::flash::Flash;
use crate::web::form::{Choice, FormState, Posted};
use crate::web::page::{self, Layout};
use crate::web::paths;
use crate::web::time::Stamp;
use crate::web::visit::{Contributor, Signed, Visit};
use actix_web::http::StatusCode;
use actix_web::web::Path;
use askama::Template;
use chrono::{DateTime, Duration, Utc};

#[derive(Template)]
#[template(path = "servers/backups_retention.html")]
struct RetentionPage {
    layout: Layout,
    frame: Frame,
    f: FormState,
    days: i64,
    redundancy: &'static str,
    redundancies: Vec<Choice>,
    /// What a lower number would cost; only as a question before it is done.
    lowers: Option<Lowers>,
    /// What another redundancy would do; likewise.
    moves: Option<Moves>,
    earliest: Option<Stamp>,
    version: i64,
    why_closed: Option<String>,
}

/// A retention that forgets what is there.
struct Lowers {
    to: i64,
    /// Earliest moment that is left; `None` when nothing that is there now goes.
    earliest: Option<Stamp>,
    backups: usize,
}

impl RetentionPage {
    async fn new(
        visit: &Visit,
        frame: Frame,
        f: FormState,
        to: Option<BackupPolicy>,
    ) -> Result<Self, PageError> {
        let facts = BackupFacts::load(visit, &frame.server).await?;
        let now = facts.protection.policy;
        let (days, spec) = (now.retention.as_days(), &frame.server.spec);
        let lower = to.map(|to| to.retention).filter(|to| *to < now.retention);
        let other = to.filter(|to| to.redundancy != now.redundancy);
        let storage = redundancy::storage(&visit.state.config);
        Ok(Self {
            layout: frame.layout(visit, "Change how backups are kept"),
            days,
            redundancy: now.redundancy.label(),
            redundancies: cards(&facts, spec, storage.as_ref()),
            lowers: lower.map(|to| lowers(&facts, to)),
            moves: other.map(|to| moves(&facts, spec, to, storage.as_ref())),
            earliest: facts.window().earliest().map(Stamp),
            version: facts.protection.version,
            why_closed: BackupFacts::why_kept(&frame),
            f: f.with("days", days.to_string()).with("redundancy", now.redundancy.key()),
            frame,
        })
    }

    fn action(&self) -> String {
        paths::server_backups_part(&self.frame.server.id, "retention")
    }

    fn back(&self) -> String {
        paths::server_backups(&self.frame.server.id)
    }

    /// Whether it asks before it saves.
    fn is_review(&self) -> bool {
        self.lowers.is_some() || self.moves.is_some()
    }

    /// Whether something goes that does not come back.
    fn is_danger(&self) -> bool {
        let moves = self.moves.as_ref().is_some_and(|moves| moves.is_less);
        moves || self.lowers.as_ref().is_some_and(|lowers| lowers.earliest.is_some())
    }
}

/// Why a redundancy cannot be chosen for this server now.
fn why_not(facts: &BackupFacts, spec: &ServerSpec, wanted: Redundancy) -> Option<String> {
    if wanted == facts.protection.policy.redundancy {
        return None;
    }
    let known = &facts.protection.repositories;
    let leaving = reason_against_leaving(&facts.protection, wanted);
    match wanted {
        _ if leaving.is_some() => leaving,
        Redundancy::Local => None,
        Redundancy::Zone => facts.primary().and_then(|primary: &Member| {
            reason_against_second(&facts.configured, known, (spec, primary))
        }),
        Redundancy::ObjectStorage => None,
    }
}

fn cards(facts: &BackupFacts, spec: &ServerSpec, storage: Option<&ObjectStorage>) -> Vec<Choice> {
    let all = &facts.protection.repositories;
    let near = all.iter().find(|one| one.number == 1).map(|one| one.host_id.clone());
    let near = near.or_else(|| facts.primary().map(|primary| primary.host_id.clone()));
    let second = all.iter().find(|one| one.number == 2).map(|one| one.host_id.clone());
    let second =
        second.or_else(|| choose_second_of(&facts.configured, all, (spec, facts.primary()?)).ok());
    let detail = redundancy::zone_detail(&facts.loads, near.as_ref(), second.as_ref());
    redundancy::cards(&detail, storage, |wanted| why_not(facts, spec, wanted))
}

fn lowers(facts: &BackupFacts, to: Retention) -> Lowers {
    let since = facts.now - Duration::days(to.as_days());
    let all = facts.protection.repositories.iter().map(|one| one.number);
    let mut backups = 0;
    for number in all {
        let good: Vec<&Backup> = facts.protection.good_in(number).collect();
        let first = first_kept(&good, since);
        backups +=
            good.iter().filter(|one| first.is_some_and(|first| one.ended_at < first)).count();
    }
    let good: Vec<&Backup> = facts.protection.good_in(facts.repository()).collect();
    Lowers { to: to.as_days(), earliest: first_kept(&good, since).map(Stamp), backups }
}

/// The end of the full backup that becomes the oldest: the newest one that is as old as the retention. Everything
/// before it goes; `None` when there is none so old, and all stays.
fn first_kept(good: &[&Backup], since: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let full = good.iter().filter(|one| one.based_on.is_none());
    let first = full.map(|one| one.ended_at).filter(|end| *end <= since).max()?;
    good.iter().any(|one| one.ended_at < first).then_some(first)
}

/// `GET /servers/{id}/backups/retention`
pub async fn get(visit: Signed<Contributor>, id: Path<String>) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Backups).await? else {
        return nav::gone(&visit, &id).await;
    };
    page::ok(&RetentionPage::new(&visit, frame, FormState::new(), None).await?)
}

/// `POST /servers/{id}/backups/retention`: saves; whatever ends or moves something is asked about first.
pub async fn post(visit: Signed<Contributor>, id: Path<String>, posted: Posted) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Backups).await? else {
        return nav::gone(&visit, &id).await;
    };
    let mut f = FormState::keep(&posted);
    let now = visit.state.store.protection(&frame.server.id).await?.policy;
    let retention = f.check(read("days", posted.text("days")));
    // A browser does not send a chosen card that is closed.
    let typed =
        if posted.has("redundancy") { posted.text("redundancy") } else { now.redundancy.key() };
    let redundancy = f.check(redundancy::read(typed));
    let Some((retention, redundancy)) = retention.zip(redundancy) else {
        return page::invalid(&RetentionPage::new(&visit, frame, f, None).await?);
    };
    let to = BackupPolicy { retention, redundancy };
    let page = RetentionPage::new(&visit, frame, f, Some(to)).await?;
    let chosen = page.redundancies.iter().find(|one| one.value == redundancy.key());
    if let Some(why) = chosen.filter(|one| one.is_closed()).map(|one| one.closed.clone()) {
        let mut f = page.f.clone();
        f.refuse(Refusal::at("redundancy", why));
        return page::invalid(&RetentionPage::new(&visit, page.frame, f, None).await?);
    }
    if page.is_review() && page.why_closed.is_none() && posted.text("confirm") != "reviewed" {
        return page::ok(&page);
    }
    let frame = page.frame;
    let (id, seen) = (&frame.server.id, posted.text("version").parse().unwrap_or(-1));
    match nav::door(&visit.state).change_backup_policy(id, to, seen, &visit.actor()).await {
        Ok(()) => {
            let text = done(now, to);
            page::see_with(&visit, &paths::server_backups(id), &Flash::done(text))
        }
        Err(SubmitError::Refused(refusal)) => {
            let mut f = FormState::new();
            f.refuse(refusal);
            let frame = frame.renewed(&visit).await?;
            let page = RetentionPage::new(&visit, frame, f, None).await?;
            page::with_status(StatusCode::CONFLICT, &page)
        }
        Err(SubmitError::Store(error)) => Err(error.into()),
    }
}

fn done(before: BackupPolicy, to: BackupPolicy) -> String {
    let days =
        format!("Backups are kept for {} days from the next one on.", to.retention.as_days());
    match (before.redundancy == to.redundancy, to.redundancy) {
        (true, _) => days,
        (false, Redundancy::Zone | Redundancy::ObjectStorage) => format!(
            "{days} A second repository is prepared by itself; below it says when it holds a backup."
        ),
        (false, Redundancy::Local) => format!(
            "{days} They go into the first repository alone; below it says until when the second is kept."
        ),
    }
}

/// The days as typed.
///
/// # Errors
/// A refusal at the field.
pub fn read(field: &'static str, typed: &str) -> Result<Retention, Refusal> {
    typed.parse().ok().and_then(Retention::days).ok_or_else(|| {
        let (min, max) = (Retention::MIN, Retention::MAX);
        Refusal::at(
            field,
            format!("Backups are kept for {min} to {max} days. Enter a whole number."),
        )
    })
}
