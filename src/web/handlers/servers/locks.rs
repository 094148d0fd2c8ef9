//! Locks of one server: its own and those of its group.

use super::nav::{self, Frame, Tab};
use crate::domain::activity::NewActivity;
use crate::domain::ids::LockId;
use crate::domain::lock::LockScope;
use crate::store::Record;
use crate::store::locks::Holder;
use crate::web::error::{PageError, PageResult};
use crate::web::flash::Flash;
use crate::web::form::{FormState, Posted};
use crate::web::handlers::locks::{self as shared, LockList, LockRow};
use crate::web::page::{self, Layout};
use crate::web::paths;
use crate::web::visit::{Owner, Reader, Signed, Visit};
use actix_web::web::Path;
use askama::Template;

#[derive(Template)]
#[template(path = "servers/locks.html")]
struct LocksPage {
    layout: Layout,
    frame: Frame,
    f: FormState,
    locks: LockList,
}

fn locks_page(visit: &Visit, frame: Frame, f: FormState) -> LocksPage {
    let id = &frame.server.id;
    let row = |lock: &crate::domain::lock::Lock| {
        let is_own = frame.is_owner() && lock.scope == LockScope::Server;
        let remove = if is_own { paths::server_lock_remove(id, &lock.id) } else { String::new() };
        LockRow::new(lock, remove)
    };
    let locks = LockList {
        rows: frame.locks.iter().map(row).collect(),
        kinds: shared::kinds(),
        action: paths::server_locks(id),
        may_manage: frame.is_owner(),
        holder: "this server",
    };
    let f = f.with("kind", "CanNotDelete");
    LocksPage { layout: frame.layout(visit, "Locks"), locks, f, frame }
}

/// `GET /servers/{id}/locks`
pub async fn get(visit: Signed<Reader>, id: Path<String>) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Locks).await? else {
        return nav::gone(&visit, &id).await;
    };
    page::ok(&locks_page(&visit, frame, FormState::new()))
}

/// `POST /servers/{id}/locks`
pub async fn add(visit: Signed<Owner>, id: Path<String>, posted: Posted) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Locks).await? else {
        return nav::gone(&visit, &id).await;
    };
    let mut f = FormState::keep(&posted);
    let by = &visit.user.login;
    let Some(lock) = shared::read(&mut f, &posted, LockScope::Server, by, visit.now) else {
        return page::invalid(&locks_page(&visit, frame, f));
    };
    let server = &frame.server.id;
    let mut tx = visit.state.store.begin_write(visit.now).await?;
    if tx.lock_server(server).await?.is_none() {
        return Err(PageError::NotFound);
    }
    match tx.insert_lock(Holder::Server(server), &lock).await {
        Ok(true) => {}
        Ok(false) => f.refuse(shared::full()),
        Err(error) if error.is_unique_violation() => f.refuse(shared::taken(&lock.name)),
        Err(error) => return Err(error.into()),
    }
    if !f.is_valid() {
        drop(tx);
        return page::invalid(&locks_page(&visit, frame, f));
    }
    let detail = format!("{} ({})", lock.name, lock.kind.key());
    tx.commit(Record::activity(line(&visit, &frame, "lock.create", detail))).await?;
    let text = format!("The lock {} is on. {}", lock.name, lock.kind.purpose());
    page::see_with(&visit, &paths::server_locks(server), &Flash::done(text))
}

/// `POST /servers/{id}/locks/{lock}/remove`
pub async fn remove(visit: Signed<Owner>, path: Path<(String, String)>) -> PageResult {
    let (id, lock) = path.into_inner();
    let Some(frame) = nav::frame(&visit, &id, Tab::Locks).await? else {
        return nav::gone(&visit, &id).await;
    };
    let lock = LockId::parse(&lock).ok_or(PageError::NotFound)?;
    let server = &frame.server.id;
    let mut tx = visit.state.store.begin_write(visit.now).await?;
    let Some((name, kind)) = tx.delete_lock(Holder::Server(server), &lock).await? else {
        let text = "There is no such lock on this server any more. Nothing was changed.";
        return page::see_with(&visit, &paths::server_locks(server), &Flash::info(text));
    };
    let detail = format!("{name} ({kind})");
    tx.commit(Record::activity(line(&visit, &frame, "lock.remove", detail))).await?;
    let text = format!("The lock {name} is removed.");
    page::see_with(&visit, &paths::server_locks(server), &Flash::done(text))
}

fn line(visit: &Signed<Owner>, frame: &Frame, action: &'static str, detail: String) -> NewActivity {
    NewActivity {
        server_id: Some(frame.server.id.clone()),
        detail,
        ..visit.activity(action, frame.name())
    }
}
