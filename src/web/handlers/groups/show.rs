//! `GET /groups/{id}`: servers, roles and locks of one group; renaming and deleting it.

use super::list::taken;
use crate::domain::account::Role;
use crate::domain::group::{Assignment, Group};
use crate::domain::ids::GroupId;
use crate::domain::lock::{self, Act};
use crate::domain::refusal::Refusal;
use crate::store::Record;
use crate::store::servers::{SERVER_PAGE, ServerFilter};
use crate::web::error::{PageError, PageResult};
use crate::web::flash::Flash;
use crate::web::form::{Choice, FormState, Posted};
use crate::web::handlers::locks::{self, LockList, LockRow};
use crate::web::label::Chip;
use crate::web::page::{self, Layout, Nav};
use crate::web::paths;
use crate::web::time::Stamp;
use crate::web::visit::{Contributor, Least, Reader, Signed};
use actix_web::web::Path;
use askama::Template;

#[derive(Template)]
#[template(path = "groups/show.html")]
pub struct GroupPage {
    layout: Layout,
    group: Group,
    f: FormState,
    servers: Vec<ServerRow>,
    /// How many there are, whatever the table shows.
    server_count: i64,
    people: Vec<PersonRow>,
    roles: Vec<Choice>,
    locks: LockList,
    /// Why it cannot be deleted; empty when it can.
    why_kept: String,
}

struct ServerRow {
    path: String,
    name: String,
    chip: Chip,
}

struct PersonRow {
    login: String,
    role: Role,
    by: String,
    at: Stamp,
    remove_path: String,
    /// Whether it is the person who looks.
    is_self: bool,
}

impl GroupPage {
    fn servers_path(&self) -> String {
        format!("{}?group={}", paths::servers(), self.group.id)
    }

    fn assign_path(&self) -> String {
        paths::group_assignments(&self.group.id)
    }

    fn rename_path(&self) -> String {
        paths::group_rename(&self.group.id)
    }

    fn delete_path(&self) -> String {
        paths::group_delete(&self.group.id)
    }
}

/// The group of a URL, as far as the visitor may see it.
///
/// # Errors
/// Not found, or when the store does not answer.
pub async fn find<R: Least>(visit: &Signed<R>, id: &str) -> Result<Group, PageError> {
    let id = GroupId::parse(id).ok_or(PageError::NotFound)?;
    let group = visit.state.store.group(&id, &visit.viewer()?).await?;
    group.ok_or(PageError::NotFound)
}

/// Puts the page together.
///
/// # Errors
/// When the store does not answer.
pub async fn group_page<R: Least>(
    visit: &Signed<R>,
    group: Group,
    f: FormState,
) -> Result<GroupPage, PageError> {
    let (store, is_owner) = (&visit.state.store, visit.is_owner_here());
    let filter = ServerFilter {
        group: group.id.as_str().into(),
        viewer: visit.viewer()?,
        ..ServerFilter::default()
    };
    let servers = store.servers(&filter).await?;
    let server_count = store.count_servers(&filter).await?;
    let people = store.group_assignments(&group.id).await?;
    let held = store.locks_on_group(&group.id).await?;
    let lock_row = |lock: &lock::Lock| {
        let path = paths::group_lock_remove(&group.id, &lock.id);
        let mut row = LockRow::new(lock, if is_owner { path } else { String::new() });
        row.inherited_from = String::new();
        row
    };
    Ok(GroupPage {
        layout: visit.layout(group.name.clone(), Nav::Groups),
        servers: servers
            .iter()
            .take(SERVER_PAGE as usize)
            .map(|server| ServerRow {
                path: paths::server(&server.id),
                name: server.spec.name.as_str().into(),
                chip: server.state().into(),
            })
            .collect(),
        people: people.iter().map(|one| person_row(visit, one)).collect(),
        roles: roles(),
        locks: LockList {
            rows: held.iter().map(lock_row).collect(),
            kinds: locks::kinds(),
            action: paths::group_locks(&group.id),
            may_manage: is_owner,
            holder: "this resource group",
        },
        why_kept: why_kept(&group, server_count, held.len()),
        f: f.with("kind", "CanNotDelete")
            .with("role", Role::Reader.key())
            .with("group_name", &group.name),
        server_count,
        group,
    })
}

fn person_row<R: Least>(visit: &Signed<R>, one: &Assignment) -> PersonRow {
    PersonRow {
        login: one.login.clone(),
        role: one.role,
        by: one.created_by.clone(),
        at: one.created_at.into(),
        remove_path: if visit.is_owner_here() {
            paths::group_assignment_remove(&one.group_id, &one.user_id)
        } else {
            String::new()
        },
        is_self: one.user_id == visit.user.id,
    }
}

/// Roles that a group assigns.
pub fn roles() -> Vec<Choice> {
    let one = |role: Role| Choice::new(role.key(), role.key()).detail(role.purpose_in_group());
    Role::IN_GROUP.map(one).to_vec()
}

fn why_kept(group: &Group, servers: i64, locks: usize) -> String {
    match (servers, locks) {
        _ if group.is_default() => {
            "This group is always there: it takes what nobody sorted.".into()
        }
        (1, _) => "There is a server in it. Move or delete it first.".into(),
        (2.., _) => format!("There are {servers} servers in it. Move or delete them first."),
        (_, 1..) => "There is a lock on it. An owner can remove the lock.".into(),
        _ => String::new(),
    }
}

/// `GET /groups/{id}`
pub async fn get(visit: Signed<Reader>, id: Path<String>) -> PageResult {
    let group = find(&visit, &id).await?;
    page::ok(&group_page(&visit, group, FormState::new()).await?)
}

/// `POST /groups/{id}/rename`
pub async fn rename(visit: Signed<Contributor>, id: Path<String>, posted: Posted) -> PageResult {
    let group = find(&visit, &id).await?;
    let mut f = FormState::keep(&posted);
    let Some(name) = f.check(Group::parse_name(posted.text("group_name"))) else {
        return page::invalid(&group_page(&visit, group, f).await?);
    };
    if name == group.name {
        return page::see(&paths::group(&group.id));
    }
    let mut tx = visit.state.store.begin_write(visit.now).await?;
    let is_there = tx.lock_group(&group.id).await?;
    f.check(lock::check(&tx.locks_on_group(&group.id).await?, Act::Change));
    if f.is_valid() {
        match tx.rename_group(&group.id, &name).await {
            Ok(_) if is_there => {
                let mut line = visit.activity("group.rename", &name);
                line.detail = format!("{} to {name}", group.name);
                tx.commit(Record::of_group(&group.id, line)).await?;
                let flash = Flash::done(format!("The resource group is named {name} now."));
                return page::see_with(&visit, &paths::group(&group.id), &flash);
            }
            Ok(_) => return Err(PageError::NotFound),
            Err(error) if error.is_unique_violation() => f.refuse(taken(&name)),
            Err(error) => return Err(error.into()),
        }
    }
    drop(tx);
    page::invalid(&group_page(&visit, group, f).await?)
}

/// `POST /groups/{id}/delete`: only an empty one, without a lock, and never the one that is always there.
pub async fn delete(visit: Signed<Contributor>, id: Path<String>) -> PageResult {
    let group = find(&visit, &id).await?;
    let refuse = |text: String| {
        page::see_with(&visit, &paths::group(&group.id), &Flash::refused(&Refusal::whole(text)))
    };
    if group.is_default() {
        return refuse("The default group is always there. Nothing was changed.".into());
    }
    let mut tx = visit.state.store.begin_write(visit.now).await?;
    if !tx.lock_group(&group.id).await? {
        return Err(PageError::NotFound);
    }
    if let Err(refusal) = lock::check(&tx.locks_on_group(&group.id).await?, Act::Delete) {
        return refuse(refusal.text);
    }
    if let Some(server) = tx.locked_server_of(&group.id).await? {
        return refuse(format!(
            "The server {server} in this group has a lock. Nothing was changed."
        ));
    }
    if !tx.delete_group(&group.id).await? {
        return refuse("There are servers in this group. Move or delete them first.".into());
    }
    tx.commit(Record::activity(visit.activity("group.delete", &group.name))).await?;
    let text = format!("The resource group {} is deleted, with the roles in it.", group.name);
    page::see_with(&visit, &paths::groups(), &Flash::done(text))
}
