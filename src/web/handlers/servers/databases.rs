//! Databases of one server as last seen, and the form for a new one.

use super::nav::{self, Frame, Tab};
use crate::clock::new_uuid;
use crate::domain::database::{
    COLLATIONS, Collation, DatabaseFacts, DatabaseList, DatabaseName, NewDatabase,
};
use crate::domain::operation::OperationKind;
use crate::operations::submit::Change;
use crate::store::observations::Observed;
use crate::web::error::{PageError, PageResult};
use crate::web::form::{Choice, FormState, Posted};
use crate::web::page::{self, Layout};
use crate::web::paths;
use crate::web::time::Stamp;
use crate::web::visit::{Contributor, Reader, Signed, Visit};
use actix_web::http::StatusCode;
use actix_web::web::Path;
use askama::Template;

#[derive(Template)]
#[template(path = "servers/databases.html")]
struct DatabasesPage {
    layout: Layout,
    frame: Frame,
    f: FormState,
    key: String,
    rows: Vec<DatabaseRow>,
    /// How many there are, and when that was seen; `None` before the first look.
    seen: Option<(i64, Stamp)>,
    collations: Vec<Choice>,
}

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
struct DatabaseRow {
    name: String,
    /// What is special about it, in a word.
    mark: &'static str,
    owner: String,
    size: String,
    collation: String,
    encoding: String,
    connections: i64,
    /// Page that drops it; empty where it is not dropped.
    drop: String,
    connect: String,
}

impl DatabasesPage {
    async fn new(visit: &Visit, frame: Frame, f: FormState) -> Result<Self, PageError> {
        let seen = last_look(visit, &frame).await?;
        let rows = seen.iter().flat_map(|seen| &seen.facts.databases);
        let choice = |collation: &Collation| Choice::new(collation.key, collation.label);
        Ok(Self {
            layout: frame.layout(visit, "Databases"),
            rows: rows.map(|facts| row(&frame, facts)).collect(),
            seen: seen.map(|seen| (seen.facts.total, Stamp(seen.at))),
            f: f.with("collation", "C.UTF-8"),
            key: new_uuid(),
            collations: COLLATIONS.iter().map(choice).collect(),
            frame,
        })
    }

    fn why_closed(&self) -> Option<String> {
        self.frame.why_closed(OperationKind::CreateDatabase)
    }

    fn action(&self) -> String {
        paths::server_databases(&self.frame.server.id)
    }

    fn is_cut(&self) -> bool {
        self.seen.as_ref().is_some_and(|(total, _)| *total > DatabaseList::SHOWN_MAX)
    }

    fn owner(&self) -> &str {
        self.frame.server.spec.admin_login.as_str()
    }
}

/// What the monitor saw last; nothing of a server that does not run is shown as if it were so now.
pub(super) async fn last_look(
    visit: &Visit,
    frame: &Frame,
) -> Result<Option<Observed<DatabaseList>>, PageError> {
    let (store, kind) = (&visit.state.store, DatabaseList::OBSERVATION);
    Ok(store.server_observation(&frame.server.id, kind).await?)
}

fn row(frame: &Frame, facts: &DatabaseFacts) -> DatabaseRow {
    let id = &frame.server.id;
    let may_drop = frame.may_change() && !facts.is_system() && !facts.is_template;
    DatabaseRow {
        name: facts.name.clone(),
        mark: match facts {
            facts if facts.is_system() => "system",
            facts if facts.is_template => "template",
            facts if !facts.allows_connections => "closed",
            _ => "",
        },
        owner: facts.owner.clone(),
        size: size_text(facts.size_bytes),
        collation: format!("{} ({})", facts.locale, facts.provider),
        encoding: facts.encoding.clone(),
        connections: facts.connections,
        drop: if may_drop { paths::server_database_drop(id, &facts.name) } else { String::new() },
        connect: if facts.allows_connections {
            format!("{}?database={}", paths::server_connect(id), paths::encoded(&facts.name))
        } else {
            String::new()
        },
    }
}

/// Bytes in the largest unit that leaves a whole number before the point.
pub(super) fn size_text(bytes: i64) -> String {
    let mut size = bytes.max(0) as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if size < 1000.0 {
            let digits = if size >= 100.0 || unit == "B" { 0 } else { 1 };
            return format!("{size:.digits$} {unit}");
        }
        size /= 1024.0;
    }
    format!("{size:.1} TiB")
}

/// `GET /servers/{id}/databases`
pub async fn get(visit: Signed<Reader>, id: Path<String>) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Databases).await? else {
        return nav::gone(&visit, &id).await;
    };
    page::ok(&DatabasesPage::new(&visit, frame, FormState::new()).await?)
}

/// `POST /servers/{id}/databases`: makes one.
pub async fn post(visit: Signed<Contributor>, id: Path<String>, posted: Posted) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Databases).await? else {
        return nav::gone(&visit, &id).await;
    };
    let mut f = FormState::keep(&posted);
    let name = f.check(DatabaseName::parse(posted.text("name")));
    let collation = f.check(Collation::parse(posted.text("collation")));
    let Some((name, collation)) = name.zip(collation) else {
        return page::invalid(&DatabasesPage::new(&visit, frame, f).await?);
    };
    let about = format!("“{name}”");
    let input = NewDatabase { name, collation: collation.key.into() };
    let change = Change::new(OperationKind::CreateDatabase, &about, &input);
    match nav::submit(&visit, &frame.server.id, &posted, change).await? {
        Ok(way) => Ok(way),
        Err(refusal) => {
            f.refuse(refusal);
            let page = DatabasesPage::new(&visit, frame, f).await?;
            page::with_status(StatusCode::CONFLICT, &page)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short_and_true() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (7_654_321, "7.3 MiB"),
            (1 << 30, "1.0 GiB"),
            (5 << 40, "5.0 TiB"),
        ] {
            assert_eq!(size_text(bytes), text);
        }
    }
}
