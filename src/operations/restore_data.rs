//! The data of a restored server: a backup, unpacked by pgBackRest in a helper on the new member's volume. A helper goes
//! on when this process is killed; the next one finds it, or the data that it left.

use super::backup::{keys, repository};
use super::context::StepContext;
use super::create::ours_is_gone;
use super::member;
use super::restore::{CHOOSE, Plan, source_repository};
use super::step::{Outcome, StepError};
use crate::domain::backup::{Repository, Retention};
use crate::engine::{ContainerSpec, FileSpec};
use crate::postgres::pgbackrest::{self, Reach};
use futures_util::future::BoxFuture;
use std::time::Duration;

/// Lines that are read of the helper.
const LINES: usize = 400;
/// Time between two looks.
const SOON: Duration = Duration::from_secs(1);

pub(super) fn restore_data(ctx: &StepContext) -> BoxFuture<'_, Result<Outcome, StepError>> {
    Box::pin(async move {
        let member = ctx.member()?;
        let (engine, name) = (ctx.engine(member)?, member.restore_container());
        let from = source_repository(ctx).await?;
        if engine.container(&name).await?.is_none() {
            engine.ensure_container(&container(ctx, &from)?).await?;
        }
        if engine.container(&name).await?.is_some_and(|facts| facts.state == "created") {
            engine.put_files(&name, &files(ctx, &from).await?).await?;
            engine.start_container(&name).await?;
        }
        let ended = engine.wait_exit(&name, Duration::from_secs(2)).await?;
        let lines = engine.tail(&name, LINES).await?;
        let Some(code) = ended else { return Ok(Outcome::Wait(SOON, progress(&lines))) };
        for line in told(&lines) {
            ctx.log(line).await;
        }
        if code != 0 {
            return Err(failed(code, &lines));
        }
        engine.remove_container(&name).await?;
        Ok(Outcome::done())
    })
}

pub(super) fn remove_helper(ctx: &StepContext) -> BoxFuture<'_, Result<Outcome, StepError>> {
    Box::pin(async move {
        if let Some(member) = ctx.members.first() {
            let removed = ctx.engine(member)?.remove_container(&member.restore_container()).await;
            ours_is_gone(removed)?;
        }
        Ok(Outcome::done())
    })
}

fn container(ctx: &StepContext, from: &Repository) -> Result<ContainerSpec, StepError> {
    let (member, plan): (_, Plan) = (ctx.member()?, ctx.output(CHOOSE)?);
    let mount = is_near(ctx, from)?.then(|| repository::mount(&ctx.services, &from.host_id, true));
    let blueprint = member::blueprint_of(ctx, &ctx.server, member);
    Ok(blueprint.restore_container(&member.image, (&from.stanza, &plan.label), mount))
}

/// Whether the volume of the repository is on the new member's host.
fn is_near(ctx: &StepContext, from: &Repository) -> Result<bool, StepError> {
    Ok(from.host_id == ctx.member()?.host_id && !from.is_in_object_storage())
}

async fn files(ctx: &StepContext, from: &Repository) -> Result<Vec<FileSpec>, StepError> {
    let reach = if is_near(ctx, from)? { Reach::Mounted } else { reach(ctx, from).await? };
    let opened = keys::open(&ctx.services, from, reach).await?;
    let file = pgbackrest::helper_file(&opened.access(), Retention::default());
    let mut files = member::collect(vec![file]);
    files.extend(keys::tls_files(&ctx.services, &ctx.server.id).await?);
    Ok(files)
}

/// How the new member reaches the repository's server.
pub(super) async fn reach(ctx: &StepContext, from: &Repository) -> Result<Reach, StepError> {
    repository::reach_of(&ctx.services, from, ctx.member()?).await.map_err(|why| {
        StepError::permanent(
            why,
            "Restore into the zone of the repository, or give both hosts a member address.",
        )
    })
}

/// Lines for people: one for each file of a database would hide the rest.
fn told(lines: &[String]) -> impl Iterator<Item = &String> {
    let is_file = |line: &String| line.contains("DETAIL:");
    lines.iter().filter(move |line| !line.trim().is_empty() && !is_file(line))
}

/// The share that is done, as the last line about a file says it.
fn progress(lines: &[String]) -> String {
    let share = |line: &String| {
        let (before, _) = line.split_once("%)")?;
        let (_, share) = before.rsplit_once(' ')?;
        share.bytes().all(|b| b.is_ascii_digit() || b == b'.').then(|| share.to_owned())
    };
    let last = lines.iter().rev().find_map(share);
    last.map_or_else(
        || "the backup is being restored".into(),
        |share| format!("{share} % of the backup is restored"),
    )
}

fn failed(code: i64, lines: &[String]) -> StepError {
    let error = lines.iter().find(|line| line.contains("ERROR:"));
    let last = error.or_else(|| lines.iter().rev().find(|line| !line.trim().is_empty()));
    let last = last.map_or("it wrote nothing", |line| {
        line.split_once("ERROR:").map_or(line.as_str(), |(_, rest)| rest).trim()
    });
    let how = match code {
        137 | 143 => format!("was killed (code {code})"),
        _ => format!("ended with code {code}"),
    };
    StepError::permanent(
        format!("The restore of the backup {how}: {last}"),
        "The log below has all it wrote. Mend what it names (often the host's disk, or the network) and retry, or restore from another backup.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_that_is_done_is_read_from_the_last_file() {
        let lines =
            |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let line = "P01 DETAIL: restore file /var/lib/pgflex/data.new/base/1/2619 (104KB, 37.52%) checksum 4f";
        let seen = lines(&["P00   INFO: restore backup set 20261123-160800F", line]);
        assert_eq!(progress(&seen), "37.52 % of the backup is restored");
        assert_eq!(told(&seen).count(), 1);
        assert_eq!(progress(&lines(&["x; rm%) y"])), "the backup is being restored");
        let StepError::Permanent { what, .. } =
            failed(29, &lines(&["P00  ERROR: [029]: no backup", "P00   INFO: end"]))
        else {
            panic!()
        };
        assert_eq!(what, "The restore of the backup ended with code 29: [029]: no backup");
    }
}
