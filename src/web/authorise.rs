//! What a person may do where: the role that counts for a request, found by the pattern of its route.
//!
//! Deny by default: a pattern that is not named here is for the whole installation, and only a person's own
//! role counts for it.

use crate::domain::account::{Role, User};
use crate::domain::ids::{GroupId, OperationId, ServerId};
use crate::store::assignments::Thing;
use crate::store::{Store, StoreError};

/// What a route is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// One server, operation or group: the role on that thing.
    Server,
    Operation,
    Group,
    /// A list that shows to each what they may see: everybody may open it.
    List,
    /// Creating: the highest role anywhere; the chosen group is checked when it is written.
    Create,
    /// A person's own account: everybody has that.
    Own,
    /// The whole installation: the person's own role.
    Portal,
}

/// Lists that are filtered in their query.
const LISTS: &[&str] = &[
    "/servers",
    "/servers/deleted",
    "/operations",
    "/activity",
    "/activity.csv",
    "/groups",
    "/costs",
    "/costs.csv",
];
const OWN: &[&str] = &["/account", "/sign-out", "/confirm-password"];

/// The scope of a pattern of the route table.
pub fn scope(pattern: &str) -> Scope {
    let is_below = |root: &str| {
        pattern == root || pattern.strip_prefix(root).is_some_and(|rest| rest.starts_with('/'))
    };
    if is_below("/servers/create") {
        Scope::Create
    } else if is_below("/servers/{id}") || is_below("/servers/deleted/{id}") {
        Scope::Server
    } else if is_below("/operations/{id}") {
        Scope::Operation
    } else if is_below("/groups/{id}") {
        Scope::Group
    } else if LISTS.contains(&pattern) {
        Scope::List
    } else if OWN.iter().any(|root| is_below(root)) {
        Scope::Own
    } else {
        Scope::Portal
    }
}

/// What a person may do in one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The role that counts; `None` where the thing is not there, or not for them to know of.
    pub role: Option<Role>,
    /// Whether controls that change or create servers are for them.
    pub may_change: bool,
}

impl Standing {
    fn of(role: Option<Role>) -> Self {
        Self { role, may_change: role.is_some_and(Role::may_change_servers) }
    }
}

/// Finds the role that counts for a request: for a thing in one query with its scope in it.
///
/// # Errors
/// When the store does not answer.
pub async fn standing(
    store: &Store,
    user: &User,
    pattern: &str,
    path: &str,
) -> Result<Standing, StoreError> {
    let highest = async || -> Result<Role, StoreError> {
        let assigned = store.highest_assigned_role(&user.id).await?;
        Ok(assigned.map_or(user.role, |role| role.max(user.role)))
    };
    Ok(match scope(pattern) {
        scope @ (Scope::Server | Scope::Operation | Scope::Group) => {
            Standing::of(on_thing(store, user, scope, id_in(pattern, path)).await?)
        }
        Scope::Create => Standing::of(Some(highest().await?)),
        Scope::List => Standing {
            role: Some(user.role.max(Role::Reader)),
            may_change: highest().await?.may_change_servers(),
        },
        Scope::Own => Standing {
            role: Some(user.role.max(Role::Reader)),
            may_change: user.role.may_change_servers(),
        },
        Scope::Portal => Standing::of(Some(user.role)),
    })
}

async fn on_thing(
    store: &Store,
    user: &User,
    scope: Scope,
    id: &str,
) -> Result<Option<Role>, StoreError> {
    let (server, operation, group);
    let thing = match scope {
        Scope::Server => {
            server = ServerId::parse(id);
            server.as_ref().map(Thing::Server)
        }
        Scope::Operation => {
            operation = OperationId::parse(id);
            operation.as_ref().map(Thing::Operation)
        }
        _ => {
            group = GroupId::parse(id);
            group.as_ref().map(Thing::Group)
        }
    };
    match thing {
        Some(thing) => store.role_on(&user.id, thing).await,
        None => Ok(None),
    }
}

/// What stands in a path where its pattern has `{id}`, as sent. The router may read an encoded id
/// differently, but an encoded one is no id of ours and finds nothing here.
fn id_in<'a>(pattern: &str, path: &'a str) -> &'a str {
    let at = pattern.split('/').position(|part| part == "{id}");
    at.and_then(|at| path.split('/').nth(at)).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::ROUTES;

    #[test]
    fn patterns_have_their_scope() {
        for (pattern, wanted) in [
            ("/servers", Scope::List),
            ("/servers/create/review", Scope::Create),
            ("/servers/{id}", Scope::Server),
            ("/servers/deleted", Scope::List),
            ("/servers/deleted/{id}/restore", Scope::Server),
            ("/servers/{id}/networking/{rule}", Scope::Server),
            ("/operations/{id}/events", Scope::Operation),
            ("/groups/{id}/locks", Scope::Group),
            ("/account/sessions/{session}/end", Scope::Own),
            ("/accounts", Scope::Portal),
            ("/hosts", Scope::Portal),
            ("/users", Scope::Portal),
        ] {
            assert_eq!(scope(pattern), wanted, "{pattern}");
        }
        assert_eq!(id_in("/servers/{id}/tags", "/servers/abc/tags"), "abc");
        assert_eq!(id_in("/servers", "/servers"), "");
    }

    /// A list or an own page that nobody finds in the table would admit people to nothing, or to what was
    /// renamed.
    #[test]
    fn what_is_open_to_everybody_is_in_the_table() {
        for pattern in LISTS.iter().chain(OWN) {
            assert!(ROUTES.iter().any(|route| route.pattern == *pattern), "{pattern}");
        }
    }
}
