//! Dropping a database: what goes, who is connected, the name typed by hand, a password typed lately.
//!
//! The name stands in the query, as it is: names that people made by SQL hold slashes, quotes and blanks.

use super::databases::{last_look, size_text};
use super::nav::{self, Frame, Tab};
use super::overview_view::plural;
use crate::clock::new_uuid;
use crate::domain::database::{DatabaseFacts, OldDatabase};
use crate::domain::operation::OperationKind;
use crate::domain::refusal::Refusal;
use crate::operations::submit::Change;
use crate::web::error::{PageError, PageResult};
use crate::web::form::{FormState, Posted};
use crate::web::page::{self, Layout};
use crate::web::paths;
use crate::web::time::Stamp;
use crate::web::visit::{Contributor, Signed, Visit};
use actix_web::http::StatusCode;
use actix_web::web::{Path, Query};
use askama::Template;
use serde::Deserialize;

#[derive(Template)]
#[template(path = "servers/database_drop.html")]
struct DropPage {
    layout: Layout,
    frame: Frame,
    f: FormState,
    database: DatabaseFacts,
    seen: Stamp,
    key: String,
}

#[derive(Deserialize)]
pub struct DropQuery {
    #[serde(default)]
    name: String,
}

impl DropPage {
    fn new(visit: &Visit, frame: Frame, f: FormState, found: (DatabaseFacts, Stamp)) -> Self {
        let (database, seen) = found;
        let layout = frame.layout(visit, "Drop database");
        Self { layout, frame, f, database, seen, key: new_uuid() }
    }

    fn why_closed(&self) -> Option<String> {
        self.frame.why_closed(OperationKind::DropDatabase)
    }

    fn action(&self) -> String {
        paths::server_database_drop(&self.frame.server.id, &self.database.name)
    }

    fn back(&self) -> String {
        paths::server_databases(&self.frame.server.id)
    }

    fn size(&self) -> String {
        size_text(self.database.size_bytes)
    }

    fn sessions(&self) -> String {
        plural(u32::try_from(self.database.connections).unwrap_or(0), "client session")
    }

    /// What a person can type and a browser sends back unchanged.
    fn can_be_typed(&self) -> bool {
        can_be_typed(&self.database.name)
    }
}

fn can_be_typed(name: &str) -> bool {
    !name.is_empty() && name.trim() == name && !name.chars().any(char::is_control)
}

/// The database of a query, when it was seen and may go; otherwise the way back to the list.
async fn find(
    visit: &Visit,
    frame: &Frame,
    name: &str,
) -> Result<(DatabaseFacts, Stamp), PageError> {
    let seen = last_look(visit, frame).await?;
    let found = seen.and_then(|seen| Some((seen.facts.find(name)?.clone(), Stamp(seen.at))));
    found
        .filter(|(facts, _)| !facts.is_system() && !facts.is_template)
        .ok_or_else(|| PageError::See(paths::server_databases(&frame.server.id)))
}

/// `GET /servers/{id}/databases/drop?name=…`
pub async fn get(
    visit: Signed<Contributor>,
    id: Path<String>,
    query: Query<DropQuery>,
) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Databases).await? else {
        return nav::gone(&visit, &id).await;
    };
    let found = find(&visit, &frame, &query.name).await?;
    visit.require_recent_password(&paths::server_database_drop(&frame.server.id, &query.name))?;
    page::ok(&DropPage::new(&visit, frame, FormState::new(), found))
}

/// `POST /servers/{id}/databases/drop?name=…`
pub async fn post(
    visit: Signed<Contributor>,
    id: Path<String>,
    query: Query<DropQuery>,
    posted: Posted,
) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Databases).await? else {
        return nav::gone(&visit, &id).await;
    };
    let found = find(&visit, &frame, &query.name).await?;
    visit.require_recent_password(&paths::server_database_drop(&frame.server.id, &query.name))?;
    let mut f = FormState::keep(&posted);
    if f.check(check_name(posted.text("confirm"), &query.name)).is_none() {
        return page::invalid(&DropPage::new(&visit, frame, f, found));
    }
    let input = OldDatabase { name: query.name.clone() };
    let about = format!("“{}”", query.name);
    let change = Change::new(OperationKind::DropDatabase, &about, &input);
    match nav::submit(&visit, &frame.server.id, &posted, change).await? {
        Ok(way) => Ok(way),
        Err(refusal) => {
            f.refuse(refusal);
            let page = DropPage::new(&visit, frame, f, found);
            page::with_status(StatusCode::CONFLICT, &page)
        }
    }
}

fn check_name(typed: &str, name: &str) -> Result<(), Refusal> {
    if can_be_typed(name) && typed == name {
        return Ok(());
    }
    let text = if typed.is_empty() {
        format!("Type the name of the database, {name}, to drop it.")
    } else {
        format!("“{typed}” is not the name of this database. Type {name}.")
    };
    Err(Refusal::at("confirm", text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_name_drops() {
        assert!(check_name("a/b \"c\"%41", "a/b \"c\"%41").is_ok());
        for (typed, name) in
            [("", "x"), ("X", "x"), ("", ""), ("", " "), ("a", "a "), ("a b", "a\nb")]
        {
            assert!(check_name(typed, name).is_err(), "{typed:?} {name:?}");
        }
    }
}
