//! Actions of the activity log in words. An action that is not here is shown as it is stored.

use crate::domain::operation::OperationKind;
use crate::web::form::Choice;

/// Actions that are no operation, in groups: the word before the point is the group.
/// An operation's action has the label of its kind.
const WORDS: &[(&str, &str)] = &[
    ("firewall_rule.create", "Add firewall rule"),
    ("firewall_rule.update", "Change firewall rule"),
    ("firewall_rule.delete", "Delete firewall rule"),
    ("server_tags.change", "Change tags"),
    ("server_group.change", "Move to another group"),
    ("lock.create", "Add lock"),
    ("lock.remove", "Remove lock"),
    ("group.create", "Create resource group"),
    ("group.rename", "Rename resource group"),
    ("group.delete", "Delete resource group"),
    ("role.assign", "Assign role in group"),
    ("role.remove", "Remove role in group"),
    ("server.enable_high_availability", "Enable high availability"),
    ("server.erase_backups", "Erase backups of a deleted server"),
    ("server.change_retention", "Change how backups are kept"),
    ("server.start_notice", "Notice of a start to come"),
    ("operation.retry", "Retry operation"),
    ("operation.cancel", "Cancel operation"),
    ("operation.abandon", "Abandon operation"),
    ("server_escrow.download", "Download escrow file"),
    ("portal.recover", "Recover the portal"),
    ("user.sign_in", "Sign in"),
    ("user.sign_out", "Sign out"),
    ("user.confirm_password", "Confirm password"),
    ("user.password_change", "Change password"),
    ("user.second_factor", "Enter second factor"),
    ("user.second_factor_on", "Switch second factor on"),
    ("user.second_factor_off", "Switch second factor off"),
    ("user.second_factor_reset", "Reset second factor"),
    ("user.second_factor_require", "Require second factors"),
    ("user.recovery_code", "Use recovery code"),
    ("user.recovery_codes", "Make recovery codes"),
    ("user.session_end", "End session"),
    ("user.invite", "Invite user"),
    ("user.invite_revoke", "Revoke invitation"),
    ("user.join", "Join by link"),
    ("user.role_change", "Change role"),
    ("user.disable", "Disable user"),
    ("user.enable", "Enable user"),
];

/// Beginnings that stand for a whole group.
const GROUPS: &[(&str, &str)] = &[
    ("server.", "Servers: everything"),
    ("backup.", "Deleted backups: everything"),
    ("database.", "Databases: everything"),
    ("firewall_rule.", "Firewall rules: everything"),
    ("server_tags.", "Tags: everything"),
    ("server_group.", "Moves between groups: everything"),
    ("server_escrow.", "Escrow files: everything"),
    ("portal.", "The portal itself: everything"),
    ("lock.", "Locks: everything"),
    ("group.", "Resource groups: everything"),
    ("role.", "Roles in groups: everything"),
    ("operation.", "Operations: everything"),
    ("user.", "Users and sign-ins: everything"),
];

fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    let kinds = OperationKind::ALL.into_iter().map(|kind| (kind.action(), kind.label()));
    kinds.chain(WORDS.iter().copied())
}

/// The action in words.
pub fn words(action: &str) -> &str {
    all().find(|(key, _)| *key == action).map_or(action, |(_, words)| words)
}

/// The beginning of an action that a filter may name; empty for anything else.
pub fn known(typed: &str) -> String {
    let is_known = all().chain(GROUPS.iter().copied()).any(|(key, _)| key == typed);
    if is_known { typed.to_owned() } else { String::new() }
}

/// Choices of the filter: everything, groups, single actions.
pub fn choices() -> Vec<Choice> {
    let named = GROUPS.iter().copied().chain(all()).map(|(key, words)| Choice::new(key, words));
    [Choice::new("", "Any action")].into_iter().chain(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_operation_has_words_and_a_group() {
        for kind in OperationKind::ALL {
            assert_ne!(words(kind.action()), kind.action());
        }
        for (key, _) in all() {
            assert!(GROUPS.iter().any(|(group, _)| key.starts_with(group)), "{key}");
        }
    }

    #[test]
    fn an_unknown_action_stays_raw_and_is_no_filter() {
        assert_eq!(words("<b>"), "<b>");
        assert_eq!(
            (known("user."), known("%"), known("x")),
            ("user.".into(), String::new(), String::new())
        );
    }
}
