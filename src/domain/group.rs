//! Resource groups: servers that belong together, and who may do what with them.

use super::account::Role;
use super::ids::{GroupId, UserId};
use super::refusal::Refusal;
use chrono::{DateTime, Utc};

/// A resource group. Every server is in exactly one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub id: GroupId,
    pub name: String,
    /// Login of the one who made it; "pgflex" for the group that is always there.
    pub created_by: String,
    pub created_at: DateTime<Utc>,
}

impl Group {
    pub const NAME_LENGTH_MAX: usize = 64;

    /// Whether it is the one that always exists.
    pub fn is_default(&self) -> bool {
        self.id == GroupId::default_group()
    }

    /// Parses a typed name: 1 to 64 of a-z, 0-9, hyphen, underscore and point, a letter or digit at both
    /// ends. Capitals are folded.
    pub fn parse_name(typed: &str) -> Result<String, Refusal> {
        let name = typed.trim().to_ascii_lowercase();
        let refuse = |text: &str| Err(Refusal::at("group_name", text));
        if name.is_empty() {
            return refuse("Enter a name for the resource group.");
        }
        if name.len() > Self::NAME_LENGTH_MAX {
            return refuse("The name of a resource group has at most 64 characters.");
        }
        let is_inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b);
        if !name.bytes().all(is_inner) {
            return refuse(
                "The name of a resource group has only letters a-z, digits, hyphens, underscores and points.",
            );
        }
        let is_end = |end: Option<u8>| end.is_some_and(|b| b.is_ascii_alphanumeric());
        if !is_end(name.bytes().next()) || !is_end(name.bytes().last()) {
            return refuse(
                "The name of a resource group begins and ends with a letter or a digit.",
            );
        }
        Ok(name)
    }
}

/// What one person may do in one group, beside what their own role allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    pub user_id: UserId,
    pub login: String,
    pub group_id: GroupId,
    pub group_name: String,
    pub role: Role,
    /// Login of the one who assigned it.
    pub created_by: String,
    pub created_at: DateTime<Utc>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_names() {
        for good in ["a", "shop-prod", "Team_1", "a.b", &"g".repeat(64)] {
            assert!(Group::parse_name(good).is_ok(), "{good}");
        }
        for bad in ["", " ", "-a", "a-", ".a", "a b", "a/b", "ä", "<b>", &"g".repeat(65)] {
            assert!(Group::parse_name(bad).is_err(), "{bad}");
        }
        assert_eq!(Group::parse_name(" Shop ").unwrap(), "shop");
    }
}
