//! Delete: exactly what goes and what stays, the name typed by hand, a password typed lately, then
//! the operation.

use super::nav::{self, Frame, Tab};
use super::overview_view::plural;
use crate::clock::new_uuid;
use crate::domain::operation::OperationKind;
use crate::domain::refusal::Refusal;
use crate::domain::server::{Member, Server, network_name};
use crate::operations::submit::Change;
use crate::web::error::{PageError, PageResult};
use crate::web::form::{FormState, Posted};
use crate::web::page::{self, Layout};
use crate::web::paths;
use crate::web::time::Stamp;
use crate::web::visit::{Contributor, Signed, Visit};
use actix_web::http::StatusCode;
use actix_web::web::Path;
use askama::Template;

#[derive(Template)]
#[template(path = "servers/delete.html")]
struct DeletePage {
    layout: Layout,
    frame: Frame,
    f: FormState,
    goes: Vec<Thing>,
    /// What of it can be restored afterwards; `None` when nothing can.
    kept: Option<Kept>,
    key: String,
}

/// What is kept of the backups.
struct Kept {
    days: i64,
    until: Stamp,
    /// The latest moment that can be restored.
    latest: Stamp,
}

/// Something that the deletion removes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Thing {
    what: &'static str,
    which: String,
}

impl DeletePage {
    async fn new(
        visit: &Visit,
        frame: Frame,
        f: FormState,
        key: String,
    ) -> Result<Self, PageError> {
        let (store, server) = (&visit.state.store, &frame.server);
        let members = store.members(&server.id).await?;
        let rules = store.firewall_rules(&server.id).await?.len();
        let goes = goes(server, &members, rules, &frame.endpoint.text());
        let protection = store.protection(&server.id).await?;
        let latest = protection.window_of(protection.to_restore_from(|_| false)).latest();
        let after = protection.policy.retention.after_deletion();
        let kept = latest.map(|latest| Kept {
            days: after.num_days(),
            until: Stamp(visit.now + after),
            latest: Stamp(latest),
        });
        Ok(Self { layout: frame.layout(visit, "Delete"), goes, kept, frame, f, key })
    }

    fn why_closed(&self) -> Option<String> {
        self.frame.why_closed(OperationKind::Delete)
    }

    fn action(&self) -> String {
        paths::server_delete(&self.frame.server.id)
    }

    fn back(&self) -> String {
        paths::server(&self.frame.server.id)
    }
}

/// `GET /servers/{id}/delete`
pub async fn get(visit: Signed<Contributor>, id: Path<String>) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Action).await? else {
        return nav::gone(&visit, &id).await;
    };
    visit.require_recent_password(&paths::server_delete(&frame.server.id))?;
    page::ok(&DeletePage::new(&visit, frame, FormState::new(), new_uuid()).await?)
}

/// `POST /servers/{id}/delete`
pub async fn post(visit: Signed<Contributor>, id: Path<String>, posted: Posted) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Action).await? else {
        return nav::gone(&visit, &id).await;
    };
    visit.require_recent_password(&paths::server_delete(&frame.server.id))?;
    let mut f = FormState::keep(&posted);
    if f.check(check_name(posted.text("name"), frame.name())).is_none() {
        let page = DeletePage::new(&visit, frame, f, new_uuid()).await?;
        return page::invalid(&page);
    }
    match nav::submit(&visit, &frame.server.id, &posted, Change::plain(OperationKind::Delete))
        .await?
    {
        Ok(way) => Ok(way),
        Err(refusal) => {
            f.refuse(refusal);
            let frame = frame.renewed(&visit).await?;
            let page = DeletePage::new(&visit, frame, f, new_uuid()).await?;
            page::with_status(StatusCode::CONFLICT, &page)
        }
    }
}

fn check_name(typed: &str, name: &str) -> Result<(), Refusal> {
    if typed == name {
        return Ok(());
    }
    let text = if typed.is_empty() {
        format!("Type the name of the server, {name}, to delete it.")
    } else {
        format!("“{typed}” is not the name of this server. Type {name}.")
    };
    Err(Refusal::at("name", text))
}

fn goes(server: &Server, members: &[Member], rules: usize, endpoint: &str) -> Vec<Thing> {
    let thing = |what, which: String| Thing { what, which };
    let mut things: Vec<Thing> = members
        .iter()
        .flat_map(|member| {
            let data = format!(
                "{}, up to {}: every database, role and row",
                member.volume(),
                server.spec.storage().label()
            );
            let disk = member.loop_minor().map(|minor| {
                let image = format!("{}, behind loop device {minor}", member.disk_volume());
                thing("Disk image volume", image)
            });
            let first = [thing("Data volume", data), thing("Container", member.container())];
            first.into_iter().chain(disk)
        })
        .collect();
    if !members.is_empty() {
        things.push(thing("Private network", network_name(&server.id)));
    }
    let rules = u32::try_from(rules).unwrap_or(u32::MAX);
    things.extend([
        thing("Certificate and keys", "the server's own and the portal's for it".into()),
        thing("Firewall rules", plural(rules, "rule")),
        thing("Endpoint", format!("{endpoint}; the port may go to another server later")),
        thing(
            "Administrator",
            format!("login {} and its password", server.spec.admin_login.as_str()),
        ),
    ]);
    things
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_name_deletes() {
        assert!(check_name("shop", "shop").is_ok());
        assert!(check_name("", "shop").unwrap_err().text.contains("Type the name"));
        assert!(check_name("Shop", "shop").unwrap_err().text.contains("“Shop” is not"));
    }
}
