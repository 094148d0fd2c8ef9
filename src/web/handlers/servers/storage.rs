//! Storage of one server: how full it is, how its size is kept, growth by hand and by itself.

use super::compute::with_members;
use super::nav::{self, Frame, Tab};
use super::storage_view::{self as view, Enforced, Rules, Sizes, UsageView};
use crate::clock::new_uuid;
use crate::domain::activity::{ActivityOutcome, NewActivity};
use crate::domain::catalog::StorageSize;
use crate::domain::configuration::Configuration;
use crate::domain::lock::Act;
use crate::domain::operation::OperationKind;
use crate::domain::refusal::Refusal;
use crate::domain::server::Server;
use crate::domain::storage::{Growth, OBSERVATION, StorageLook};
use crate::operations::guard::refuse_if_locked;
use crate::operations::submit::{Change, SubmitError};
use crate::store::Record;
use crate::web::error::{PageError, PageResult};
use crate::web::flash::Flash;
use crate::web::form::{FormState, Posted};
use crate::web::page::{self, Layout};
use crate::web::paths;
use crate::web::visit::{Contributor, Reader, Signed, Visit};
use actix_web::http::StatusCode;
use actix_web::web::Path;
use askama::Template;

#[derive(Template)]
#[template(path = "servers/storage.html")]
struct StoragePage {
    layout: Layout,
    frame: Frame,
    f: FormState,
    usage: Option<UsageView>,
    /// Why it does not grow by itself though it should.
    why_not_grown: Option<String>,
    /// What is free on the host's disk, when that is why the server is read-only.
    host_free: Option<String>,
    enforced: Enforced,
    rules: Rules,
    sizes: Sizes,
    key: String,
}

impl StoragePage {
    async fn new(visit: &Visit, frame: Frame, f: FormState) -> Result<Self, PageError> {
        let (store, config, server) = (&visit.state.store, &visit.state.config, &frame.server);
        let members = store.members(&server.id).await?;
        let look = store.server_observation::<StorageLook>(&server.id, OBSERVATION).await?;
        let hosts = with_members(store.host_loads_all().await?, &members);
        Ok(Self {
            layout: frame.layout(visit, "Storage"),
            usage: look.as_ref().map(|look| view::usage(look, visit.now)),
            host_free: look.as_ref().and_then(|look| view::full_host(&look.facts)),
            why_not_grown: look.and_then(|look| look.facts.why_not_grown),
            enforced: view::enforced(server, members.first()),
            rules: view::rules(server),
            sizes: view::sizes(server, &hosts, &frame.prices(config), &config.overcommit),
            key: new_uuid(),
            frame,
            f,
        })
    }

    fn is_protected(&self) -> bool {
        self.frame.server.configuration.write_protected
    }

    fn autogrow(&self) -> bool {
        self.frame.server.configuration.autogrow
    }

    fn size(&self) -> String {
        self.frame.server.spec.storage().label()
    }

    fn why_closed(&self) -> Option<String> {
        self.frame.why_closed(OperationKind::GrowStorage)
    }

    fn action(&self) -> String {
        paths::server_storage(&self.frame.server.id)
    }

    fn autogrow_action(&self) -> String {
        paths::server_storage_autogrow(&self.frame.server.id)
    }
}

/// `GET /servers/{id}/storage`
pub async fn get(visit: Signed<Reader>, id: Path<String>) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Storage).await? else {
        return nav::gone(&visit, &id).await;
    };
    page::ok(&StoragePage::new(&visit, frame, FormState::new()).await?)
}

/// `POST /servers/{id}/storage`: grows it.
pub async fn post(visit: Signed<Contributor>, id: Path<String>, posted: Posted) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Storage).await? else {
        return nav::gone(&visit, &id).await;
    };
    let mut f = FormState::keep(&posted);
    let Some(size) = f.check(larger_size(posted.text("to_gib"), &frame.server)) else {
        return page::invalid(&StoragePage::new(&visit, frame, f).await?);
    };
    let about = format!("to {}", size.label());
    let change = Change::new(OperationKind::GrowStorage, &about, &Growth { to_gib: size.gib });
    match nav::submit(&visit, &frame.server.id, &posted, change).await? {
        Ok(way) => Ok(way),
        Err(refusal) => {
            f.refuse(refusal);
            let page = StoragePage::new(&visit, frame, f).await?;
            page::with_status(StatusCode::CONFLICT, &page)
        }
    }
}

/// `POST /servers/{id}/storage/autogrow`: whether it grows by itself. PostgreSQL notices nothing of it.
pub async fn autogrow(visit: Signed<Contributor>, id: Path<String>, posted: Posted) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Storage).await? else {
        return nav::gone(&visit, &id).await;
    };
    let on = match posted.text("autogrow") {
        "on" => true,
        "off" => false,
        _ => return Err(PageError::Bad("The form says neither on nor off.".into())),
    };
    let back = paths::server_storage(&frame.server.id);
    let flash = match set_autogrow(&visit, &frame.server, on).await? {
        Ok(()) if on => Flash::done("The storage grows by itself from now on, before it is full."),
        Ok(()) => Flash::done("The storage grows only by hand from now on."),
        Err(refusal) => Flash::refused(&refusal),
    };
    page::see_with(&visit, &back, &flash)
}

/// Refused while something is under way, which may write the configuration it began with.
async fn set_autogrow(
    visit: &Signed<Contributor>,
    server: &Server,
    on: bool,
) -> Result<Result<(), Refusal>, PageError> {
    let mut tx = visit.state.store.begin_write(visit.now).await?;
    let Some(server) = tx.lock_server(&server.id).await? else { return Err(PageError::NotFound) };
    if server.active.is_some() {
        let text = "Another change of this server is under way. Nothing was changed. Try again when it has ended.";
        return Ok(Err(Refusal::whole(text)));
    }
    match refuse_if_locked(&mut tx, &server.id, Act::Change).await {
        Ok(()) => {}
        Err(SubmitError::Refused(refusal)) => return Ok(Err(refusal)),
        Err(SubmitError::Store(error)) => return Err(error.into()),
    }
    let configuration = Configuration { autogrow: on, ..server.configuration };
    tx.set_configuration(&server.id, &configuration).await?;
    let line = NewActivity {
        actor: visit.actor(),
        action: "server.autogrow",
        subject: server.spec.name.to_string(),
        server_id: Some(server.id.clone()),
        operation_id: None,
        outcome: ActivityOutcome::Succeeded,
        detail: if on { "on".into() } else { "off".into() },
    };
    tx.commit(Record::activity(line)).await?;
    visit.state.poke.monitor();
    Ok(Ok(()))
}

fn larger_size(typed: &str, server: &Server) -> Result<&'static StorageSize, Refusal> {
    let size = typed.parse().ok().and_then(StorageSize::by_gib);
    match size {
        None => Err(Refusal::at("to_gib", "Choose one of the sizes.")),
        Some(size) if size.gib <= server.spec.storage_gib => Err(Refusal::at(
            "to_gib",
            format!(
                "The storage has {} already and can only grow. Choose a larger size.",
                server.spec.storage().label()
            ),
        )),
        Some(size) => Ok(size),
    }
}
