//! How far the archive of every server reaches, which backup is due, and the servers of repositories.
//!
//! **How far.** Each look takes the end of the log that is safe on the primary's disk, together with a moment before it
//! was read: every commit that was acknowledged until that moment lies before that place. Such a pair becomes “archived
//! until” when the archive has taken the piece of the log that holds the place, on the same timeline; PostgreSQL hands
//! pieces over in order, so all before it are there as well. A server on which nothing happens ends no piece. For it a
//! marker is committed every few minutes, which ends one; so “archived until” goes on, and a restore to a moment
//! has a commit behind it to stop at.
//!
//! **Due.** Decided from what is listed, so that whatever was missed is caught up; one backup for each host at a time.
//!
//! **Put right without an operation:** the server of a repository, which holds no data, and its place in the networks
//! of members. Whoever makes such a network anew need not think of it.

use crate::domain::backup::continuity::Moment;
use crate::domain::backup::{
    Archive, BackupType, Gap, Piece, Protection, Redundancy, Repository, RepositoryState, due, room,
};
use crate::domain::ha::Lsn;
use crate::domain::ids::{HostId, ServerId};
use crate::domain::server::{Member, Server, SettledState, network_name};
use crate::domain::version::Major;
use crate::operations::access;
use crate::operations::backup::object_storage::{self, beside};
use crate::operations::backup::repository;
use crate::operations::backup::take_ready::{NEAR, is_failing, refusal_in};
use crate::operations::context::Services;
use crate::operations::step::{Outcome, StepError};
use crate::operations::submit::{Door, SubmitError};
use crate::postgres::Target;
use crate::postgres::archive::ArchiverLook;
use crate::postgres::pgbackrest::Client;
use crate::store::{Record, StoreError};
use chrono::{DateTime, Duration, Utc};
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// Number of the repository in another zone.
const SECOND: i64 = 2;
/// Time between two looks at a server that archives.
const LOOK_EVERY: Duration = Duration::seconds(55);
/// The moment of a look is so long before it: the place and the time are read one after the other.
const MARGIN: Duration = Duration::seconds(1);
/// A marker is committed when nothing newer than this is archived.
const MARK_AFTER: Duration = Duration::minutes(5);
/// So often a place in the log is kept with its moment for as long as backups reach back: a hole in the archive is told in
/// times by these, and claims as much too little.
const NOTE_EVERY: Duration = Duration::minutes(5);
/// How long a gap that is only assumed is no reason for another full backup: by then the archive was looked at.
const ASSUMED_FOR: Duration = Duration::minutes(20);
/// Why a gap is assumed that nobody measured. Replaced when the archive is looked at.
pub(super) const UNKNOWN: &str =
    "The primary changed. Whether the old one had archived all of its log is not known.";
/// Looks that are remembered of one server: more than a day of an archive that stands still.
const SAMPLES_MAX: usize = 2000;

/// What one process remembers between looks.
#[derive(Default)]
pub struct Watch {
    servers: HashMap<ServerId, Remembered>,
    /// Who was let in by the server of a repository when that was last written.
    clients: HashMap<(HostId, Major), Vec<Client>>,
    /// Hosts whose repository was found without its server.
    put_right: HashSet<HostId>,
}

#[derive(Default)]
struct Remembered {
    samples: Samples,
    looked_at: Option<DateTime<Utc>>,
    marked_at: Option<DateTime<Utc>>,
    /// When a place in the log was last kept for good.
    noted_at: Option<DateTime<Utc>>,
}

/// Moments with the places that hold all before them, oldest first.
#[derive(Debug, Default)]
struct Samples {
    timeline: i64,
    all: VecDeque<(DateTime<Utc>, Lsn)>,
}

impl Samples {
    fn add(&mut self, look: &ArchiverLook) {
        if self.timeline != look.timeline {
            // What was measured of another line of the log says nothing of this one.
            *self = Self { timeline: look.timeline, all: VecDeque::new() };
        }
        if self.all.len() >= SAMPLES_MAX {
            self.all.pop_front();
        }
        self.all.push_back((look.at - MARGIN, look.written));
    }

    /// The newest moment that lies before this place of the log.
    fn reached(&mut self, end: Lsn) -> Option<DateTime<Utc>> {
        let covered = self.all.iter().take_while(|(_, place)| *place <= end).count();
        let newest = covered.checked_sub(1).and_then(|at| self.all.get(at)).map(|(at, _)| *at);
        self.all.drain(..covered.saturating_sub(1));
        newest
    }
}

/// How the archive stands after a look.
fn follow(before: &Archive, samples: &mut Samples, look: &ArchiverLook) -> Archive {
    samples.add(look);
    let archived = look.archived.as_ref();
    let piece = archived.and_then(|(name, _)| Piece::archived(name, look.piece_bytes));
    let piece = piece.filter(|piece| piece.timeline == look.timeline);
    let reached = piece.and_then(|piece| samples.reached(piece.end(look.piece_bytes)));
    let failing = look.failed.as_ref().filter(|_| is_failing(look));
    Archive {
        since: before.since.or_else(|| piece.and(archived).map(|(_, at)| *at)),
        until: before.until.max(reached),
        looked_at: Some(look.at),
        failing_since: failing.map(|(_, at)| before.failing_since.unwrap_or(*at)),
        failure: failing
            .map(|(file, _)| format!("WAL file {file} was refused"))
            .unwrap_or_default(),
    }
}

/// What may be missing after a change of primary. A standby takes pieces for archived as soon as it has them, so what the
/// old primary had not handed over when it ended is in no repository: from the last moment that was measured on, nothing
/// is claimed until the archive was looked at ([`super::archive_checks`]) or a backup begins anew.
/// Every repository got its pieces from the old primary alone, so it is one gap in each.
fn hole(
    before: &Archive,
    number: i64,
    promoted: Option<DateTime<Utc>>,
    seen_at: DateTime<Utc>,
) -> Option<Gap> {
    let began_at = before.until?;
    promoted.filter(|promoted| *promoted > began_at).map(|_| Gap {
        repository: number,
        began_at,
        ended_at: Some(seen_at),
        reason: UNKNOWN.into(),
    })
}

impl Watch {
    /// Hosts whose repository was found without its server since this was asked last.
    pub fn take_put_right(&mut self) -> HashSet<HostId> {
        std::mem::take(&mut self.put_right)
    }

    /// Looks at every server that is Ready.
    ///
    /// # Errors
    /// When the store does not answer; an engine or a PostgreSQL that does not is looked at again by the next tick.
    pub async fn tick(&mut self, services: &Arc<Services>) -> Result<(), StoreError> {
        let silent = super::silent_hosts(services).await?;
        let mut busy = services.store.hosts_backing_up().await?;
        let all = services.store.primaries_all().await?;
        self.servers.retain(|id, _| all.iter().any(|(member, _, _)| member.server_id == *id));
        for (member, _, settled) in all {
            if settled != SettledState::Ready || silent.contains(&member.host_id) {
                continue;
            }
            let Some(server) = services.store.server(&member.server_id).await? else { continue };
            self.look_at(services, (&server, &member), (&silent, &mut busy)).await?;
        }
        Ok(())
    }

    async fn look_at(
        &mut self,
        services: &Arc<Services>,
        (server, member): (&Server, &Member),
        (silent, busy): (&HashSet<HostId>, &mut HashSet<HostId>),
    ) -> Result<(), StoreError> {
        let protection = services.store.protection(&server.id).await?;
        let near = protection.repositories.iter().find(|one| one.number == NEAR).cloned();
        let now = services.clock.now();
        let last = self.servers.get(&server.id).and_then(|one| one.looked_at);
        if near.is_some() && last.is_some_and(|last| now < last + LOOK_EVERY && now >= last) {
            return Ok(());
        }
        self.servers.entry(server.id.clone()).or_default().looked_at = Some(now);
        let is_active = |one: &&Repository| one.state == RepositoryState::Active;
        for one in protection.repositories.iter().filter(is_active) {
            // One in object storage is reached beside whoever is the primary, which answers here.
            if one.is_in_object_storage() || !silent.contains(&one.host_id) {
                self.repair(services, (server, member), one).await?;
            }
        }
        // One that does not answer would not let a backup in either.
        let Some((target, look)) = ask(services, server, member).await else { return Ok(()) };
        let active: Vec<i64> =
            protection.repositories.iter().filter(is_active).map(|one| one.number).collect();
        if !active.is_empty() {
            let before = (&protection.archive, active.as_slice());
            self.keep(services, (server, member), before, (&target, &look)).await?;
        }
        for number in numbers(&protection) {
            let known = protection.repositories.iter().find(|one| one.number == number);
            let is_away =
                |one: &Repository| !one.is_in_object_storage() && silent.contains(&one.host_id);
            if known.is_none_or(|one| !is_away(one)) {
                take_due(services, (server, member), (&protection, number), busy).await?;
            }
        }
        Ok(())
    }

    async fn keep(
        &mut self,
        services: &Services,
        (server, member): (&Server, &Member),
        (before, numbers): (&Archive, &[i64]),
        (target, look): (&Target, &ArchiverLook),
    ) -> Result<(), StoreError> {
        let known = self.servers.entry(server.id.clone()).or_default();
        let mut archive = follow(before, &mut known.samples, look);
        if archive.failing_since.is_some()
            && let Some(why) = reason(services, member).await
        {
            archive.failure = format!("{}: {why}", archive.failure);
        }
        let promoted = services.store.promotions(&server.id, 1).await?;
        let promoted = promoted.first().and_then(|one| one.opened_at);
        let mut tx = services.store.begin_write(services.clock.now()).await?;
        tx.set_archive(&server.id, &archive).await?;
        if known.noted_at.is_none_or(|at| look.at >= at + NOTE_EVERY || look.at < at) {
            let (at, place) = (look.at - MARGIN, look.written);
            let moment = Moment { at, timeline: look.timeline, place };
            tx.put_archive_moment(&server.id, &moment).await?;
            known.noted_at = Some(look.at);
        }
        for number in numbers {
            if let Some(gap) = hole(before, *number, promoted, look.at) {
                tx.put_backup_gap(&server.id, &gap).await?;
            }
        }
        tx.commit(Record::Nothing("what was seen")).await?;
        let is_old = |at: Option<DateTime<Utc>>| at.is_none_or(|at| at < look.at - MARK_AFTER);
        let is_idle = is_old(archive.until) && is_old(known.marked_at);
        if is_idle && archive.failing_since.is_none() && server.active.is_none() {
            known.marked_at = Some(look.at);
            if let Err(error) = services.postgres.end_piece(target).await {
                tracing::debug!(server.id = %server.id, %error, "no marker was committed");
            }
        }
        Ok(())
    }

    /// The server of the repository runs, is in the network of the primary, and lets in whom it shall.
    async fn repair(
        &mut self,
        services: &Arc<Services>,
        (server, member): (&Server, &Member),
        near: &Repository,
    ) -> Result<(), StoreError> {
        let put_right = async {
            let near = beside(services, near.clone(), Some(&member.host_id)).await?;
            let (host, major) = (&near.host_id, near.major);
            let engine = repository::engine(services, host)?;
            let name = repository::blueprint(services, host).server_name(major);
            let facts = engine.container(&name).await?;
            let clients = repository::clients(services, host, major).await?;
            let key = (host.clone(), major);
            let runs = facts.is_some_and(|facts| facts.state == "running");
            if !runs || self.clients.get(&key) != Some(&clients) {
                tracing::info!(host.id = %host, %name, "the server of a repository is put right");
                if !runs {
                    // Whoever removed it may have removed what it served.
                    self.put_right.insert(host.clone());
                }
                if let Outcome::Wait(..) = repository::ensure(services, host, major).await? {
                    return Ok(());
                }
                self.clients.insert(key, clients);
            }
            let network = network_name(&server.id);
            if repository::shares_network(services, host, member).await? {
                let seen = engine.network(&network).await?;
                if seen.is_some_and(|seen| !seen.containers.contains(&name)) {
                    repository::enter(services, host, major, &network).await?;
                }
            }
            Ok::<(), StepError>(())
        };
        if let Err(error) = put_right.await {
            tracing::warn!(server.id = %server.id, %error, "a repository could not be put right");
        }
        Ok(())
    }
}

pub(super) async fn ask(
    services: &Arc<Services>,
    server: &Server,
    member: &Member,
) -> Option<(Target, ArchiverLook)> {
    let engine = services.engines.get(&member.host_id)?;
    let address = access::address_of(&engine, member).await.ok()??;
    let target = access::target(services, server, address).await.ok()?;
    let look = services.postgres.archiver(&target).await.ok()?;
    Some((target, look))
}

/// What the command said last, where the container still has it.
async fn reason(services: &Services, member: &Member) -> Option<String> {
    let engine = services.engines.get(&member.host_id)?;
    refusal_in(&engine.tail(&member.container(), 100).await.ok()?)
}

/// The repositories that backups go into: of the second, only as long as it is asked for.
fn numbers(protection: &Protection) -> Vec<i64> {
    match protection.policy.redundancy {
        Redundancy::Local => vec![NEAR],
        // The second waits for the first to be there, so that the first is where the primary is.
        _ if protection.good_in(NEAR).next().is_none() => vec![NEAR],
        Redundancy::Zone => vec![NEAR, SECOND],
        Redundancy::ObjectStorage => vec![NEAR, object_storage::NUMBER],
    }
}

/// One that was suspended lacks what was written meanwhile: a full backup takes it up again.
fn gap_of(protection: &Protection, number: i64, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let is_suspended =
        |one: &Repository| one.number == number && one.state == RepositoryState::Suspended;
    if protection.repositories.iter().any(is_suspended) {
        return Some(now);
    }
    let is_open = |gap: &&Gap| gap.reason == UNKNOWN && now < gap.began_at + ASSUMED_FOR;
    let gaps = protection.gaps.iter().filter(|gap| gap.repository == number && !is_open(gap));
    gaps.filter_map(|gap| gap.ended_at).max()
}

/// Whether the host of the repository has less free than the last backup of this type took. The page says the same.
async fn has_no_room(
    services: &Services,
    (protection, number): (&Protection, i64),
    kind: BackupType,
) -> Result<bool, StoreError> {
    let Some(repository) = protection.repositories.iter().find(|one| one.number == number) else {
        return Ok(false);
    };
    // What is free in object storage is not known: it grows by itself, or refuses and says so.
    if repository.is_in_object_storage() {
        return Ok(false);
    }
    let seen = services.store.host_observations().await?;
    let seen = seen.into_iter().find(|seen| seen.host_id == repository.host_id);
    let free = seen.and_then(|seen| seen.facts).and_then(|(_, facts)| facts.storage_free_bytes);
    let expected = room::expected(kind, protection.good_in(number));
    Ok(room::is_too_little(free, expected))
}

async fn take_due(
    services: &Arc<Services>,
    (server, member): (&Server, &Member),
    (protection, number): (&Protection, i64),
    busy: &mut HashSet<HostId>,
) -> Result<(), StoreError> {
    if busy.contains(&member.host_id) {
        return Ok(());
    }
    let last = protection.good_in(number).map(|one| one.started_at).max();
    let failed = services.store.backup_attempts((&server.id, number), last).await?;
    let gap = gap_of(protection, number, services.clock.now());
    let backups: Vec<_> = protection.good_in(number).cloned().collect();
    let Some(due) = due(services.clock.now(), &backups, gap, failed) else { return Ok(()) };
    if has_no_room(services, (protection, number), due.kind).await? {
        tracing::warn!(server.id = %server.id, repository = number, "a backup that is due would not fit on its host and is held");
        return Ok(());
    }
    let door = Door { store: &services.store, clock: &*services.clock, poke: &services.poke };
    match door.take_due_into(&server.id, (&due, number)).await {
        Ok(_) => {
            busy.insert(member.host_id.clone());
        }
        // Something else is under way; the next tick asks again.
        Err(SubmitError::Refused(why)) => {
            tracing::debug!(server.id = %server.id, %why, "a backup is taken later");
        }
        Err(SubmitError::Store(error)) => return Err(error),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 16 << 20;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
    }

    fn look(second: i64, written: u64, archived: &str) -> ArchiverLook {
        ArchiverLook {
            is_on: true,
            archived: Some((archived.into(), at(second - 1))),
            written: Lsn(written),
            at: at(second),
            timeline: 1,
            piece_bytes: SIZE,
            ..ArchiverLook::default()
        }
    }

    #[test]
    fn a_moment_is_archived_when_the_piece_behind_it_is() {
        let mut samples = Samples::default();
        let first = "000000010000000000000001";
        let one = follow(&Archive::default(), &mut samples, &look(0, 2 * SIZE + 5, first));
        assert_eq!((one.until, one.since), (None, Some(at(-1))), "the place is behind the piece");
        let two = follow(&one, &mut samples, &look(60, 3 * SIZE + 5, "000000010000000000000002"));
        assert_eq!(two.until, Some(at(-1)), "of the first look, not of the second");
        let three = follow(&two, &mut samples, &look(120, 4 * SIZE, "000000010000000000000003"));
        assert_eq!(three.until, Some(at(119)), "nothing is written behind the last piece");
        assert_eq!(three.since, one.since);
    }

    #[test]
    fn another_timeline_forgets_what_was_measured_and_never_goes_back() {
        let mut samples = Samples::default();
        let first = "000000010000000000000005";
        let one = follow(&Archive::default(), &mut samples, &look(0, SIZE, first));
        assert_eq!(one.until, Some(at(-1)));
        let promoted =
            ArchiverLook { timeline: 2, ..look(60, 9 * SIZE, "000000010000000000000006") };
        let two = follow(&one, &mut samples, &promoted);
        assert_eq!(two.until, one.until, "a piece of the old line says nothing of the new one");
        let named =
            ArchiverLook { archived: Some(("00000002.history".into(), at(61))), ..promoted };
        assert_eq!(follow(&two, &mut samples, &named).until, one.until);
    }

    #[test]
    fn after_a_change_of_primary_nothing_is_claimed_that_was_not_measured() {
        let before = Archive { until: Some(at(100)), ..Archive::default() };
        let gap = hole(&before, NEAR, Some(at(130)), at(140)).unwrap();
        assert_eq!((gap.began_at, gap.ended_at), (at(100), Some(at(140))));
        let after = Archive { until: Some(at(150)), ..Archive::default() };
        assert_eq!(
            hole(&after, NEAR, Some(at(130)), at(160)),
            None,
            "the new line of the log is measured"
        );
        assert_eq!(hole(&before, NEAR, None, at(140)), None);
        assert_eq!(hole(&Archive::default(), NEAR, Some(at(130)), at(140)), None);
    }

    #[test]
    fn a_refusal_is_told_until_a_piece_is_taken_again() {
        let mut samples = Samples::default();
        let refused = |second: i64| ArchiverLook {
            failed: Some(("000000010000000000000002".into(), at(second))),
            ..look(second, SIZE, "000000010000000000000001")
        };
        let one = follow(&Archive::default(), &mut samples, &refused(10));
        assert_eq!(one.failing_since, Some(at(10)));
        assert!(one.failure.contains("000000010000000000000002"));
        let two = follow(&one, &mut samples, &refused(70));
        assert_eq!(two.failing_since, Some(at(10)), "since the first");
        let taken = ArchiverLook { failed: Some((String::new(), at(70))), ..look(90, SIZE, "x") };
        let three = follow(&two, &mut samples, &taken);
        assert_eq!((three.failing_since, three.failure.as_str()), (None, ""));
    }
}
