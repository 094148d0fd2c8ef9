//! The pages that ask before a backup is taken by hand and before a restore drill.

use super::backups_facts::BackupFacts;
use super::nav::{self, Frame, Tab};
use super::storage_view::size_text;
use crate::clock::new_uuid;
use crate::domain::backup::{BackupType, ON_DEMAND_MAX, Repository};
use crate::domain::operation::OperationKind;
use crate::domain::refusal::Refusal;
use crate::operations::submit::{Change, SubmitError};
use crate::web::error::{PageError, PageResult};
use crate::web::form::{Choice, FormState, Posted};
use crate::web::page::{self, Layout};
use crate::web::paths;
use crate::web::time::duration_text;
use crate::web::visit::{Contributor, Signed, Visit};
use actix_web::http::StatusCode;
use actix_web::web::Path;
use askama::Template;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    New,
    Drill,
}

impl Ask {
    fn kind(self) -> OperationKind {
        match self {
            Ask::New => OperationKind::Backup,
            Ask::Drill => OperationKind::RestoreDrill,
        }
    }

    fn part(self) -> &'static str {
        match self {
            Ask::New => "new",
            Ask::Drill => "drill",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Ask::New => "Back up now",
            Ask::Drill => "Restore drill",
        }
    }

    fn button(self) -> &'static str {
        match self {
            Ask::New => "Take the backup",
            Ask::Drill => "Start the drill",
        }
    }

    /// What happens, one sentence each.
    fn effects(self) -> &'static [&'static str] {
        match self {
            Ask::New => &[
                "All of the data is copied into the repository, encrypted, while the server runs. No connection ends; disk and network of the host have more to do meanwhile.",
                "It is listed when every file of it was read again and found whole, not before.",
                "It is kept like the backups of the schedule, and can be deleted by hand before.",
            ],
            Ask::Drill => &[
                "The newest backup is restored into a container of its own on the repository's host, with the log that came after it; of two repositories the one that was drilled longer ago. It needs as much free storage there as the data takes, and is removed at the end.",
                "PostgreSQL is started on the copy, every index and table is checked, rows are counted, and the time of the last commit is read.",
                "The server and its backups are left alone. What was found, and how long it took, is kept on the page Backup and restore.",
            ],
        }
    }
}

#[derive(Template)]
#[template(path = "servers/backups_ask.html")]
struct AskPage {
    layout: Layout,
    frame: Frame,
    f: FormState,
    ask: Ask,
    /// Size and time of the newest full backup: what this one will be like.
    usual: String,
    on_demand: usize,
    /// Where it can go, when there is a choice.
    repositories: Vec<Choice>,
    why_closed: Option<String>,
    key: String,
}

impl AskPage {
    async fn new(visit: &Visit, frame: Frame, ask: Ask, f: FormState) -> Result<Self, PageError> {
        let facts = BackupFacts::load(visit, &frame.server).await?;
        let name = format!("on-demand-{}", visit.now.format("%Y-%m-%d-%H%M"));
        Ok(Self {
            layout: frame.layout(visit, ask.title()),
            usual: usual(&facts),
            on_demand: facts.on_demand(),
            repositories: repositories(&facts),
            why_closed: facts.why_closed(&frame, ask.kind()),
            key: new_uuid(),
            f: f.with("backup_name", name).with("repository", "1"),
            ask,
            frame,
        })
    }

    fn action(&self) -> String {
        paths::server_backups_part(&self.frame.server.id, self.ask.part())
    }

    fn back(&self) -> String {
        paths::server_backups(&self.frame.server.id)
    }

    fn is_new(&self) -> bool {
        self.ask == Ask::New
    }

    fn max(&self) -> usize {
        ON_DEMAND_MAX
    }
}

fn repositories(facts: &BackupFacts) -> Vec<Choice> {
    let open = facts.open_repositories();
    let choice = |one: &&Repository| {
        let label = format!("Repository {}, {}", one.number, facts.where_is(one));
        let choice = Choice::new(one.number.to_string(), label);
        match facts.is_away(one) {
            true => choice.closed("its host does not answer"),
            false => choice,
        }
    };
    if open.len() < 2 { vec![] } else { open.iter().map(choice).collect() }
}

fn usual(facts: &BackupFacts) -> String {
    let full = facts.protection.good_in(facts.repository()).find(|one| one.based_on.is_none());
    full.map_or(String::new(), |one| {
        format!(
            "The last full backup took {} for {}, of which {} are stored.",
            duration_text(one.ended_at - one.started_at),
            size_text(one.bytes),
            size_text(one.stored_bytes)
        )
    })
}

async fn show(visit: &Signed<Contributor>, id: &str, ask: Ask) -> PageResult {
    let Some(frame) = nav::frame(visit, id, Tab::Backups).await? else {
        return nav::gone(visit, id).await;
    };
    page::ok(&AskPage::new(visit, frame, ask, FormState::new()).await?)
}

async fn submit(visit: &Signed<Contributor>, id: &str, posted: &Posted, ask: Ask) -> PageResult {
    let Some(frame) = nav::frame(visit, id, Tab::Backups).await? else {
        return nav::gone(visit, id).await;
    };
    let key = nav::submission_key(visit, posted)?;
    if let Some(earlier) = visit.state.store.operation_by_key(&key).await? {
        return page::see(&paths::operation(&earlier.id));
    }
    let (door, id) = (nav::door(&visit.state), &frame.server.id);
    let asked = match ask {
        Ask::New => {
            let number = posted.text("repository").parse().unwrap_or(1);
            let wanted = (BackupType::Full, posted.text("backup_name"), number);
            door.take_backup_into(id, wanted, &visit.actor(), Some(&key)).await
        }
        Ask::Drill => {
            let change = Change::plain(OperationKind::RestoreDrill);
            door.submit_change(change, id, &visit.actor(), Some(&key)).await
        }
    };
    match asked {
        Ok(operation) => page::see(&paths::operation(&operation)),
        Err(SubmitError::Store(error)) => Err(error.into()),
        Err(SubmitError::Refused(refusal)) => {
            let mut f = FormState::keep(posted);
            let is_at_field = refusal.field.is_some();
            let field =
                refusal.field.map(|field| if field == "name" { "backup_name" } else { field });
            f.refuse(Refusal { field, ..refusal });
            let page = AskPage::new(visit, frame.renewed(visit).await?, ask, f).await?;
            if is_at_field {
                page::invalid(&page)
            } else {
                page::with_status(StatusCode::CONFLICT, &page)
            }
        }
    }
}

/// `GET /servers/{id}/backups/new`
pub async fn new(visit: Signed<Contributor>, id: Path<String>) -> PageResult {
    show(&visit, &id, Ask::New).await
}

/// `POST /servers/{id}/backups/new`
pub async fn post_new(visit: Signed<Contributor>, id: Path<String>, posted: Posted) -> PageResult {
    submit(&visit, &id, &posted, Ask::New).await
}

/// `GET /servers/{id}/backups/drill`
pub async fn drill(visit: Signed<Contributor>, id: Path<String>) -> PageResult {
    show(&visit, &id, Ask::Drill).await
}

/// `POST /servers/{id}/backups/drill`
pub async fn post_drill(
    visit: Signed<Contributor>,
    id: Path<String>,
    posted: Posted,
) -> PageResult {
    submit(&visit, &id, &posted, Ask::Drill).await
}
