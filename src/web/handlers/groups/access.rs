//! What owners of a group do on its page: roles and locks.

use super::show::{find, group_page};
use crate::domain::account::{Role, parse_login};
use crate::domain::group::Group;
use crate::domain::ids::{LockId, UserId};
use crate::domain::lock::LockScope;
use crate::domain::refusal::Refusal;
use crate::store::Record;
use crate::store::locks::Holder;
use crate::web::error::{PageError, PageResult};
use crate::web::flash::Flash;
use crate::web::form::{FormState, Posted};
use crate::web::handlers::locks as shared;
use crate::web::page;
use crate::web::paths;
use crate::web::visit::{Owner, Signed};
use actix_web::web::Path;

/// `POST /groups/{id}/assignments`: gives a person a role in the group, in the place of the one they had.
pub async fn assign(visit: Signed<Owner>, id: Path<String>, posted: Posted) -> PageResult {
    let group = find(&visit, &id).await?;
    let mut f = FormState::keep(&posted);
    let login = f.check(parse_login(posted.text("login")));
    let role = f.check(
        Role::parse_in_group(posted.text("role"))
            .ok_or_else(|| Refusal::at("role", "Choose one of the roles.")),
    );
    let (Some(login), Some(role)) = (login, role) else {
        return page::invalid(&group_page(&visit, group, f).await?);
    };
    let person = visit.state.store.user_by_login(&login).await?.map(|(user, _)| user);
    let Some(user) = person.filter(|user| !user.disabled) else {
        let text = format!(
            "Nobody who can sign in has the login {login}. An owner of the portal can invite people."
        );
        f.refuse(Refusal::at("login", text));
        return page::invalid(&group_page(&visit, group, f).await?);
    };
    let mut tx = visit.state.store.begin_write(visit.now).await?;
    if !tx.lock_group(&group.id).await? {
        return Err(PageError::NotFound);
    }
    tx.assign_role(&group.id, &user.id, role, &visit.user.login).await?;
    let mut line = visit.activity("role.assign", &group.name);
    line.detail = format!("{} is {}", user.login, role.key());
    tx.commit(Record::of_group(&group.id, line)).await?;
    let note = if user.role >= role {
        format!(" Their own role, {}, reaches as far everywhere.", user.role.key())
    } else {
        String::new()
    };
    done(&visit, &group, format!("{} is {} in this group now.{note}", user.login, role.key()))
}

/// `POST /groups/{id}/assignments/{user}/remove`: the person's next request finds the role gone; who has no
/// role left anywhere is signed out.
pub async fn remove(visit: Signed<Owner>, path: Path<(String, String)>) -> PageResult {
    let (id, user) = path.into_inner();
    let group = find(&visit, &id).await?;
    let user = UserId::parse(&user).ok_or(PageError::NotFound)?;
    let user = visit.state.store.user(&user).await?.ok_or(PageError::NotFound)?;
    let mut tx = visit.state.store.begin_write(visit.now).await?;
    if !tx.remove_assignment(&group.id, &user.id).await? {
        let text =
            format!("{} has no role in this group any more. Nothing was changed.", user.login);
        return page::see_with(&visit, &paths::group(&group.id), &Flash::info(text));
    }
    let ended = tx.end_sessions_without_role(&user.id).await?;
    let mut line = visit.activity("role.remove", &group.name);
    line.detail.clone_from(&user.login);
    tx.commit(Record::of_group(&group.id, line)).await?;
    let note = if ended > 0 { " No role is left to them: their sessions were ended." } else { "" };
    let text = format!("{} has no role in this group any more.{note}", user.login);
    // Who took their own role may not see the group any more.
    if user.id == visit.user.id && visit.user.role == Role::Member {
        return page::see_with(&visit, &paths::groups(), &Flash::done(text));
    }
    done(&visit, &group, text)
}

/// `POST /groups/{id}/locks`
pub async fn add_lock(visit: Signed<Owner>, id: Path<String>, posted: Posted) -> PageResult {
    let group = find(&visit, &id).await?;
    let mut f = FormState::keep(&posted);
    let by = &visit.user.login;
    let Some(lock) = shared::read(&mut f, &posted, LockScope::Group, by, visit.now) else {
        return page::invalid(&group_page(&visit, group, f).await?);
    };
    let mut tx = visit.state.store.begin_write(visit.now).await?;
    if !tx.lock_group(&group.id).await? {
        return Err(PageError::NotFound);
    }
    match tx.insert_lock(Holder::Group(&group.id), &lock).await {
        Ok(true) => {}
        Ok(false) => f.refuse(shared::full()),
        Err(error) if error.is_unique_violation() => f.refuse(shared::taken(&lock.name)),
        Err(error) => return Err(error.into()),
    }
    if !f.is_valid() {
        drop(tx);
        return page::invalid(&group_page(&visit, group, f).await?);
    }
    let mut line = visit.activity("lock.create", &group.name);
    line.detail = format!("{} ({})", lock.name, lock.kind.key());
    tx.commit(Record::of_group(&group.id, line)).await?;
    done(
        &visit,
        &group,
        format!("The lock {} is on for the group and every server in it.", lock.name),
    )
}

/// `POST /groups/{id}/locks/{lock}/remove`
pub async fn remove_lock(visit: Signed<Owner>, path: Path<(String, String)>) -> PageResult {
    let (id, lock) = path.into_inner();
    let group = find(&visit, &id).await?;
    let lock = LockId::parse(&lock).ok_or(PageError::NotFound)?;
    let mut tx = visit.state.store.begin_write(visit.now).await?;
    let Some((name, kind)) = tx.delete_lock(Holder::Group(&group.id), &lock).await? else {
        let text = "There is no such lock on this group any more. Nothing was changed.";
        return page::see_with(&visit, &paths::group(&group.id), &Flash::info(text));
    };
    let mut line = visit.activity("lock.remove", &group.name);
    line.detail = format!("{name} ({kind})");
    tx.commit(Record::of_group(&group.id, line)).await?;
    done(&visit, &group, format!("The lock {name} is removed."))
}

fn done(visit: &Signed<Owner>, group: &Group, text: String) -> PageResult {
    page::see_with(visit, &paths::group(&group.id), &Flash::done(text))
}
