//! Commits are made to wait for a standby (rules A1-A6), in this order: the row says Arming, the standby's file is by that
//! row, the primary's file names the standby and is in force, the walsender of exactly that standby is synchronous, a checkpoint has told every
//! session, the standby has flushed a place of the log written after all that, and nothing changed meanwhile.
//! Only then the row says that the standby is complete.

use super::pair::{self, Story};
use super::{LOOK_EVERY, SOON, files, link};
use crate::domain::ha::{HighAvailability, Lsn, Move, ReplicationState as S};
use crate::domain::server::Member;
use crate::operations::context::StepContext;
use crate::operations::step::{Outcome, StepError};
use crate::postgres::Target;
use crate::postgres::replication::{Sender, Standing};
use std::time::Duration;
use tokio::time::Instant;

/// A standby further behind is not counted yet (A1).
pub const LAG_MAX: u64 = 16 << 20;
/// Commits may hang while a standby is being counted: one that does not confirm by then is not counted.
const ARM_WITHIN: Duration = Duration::from_secs(6);

/// Arms, or takes it back and waits for another try. Done when it is armed already.
///
/// # Errors
/// When the pair changed meanwhile, or engine or PostgreSQL refuse.
pub async fn arm(ctx: &StepContext, standby: &Member) -> Result<Outcome, StepError> {
    let row = pair::fresh(ctx).await?;
    must_be_its(&row, standby)?;
    if row.state == S::Sync {
        return Ok(Outcome::done());
    }
    if let Err(why) = is_ready(ctx, standby).await? {
        return Ok(Outcome::Wait(SOON, why));
    }
    let row = match row.state {
        S::Arming => row,
        _ => match begin(ctx, standby).await? {
            Ok(row) => row,
            Err(wait) => return Ok(wait),
        },
    };
    let tried = confirm(ctx, &row, standby).await;
    let why = match &tried {
        Ok(Ok(place)) => return armed(ctx, standby, *place, row.version).await,
        Ok(Err(why)) => why.clone(),
        Err(StepError::LeaseLost) => return Err(StepError::LeaseLost),
        Err(error) => error.to_string(),
    };
    // Commits wait for somebody who does not confirm: first they are let go.
    if let Err(wait) = give_up(ctx, &why).await? {
        return Ok(wait);
    }
    let _ = tried?;
    Ok(Outcome::Wait(Duration::from_secs(2), why))
}

/// A2. A change of durability that runs beside this has put right what commits wait for meanwhile: the pair is Building
/// again, and the standby follows as it did.
async fn begin(
    ctx: &StepContext,
    standby: &Member,
) -> Result<Result<HighAvailability, Outcome>, StepError> {
    let (mut tx, mut row) = pair::begin(ctx).await?;
    must_be_its(&row, standby)?;
    if row.state == S::Disarming {
        return Ok(Err(pair::settling()));
    }
    if row.state == S::Building {
        let change = Move::Follows { timeline: row.timeline };
        let story = Story::new("follows", "The standby follows as before");
        row = pair::apply(ctx, &mut tx, &row, &change, story).await?;
    }
    let line = format!("Commits are being made to wait for standby {}", standby.id.short());
    let story = Story::new("arming", line.clone());
    let row = pair::apply(ctx, &mut tx, &row, &Move::ArmBegins, story).await?;
    ctx.commit(tx).await?;
    ctx.log(line).await;
    Ok(Ok(row))
}

fn must_be_its(row: &HighAvailability, standby: &Member) -> Result<(), StepError> {
    if row.standby.as_ref() == Some(&standby.id) {
        return Ok(());
    }
    Err(StepError::permanent(
        "The pair has another standby now.",
        "Nothing is to be done: the portal looks at the pair again.",
    ))
}

/// A5: the row says it in the state in which it was tried, or not at all.
async fn armed(
    ctx: &StepContext,
    standby: &Member,
    lsn: Lsn,
    marked_at: i64,
) -> Result<Outcome, StepError> {
    let detail = format!(
        "Every commit is on two members from now on: {} has all up to {lsn}",
        standby.id.short()
    );
    pair::change(ctx, &Move::Armed { lsn, marked_at }, Story::new("armed", detail)).await?;
    Ok(Outcome::done())
}

/// A6: back to following only. Nothing where it never came to that.
///
/// # Errors
/// When engine or PostgreSQL refuse.
pub async fn give_up(ctx: &StepContext, why: &str) -> Result<Result<(), Outcome>, StepError> {
    let mut row = pair::fresh(ctx).await?;
    if row.state == S::Arming {
        let detail = format!("The standby was not counted: {why}");
        row = pair::change(ctx, &Move::ArmGaveUp, Story::new("not_armed", detail)).await?;
    }
    match row.state {
        S::CatchUp => files::enforce(ctx, &row).await,
        _ => Ok(Ok(())),
    }
}

/// A1: both tell the same of themselves, and little is missing.
async fn is_ready(ctx: &StepContext, standby: &Member) -> Result<Result<(), String>, StepError> {
    let (primary, standby) =
        match (link::standing(ctx, ctx.member()?).await?, link::standing(ctx, standby).await?) {
            (Ok(primary), Ok(standby)) => (primary, standby),
            (Err(why), _) => return Ok(Err(format!("the primary does not answer: {why}"))),
            (_, Err(why)) => return Ok(Err(format!("the standby does not answer: {why}"))),
        };
    Ok(follows(&primary, &standby))
}

/// Whether one follows the other closely; the reason when it does not.
pub fn follows(primary: &Standing, standby: &Standing) -> Result<(), String> {
    let lag = match (primary.written, standby.written) {
        (Some(written), Some(received)) => written.since(received),
        _ => return Err("the standby has received nothing yet".into()),
    };
    if primary.in_recovery {
        Err("the primary is in recovery".into())
    } else if !standby.in_recovery {
        Err("the standby is no standby".into())
    } else if primary.system_identifier != standby.system_identifier {
        Err("the standby is a copy of another database".into())
    } else if standby.receiver.as_deref() != Some("streaming") {
        Err("the standby does not receive the log yet".into())
    } else if primary.timeline != standby.timeline {
        Err(format!(
            "the standby is on timeline {}, the primary on {}",
            standby.timeline, primary.timeline
        ))
    } else if lag >= LAG_MAX {
        Err(format!("the standby is {} MB behind", lag >> 20))
    } else {
        Ok(())
    }
}

/// A2-A4; the place up to which the standby has everything, or why it cannot be said.
async fn confirm(
    ctx: &StepContext,
    row: &HighAvailability,
    standby: &Member,
) -> Result<Result<Lsn, String>, StepError> {
    // F9: durability may have been chosen anew since the standby's file was written. From Arming on it is not, so what
    // is confirmed now is what the standby has when it is promoted; commits do not wait for it yet.
    if files::tell(ctx, standby, row).await?.is_err() {
        return Ok(Err("the standby did not read its files".into()));
    }
    if files::enforce(ctx, row).await?.is_err() {
        return Ok(Err("the primary did not read its files".into()));
    }
    let both = Both {
        primary: link::running(ctx, ctx.member()?).await?,
        standby: link::running(ctx, standby).await?,
        name: HighAvailability::standby_name(&standby.id),
        until: Instant::now() + ARM_WITHIN,
    };
    let sender = match both.synchronous(ctx).await? {
        Ok(sender) => sender,
        Err(why) => return Ok(Err(why)),
    };
    let postgres = &ctx.services.postgres;
    // A3: the checkpointer is the process that tells the sessions whom to wait for; after this all of them know.
    postgres.checkpoint(&both.primary).await?;
    let mark = postgres.mark(&both.primary).await?;
    both.has_all(ctx, &sender, mark).await
}

struct Both {
    primary: Target,
    standby: Target,
    name: String,
    until: Instant,
}

impl Both {
    /// The reader of the log that commits wait for: it alone, by its exact name.
    async fn synchronous(&self, ctx: &StepContext) -> Result<Result<Sender, String>, StepError> {
        loop {
            let standing = ctx.services.postgres.standing(&self.primary).await?;
            let found = standing.senders.into_iter().find(|sender| {
                sender.application_name == self.name
                    && sender.state == "streaming"
                    && sender.sync_state == "sync"
            });
            match found {
                Some(sender) => return Ok(Ok(sender)),
                None if Instant::now() >= self.until => {
                    return Ok(Err("the primary does not see it as synchronous".into()));
                }
                None => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    }

    /// A4, A5: both say that the place is reached, and it is the same session all the time.
    async fn has_all(
        &self,
        ctx: &StepContext,
        sender: &Sender,
        mark: Lsn,
    ) -> Result<Result<Lsn, String>, StepError> {
        loop {
            let primary = ctx.services.postgres.standing(&self.primary).await?;
            let standby = ctx.services.postgres.standing(&self.standby).await?;
            let same = primary.senders.iter().find(|seen| {
                seen.pid == sender.pid
                    && seen.started_at == sender.started_at
                    && seen.application_name == self.name
                    && seen.sync_state == "sync"
            });
            let Some(same) = same else {
                return Ok(Err("the connection of the standby was lost meanwhile".into()));
            };
            if same.flushed >= Some(mark) && standby.in_recovery && standby.written >= Some(mark) {
                return Ok(Ok(mark));
            }
            if Instant::now() >= self.until {
                return Ok(Err(format!("the standby has not written {mark} yet")));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}
