//! Dropping an extension: what goes with it, the name typed by hand, then the operation.

use super::extensions::look;
use super::nav::{self, Frame, Tab};
use crate::clock::new_uuid;
use crate::domain::extensions::{ExtensionAction, ExtensionChange, Installed};
use crate::domain::operation::OperationKind;
use crate::domain::refusal::Refusal;
use crate::operations::submit::Change;
use crate::web::error::{PageError, PageResult};
use crate::web::form::{FormState, Posted};
use crate::web::page::{self, Layout};
use crate::web::visit::{Contributor, Signed, Visit};
use crate::web::{paths, query};
use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::web::Path;
use askama::Template;

#[derive(Template)]
#[template(path = "servers/extension_drop.html")]
struct DropPage {
    layout: Layout,
    frame: Frame,
    f: FormState,
    database: String,
    installed: Installed,
    key: String,
}

impl DropPage {
    fn new(visit: &Visit, frame: Frame, f: FormState, found: (String, Installed)) -> Self {
        let layout = frame.layout(visit, "Drop extension");
        Self { layout, frame, f, database: found.0, installed: found.1, key: new_uuid() }
    }

    fn why_closed(&self) -> Option<String> {
        self.frame.why_closed(OperationKind::ChangeExtension)
    }

    fn action(&self) -> String {
        paths::server_extensions_part(&self.frame.server.id, "drop")
    }

    fn back(&self) -> String {
        paths::server_extensions(&self.frame.server.id)
    }
}

/// What is to go: only what was seen there.
async fn find(
    visit: &Visit,
    frame: &Frame,
    asked: &Posted,
) -> Result<Option<(String, Installed)>, PageError> {
    let Some(look) = look(visit, frame).await? else { return Ok(None) };
    let (database, name) = (asked.text("database"), asked.text("extension"));
    let mut places = look.facts.installed_in(name);
    let found = places.find(|(place, _)| *place == database);
    Ok(found.map(|(place, installed)| (place.to_owned(), installed.clone())))
}

/// `GET /servers/{id}/extensions/drop`
pub async fn get(visit: Signed<Contributor>, id: Path<String>, request: HttpRequest) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Extensions).await? else {
        return nav::gone(&visit, &id).await;
    };
    match find(&visit, &frame, &query::of(&request)).await? {
        Some(found) => page::ok(&DropPage::new(&visit, frame, FormState::new(), found)),
        None => page::see(&paths::server_extensions(&frame.server.id)),
    }
}

/// `POST /servers/{id}/extensions/drop`
pub async fn post(visit: Signed<Contributor>, id: Path<String>, posted: Posted) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Extensions).await? else {
        return nav::gone(&visit, &id).await;
    };
    let Some(found) = find(&visit, &frame, &posted).await? else {
        return page::see(&paths::server_extensions(&frame.server.id));
    };
    let mut f = FormState::keep(&posted);
    let (database, name) = (found.0.clone(), found.1.name.clone());
    if posted.text("name") != name {
        f.refuse(Refusal::at(
            "name",
            format!("Type the name of the extension, {name}, to drop it."),
        ));
        return page::invalid(&DropPage::new(&visit, frame, f, found));
    }
    let about = format!("{name} in {database}");
    let asked = ExtensionChange { database, extension: name, action: ExtensionAction::Drop };
    let change = Change::new(OperationKind::ChangeExtension, &about, &asked);
    match nav::submit(&visit, &frame.server.id, &posted, change).await? {
        Ok(way) => Ok(way),
        Err(refusal) => {
            f.refuse(refusal);
            page::with_status(StatusCode::CONFLICT, &DropPage::new(&visit, frame, f, found))
        }
    }
}
