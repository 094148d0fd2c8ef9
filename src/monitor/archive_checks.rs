//! Compares what every repository holds of a server with what is on record of it: backups whose files are gone, and pieces of
//! the log that are missing in the middle. Hourly, soon after each change of primary, and after a repository was put right.
//!
//! The monitor does this itself: it reads the repository, which is mounted so that nothing can be written, and the helper
//! has a name and a volume of its own, so that no backup finds it in its place.
//!
//! **After a change of primary** pieces that the old one had not handed over are on the disk of the new one, where
//! PostgreSQL takes them for archived: a standby marks every piece so. Those that are missing in a repository and still there
//! are handed over again, and then looked for once more. What PostgreSQL has removed meanwhile stays missing, and is a gap.
//!
//! **What is believed.** What was on record and what was archived is read before the repository, and is the same after it, with
//! no backup at work: otherwise the look is thrown away. Only a look that covers the newest line of the log replaces gaps
//! that were assumed.

use super::backups::{UNKNOWN, ask};
use crate::clock::new_uuid;
use crate::domain::backup::allowance;
use crate::domain::backup::continuity::{self, Finding, Line, Stored};
use crate::domain::backup::{ArchiveCheck, Backup, Piece, Protection, Repository, RepositoryState};
use crate::domain::ids::{HostId, ServerId};
use crate::domain::meter::Meter;
use crate::domain::server::{Member, Server, SettledState};
use crate::operations::backup::tool::{self, Place, Ran, Run};
use crate::operations::backup::{object_storage, repository};
use crate::operations::context::Services;
use crate::operations::step::StepError;
use crate::postgres::Target;
use crate::postgres::archive::ArchiverLook;
use crate::postgres::pgbackrest::listing::{
    ARCHIVE_PARTS, BACKUP_FILTER, ListingError, archive_filter, parse_archive, parse_backups,
};
use crate::store::{Record, StoreError};
use chrono::{DateTime, Duration, Utc};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// Time between two looks at an archive that gives no reason to look sooner.
const CHECK_EVERY: Duration = Duration::hours(1);
/// Time between two looks at one that does.
const AGAIN_AFTER: Duration = Duration::seconds(20);
/// After so long a gap that is assumed is no reason to look that often any more: the archive stands still.
const SOON_WITHIN: Duration = Duration::minutes(30);
const LATER_AFTER: Duration = Duration::minutes(10);
/// So long it is waited for pieces that were handed over again before what is missing is put on record.
const HAND_OVER_WITHIN: Duration = Duration::minutes(5);
/// A look that takes longer is given up: what it began with is of another time.
const LOOK_WITHIN: Duration = Duration::minutes(30);
/// Looks that are begun or carried on in one tick, so that no server's monitoring waits for all archives.
const LOOKS_AT_ONCE: usize = 4;

type Key = (ServerId, i64);

/// What one process remembers between looks.
#[derive(Default)]
pub struct Watch {
    under_way: HashMap<Key, Look>,
    tried_at: HashMap<Key, DateTime<Utc>>,
    /// Since when pieces were handed over again that are not there yet.
    handed_at: HashMap<Key, DateTime<Utc>>,
    /// Repositories that were put right and not looked at since.
    wanted: HashSet<Key>,
}

/// A look that is under way: what it began with, and what was found so far.
struct Look {
    asker: String,
    begun_at: DateTime<Utc>,
    before: Vec<Backup>,
    line: Line,
    archived: Piece,
    piece_bytes: u64,
    labels: Option<BTreeSet<String>>,
    pieces: BTreeMap<Piece, Stored>,
    /// The part that is read now; `None` while all is asked for at once.
    part: Option<u8>,
}

/// One server with one of its repositories.
#[derive(Clone, Copy)]
struct Subject<'a> {
    server: &'a Server,
    member: &'a Member,
    repository: &'a Repository,
}

impl Subject<'_> {
    fn key(&self) -> Key {
        (self.server.id.clone(), self.repository.number)
    }

    /// Beside the name of every other helper.
    fn place(&self) -> Place<'static> {
        let (server, number) = (self.server.id.short(), self.repository.number);
        Place::Apart(format!("pgflex-{server}-archive-{number}"))
    }
}

/// Whether it is time to look. `tried_at`: when this process last began to.
fn is_due(
    now: DateTime<Utc>,
    (protection, number): (&Protection, i64),
    promoted: Option<DateTime<Utc>>,
    (is_wanted, tried_at): (bool, Option<DateTime<Utc>>),
) -> bool {
    if protection.good_in(number).next().is_none() {
        return false;
    }
    let check = protection.checks.iter().find(|check| check.repository == number);
    let mut assumed = protection.gaps.iter();
    let assumed = assumed.find(|gap| gap.repository == number && gap.reason == UNKNOWN);
    let is_old = assumed.is_some_and(|gap| now > gap.began_at + SOON_WITHIN);
    let distance = if is_old { LATER_AFTER } else { AGAIN_AFTER };
    if tried_at.is_some_and(|at| now < at + distance && now >= at) {
        return false;
    }
    is_wanted
        || assumed.is_some()
        || check.is_none_or(|check| now >= check.at + CHECK_EVERY || promoted >= Some(check.at))
}

impl Watch {
    /// Looks at what is due; `put_right`: hosts whose repository was found not in order since the last tick.
    ///
    /// # Errors
    /// When the store does not answer; an engine or a PostgreSQL that does not is asked again by a later tick.
    pub async fn tick(
        &mut self,
        services: &Arc<Services>,
        put_right: &HashSet<HostId>,
    ) -> Result<(), StoreError> {
        let silent = super::silent_hosts(services).await?;
        let mut left = LOOKS_AT_ONCE;
        for (member, _, settled) in services.store.primaries_all().await? {
            if settled != SettledState::Ready || silent.contains(&member.host_id) {
                continue;
            }
            let Some(server) = services.store.server(&member.server_id).await? else { continue };
            for repository in services.store.repositories(&server.id).await? {
                // Object storage is read from the primary's host, which answers.
                let repository =
                    object_storage::beside(services, repository, Some(&member.host_id)).await?;
                let subject = Subject { server: &server, member: &member, repository: &repository };
                if put_right.contains(&repository.host_id) {
                    self.wanted.insert(subject.key());
                }
                let is_open = repository.state == RepositoryState::Active
                    && !silent.contains(&repository.host_id);
                if is_open && left > 0 && self.is_time(services, subject).await? {
                    left -= 1;
                    self.look_at(services, subject).await?;
                }
            }
        }
        Ok(())
    }

    async fn is_time(&self, services: &Services, of: Subject<'_>) -> Result<bool, StoreError> {
        let key = of.key();
        if self.under_way.contains_key(&key) {
            return Ok(true);
        }
        let protection = services.store.protection(&of.server.id).await?;
        let promoted = promoted(services, &of.server.id).await?.flatten();
        let own = (self.wanted.contains(&key), self.tried_at.get(&key).copied());
        let about = (&protection, of.repository.number);
        Ok(is_due(services.clock.now(), about, promoted, own)
            && !services.store.is_backing_up(&of.server.id).await?)
    }

    async fn look_at(
        &mut self,
        services: &Arc<Services>,
        of: Subject<'_>,
    ) -> Result<(), StoreError> {
        let (key, now) = (of.key(), services.clock.now());
        let mut look = match self.under_way.remove(&key) {
            Some(look) if now < look.begun_at + LOOK_WITHIN => look,
            _ => {
                self.tried_at.insert(key.clone(), now);
                let Some(look) = begin(services, of).await? else { return Ok(()) };
                look
            }
        };
        match read(services, of, &mut look).await {
            Ok(false) => {
                self.under_way.insert(key, look);
                return Ok(());
            }
            Ok(true) => {
                if let Err(error) = self.conclude(services, of, &look).await? {
                    tracing::warn!(server.id = %of.server.id, %error, "what an archive holds could not be judged");
                }
            }
            Err(error) => {
                tracing::warn!(server.id = %of.server.id, %error, "an archive could not be looked at");
            }
        }
        let host = &of.repository.host_id;
        if let Err(error) = tool::remove(services, &of.place(), host).await {
            tracing::debug!(server.id = %of.server.id, %error, "a helper is removed by the next look");
        }
        Ok(())
    }

    /// The inner error says why nothing could be judged.
    async fn conclude(
        &mut self,
        services: &Arc<Services>,
        of: Subject<'_>,
        look: &Look,
    ) -> Result<Result<(), String>, StoreError> {
        let (id, number) = (&of.server.id, of.repository.number);
        let moments = services.store.archive_moments(id).await?;
        let empty = BTreeSet::new();
        let found = continuity::judge(&continuity::Look {
            backups: &look.before,
            labels: look.labels.as_ref().unwrap_or(&empty),
            pieces: &look.pieces,
            line: &look.line,
            piece_bytes: look.piece_bytes,
            archived: look.archived,
            moments: &moments,
            at: look.begun_at,
        });
        let found = match found {
            Ok(found) => found,
            Err(why) => return Ok(Err(why)),
        };
        let protection = services.store.protection(id).await?;
        // What is read while backups come and go is compared with neither.
        if of_repository(&protection, number) != look.before
            || services.store.is_backing_up(id).await?
        {
            return Ok(Ok(()));
        }
        if self.hand_over(services, of, look, &found).await {
            return Ok(Ok(()));
        }
        let is_settled = is_settled(services, of, look, &protection).await?;
        keep(services, of, (look, &protection, is_settled), &found).await?;
        if is_settled {
            self.wanted.remove(&of.key());
            self.handed_at.remove(&of.key());
        }
        Ok(Ok(()))
    }

    /// Has what is missing handed over once more, as far as the primary has it. Whether it is worth waiting for.
    async fn hand_over(
        &mut self,
        services: &Arc<Services>,
        of: Subject<'_>,
        look: &Look,
        found: &Finding,
    ) -> bool {
        let now = services.clock.now();
        if found.missing.is_empty() {
            return false;
        }
        let Some((target, _)) = ask(services, of.server, of.member).await else { return false };
        let bytes = look.piece_bytes;
        let kept = services.postgres.hand_over(&target, &found.missing, bytes).await;
        match kept {
            Ok(0) => false,
            Ok(count) => {
                tracing::info!(server.id = %of.server.id, count, "pieces of the log are handed over again");
                // The end of a piece wakes PostgreSQL's archiver.
                if let Err(error) = services.postgres.end_piece(&target).await {
                    tracing::debug!(server.id = %of.server.id, %error, "no marker was committed");
                }
                now < *self.handed_at.entry(of.key()).or_insert(now) + HAND_OVER_WITHIN
            }
            Err(error) => {
                tracing::warn!(server.id = %of.server.id, %error, "nothing was handed over again");
                false
            }
        }
    }
}

/// Without an end of the log in the archive there is nothing to compare with; `None` then, too, when PostgreSQL is silent.
async fn begin(services: &Arc<Services>, of: Subject<'_>) -> Result<Option<Look>, StoreError> {
    let begun_at = services.clock.now();
    let protection = services.store.protection(&of.server.id).await?;
    let Some((target, archiver)) = ask(services, of.server, of.member).await else {
        return Ok(None);
    };
    let Some((line, archived)) = end(services, &target, &archiver).await else { return Ok(None) };
    Ok(Some(Look {
        asker: new_uuid(),
        begun_at,
        before: of_repository(&protection, of.repository.number),
        line,
        archived,
        piece_bytes: archiver.piece_bytes,
        labels: None,
        pieces: BTreeMap::new(),
        part: None,
    }))
}

/// The line of the log, and the last piece of it that is archived for certain. After a change of primary that is none of the
/// new line for a while: then it is the last whole one before the fork, which must be there or has to be handed over.
async fn end(
    services: &Services,
    target: &Target,
    archiver: &ArchiverLook,
) -> Option<(Line, Piece)> {
    let bytes = archiver.piece_bytes;
    let line = services.postgres.line(target).await.ok()?;
    let archived = archiver.archived.as_ref();
    let archived = archived.and_then(|(name, _)| Piece::archived(name, bytes));
    let newest = archived.filter(|piece| piece.timeline == line.timeline);
    let before_fork = || {
        let (timeline, fork) = line.former.last()?;
        let number = fork.0.checked_div(bytes)?.checked_sub(1)?;
        Some(Piece { timeline: *timeline, number })
    };
    let archived = newest.or_else(before_fork)?;
    Some((line, archived))
}

fn of_repository(protection: &Protection, number: i64) -> Vec<Backup> {
    protection.backups.iter().filter(|one| one.repository == number).cloned().collect()
}

/// When the last change of primary let clients in again; `Some(None)` while it has not.
async fn promoted(
    services: &Services,
    server: &ServerId,
) -> Result<Option<Option<DateTime<Utc>>>, StoreError> {
    let last = services.store.promotions(server, 1).await?;
    Ok(last.first().map(|one| one.opened_at))
}

/// Whether the look covers the line of the log that the last change of primary began, and the log is known to be archived
/// over that: until then it would be assumed again that something is missing.
async fn is_settled(
    services: &Services,
    of: Subject<'_>,
    look: &Look,
    protection: &Protection,
) -> Result<bool, StoreError> {
    let is_newest = look.archived.timeline == look.line.timeline;
    let is_measured = match promoted(services, &of.server.id).await? {
        None => true,
        Some(opened) => {
            opened.is_some_and(|at| at < look.begun_at) && protection.archive.until > opened
        }
    };
    Ok(is_newest && is_measured)
}

/// Reads on; whether all is read.
async fn read(
    services: &Arc<Services>,
    of: Subject<'_>,
    look: &mut Look,
) -> Result<bool, StepError> {
    let (host, stanza) = (&of.repository.host_id, &of.repository.stanza);
    let volume = repository::blueprint(services, host).volume_name();
    // A helper would have an empty one made.
    if !of.repository.is_in_object_storage()
        && !repository::engine(services, host)?.has_volume(&volume).await?
    {
        look.labels = Some(BTreeSet::new());
        look.pieces.clear();
        return Ok(true);
    }
    if look.labels.is_none() {
        let path = format!("backup/{stanza}");
        let asked = List { path: &path, filter: BACKUP_FILTER, purpose: "backups" };
        let Some(text) = list(services, of, look, &asked).await? else { return Ok(false) };
        look.labels = Some(parse_backups(&text).map_err(|error| unread(&error))?);
    }
    loop {
        let (path, filter) = (format!("archive/{stanza}"), archive_filter(look.part));
        let purpose = look.part.map_or("pieces".into(), |part| format!("pieces-{part}"));
        let asked = List { path: &path, filter: &filter, purpose: &purpose };
        let Some(text) = list(services, of, look, &asked).await? else { return Ok(false) };
        match (parse_archive(&text, look.piece_bytes), look.part) {
            (Ok(pieces), None) => {
                look.pieces = pieces;
                return Ok(true);
            }
            (Ok(pieces), Some(part)) => {
                look.pieces.extend(pieces);
                if part + 1 == ARCHIVE_PARTS {
                    return Ok(true);
                }
                look.part = Some(part + 1);
            }
            (Err(ListingError::CutOff), None) => look.part = Some(0),
            (Err(error), _) => return Err(unread(&error)),
        }
    }
}

fn unread(error: &ListingError) -> StepError {
    StepError::permanent(error.to_string(), "What is on record was left as it was.")
}

struct List<'a> {
    path: &'a str,
    filter: &'a str,
    purpose: &'a str,
}

/// `None` while it is being read.
async fn list(
    services: &Arc<Services>,
    of: Subject<'_>,
    look: &Look,
    asked: &List<'_>,
) -> Result<Option<String>, StepError> {
    let filter = format!("--filter={}", asked.filter);
    let run = Run {
        place: of.place(),
        repository: of.repository,
        purpose: asked.purpose,
        command: &["repo-ls", asked.path, "--recurse", "--output=json", &filter],
        retention: crate::domain::backup::Retention::default(),
        only_reads: true,
    };
    match tool::run_for(services, &look.asker, &run).await? {
        Ran::Running(_) => Ok(None),
        Ran::Ended(text) => Ok(Some(text)),
    }
}

/// Puts on record what was found, in one transaction. Of a look that does not cover the newest line nothing is
/// taken but what cannot be used any more.
async fn keep(
    services: &Arc<Services>,
    of: Subject<'_>,
    (look, protection, is_settled): (&Look, &Protection, bool),
    found: &Finding,
) -> Result<(), StoreError> {
    let (id, number) = (&of.server.id, of.repository.number);
    let mut tx = services.store.begin_write(services.clock.now()).await?;
    for (label, why) in &found.condemned {
        tracing::warn!(server.id = %id, repository = number, %label, %why, "a backup cannot be used any more");
        tx.condemn_backup(id, number, (label, why)).await?;
    }
    if is_settled {
        let missing = u64::try_from(found.missing.len()).unwrap_or(u64::MAX);
        if missing > 0 {
            tracing::warn!(server.id = %id, repository = number, missing, "pieces of the log are missing in an archive");
        }
        tx.replace_backup_gaps(id, number, &found.gaps).await?;
        let log_bytes = look.pieces.values().fold(0, |sum: u64, one| sum.saturating_add(one.bytes));
        let (at, needed) = (look.begun_at, found.needed);
        let check = ArchiveCheck { repository: number, at, needed, missing, log_bytes };
        tx.put_archive_check(id, &check).await?;
        let mut protection = protection.clone();
        protection.checks.retain(|one| one.repository != number);
        protection.checks.push(check);
        let gib = of.server.spec.storage_gib;
        let beyond =
            allowance::taken(&protection).and_then(|one| allowance::quantity(one.bytes, gib));
        tx.set_meter(id, Meter::Backup, beyond.as_deref()).await?;
    }
    if let Some(oldest) = look.before.iter().map(|one| one.started_at).min()
        && number == crate::operations::backup::take_ready::NEAR
    {
        tx.prune_archive_moments(id, oldest - Duration::days(1)).await?;
    }
    tx.commit(Record::Nothing("what was seen")).await
}
