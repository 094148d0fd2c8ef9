//! The row scope: what one person may see, as a part of the `WHERE` of every list.

use crate::domain::ids::UserId;

/// Through whose eyes something is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Viewer {
    /// The portal itself, and handlers whose route was authorised for the one thing that they read.
    #[default]
    Portal,
    /// A person: rows of groups in which they have a role, or all when their own role says so.
    Person(UserId),
}

impl Viewer {
    /// What is bound for the viewer of [`seen_by`].
    pub(super) fn bind(&self) -> String {
        match self {
            Viewer::Portal => String::new(),
            Viewer::Person(id) => id.as_str().to_owned(),
        }
    }
}

/// A condition: the viewer bound at `$user` may see rows of the group in `$group`. Name the column with its
/// table: a bare `group_id` would be that of the role. A row of no group is
/// for people with a role of their own. The empty text is the portal.
macro_rules! seen_by {
    ($user:literal, $group:literal) => {
        concat!(
            "(",
            $user,
            " = '' OR EXISTS (SELECT 1 FROM users v WHERE v.id = ",
            $user,
            " AND v.disabled = 0 AND (v.role <> 'Member' OR EXISTS (SELECT 1 FROM role_assignments va WHERE va.user_id = v.id AND va.group_id = ",
            $group,
            "))))"
        )
    };
}

pub(super) use seen_by;
