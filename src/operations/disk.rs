//! The disk of a member: planned with its place, made with its volume, attached before each start.

use super::context::StepContext;
use super::member;
use super::step::StepError;
use crate::domain::drift::{VOLUME_LOST_WHILE_RUNNING, VOLUME_MISSING};
use crate::domain::ids::MemberId;
use crate::domain::server::Member;
use crate::domain::storage::{
    Disk, OBSERVATION, StorageLook, StoragePolicy, choose_minor, needs_watching,
};
use crate::engine::{DiskAnswer, DiskSpec, EngineError, Reserve};
use std::collections::HashSet;

/// What a new member shall have. Whether the host can give it is known when it is made.
pub fn plan(policy: StoragePolicy, member: &MemberId, taken: &HashSet<u32>) -> Disk {
    let measured = |why: &str| Disk::Measured { why: why.into() };
    match policy {
        StoragePolicy::Measured => measured("the configuration of this portal asks for it"),
        StoragePolicy::Auto | StoragePolicy::Image => choose_minor(member, taken).map_or_else(
            || measured("every loop device of the host is in use"),
            |minor| Disk::Image { minor },
        ),
    }
}

/// Makes the volume of a new member: a sized disk where one is planned and the host gives it, else a plain one.
pub async fn make(ctx: &StepContext) -> Result<(), StepError> {
    let member = ctx.member()?;
    let engine = ctx.engine(member)?;
    if let Some(spec) = member::disk(ctx, member) {
        let spec = DiskSpec { is_new: true, ..spec };
        match engine.ensure_disk(&spec).await.map_err(taken)? {
            DiskAnswer::Lost(why) => return Err(image_lost(&why)),
            DiskAnswer::Ready => {
                let gib = ctx.server.spec.storage_gib;
                ctx.log(format!("File system of {gib} GiB behind loop device {}", spec.minor))
                    .await;
                return Ok(());
            }
            DiskAnswer::Impossible(why) => {
                give_up(ctx, member, &why).await?;
            }
        }
    } else if ctx.services.settings.storage == StoragePolicy::Image {
        return Err(no_disk("this member was planned without a disk"));
    }
    // One that was begun as a disk before the host said that it gives none.
    engine.remove_volume(&member.disk_volume()).await?;
    engine.ensure_volume(&member::volume(ctx, member)).await?;
    Ok(())
}

/// From now on the member is one with a plain volume; a rerun sees it so.
async fn give_up(ctx: &StepContext, member: &Member, why: &str) -> Result<(), StepError> {
    if ctx.services.settings.storage == StoragePolicy::Image {
        return Err(no_disk(why));
    }
    let mut tx = ctx.begin_write().await?;
    tx.set_member_disk(&member.id, &Disk::Measured { why: why.to_owned() }).await?;
    ctx.commit(tx).await?;
    ctx.log(format!("The host gives no disk of a fixed size ({why}): a plain volume is measured"))
        .await;
    Ok(())
}

/// Attaches the disk of a member that shall start. Nothing to do for a plain volume.
///
/// # Errors
/// When the loop device belongs to another image, or the host gives none any more: the member must not start.
pub async fn ensure(ctx: &StepContext) -> Result<(), StepError> {
    let member = ctx.member()?;
    let Some(spec) = member::disk(ctx, member) else { return Ok(()) };
    // A disk that is missing would be made, and an empty one in the place of a lost one is no help to anybody.
    if !ctx.engine(member)?.has_volume(&member.data_volume()).await? {
        return Err(lost(member, false));
    }
    match ctx.engine(member)?.ensure_disk(&spec).await.map_err(taken)? {
        DiskAnswer::Ready => Ok(()),
        DiskAnswer::Lost(why) => Err(image_lost(&why)),
        DiskAnswer::Impossible(why) => Err(StepError::permanent(
            format!("The disk cannot be attached: {why}. The data in its image file is untouched."),
            "Load the loop module on the host (modprobe loop) or mend what the reason names, then retry.",
        )),
    }
}

/// The volume with the data is not on its host; `runs` while the kernel still holds what was on it.
pub fn lost(member: &Member, runs: bool) -> StepError {
    StepError::permanent(
        format!("The data volume {} is not on its host.", member.data_volume()),
        if runs { VOLUME_LOST_WHILE_RUNNING } else { VOLUME_MISSING },
    )
}

/// Gives up the space that is set aside where next to nothing else is free: a server that was stopped with a full
/// disk could not start, and only one that runs can be protected or grow. Asks only where little was free.
pub async fn make_room(ctx: &StepContext) -> Result<(), StepError> {
    let store = &ctx.services.store;
    let last = store.server_observation::<StorageLook>(&ctx.server.id, OBSERVATION).await?;
    if last.is_some_and(|last| needs_watching(&last.facts.usage)) {
        give_up_reserve(ctx).await?;
    }
    Ok(())
}

/// The same for a member of which it is known that next to nothing is free.
pub async fn give_up_reserve(ctx: &StepContext) -> Result<(), StepError> {
    let member = ctx.member()?;
    let Some(spec) = member::disk(ctx, member) else { return Ok(()) };
    ctx.engine(member)?.tend_disk(&spec, Reserve::ReleaseWhenFull).await?;
    Ok(())
}

/// An empty disk in the place of a lost one would look as if all were well.
fn image_lost(why: &str) -> StepError {
    StepError::permanent(format!("The disk is not on its host: {why}."), VOLUME_MISSING)
}

fn no_disk(why: &str) -> StepError {
    StepError::permanent(
        format!("The host gives no disk of a fixed size: {why}"),
        "Set storage = \"auto\" in the configuration file to allow measured volumes, or load the loop module on the host (modprobe loop), then retry.",
    )
}

fn taken(error: EngineError) -> StepError {
    match error {
        EngineError::Foreign(what) => StepError::permanent(
            format!("The disk was not attached: {what}. No data was touched."),
            "Somebody else uses the loop device. Free it on the host (losetup --list, losetup --detach), then retry.",
        ),
        other => other.into(),
    }
}
