//! Users and invitations, for owners.

use crate::clock::new_id;
use crate::domain::account::{INVITE_LIFE, Invite, Role, User};
use crate::domain::group::Assignment;
use crate::domain::ids::{GroupId, InviteId, UserId};
use crate::domain::refusal::Refusal;
use crate::secrets::{random_token, sha256_hex};
use crate::store::Record;
use crate::store::groups::CountedGroup;
use crate::store::scope::Viewer;
use crate::web::error::{PageError, PageResult};
use crate::web::flash::Flash;
use crate::web::form::{Choice, FormState, Posted};
use crate::web::handlers::account::own::factor_chip;
use crate::web::label::{Chip, Icon, Tone};
use crate::web::page::{self, Layout, Nav};
use crate::web::paths;
use crate::web::time::Stamp;
use crate::web::visit::{Owner, Signed};
use actix_web::web;
use askama::Template;

#[derive(Template)]
#[template(path = "account/users.html")]
struct UsersPage {
    layout: Layout,
    f: FormState,
    roles: Vec<Choice>,
    /// Groups and roles that an invitation can bring along.
    groups: Vec<Choice>,
    group_roles: Vec<Choice>,
    users: Vec<UserView>,
    invites: Vec<InviteView>,
    /// Whether everybody needs a second factor.
    is_factor_required: bool,
}

struct UserView {
    login: String,
    is_self: bool,
    role: Role,
    /// Roles in groups.
    assigned: Vec<AssignedView>,
    disabled: bool,
    factor: Chip,
    /// Takes the second factor away; empty when there is none, or it is the owner's own.
    factor_path: String,
    chip: Chip,
    created: Stamp,
    select_id: String,
    select_label: String,
    role_path: String,
    /// Disables or enables.
    switch_path: String,
    /// Why nothing of it can be changed; empty when it can.
    closed: &'static str,
}

/// A role in a group.
struct AssignedView {
    text: String,
    path: String,
}

struct InviteView {
    note: String,
    role: &'static str,
    /// The role in a group that it brings along; empty for none.
    brings: String,
    created_by: String,
    expires: Stamp,
    revoke_path: String,
}

/// Longest note on an invitation, in characters.
const NOTE_MAX: usize = 200;

/// `GET /users`
pub async fn get(visit: Signed<Owner>) -> PageResult {
    let f =
        FormState::new().with("role", Role::Contributor.key()).with("group_role", "Contributor");
    page::ok(&users_page(&visit, f).await?)
}

/// `POST /users/invites`
pub async fn invite(visit: Signed<Owner>, posted: Posted) -> PageResult {
    let mut f = FormState::keep(&posted);
    let note = f.check(parse_note(posted.text("note")));
    let role = f.check(
        Role::parse(posted.text("role")).ok_or(Refusal::at("role", "Choose one of the roles.")),
    );
    let brings = f.check(parse_brings(posted.text("group"), posted.text("group_role")));
    let (Some(note), Some(role), Some(brings)) = (note, role, brings) else {
        return page::invalid(&users_page(&visit, f).await?);
    };
    let token = random_token();
    let invite = Invite {
        id: new_id(InviteId::parse),
        role,
        note,
        is_setup: false,
        created_by: visit.user.login.clone(),
        created_at: visit.now,
        expires_at: visit.now + INVITE_LIFE,
    };
    let mut tx = visit.state.store.begin_write(visit.now).await?;
    tx.insert_invite(&invite, &sha256_hex(&token)).await?;
    let mut line = visit.activity("user.invite", &invite.note);
    line.detail = role.key().into();
    if let Some((id, role)) = brings {
        let Some(group) = tx.group(&id).await? else {
            drop(tx);
            f.refuse(Refusal::at("group", "The resource group is gone. Choose another."));
            return page::invalid(&users_page(&visit, f).await?);
        };
        tx.put_invite_assignment(&invite.id, &id, role).await?;
        line.detail = format!("{}, {} in {}", line.detail, role.key(), group.name);
    }
    tx.commit(Record::activity(line)).await?;
    let link = format!("{}{}", visit.state.config.public_url(), paths::invite(&token));
    let text = format!(
        "The invitation for {} is ready. Send this link to them; it is shown only now, works once and for 72 hours.",
        invite.note
    );
    page::see_with(&visit, &paths::users(), &Flash::done(text).with_link(link))
}

/// `POST /users/invites/{invite}/revoke`
pub async fn revoke(visit: Signed<Owner>, id: web::Path<String>) -> PageResult {
    let id = InviteId::parse(&id).ok_or(PageError::NotFound)?;
    let open = visit.state.store.open_invites(visit.now).await?;
    let note = open.into_iter().find(|invite| invite.id == id).map(|invite| invite.note);
    let mut tx = visit.state.store.begin_write(visit.now).await?;
    if !tx.delete_invite(&id).await? {
        return Err(PageError::NotFound);
    }
    let line = visit.activity("user.invite_revoke", &note.unwrap_or_default());
    tx.commit(Record::activity(line)).await?;
    page::see_with(&visit, &paths::users(), &Flash::done("The link does not work any more."))
}

/// `POST /users/{user}/role`
pub async fn change_role(
    visit: Signed<Owner>,
    id: web::Path<String>,
    posted: Posted,
) -> PageResult {
    let user = find(&visit, &id).await?;
    let role = Role::parse(posted.text("role"))
        .ok_or_else(|| PageError::Invalid("There is no such role.".into()))?;
    if role == user.role {
        return page::see(&paths::users());
    }
    let text = format!("{} is now {}. Their sessions were ended.", user.login, role.key());
    change(&visit, &user, (Some(role), None), "user.role_change", &text).await
}

/// `POST /users/{user}/disable`
pub async fn disable(visit: Signed<Owner>, id: web::Path<String>) -> PageResult {
    let user = find(&visit, &id).await?;
    let text = format!("{} can no longer sign in. Their sessions were ended.", user.login);
    change(&visit, &user, (None, Some(true)), "user.disable", &text).await
}

/// `POST /users/{user}/enable`
pub async fn enable(visit: Signed<Owner>, id: web::Path<String>) -> PageResult {
    let user = find(&visit, &id).await?;
    let text = format!("{} can sign in again.", user.login);
    change(&visit, &user, (None, Some(false)), "user.enable", &text).await
}

async fn find(visit: &Signed<Owner>, id: &str) -> Result<User, PageError> {
    let id = UserId::parse(id).ok_or(PageError::NotFound)?;
    visit.state.store.user(&id).await?.ok_or(PageError::NotFound)
}

/// Sets role or disabled, never both: what another owner changes at the same moment stays. Ends the
/// person's sessions, and takes back invitations by somebody who may no longer invite. Refused when nobody
/// would be left to undo it.
async fn change(
    visit: &Signed<Owner>,
    user: &User,
    (role, disabled): (Option<Role>, Option<bool>),
    action: &'static str,
    done: &str,
) -> PageResult {
    let mut tx = visit.state.store.begin_write(visit.now).await?;
    if !tx.set_user_access(&user.id, role, disabled).await? {
        let refusal = Refusal::whole(format!(
            "{} is the last owner who can sign in. Make somebody else an owner first.",
            user.login
        ));
        return page::see_with(visit, &paths::users(), &Flash::refused(&refusal));
    }
    tx.end_sessions(&user.id, None).await?;
    let may_invite = disabled != Some(true) && role.is_none_or(Role::may_manage_users);
    let taken_back = if may_invite { 0 } else { tx.delete_invites_by(&user.login).await? };
    let mut line = visit.activity(action, &user.login);
    if let Some(role) = role {
        line.detail = format!("{} to {}", user.role.key(), role.key());
    }
    tx.commit(Record::activity(line)).await?;
    let links = match taken_back {
        0 => "",
        _ => " The invitations that they had made do not work any more.",
    };
    page::see_with(visit, &paths::users(), &Flash::done(format!("{done}{links}")))
}

/// The group and role that an invitation brings along; no group is none.
fn parse_brings(group: &str, role: &str) -> Result<Option<(GroupId, Role)>, Refusal> {
    if group.is_empty() {
        return Ok(None);
    }
    let group = GroupId::parse(group)
        .ok_or_else(|| Refusal::at("group", "Choose one of the resource groups."))?;
    let role = Role::parse_in_group(role)
        .ok_or_else(|| Refusal::at("group_role", "Choose one of the roles in a group."))?;
    Ok(Some((group, role)))
}

fn parse_note(typed: &str) -> Result<String, Refusal> {
    if typed.is_empty() {
        return Err(Refusal::at("note", "Say who the invitation is for."));
    }
    if typed.chars().count() > NOTE_MAX || typed.chars().any(char::is_control) {
        return Err(Refusal::at("note", "A note is one line of at most 200 characters."));
    }
    Ok(typed.to_owned())
}

async fn users_page(visit: &Signed<Owner>, f: FormState) -> Result<UsersPage, PageError> {
    let users = visit.state.store.users().await?;
    let owners = users.iter().filter(|user| user.role == Role::Owner && !user.disabled).count();
    let store = &visit.state.store;
    let invites = store.open_invites(visit.now).await?;
    let assignments = store.assignments().await?;
    let brought = store.invite_assignments().await?;
    Ok(UsersPage {
        layout: visit.layout("Users", Nav::Users),
        f,
        roles: Role::ALL
            .iter()
            .map(|role| Choice::new(role.key(), role.key()).detail(role.purpose()))
            .collect(),
        groups: group_choices(&store.groups(&Viewer::Portal).await?),
        group_roles: Role::IN_GROUP.map(|role| Choice::new(role.key(), role.key())).to_vec(),
        users: users.iter().map(|user| user_view(visit, user, owners, &assignments)).collect(),
        invites: invites.iter().map(|invite| invite_view(invite, &brought)).collect(),
        is_factor_required: store.second_factor_required().await?,
    })
}

fn group_choices(groups: &[CountedGroup]) -> Vec<Choice> {
    let one = |counted: &CountedGroup| Choice::new(counted.group.id.as_str(), &counted.group.name);
    std::iter::once(Choice::new("", "None")).chain(groups.iter().map(one)).collect()
}

fn user_view(
    visit: &Signed<Owner>,
    user: &User,
    owners: usize,
    assignments: &[Assignment],
) -> UserView {
    let is_last = user.role == Role::Owner && !user.disabled && owners == 1;
    let chip = if user.disabled {
        Chip::new("Disabled", Icon::Minus, Tone::Idle)
    } else {
        Chip::new("Active", Icon::Check, Tone::Ok)
    };
    let switch_path =
        if user.disabled { paths::user_enable(&user.id) } else { paths::user_disable(&user.id) };
    UserView {
        login: user.login.clone(),
        is_self: user.id == visit.user.id,
        role: user.role,
        assigned: assignments
            .iter()
            .filter(|one| one.user_id == user.id)
            .map(|one| AssignedView {
                text: format!("{} in {}", one.role.key(), one.group_name),
                path: paths::group(&one.group_id),
            })
            .collect(),
        disabled: user.disabled,
        factor: factor_chip(user.has_second_factor),
        factor_path: if user.has_second_factor && user.id != visit.user.id {
            paths::user_second_factor_reset(&user.id)
        } else {
            String::new()
        },
        chip,
        created: user.created_at.into(),
        select_id: format!("role-{}", user.id.short()),
        select_label: format!("Role of {}", user.login),
        role_path: paths::user_role(&user.id),
        switch_path,
        closed: if is_last { "The last owner stays an owner." } else { "" },
    }
}

fn invite_view(invite: &Invite, brought: &[(String, String, Role)]) -> InviteView {
    let brings = brought.iter().find(|(id, ..)| id == invite.id.as_str());
    InviteView {
        note: invite.note.clone(),
        role: invite.role.key(),
        brings: brings
            .map_or(String::new(), |(_, group, role)| format!("{} in {group}", role.key())),
        created_by: invite.created_by.clone(),
        expires: invite.expires_at.into(),
        revoke_path: paths::invite_revoke(&invite.id),
    }
}
