//! Every URL of the portal is built here, so that a renamed page is one change and no link dangles.

use crate::domain::ids::{
    DraftId, GroupId, HostId, InviteId, LockId, NetworkId, OperationId, RuleId, ServerId,
    SessionId, UserId,
};

pub fn servers() -> String {
    "/servers".into()
}

pub fn server_create() -> String {
    "/servers/create".into()
}

/// The create form with the values of a preset.
pub fn server_create_preset(preset: &str) -> String {
    format!("/servers/create?preset={}", encoded(preset))
}

/// A tab of a create form that is being filled in; the address may be continued with `&` and `#`.
pub fn server_create_tab(draft: &DraftId, tab: &str) -> String {
    format!("/servers/create?draft={draft}&tab={}", encoded(tab))
}

pub fn server_create_review(draft: &DraftId) -> String {
    format!("/servers/create/review?draft={draft}")
}

pub fn server(id: &ServerId) -> String {
    format!("/servers/{id}")
}

pub fn server_connect(id: &ServerId) -> String {
    format!("/servers/{id}/connect")
}

pub fn server_networking(id: &ServerId) -> String {
    format!("/servers/{id}/networking")
}

pub fn server_rule(id: &ServerId, rule: &RuleId) -> String {
    format!("/servers/{id}/networking/{rule}")
}

pub fn server_rule_delete(id: &ServerId, rule: &RuleId) -> String {
    format!("/servers/{id}/networking/{rule}/delete")
}

/// Adds a rule for the address that asks.
pub fn server_rule_mine(id: &ServerId) -> String {
    format!("/servers/{id}/networking/mine")
}

/// The page that asks before a server is opened to every address.
pub fn server_rule_everyone(id: &ServerId) -> String {
    format!("/servers/{id}/networking/everyone")
}

/// Public or private, the virtual network, and TLS.
pub fn server_networking_access(id: &ServerId) -> String {
    format!("/servers/{id}/networking/access")
}

/// Whether the gateways have the rules: a part of the networking page.
pub fn server_networking_effect(id: &ServerId) -> String {
    format!("/servers/{id}/networking/effect")
}

/// The live part of the overview; it leads to the whole page when `seen` is no longer so.
pub fn server_fragment(id: &ServerId, seen: &str) -> String {
    format!("/servers/{id}/fragment?seen={}", encoded(seen))
}

pub fn server_activity(id: &ServerId) -> String {
    format!("/servers/{id}/activity")
}

/// The key of a server's backups as a file.
pub fn server_escrow(id: &ServerId) -> String {
    format!("/servers/{id}/escrow")
}

pub fn server_stop(id: &ServerId) -> String {
    format!("/servers/{id}/stop")
}

pub fn server_start(id: &ServerId) -> String {
    format!("/servers/{id}/start")
}

pub fn server_reset_password(id: &ServerId) -> String {
    format!("/servers/{id}/reset-password")
}

pub fn server_compute(id: &ServerId) -> String {
    format!("/servers/{id}/compute")
}

/// What a size would change, before it is asked for; empty for the form's own address.
pub fn server_compute_review(id: &ServerId, to: &str) -> String {
    match to {
        "" => format!("/servers/{id}/compute/review"),
        to => format!("/servers/{id}/compute/review?to={}", encoded(to)),
    }
}

pub fn server_storage(id: &ServerId) -> String {
    format!("/servers/{id}/storage")
}

pub fn server_databases(id: &ServerId) -> String {
    format!("/servers/{id}/databases")
}

/// The page that drops a database; its name may hold anything.
pub fn server_database_drop(id: &ServerId, name: &str) -> String {
    format!("/servers/{id}/databases/drop?name={}", encoded(name))
}

pub fn server_parameters(id: &ServerId) -> String {
    format!("/servers/{id}/parameters")
}

pub fn server_parameters_save(id: &ServerId) -> String {
    format!("/servers/{id}/parameters/save")
}

pub fn server_extensions_part(id: &ServerId, part: &str) -> String {
    format!("/servers/{id}/extensions/{part}")
}

pub fn server_extensions(id: &ServerId) -> String {
    format!("/servers/{id}/extensions")
}

pub fn server_pooling(id: &ServerId) -> String {
    format!("/servers/{id}/pooling")
}

pub fn server_tags(id: &ServerId) -> String {
    format!("/servers/{id}/tags")
}

pub fn server_locks(id: &ServerId) -> String {
    format!("/servers/{id}/locks")
}

pub fn server_lock_remove(id: &ServerId, lock: &LockId) -> String {
    format!("/servers/{id}/locks/{lock}/remove")
}

/// The page that moves a server to another group.
pub fn server_group(id: &ServerId) -> String {
    format!("/servers/{id}/group")
}

/// The servers that have a tag.
pub fn servers_tagged(name: &str, value: &str) -> String {
    let tag = if value.is_empty() { name.to_owned() } else { format!("{name}={value}") };
    format!("/servers?tag={}", encoded(&tag))
}

pub fn groups() -> String {
    "/groups".into()
}

pub fn group(id: &GroupId) -> String {
    format!("/groups/{id}")
}

pub fn group_rename(id: &GroupId) -> String {
    format!("/groups/{id}/rename")
}

pub fn group_delete(id: &GroupId) -> String {
    format!("/groups/{id}/delete")
}

pub fn group_assignments(id: &GroupId) -> String {
    format!("/groups/{id}/assignments")
}

pub fn group_assignment_remove(id: &GroupId, user: &UserId) -> String {
    format!("/groups/{id}/assignments/{user}/remove")
}

pub fn group_locks(id: &GroupId) -> String {
    format!("/groups/{id}/locks")
}

pub fn group_lock_remove(id: &GroupId, lock: &LockId) -> String {
    format!("/groups/{id}/locks/{lock}/remove")
}

pub fn server_cost(id: &ServerId) -> String {
    format!("/servers/{id}/cost")
}

pub fn server_storage_autogrow(id: &ServerId) -> String {
    format!("/servers/{id}/storage/autogrow")
}

pub fn server_repair(id: &ServerId) -> String {
    format!("/servers/{id}/repair")
}

/// The page of high availability.
pub fn server_ha(id: &ServerId) -> String {
    format!("/servers/{id}/high-availability")
}

/// A page that asks before high availability is changed, such as `enable`.
pub fn server_ha_part(id: &ServerId, part: &str) -> String {
    format!("/servers/{id}/high-availability/{part}")
}

/// Older lines of the story: those before one.
pub fn server_ha_before(id: &ServerId, line: &str) -> String {
    format!("/servers/{id}/high-availability?before={}#h-timeline", encoded(line))
}

/// The live part; `seen` is what the page around it was made of.
pub fn server_ha_fragment(id: &ServerId, seen: &str, before: &str) -> String {
    let (seen, before) = (encoded(seen), encoded(before));
    format!("/servers/{id}/high-availability/fragment?seen={seen}&before={before}")
}

/// Backup and restore.
pub fn server_backups(id: &ServerId) -> String {
    format!("/servers/{id}/backups")
}

/// A later page of the list of backups.
pub fn server_backups_page(id: &ServerId, page: usize) -> String {
    format!("/servers/{id}/backups?page={page}#h-list")
}

/// A page that asks before something is done with backups, such as `new`.
pub fn server_backups_part(id: &ServerId, part: &str) -> String {
    format!("/servers/{id}/backups/{part}")
}

/// The page that asks before a backup is deleted.
pub fn server_backup_delete(id: &ServerId, label: &str) -> String {
    format!("/servers/{id}/backups/delete?backup={}", encoded(label))
}

/// The live part; `seen` is what the page around it was made of.
pub fn server_backups_fragment(id: &ServerId, seen: &str, page: usize) -> String {
    format!("/servers/{id}/backups/fragment?seen={}&page={page}", encoded(seen))
}

/// The form that restores into a new server.
pub fn server_restore(id: &ServerId) -> String {
    format!("/servers/{id}/restore")
}

/// The same for a server that was deleted.
pub fn deleted_restore(id: &ServerId) -> String {
    format!("/servers/deleted/{id}/restore")
}

pub fn servers_deleted() -> String {
    "/servers/deleted".into()
}

pub fn server_restart(id: &ServerId) -> String {
    format!("/servers/{id}/restart")
}

pub fn server_delete(id: &ServerId) -> String {
    format!("/servers/{id}/delete")
}

pub fn operations() -> String {
    "/operations".into()
}

pub fn operation(id: &OperationId) -> String {
    format!("/operations/{id}")
}

pub fn operation_events(id: &OperationId) -> String {
    format!("/operations/{id}/events")
}

pub fn operation_retry(id: &OperationId) -> String {
    format!("/operations/{id}/retry")
}

pub fn operation_cancel(id: &OperationId) -> String {
    format!("/operations/{id}/cancel")
}

pub fn operation_fragment(id: &OperationId) -> String {
    format!("/operations/{id}/fragment")
}

pub fn operation_abandon(id: &OperationId) -> String {
    format!("/operations/{id}/abandon")
}

pub fn hosts() -> String {
    "/hosts".into()
}

/// The host's card on the list of hosts.
pub fn host(id: &HostId) -> String {
    format!("/hosts#host-{id}")
}

/// Where the portal's own record is backed up.
pub fn recovery() -> String {
    "/settings/recovery".into()
}

pub fn host_new() -> String {
    "/hosts/new".into()
}

pub fn host_edit(id: &HostId) -> String {
    format!("/hosts/{id}/edit")
}

pub fn host_remove(id: &HostId) -> String {
    format!("/hosts/{id}/remove")
}

pub fn networks() -> String {
    "/networks".into()
}

pub fn network(id: &NetworkId) -> String {
    format!("/networks/{id}")
}

pub fn network_delete(id: &NetworkId) -> String {
    format!("/networks/{id}/delete")
}

pub fn costs() -> String {
    "/costs".into()
}

pub fn costs_csv() -> String {
    "/costs.csv".into()
}

pub fn activity() -> String {
    "/activity".into()
}

pub fn activity_csv() -> String {
    "/activity.csv".into()
}

pub fn ca_pem() -> String {
    "/ca.pem".into()
}

pub fn sign_in() -> String {
    "/sign-in".into()
}

/// The sign-in page, with the page to go on to afterwards.
pub fn sign_in_then(return_to: &str) -> String {
    format!("/sign-in?return_to={}", encoded(return_to))
}

/// The page that asks for the code of the second factor, with the page to go on to afterwards.
pub fn sign_in_code(return_to: &str) -> String {
    format!("/sign-in/code?return_to={}", encoded(return_to))
}

pub fn sign_out() -> String {
    "/sign-out".into()
}

/// The page that asks for the password again, with the page to go on to afterwards.
pub fn confirm_password(return_to: &str) -> String {
    format!("/confirm-password?return_to={}", encoded(return_to))
}

pub fn setup(token: &str) -> String {
    format!("/setup/{token}")
}

pub fn invite(token: &str) -> String {
    format!("/invite/{token}")
}

pub fn account() -> String {
    "/account".into()
}

pub fn account_password() -> String {
    "/account/password".into()
}

pub fn second_factor() -> String {
    "/account/second-factor".into()
}

pub fn account_sessions_end() -> String {
    "/account/sessions/end-others".into()
}

pub fn account_session_end(id: &SessionId) -> String {
    format!("/account/sessions/{id}/end")
}

pub fn users() -> String {
    "/users".into()
}

pub fn invites() -> String {
    "/users/invites".into()
}

pub fn invite_revoke(id: &InviteId) -> String {
    format!("/users/invites/{id}/revoke")
}

pub fn user_role(id: &UserId) -> String {
    format!("/users/{id}/role")
}

pub fn user_second_factor_reset(id: &UserId) -> String {
    format!("/users/{id}/second-factor/reset")
}

pub fn user_disable(id: &UserId) -> String {
    format!("/users/{id}/disable")
}

pub fn user_enable(id: &UserId) -> String {
    format!("/users/{id}/enable")
}

/// A path of ours, or `/servers` in place of anything that could lead elsewhere.
pub fn local_or_home(path: &str) -> String {
    let local = path.starts_with('/')
        && !path.starts_with("//")
        && path.len() <= 500
        && !path.contains(['\\', '#'])
        && path.bytes().all(|byte| (0x21..0x7f).contains(&byte));
    if local { path.to_owned() } else { servers() }
}

/// Text as one value of a query.
pub fn encoded(text: &str) -> String {
    use std::fmt::Write;
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_local_paths_are_followed() {
        assert_eq!(local_or_home("/servers/x?tab=tags&a=b"), "/servers/x?tab=tags&a=b");
        for bad in
            ["", "//evil.example", "https://evil.example", "/\\evil", "/a\nb", "servers", "/é"]
        {
            assert_eq!(local_or_home(bad), "/servers", "{bad}");
        }
        assert_eq!(encoded("/a?b=c d"), "/a%3Fb%3Dc%20d");
    }
}
