//! Portal users and what they may do.

use super::ids::{InviteId, SessionId, UserId};
use super::refusal::Refusal;
use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};

/// What a portal user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Role {
    /// Nothing of their own: only what resource groups assign.
    Member,
    /// Sees everything, changes nothing.
    Reader,
    /// Creates, changes and deletes servers.
    Contributor,
    /// The same, and invites, changes and removes users.
    Owner,
}

impl Role {
    /// For the whole installation.
    pub const ALL: [Role; 4] = [Role::Owner, Role::Contributor, Role::Reader, Role::Member];
    /// In one resource group.
    pub const IN_GROUP: [Role; 3] = [Role::Owner, Role::Contributor, Role::Reader];

    pub fn key(self) -> &'static str {
        match self {
            Role::Member => "Member",
            Role::Reader => "Reader",
            Role::Contributor => "Contributor",
            Role::Owner => "Owner",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.key() == text)
    }

    /// A role that a resource group can assign.
    pub fn parse_in_group(text: &str) -> Option<Self> {
        Self::IN_GROUP.into_iter().find(|role| role.key() == text)
    }

    pub fn purpose(self) -> &'static str {
        match self {
            Role::Member => "Nothing by itself: sees and does what resource groups assign.",
            Role::Reader => "Sees servers, operations and the activity log. Changes nothing.",
            Role::Contributor => "Creates, changes, restarts and deletes servers.",
            Role::Owner => "Everything a contributor may do, and invites and removes users.",
        }
    }

    /// The same role in one resource group.
    pub fn purpose_in_group(self) -> &'static str {
        match self {
            Role::Member => "",
            Role::Reader => "Sees the group's servers, operations and activity.",
            Role::Contributor => {
                "Creates, changes and deletes servers in the group, and sets their tags."
            }
            Role::Owner => {
                "All that a contributor may, and assigns roles and sets locks in the group."
            }
        }
    }

    pub fn may_change_servers(self) -> bool {
        self >= Role::Contributor
    }

    pub fn may_manage_users(self) -> bool {
        self == Role::Owner
    }
}

/// A person with a login to the portal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub id: UserId,
    /// Unique without regard to case; stored folded.
    pub login: String,
    pub role: Role,
    pub disabled: bool,
    pub created_at: DateTime<Utc>,
    pub password_changed_at: DateTime<Utc>,
    /// Whether the password alone does not let them in.
    pub has_second_factor: bool,
}

/// One signed-in browser, as listed to its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionInfo {
    pub id: SessionId,
    pub user_id: UserId,
    pub created_at: DateTime<Utc>,
    pub seen_at: DateTime<Utc>,
    pub address: String,
    pub user_agent: String,
}

/// A link by which a person makes an account. Its token is shown once and stored as a hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invite {
    pub id: InviteId,
    pub role: Role,
    /// Who it is for, in the words of the one who invites.
    pub note: String,
    /// The one link for the first owner.
    pub is_setup: bool,
    /// Login of the one who invites; "pgflex" for the first owner's link.
    pub created_by: String,
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

/// A session ends after this long without a request.
pub const SESSION_IDLE: Duration = Duration::minutes(30);
/// A session ends this long after sign-in, whatever happens.
pub const SESSION_ABSOLUTE: Duration = Duration::hours(12);
/// The first owner's link works this long.
pub const SETUP_LINK_LIFE: Duration = Duration::minutes(30);
/// An invitation works this long.
pub const INVITE_LIFE: Duration = Duration::hours(72);
/// Typing the password allows delicate actions for this long.
pub const STEP_UP_LIFE: Duration = Duration::minutes(5);

/// Between the password and the code of the second factor there may be this long.
pub const SECOND_FACTOR_WAIT: Duration = Duration::minutes(5);

/// Parses a portal login: 2 to 64 letters, digits and `. _ - @ +`, folded to lower case.
pub fn parse_login(typed: &str) -> Result<String, Refusal> {
    let login = typed.trim().to_lowercase();
    let length = login.chars().count();
    if !(2..=64).contains(&length) {
        return Err(Refusal::at("login", "A login has 2 to 64 characters."));
    }
    if !login.chars().all(|c| c.is_ascii_alphanumeric() || "._-@+".contains(c)) {
        return Err(Refusal::at(
            "login",
            "A login has only letters a-z, digits and the characters . _ - @ +",
        ));
    }
    Ok(login)
}

/// Words nobody may build a password on: the product, and the most common choices that reach twelve characters.
const COMMON: &[&str] = &[
    "password",
    "passwort",
    "qwerty",
    "letmein",
    "welcome",
    "iloveyou",
    "administrator",
    "pgflex",
    "postgres",
    "123456789",
    "1234567890",
    "abcdefgh",
    "qwertyuiop",
    "changeme",
    "secretsecret",
    "trustno1",
];

/// Checks a portal password: 12 to 1,024 bytes, not the login, not a common one, no composition rules.
pub fn check_portal_password(password: &str, login: &str) -> Result<(), Refusal> {
    let refuse = |text: &str| Err(Refusal::at("password", text));
    if password.chars().count() < 12 {
        return refuse("A password has at least 12 characters. A sentence is fine.");
    }
    if password.len() > 1024 {
        return refuse("A password has at most 1,024 bytes.");
    }
    let folded = password.to_lowercase();
    if !login.is_empty() && folded.contains(&login.to_lowercase()) {
        return refuse("The password must not contain your login.");
    }
    let mut rest = folded.clone();
    COMMON.iter().for_each(|word| rest = rest.replace(word, ""));
    let distinct = rest
        .chars()
        .filter(|c| c.is_alphabetic() || !c.is_ascii_digit())
        .collect::<std::collections::HashSet<_>>()
        .len();
    if rest.chars().count() < 6 || distinct < 4 {
        return refuse(
            "This password is among the first that are guessed. Choose one that is less common.",
        );
    }
    Ok(())
}

/// How long the next sign-in of an account waits after `failures` wrong passwords in a row:
/// nothing for the first five, then doubling from 1 s to 15 minutes.
pub fn sign_in_delay(failures: u32) -> Duration {
    if failures < 5 {
        return Duration::zero();
    }
    Duration::seconds(1i64 << (failures - 5).min(10)).min(Duration::minutes(15))
}

/// Sign-in attempts that one address may make in a minute.
pub const SIGN_INS_PER_ADDRESS_MINUTE: u32 = 20;
/// Password checks that the whole portal does in a minute: each costs memory and CPU.
pub const SIGN_INS_PER_MINUTE: u32 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sign_in_delay_doubles_and_is_bounded() {
        assert_eq!(sign_in_delay(4), Duration::zero());
        assert_eq!(sign_in_delay(5), Duration::seconds(1));
        assert_eq!(sign_in_delay(8), Duration::seconds(8));
        assert_eq!(sign_in_delay(1000), Duration::minutes(15));
    }

    #[test]
    fn roles_are_ordered_and_no_group_assigns_the_lowest() {
        let mut all = Role::ALL;
        all.sort_unstable();
        assert_eq!(all, [Role::Member, Role::Reader, Role::Contributor, Role::Owner]);
        assert_eq!(
            (Role::parse("Member"), Role::parse_in_group("Member")),
            (Some(Role::Member), None)
        );
    }

    #[test]
    fn portal_passwords() {
        assert!(check_portal_password("correct horse battery", "ann").is_ok());
        for bad in
            ["short", "passwordpassword", "123456789012", "aaaaaaaaaaaaaaaa", "my-name-is-ann!!"]
        {
            assert!(check_portal_password(bad, "ann").is_err(), "{bad}");
        }
    }
}
