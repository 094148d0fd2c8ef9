//! `GET /groups`: the groups that a person may see, and a form for a new one.

use crate::clock::new_id;
use crate::domain::account::Role;
use crate::domain::group::Group;
use crate::domain::ids::GroupId;
use crate::domain::refusal::Refusal;
use crate::store::Record;
use crate::store::groups::CountedGroup;
use crate::web::error::{PageError, PageResult};
use crate::web::flash::Flash;
use crate::web::form::{FormState, Posted};
use crate::web::page::{self, Layout, Nav};
use crate::web::paths;
use crate::web::time::Stamp;
use crate::web::visit::{Contributor, Least, Reader, Signed};
use askama::Template;

#[derive(Template)]
#[template(path = "groups/list.html")]
struct ListPage {
    layout: Layout,
    f: FormState,
    rows: Vec<Row>,
    may_create: bool,
}

struct Row {
    path: String,
    name: String,
    is_default: bool,
    servers: i64,
    servers_path: String,
    people: i64,
    locks: i64,
    created: Option<Stamp>,
    by: String,
}

impl Row {
    fn new(counted: &CountedGroup) -> Self {
        let group = &counted.group;
        Self {
            path: paths::group(&group.id),
            name: group.name.clone(),
            is_default: group.is_default(),
            servers: counted.servers,
            servers_path: format!("{}?group={}", paths::servers(), group.id),
            people: counted.people,
            locks: counted.locks,
            created: (!group.is_default()).then_some(Stamp(group.created_at)),
            by: group.created_by.clone(),
        }
    }
}

async fn list_page<R: Least>(visit: &Signed<R>, f: FormState) -> Result<ListPage, PageError> {
    let groups = visit.state.store.groups(&visit.viewer()?).await?;
    Ok(ListPage {
        layout: visit.layout("Resource groups", Nav::Groups),
        f,
        rows: groups.iter().map(Row::new).collect(),
        may_create: visit.user.role >= Role::Contributor,
    })
}

/// `GET /groups`
pub async fn get(visit: Signed<Reader>) -> PageResult {
    page::ok(&list_page(&visit, FormState::new()).await?)
}

/// `POST /groups`
pub async fn create(visit: Signed<Contributor>, posted: Posted) -> PageResult {
    let mut f = FormState::keep(&posted);
    let Some(name) = f.check(Group::parse_name(posted.text("group_name"))) else {
        return page::invalid(&list_page(&visit, f).await?);
    };
    let group = Group {
        id: new_id(GroupId::parse),
        name,
        created_by: visit.user.login.clone(),
        created_at: visit.now,
    };
    let mut tx = visit.state.store.begin_write(visit.now).await?;
    match tx.insert_group(&group).await {
        Ok(()) => {}
        Err(error) if error.is_unique_violation() => {
            drop(tx);
            f.refuse(taken(&group.name));
            return page::invalid(&list_page(&visit, f).await?);
        }
        Err(error) => return Err(error.into()),
    }
    let line = visit.activity("group.create", &group.name);
    tx.commit(Record::of_group(&group.id, line)).await?;
    let text =
        format!("The resource group {} is there. Give people their roles in it.", group.name);
    page::see_with(&visit, &paths::group(&group.id), &Flash::done(text))
}

/// The name is another group's.
pub fn taken(name: &str) -> Refusal {
    let text = format!("There is a resource group named {name} already. Choose another name.");
    Refusal::at("group_name", text)
}
