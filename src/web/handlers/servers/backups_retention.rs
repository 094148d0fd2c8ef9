//! For how many days back every moment can be restored: the form, with what raising and lowering means.

use super::backups_facts::BackupFacts;
use super::nav::{self, Frame, Tab};
use crate::domain::backup::{Backup, Retention};
use crate::domain::refusal::Refusal;
use crate::operations::submit::SubmitError;
use crate::web::error::{PageError, PageResult};
use crate::web::flash::Flash;
use crate::web::form::{FormState, Posted};
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
    /// What a lower number would cost; only as a question before it is done.
    lowers: Option<Lowers>,
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
        to: Option<Retention>,
    ) -> Result<Self, PageError> {
        let facts = BackupFacts::load(visit, &frame.server).await?;
        let days = facts.protection.policy.retention.as_days();
        Ok(Self {
            layout: frame.layout(visit, "Change retention"),
            days,
            lowers: to.filter(|to| to.as_days() < days).map(|to| lowers(&facts, to)),
            earliest: facts.window().earliest().map(Stamp),
            version: facts.protection.version,
            why_closed: BackupFacts::why_kept(&frame),
            f: f.with("days", days.to_string()),
            frame,
        })
    }

    fn action(&self) -> String {
        paths::server_backups_part(&self.frame.server.id, "retention")
    }

    fn back(&self) -> String {
        paths::server_backups(&self.frame.server.id)
    }
}

fn lowers(facts: &BackupFacts, to: Retention) -> Lowers {
    let good: Vec<&Backup> = facts.protection.good_in(facts.repository()).collect();
    let first = first_kept(&good, facts.now - Duration::days(to.as_days()));
    let goes = |one: &&&Backup| first.is_some_and(|first| one.ended_at < first);
    Lowers {
        to: to.as_days(),
        earliest: first.map(Stamp),
        backups: good.iter().filter(goes).count(),
    }
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

/// `POST /servers/{id}/backups/retention`: saves; a lower number is asked about first.
pub async fn post(visit: Signed<Contributor>, id: Path<String>, posted: Posted) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Backups).await? else {
        return nav::gone(&visit, &id).await;
    };
    let mut f = FormState::keep(&posted);
    let Some(to) = f.check(read("days", posted.text("days"))) else {
        return page::invalid(&RetentionPage::new(&visit, frame, f, None).await?);
    };
    let page = RetentionPage::new(&visit, frame, f.clone(), Some(to)).await?;
    if page.lowers.is_some() && page.why_closed.is_none() && posted.text("confirm") != "lower" {
        return page::ok(&page);
    }
    let frame = page.frame;
    let (id, seen) = (&frame.server.id, posted.text("version").parse().unwrap_or(-1));
    match nav::door(&visit.state).change_retention(id, to, seen, &visit.actor()).await {
        Ok(()) => {
            let text = format!("Backups are kept for {} days from the next one on.", to.as_days());
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
