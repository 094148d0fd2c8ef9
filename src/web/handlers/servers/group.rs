//! Moving a server to another resource group: a change of who may do what with it, so it is refused where
//! a lock of a group holds.

use super::nav::{self, Frame, Tab};
use crate::domain::activity::NewActivity;
use crate::domain::group::Group;
use crate::domain::ids::GroupId;
use crate::domain::lock::{Act, LockScope};
use crate::domain::refusal::Refusal;
use crate::operations::guard::{admit_to_group, refuse_if_locked};
use crate::operations::submit::SubmitError;
use crate::store::{Record, WriteTx};
use crate::web::error::PageResult;
use crate::web::flash::Flash;
use crate::web::form::{Choice, FormState, Posted};
use crate::web::page::{self, Layout};
use crate::web::paths;
use crate::web::visit::{Contributor, Signed};
use actix_web::http::StatusCode;
use actix_web::web::Path;
use askama::Template;

#[derive(Template)]
#[template(path = "servers/group.html")]
struct GroupPage {
    layout: Layout,
    frame: Frame,
    f: FormState,
    groups: Vec<Choice>,
    why_closed: Option<String>,
}

impl GroupPage {
    fn action(&self) -> String {
        paths::server_group(&self.frame.server.id)
    }

    fn back(&self) -> String {
        paths::server(&self.frame.server.id)
    }
}

async fn group_page(
    visit: &Signed<Contributor>,
    frame: Frame,
    f: FormState,
) -> Result<GroupPage, crate::web::error::PageError> {
    let groups = visit.state.store.groups_to_change(&visit.user.id).await?;
    let others = groups.iter().filter(|group| group.id != frame.server.group_id);
    Ok(GroupPage {
        layout: frame.layout(visit, "Move to another group"),
        groups: others.map(|group| Choice::new(group.id.as_str(), &group.name)).collect(),
        why_closed: why_closed(&frame),
        f,
        frame,
    })
}

fn why_closed(frame: &Frame) -> Option<String> {
    let inherited = frame.locks.iter().find(|lock| lock.scope == LockScope::Group);
    frame.why_read_only().or_else(|| inherited.map(|lock| held(&lock.name, &lock.holder).text))
}

/// A lock of a group would no longer hold for a server that left: so it may not leave.
fn held(lock: &str, group: &str) -> Refusal {
    Refusal::whole(format!(
        "The lock “{lock}” on resource group {group} protects its servers: they cannot leave the group. An owner can remove the lock."
    ))
}

/// `GET /servers/{id}/group`
pub async fn get(visit: Signed<Contributor>, id: Path<String>) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Action).await? else {
        return nav::gone(&visit, &id).await;
    };
    page::ok(&group_page(&visit, frame, FormState::new()).await?)
}

/// `POST /servers/{id}/group`
pub async fn post(visit: Signed<Contributor>, id: Path<String>, posted: Posted) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Action).await? else {
        return nav::gone(&visit, &id).await;
    };
    let mut f = FormState::keep(&posted);
    let chosen = GroupId::parse(posted.text("group"))
        .ok_or_else(|| Refusal::at("group", "Choose one of the resource groups."));
    let Some(group) = f.check(chosen) else {
        return page::invalid(&group_page(&visit, frame, f).await?);
    };
    match move_to(&visit, &frame, &group).await {
        Ok(target) => {
            let text = format!("{} is in the resource group {} now.", frame.name(), target.name);
            // Who may see the server there may be somebody else: the mover may, as the door has seen.
            page::see_with(&visit, &paths::server(&frame.server.id), &Flash::done(text))
        }
        Err(SubmitError::Refused(refusal)) => {
            f.refuse(refusal);
            let page = group_page(&visit, frame, f).await?;
            page::with_status(StatusCode::CONFLICT, &page)
        }
        Err(SubmitError::Store(error)) => Err(error.into()),
    }
}

async fn move_to(
    visit: &Signed<Contributor>,
    frame: &Frame,
    group: &GroupId,
) -> Result<Group, SubmitError> {
    let (store, id) = (&visit.state.store, &frame.server.id);
    let mut tx = store.begin_write(visit.now).await?;
    let Some(server) = tx.lock_server(id).await? else {
        return Err(Refusal::whole("The server no longer exists.").into());
    };
    may_leave(&mut tx, visit, id).await?;
    if server.group_id == *group {
        return Err(Refusal::at("group", "The server is in this group already.").into());
    }
    admit_to_group(&mut tx, group, &visit.actor()).await?;
    let target =
        tx.group(group).await?.ok_or_else(|| Refusal::at("group", "The group is gone."))?;
    tx.move_server(id, group).await?;
    let from = frame.group.as_ref().map_or("", |group| group.name.as_str());
    let line = NewActivity {
        server_id: Some(id.clone()),
        detail: format!("{from} to {}", target.name),
        ..visit.activity("server_group.change", frame.name())
    };
    tx.commit(Record::activity(line)).await?;
    Ok(target)
}

/// Asked again with the row locked: the role on the server, its locks, and those of the group it leaves.
async fn may_leave(
    tx: &mut WriteTx,
    visit: &Signed<Contributor>,
    id: &crate::domain::ids::ServerId,
) -> Result<(), SubmitError> {
    let thing = crate::store::assignments::Thing::Server(id);
    let role = tx.role_on(&visit.user.id, thing).await?;
    if !role.is_some_and(crate::domain::account::Role::may_change_servers) {
        return Err(
            Refusal::whole("Your role on this server was changed. Nothing was moved.").into()
        );
    }
    refuse_if_locked(tx, id, Act::Change).await?;
    let locks = tx.locks_on_server(id).await?;
    match locks.iter().find(|lock| lock.scope == LockScope::Group) {
        Some(lock) => Err(held(&lock.name, &lock.holder).into()),
        None => Ok(()),
    }
}
