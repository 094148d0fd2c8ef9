//! Create: a place on a host, an image, certificates, a network, a volume with an initialised
//! PostgreSQL on it, a container, the administrator, and at last the way in.
//!
//! Everything before `publish_route` is undone when a step fails for good, so that a failed creation
//! leaves no container, volume or network. The server itself stays on record as Failed, with its
//! specification, to be tried again or deleted.

use super::access::{self, keep_secret, need_secret, open_secret, secret};
use super::context::StepContext;
use super::ha::pair::Story;
use super::placement::{Beside, Seat, place_member};
use super::step::{Outcome, Step, StepError, Undo};
use super::{disk, ha, image, member, networks, pair};
use crate::domain::ha::{HighAvailability, MemberRole, Move};
use crate::engine::{EngineError, ImageProgress};
use crate::postgres::CONTROL_ROLE;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::Duration;

pub const STEPS: &[Step] = &[
    Step {
        name: "reserve_placement",
        title: "Reserve a place on a host",
        run: reserve_placement,
        undo: Undo::Run(release_placement),
        deadline: Duration::from_secs(60),
        point_of_no_return: false,
    },
    Step {
        name: "ensure_image",
        title: "Have the PostgreSQL image ready",
        run: ensure_image,
        undo: Undo::None("images are shared by all servers of a version"),
        deadline: Duration::from_secs(3000),
        point_of_no_return: false,
    },
    Step {
        name: "issue_certificate",
        title: "Issue the server certificate",
        run: issue_certificate,
        undo: Undo::None("kept sealed for a retry, deleted with the server"),
        deadline: Duration::from_secs(60),
        point_of_no_return: false,
    },
    Step {
        name: "create_network",
        title: "Create the private network",
        run: create_network,
        undo: Undo::Run(remove_network),
        deadline: Duration::from_secs(120),
        point_of_no_return: false,
    },
    Step {
        name: "create_volume",
        title: "Create the data volume",
        run: create_volume,
        undo: Undo::Run(remove_volume),
        deadline: Duration::from_secs(120),
        point_of_no_return: false,
    },
    Step {
        name: "initialise_data",
        title: "Initialise PostgreSQL on the volume",
        run: initialise_data,
        undo: Undo::Run(remove_init_container),
        deadline: Duration::from_secs(300),
        point_of_no_return: false,
    },
    Step {
        name: "create_member",
        title: "Create the container and write its configuration",
        run: create_member,
        undo: Undo::Run(remove_member),
        deadline: Duration::from_secs(120),
        point_of_no_return: false,
    },
    Step {
        name: "start_member",
        title: "Start PostgreSQL",
        run: start_member,
        undo: Undo::None("the undo of “create_member” removes the container, running or not"),
        deadline: Duration::from_secs(120),
        point_of_no_return: false,
    },
    Step {
        name: "wait_accepting",
        title: "Wait until it accepts connections",
        run: wait_accepting,
        undo: Undo::None("it only looks"),
        deadline: Duration::from_secs(180),
        point_of_no_return: false,
    },
    Step {
        name: "create_admin_role",
        title: "Create the administrator",
        run: create_admin_role,
        undo: Undo::None("the role is on the volume, which goes"),
        deadline: Duration::from_secs(120),
        point_of_no_return: false,
    },
    Step {
        name: "publish_route",
        title: "Open the way in",
        run: publish_route,
        undo: Undo::Run(withdraw_route),
        deadline: Duration::from_secs(60),
        point_of_no_return: true,
    },
];

type StepResult<'a> = BoxFuture<'a, Result<Outcome, StepError>>;

pub(super) fn reserve_placement(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        if let Some(member) = ctx.members.first() {
            return Ok(Outcome::Done(json!({ "member": member.id, "host": member.host_id })));
        }
        let mut tx = ctx.begin_write().await?;
        let zone = &ctx.server.spec.zone;
        let row = tx.ha(&ctx.server.id).await?;
        // Where no standby can be beside it, the server would have high availability by name alone.
        let beside = row.as_ref().map_or(Beside::Nobody, |row| Beside::Later(&row.standby_zone));
        let seat = Seat { zone, role: MemberRole::Primary, beside };
        let member = place_member(&mut tx, ctx, seat).await?;
        // In the transaction that places it: a member that a row does not name would be of no account.
        if let Some(row) = row {
            let detail = format!("Member {} is the primary", member.id.short());
            let placed = Move::PrimaryPlaced { member: member.id.clone() };
            ha::pair::apply(ctx, &mut tx, &row, &placed, Story::new("primary", detail)).await?;
        }
        ctx.commit(tx).await?;
        Ok(Outcome::Done(json!({ "member": member.id, "host": member.host_id })))
    })
}

pub(super) fn release_placement(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let mut tx = ctx.begin_write().await?;
        tx.delete_members(&ctx.server.id).await?;
        // The primary of an epoch is named once, but this one never came to life: the next try begins as the first.
        if let Some(row) = tx.ha(&ctx.server.id).await? {
            let (id, now) = (ctx.server.id.clone(), ctx.services.clock.now());
            let anew = HighAvailability::asked(
                id,
                row.mode,
                row.durability,
                row.standby_zone.clone(),
                now,
            );
            tx.delete_ha(&ctx.server.id).await?;
            tx.insert_ha(&anew).await?;
        }
        ctx.commit(tx).await?;
        Ok(Outcome::done())
    })
}

/// What `ensure_image` hands on.
#[derive(Debug, Serialize, Deserialize)]
struct Image {
    id: String,
    version: String,
}

pub(super) fn ensure_image(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let member = ctx.member()?;
        match image::ensure(ctx, member).await? {
            ImageProgress::Building { now, lines } => {
                ctx.log_new(&lines).await;
                Ok(Outcome::Wait(Duration::from_secs(1), now))
            }
            ImageProgress::Ready { id, version } => {
                let mut tx = ctx.begin_write().await?;
                tx.set_member_image(&member.id, &id, &version).await?;
                ctx.commit(tx).await?;
                ctx.log(format!("PostgreSQL {version}, image {id}")).await;
                Ok(Outcome::Done(json!(Image { id, version })))
            }
        }
    })
}

pub(super) fn issue_certificate(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let (services, id) = (&ctx.services, &ctx.server.id);
        // The last one written: when it is there, all are. Written in one transaction anyhow.
        if open_secret(services, id, secret::CONTROL_KEY).await?.is_some() {
            return Ok(Outcome::done());
        }
        let now = services.clock.now();
        let names = member::certificate_names(&services.settings, &ctx.server);
        let issued = services.authority.issue(&names, CONTROL_ROLE, now).map_err(|error| {
            StepError::permanent(
                error.to_string(),
                "Check the endpoint host and domain in the configuration, then retry.",
            )
        })?;
        let mut tx = ctx.begin_write().await?;
        let expires = Some(issued.server.expires_at);
        let public = |text: &str| crate::secrets::Secret::new(text);
        keep_secret(
            services,
            &mut tx,
            id,
            secret::SERVER_CERTIFICATE,
            &public(&issued.server.certificate),
            expires,
        )
        .await?;
        keep_secret(services, &mut tx, id, secret::SERVER_KEY, &issued.server.key, expires).await?;
        keep_secret(
            services,
            &mut tx,
            id,
            secret::CLIENT_AUTHORITY,
            &public(&issued.client_authority),
            None,
        )
        .await?;
        keep_secret(
            services,
            &mut tx,
            id,
            secret::CONTROL_CERTIFICATE,
            &public(&issued.control.certificate),
            None,
        )
        .await?;
        keep_secret(services, &mut tx, id, secret::CONTROL_KEY, &issued.control.key, None).await?;
        ctx.commit(tx).await?;
        ctx.log(format!("Names in the certificate: {}", names.join(", "))).await;
        Ok(Outcome::done())
    })
}

pub(super) fn create_network(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        networks::ensure(ctx).await?;
        Ok(Outcome::done())
    })
}

pub(super) fn remove_network(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        // Each host of a member has one of its own.
        for (host, _) in pair::hosts(ctx) {
            let on_it = ctx.members.iter().find(|member| member.host_id == host);
            let Some(member) = on_it else { continue };
            networks::remove_own(ctx, member).await?;
        }
        Ok(Outcome::done())
    })
}

/// Where a stranger's object has the name, ours cannot be, and theirs is not ours to remove: an
/// undoing that waits for it would never end.
pub(super) fn ours_is_gone(removed: Result<(), EngineError>) -> Result<(), EngineError> {
    match removed {
        Err(EngineError::Foreign(_)) => Ok(()),
        other => other,
    }
}

pub(super) fn create_volume(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        disk::make(ctx).await?;
        Ok(Outcome::done())
    })
}

pub(super) fn remove_volume(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        if let Some(member) = ctx.members.first() {
            for helper in member.disk_helpers() {
                ours_is_gone(ctx.engine(member)?.remove_container(&helper).await)?;
            }
            // What is mounted goes before what it is mounted from.
            for volume in [member.volume(), member.disk_volume()] {
                ours_is_gone(ctx.engine(member)?.remove_volume(&volume).await)?;
            }
        }
        Ok(Outcome::done())
    })
}

fn initialise_data(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let member = ctx.member()?;
        let engine = ctx.engine(member)?;
        let name = member.init_container();
        engine.ensure_container(&member::init_container(ctx, member)).await?;
        engine.start_container(&name).await?;
        match engine.wait_exit(&name, Duration::from_secs(5)).await? {
            None => Ok(Outcome::Wait(Duration::from_millis(500), "initdb is running".into())),
            Some(code) => {
                let lines = engine.tail(&name, 60).await?;
                ctx.log_new(&member::without_chatter(&lines)).await;
                if code != 0 {
                    return Err(member::init_failed(code, &lines));
                }
                engine.remove_container(&name).await?;
                Ok(Outcome::done())
            }
        }
    })
}

fn remove_init_container(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        if let Some(member) = ctx.members.first() {
            ours_is_gone(ctx.engine(member)?.remove_container(&member.init_container()).await)?;
        }
        Ok(Outcome::done())
    })
}

fn create_member(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let member = ctx.member()?;
        let engine = ctx.engine(member)?;
        engine.ensure_container(&member::container(ctx, member)).await?;
        engine.put_files(&member.container(), &member::files(ctx).await?).await?;
        Ok(Outcome::done())
    })
}

pub(super) fn remove_member(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        if let Some(member) = ctx.members.first() {
            ours_is_gone(ctx.engine(member)?.remove_container(&member.container()).await)?;
        }
        Ok(Outcome::done())
    })
}

pub(super) fn start_member(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let member = ctx.member()?;
        pair::must_be_primary(ctx, member).await?;
        ctx.engine(member)?.start_container(&member.container()).await?;
        Ok(Outcome::done())
    })
}

pub(super) fn wait_accepting(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(member::wait_accepting(ctx))
}

pub(super) fn create_admin_role(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let member = ctx.member()?;
        let Some(address) = access::address_of(ctx.engine(member)?, member).await? else {
            return Err(StepError::Transient("The container has no address.".into()));
        };
        let target = access::target(&ctx.services, &ctx.server, address).await?;
        let verifier = need_secret(&ctx.services, &ctx.server.id, secret::ADMIN_VERIFIER).await?;
        ctx.services
            .postgres
            .ensure_admin(&target, &ctx.server.spec.admin_login, &verifier)
            .await?;
        ctx.log(format!("Administrator {}", ctx.server.spec.admin_login.as_str())).await;
        Ok(Outcome::done())
    })
}

pub(super) fn publish_route(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(member::open_route(ctx))
}

pub(super) fn withdraw_route(ctx: &StepContext) -> StepResult<'_> {
    Box::pin(async move {
        let mut tx = ctx.begin_write().await?;
        tx.delete_route(&ctx.server.id).await?;
        ctx.commit(tx).await?;
        ctx.services.poke.routes();
        Ok(Outcome::done())
    })
}
