//! The key of a server's backups as a file to keep elsewhere: with it, the repository's volume and pgBackRest the data come
//! back without any portal. For owners, after their password, and in the log each time.

use super::escrow_text::{Escrow, Place};
use super::nav::{self, Frame, Tab};
use crate::domain::activity::NewActivity;
use crate::domain::backup::stanza_of;
use crate::operations::access::secret;
use crate::secrets::Secret;
use crate::store::Record;
use crate::web::error::{PageError, PageResult};
use crate::web::form::FormState;
use crate::web::page::{self, Layout};
use crate::web::paths;
use crate::web::visit::{Owner, Signed, Visit};
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION};
use actix_web::web::Path;
use askama::Template;

#[derive(Template)]
#[template(path = "servers/escrow.html")]
struct EscrowPage {
    layout: Layout,
    frame: Frame,
    f: FormState,
    stanza: String,
    /// Where its backups lie.
    places: Vec<Place>,
    /// Whether there is a key at all: it is made with the first backup.
    has_key: bool,
}

impl EscrowPage {
    fn action(&self) -> String {
        paths::server_escrow(&self.frame.server.id)
    }

    fn back(&self) -> String {
        paths::server(&self.frame.server.id)
    }
}

/// `GET /servers/{id}/escrow`
pub async fn get(visit: Signed<Owner>, id: Path<String>) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Action).await? else {
        return nav::gone(&visit, &id).await;
    };
    visit.require_recent_password(&paths::server_escrow(&frame.server.id))?;
    let has_key = sealed(&visit, &frame).await?.is_some();
    page::ok(&ask(&visit, frame, has_key).await?)
}

/// `POST /servers/{id}/escrow`: the file.
pub async fn post(visit: Signed<Owner>, id: Path<String>) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Action).await? else {
        return nav::gone(&visit, &id).await;
    };
    visit.require_recent_password(&paths::server_escrow(&frame.server.id))?;
    let Some(key) = open_key(&visit, &frame).await? else {
        let page = ask(&visit, frame, false).await?;
        return page::with_status(StatusCode::CONFLICT, &page);
    };
    let escrow = Escrow {
        server: frame.name(),
        id: &frame.server.id,
        major: frame.server.spec.major,
        stanza: &stanza_of(&frame.server.id),
        key: &key,
        places: &places(&visit, &frame).await?,
        at: visit.now,
        installation: &visit.state.install_id,
    };
    let (text, name) = (escrow.text(), format!("pgflex-escrow-{}.txt", frame.name()));
    // The line first: no file leaves without it.
    let line = NewActivity {
        server_id: Some(frame.server.id.clone()),
        detail: "The key of its backups was given out".into(),
        ..visit.activity("server_escrow.download", frame.name())
    };
    let tx = visit.state.store.begin_write(visit.now).await?;
    tx.commit(Record::activity(line)).await?;
    Ok(HttpResponse::Ok()
        .content_type("text/plain; charset=utf-8")
        .insert_header((CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")))
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(text.reveal().to_owned()))
}

async fn ask(visit: &Visit, frame: Frame, has_key: bool) -> Result<EscrowPage, PageError> {
    let places = places(visit, &frame).await?;
    Ok(EscrowPage {
        layout: frame.layout(visit, "Escrow file"),
        f: FormState::new(),
        stanza: stanza_of(&frame.server.id),
        places,
        has_key,
        frame,
    })
}

async fn sealed(visit: &Visit, frame: &Frame) -> Result<Option<Vec<u8>>, PageError> {
    Ok(visit.state.store.server_secret(&frame.server.id, secret::BACKUP_CIPHER).await?)
}

async fn open_key(visit: &Visit, frame: &Frame) -> Result<Option<Secret>, PageError> {
    let Some(sealed) = sealed(visit, frame).await? else { return Ok(None) };
    let place = secret::place(&frame.server.id, secret::BACKUP_CIPHER);
    let plain = visit.state.sealer.open(&place, &sealed).map_err(PageError::internal)?;
    let text = String::from_utf8(plain.to_vec()).map_err(PageError::internal)?;
    Ok(Some(Secret::new(text)))
}

async fn places(visit: &Visit, frame: &Frame) -> Result<Vec<Place>, PageError> {
    let mut places = vec![];
    for repository in visit.state.store.repositories(&frame.server.id).await? {
        let host = visit.state.store.host(&repository.host_id).await?;
        places.push(Place {
            number: repository.number,
            host: host.map_or_else(|| repository.host_id.to_string(), |host| host.name),
            volume: format!("pgflex-{}-repository", repository.host_id.short()),
            location: repository.location,
        });
    }
    Ok(places)
}
