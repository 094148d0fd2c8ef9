//! Things in groups, and the paths that lead to them.

use crate::helpers::{Browser, TestApp};
use crate::server_seed::{Seeded, operation, seed};
use pgflex::clock::{Clock, new_id};
use pgflex::domain::account::Role;
use pgflex::domain::group::Group;
use pgflex::domain::ids::{GroupId, OperationId, UserId};
use pgflex::domain::network::Access;
use pgflex::domain::operation::{OperationKind, OperationStatus};
use pgflex::domain::server::SettledState;
use pgflex::store::Record;

/// An id that nothing has.
pub const NOTHING: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

/// A group with a server that has an operation.
pub struct Things {
    pub group: GroupId,
    pub server: Seeded,
    pub operation: OperationId,
}

impl Things {
    /// Names the group and its server.
    pub async fn new(app: &TestApp, name: &str, port: u16) -> Self {
        let (store, now) = (&app.state.store, app.clock.now());
        let server = seed(app, name, Access::Public, SettledState::Ready, port).await;
        let group = new_id(GroupId::parse);
        let mut tx = store.begin_write(now).await.unwrap();
        let row = Group {
            id: group.clone(),
            name: name.into(),
            created_by: "olga".into(),
            created_at: now,
        };
        tx.insert_group(&row).await.unwrap();
        tx.move_server(&server.id, &group).await.unwrap();
        tx.commit(Record::Nothing("a story begins")).await.unwrap();
        let operation =
            operation(app, &server, OperationKind::Restart, OperationStatus::Succeeded).await;
        Self { group, server, operation }
    }

    /// Things that are not there.
    pub fn unknown() -> Self {
        let server = Seeded {
            id: pgflex::domain::ids::ServerId::parse(NOTHING).unwrap(),
            member: pgflex::domain::ids::MemberId::parse(NOTHING).unwrap(),
            name: "nothing".into(),
        };
        let group = GroupId::parse(NOTHING).unwrap();
        Self { group, server, operation: OperationId::parse(NOTHING).unwrap() }
    }

    pub fn group_path(&self, rest: &str) -> String {
        format!("/groups/{}{rest}", self.group)
    }
}

/// The path of a pattern for these things; parts below a thing lead to nothing.
pub fn fill(pattern: &str, things: &Things) -> String {
    let id = match pattern.split('/').nth(1) {
        Some("servers") => things.server.id.as_str(),
        Some("operations") => things.operation.as_str(),
        Some("groups") => things.group.as_str(),
        _ => NOTHING,
    };
    let parts = pattern.split('/').map(|part| match part {
        "{id}" => id,
        "{token}" | "{file}" => "x",
        part if part.starts_with('{') => NOTHING,
        part => part,
    });
    parts.collect::<Vec<_>>().join("/")
}

pub async fn user_id(app: &TestApp, login: &str) -> UserId {
    app.state.store.user_by_login(login).await.unwrap().unwrap().0.id
}

/// Gives a person a role in a group, as an owner does on the group's page.
pub async fn assign(owner: &mut Browser, things: &Things, login: &str, role: Role) {
    let pairs = [("login", login), ("role", role.key())];
    let answer = owner.press(&things.group_path("/assignments"), &pairs).await;
    assert_eq!(answer.status, 303, "{}", answer.body);
}

/// Takes it, as an owner does.
pub async fn unassign(app: &TestApp, owner: &mut Browser, things: &Things, login: &str) {
    let id = user_id(app, login).await;
    let path = things.group_path(&format!("/assignments/{id}/remove"));
    assert_eq!(owner.press(&path, &[]).await.status, 303);
}
