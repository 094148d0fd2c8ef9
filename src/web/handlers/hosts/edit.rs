//! Hosts that owners add, change and take away here. The host is written; the monitor then looks at it, and its card
//! says what its engine answers. Certificates go in and never come out again.

use crate::clock::new_id;
use crate::domain::host::{Host, HostOrigin, Place};
use crate::domain::ids::HostId;
use crate::domain::refusal::Refusal;
use crate::domain::region::Region;
use crate::operations::host_entry::{self, Certificates, HostWish};
use crate::store::Record;
use crate::store::hosts::{HostEntry, MembersOn};
use crate::web::error::{PageError, PageResult};
use crate::web::flash::Flash;
use crate::web::form::{FormState, Posted};
use crate::web::page::{self, Layout, Nav};
use crate::web::paths;
use crate::web::visit::{Owner, Signed};
use actix_web::web::Path;
use askama::Template;

/// Places that one host may serve by name; all of them need none.
const PLACES_MAX: usize = 200;

#[derive(Template)]
#[template(path = "hosts/edit.html")]
struct EditPage {
    layout: Layout,
    f: FormState,
    /// `None` for a new one.
    host: Option<Host>,
    /// Members on it now: with any it cannot be removed.
    members: MembersOn,
    /// Region keys with their zones, for the hint.
    regions: String,
}

impl EditPage {
    fn action(&self) -> String {
        self.host.as_ref().map_or_else(paths::host_new, |host| paths::host_edit(&host.id))
    }

    fn remove_action(&self) -> String {
        self.host.as_ref().map(|host| paths::host_remove(&host.id)).unwrap_or_default()
    }

    /// Whether the form is for this host: one of the file is changed in the file.
    fn is_here(&self) -> bool {
        self.host.as_ref().is_none_or(|host| host.origin == HostOrigin::Portal)
    }

    fn has_tls(&self) -> bool {
        self.host.as_ref().is_some_and(|host| host.has_tls)
    }

    /// Why it cannot be removed; empty when it can.
    fn why_kept(&self) -> String {
        why_kept(self.members)
    }
}

fn why_kept(members: MembersOn) -> String {
    match (members.all, members.beside) {
        (0, _) => String::new(),
        (1, 0) => "One server has a member on it. Delete that server first.".into(),
        (1, _) => {
            "One server has its standby on it. Disable high availability of that server first."
                .into()
        }
        (n, 0) => format!("{n} members of servers are on it. Delete those servers first."),
        (n, beside) if n == beside => format!(
            "{n} servers have their standbys on it. Disable high availability of those servers first."
        ),
        (n, beside) => format!(
            "{n} members of servers are on it, {beside} of them standbys. Disable high availability of the servers with a standby on it, and delete the others first."
        ),
    }
}

/// `GET /hosts/new`
pub async fn new(visit: Signed<Owner>) -> PageResult {
    visit.require_recent_password(&paths::host_new())?;
    page::ok(&edit_page(&visit, FormState::new(), None).await?)
}

/// `POST /hosts/new`
pub async fn add(visit: Signed<Owner>, posted: Posted) -> PageResult {
    visit.require_recent_password(&paths::host_new())?;
    let mut f = FormState::keep(&posted);
    let read = wish(&posted, posted.text(host_entry::NAME), &visit.state.config.regions);
    let read = read.and_then(|wish| host_entry::check(&visit.state.sealer, wish, None));
    let Some(entry) = f.check(read) else {
        return page::invalid(&edit_page(&visit, f, None).await?);
    };
    let id = new_id(HostId::parse);
    let mut tx = visit.state.store.begin_write(visit.now).await?;
    match tx.insert_host(&id, &entry).await {
        Err(error) if error.is_unique_violation() => {
            drop(tx);
            let text = format!("There is a host named {} already.", entry.name);
            f.refuse(Refusal::at(host_entry::NAME, text));
            return page::invalid(&edit_page(&visit, f, None).await?);
        }
        other => other?,
    }
    let mut line = visit.activity("host.add", &entry.name);
    line.detail = detail(&entry);
    tx.commit(Record::activity(line)).await?;
    visit.state.poke.hosts();
    let text = format!(
        "Host {} is added. Its engine is asked now; what it answers stands on its card within seconds.",
        entry.name
    );
    page::see_with(&visit, &paths::host(&id), &Flash::done(text))
}

/// `GET /hosts/{id}/edit`
pub async fn edit(visit: Signed<Owner>, id: Path<String>) -> PageResult {
    let host = find(&visit, &id).await?;
    visit.require_recent_password(&paths::host_edit(&host.id))?;
    let lines: Vec<String> =
        host.places.iter().map(|place| format!("{} {}", place.region, place.zone)).collect();
    let f = FormState::new()
        .with(host_entry::ADDRESS, &host.address)
        .with(
            host_entry::MEMBER_ADDRESS,
            host.member_address.map_or(String::new(), |ip| ip.to_string()),
        )
        .with("places", lines.join("\n"))
        .with("version", host.version.to_string());
    page::ok(&edit_page(&visit, f, Some(host)).await?)
}

/// `POST /hosts/{id}/edit`
pub async fn save(visit: Signed<Owner>, id: Path<String>, posted: Posted) -> PageResult {
    let host = find(&visit, &id).await?;
    visit.require_recent_password(&paths::host_edit(&host.id))?;
    if host.origin == HostOrigin::File {
        return page::see_with(&visit, &paths::host(&host.id), &Flash::info(OF_THE_FILE));
    }
    let mut f = FormState::keep(&posted);
    let kept = visit.state.store.sealed_tls(&host.id).await?;
    let read = wish(&posted, &host.name, &visit.state.config.regions);
    let read = read.and_then(|wish| host_entry::check(&visit.state.sealer, wish, kept.as_deref()));
    let Some(entry) = f.check(read) else {
        return page::invalid(&edit_page(&visit, f, Some(host)).await?);
    };
    let is_same_engine = match is_same_engine(&visit, &host, &entry).await? {
        Ok(is_same) => is_same,
        Err(refusal) => {
            f.refuse(refusal);
            return page::invalid(&edit_page(&visit, f, Some(host)).await?);
        }
    };
    let seen = Host { version: posted.text("version").parse().unwrap_or(0), ..host.clone() };
    if let Err(refusal) = write(&visit, &seen, &entry, is_same_engine).await? {
        f.refuse(refusal);
        return page::invalid(&edit_page(&visit, f, Some(host)).await?);
    }
    visit.state.poke.hosts();
    let text = format!("Host {} is changed. Its engine is asked anew within seconds.", host.name);
    page::see_with(&visit, &paths::host(&host.id), &Flash::done(text))
}

/// `POST /hosts/{id}/remove`
pub async fn remove(visit: Signed<Owner>, id: Path<String>) -> PageResult {
    let host = find(&visit, &id).await?;
    visit.require_recent_password(&paths::host_edit(&host.id))?;
    let mut tx = visit.state.store.begin_write(visit.now).await?;
    tx.lock_placement().await?;
    let members = tx.count_members_on(&host.id).await?;
    if members.all > 0 {
        drop(tx);
        let text = format!("Nothing was changed: servers are on this host. {}", why_kept(members));
        return page::see_with(&visit, &paths::host(&host.id), &Flash::info(text));
    }
    if !tx.delete_host(&host.id).await? {
        drop(tx);
        return page::see_with(&visit, &paths::host(&host.id), &Flash::info(OF_THE_FILE));
    }
    let mut line = visit.activity("host.remove", &host.name);
    line.detail = host.address.clone();
    tx.commit(Record::activity(line)).await?;
    visit.state.poke.hosts();
    let text =
        format!("Host {} is removed from pgflex. Nothing on the machine was touched.", host.name);
    page::see_with(&visit, &paths::hosts(), &Flash::done(text))
}

const OF_THE_FILE: &str = "Nothing was changed: this host is named in the configuration file. Change or remove it there, then start pgflex again.";

/// Writes a changed host unless it was changed meanwhile, or members are published where it was reached.
async fn write(
    visit: &Signed<Owner>,
    seen: &Host,
    entry: &HostEntry,
    is_same_engine: bool,
) -> Result<Result<(), Refusal>, PageError> {
    let mut tx = visit.state.store.begin_write(visit.now).await?;
    tx.lock_placement().await?;
    let members = tx.count_members_on(&seen.id).await?;
    if !is_same_engine && members.all > 0 {
        let text = "A server was placed on this host just now. Save again.";
        return Ok(Err(Refusal::at(host_entry::ADDRESS, text)));
    }
    if entry.member_address != seen.member_address && members.all > 0 {
        let text = "Servers are on this host and are published at its address; it cannot change while they are.";
        return Ok(Err(Refusal::at(host_entry::MEMBER_ADDRESS, text)));
    }
    if !tx.update_host(seen, entry).await? {
        let text = "Somebody else changed this host meanwhile. Open the form again.";
        return Ok(Err(Refusal::whole(text)));
    }
    let mut line = visit.activity("host.change", &entry.name);
    line.detail = detail(entry);
    tx.commit(Record::activity(line)).await?;
    Ok(Ok(()))
}

/// Whether the address leads to the engine that the host is on; it need not while no member is there. With members it
/// must: they would all look lost, and every pair on the host would fail over.
async fn is_same_engine(
    visit: &Signed<Owner>,
    host: &Host,
    entry: &HostEntry,
) -> Result<Result<bool, Refusal>, PageError> {
    let store = &visit.state.store;
    if entry.address == host.address {
        return Ok(Ok(true));
    }
    if store.count_members_on(&host.id).await?.all == 0 {
        return Ok(Ok(false));
    }
    let looks = store.host_observations().await?;
    let look = looks.into_iter().find(|look| look.host_id == host.id);
    let known = look.and_then(|look| look.facts).map(|(_, facts)| facts.engine_id);
    let reason = match host_entry::engine_id(&visit.state.sealer, entry).await {
        Ok(found) if Some(&found) == known.as_ref() => return Ok(Ok(true)),
        Ok(_) => "Another Docker Engine answers at this address, not the one that the servers of this host are on. Give the address of that engine. For a new engine add a host of its own.".to_owned(),
        Err(error) => format!(
            "Servers are on this host, so the engine at the new address must be the same one, and it cannot be asked now: {error}. Save again when it answers."
        ),
    };
    Ok(Err(Refusal::at(host_entry::ADDRESS, format!("Nothing was changed. {reason}"))))
}

/// What the activity log says of a host: no certificate, but whether there are any.
fn detail(entry: &HostEntry) -> String {
    let tls = if entry.sealed_tls.is_some() { "with certificates" } else { "without certificates" };
    let member = entry.member_address.map_or(String::new(), |ip| format!(", members at {ip}"));
    format!("{} {tls}{member}", entry.address)
}

fn wish(posted: &Posted, name: &str, regions: &[Region]) -> Result<HostWish, Refusal> {
    let part = |name| posted.text(name).to_owned();
    let (ca, certificate, key) =
        (part("tls_ca"), part("tls_certificate"), posted.secret("tls_key"));
    let given =
        [&*ca, &*certificate, key.reveal().trim()].iter().filter(|text| !text.is_empty()).count();
    let tls = match given {
        0 => None,
        3 => Some(Certificates { ca, certificate, key }),
        _ => {
            let text = "CA, certificate and key come together: give all three, or none.";
            return Err(Refusal::at(host_entry::CERTIFICATES, text));
        }
    };
    Ok(HostWish {
        name: name.to_owned(),
        address: part(host_entry::ADDRESS),
        member_address: part(host_entry::MEMBER_ADDRESS),
        places: places(posted.text("places"), regions)?,
        tls,
    })
}

/// One place a line: region and zone.
fn places(text: &str, regions: &[Region]) -> Result<Vec<Place>, Refusal> {
    let mut places: Vec<Place> = vec![];
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let wrong = || {
            let line: String = line.chars().take(80).collect();
            Refusal::at(
                "places",
                format!("“{line}” is no region and zone of this portal, such as westeurope 1."),
            )
        };
        let (region, zone) = line.split_once(char::is_whitespace).ok_or_else(wrong)?;
        let zone = zone.trim();
        let known = regions.iter().find(|known| known.key == region).ok_or_else(wrong)?;
        if !known.zones.iter().any(|known| known == zone) || places.len() >= PLACES_MAX {
            return Err(wrong());
        }
        let place = Place { region: region.into(), zone: zone.into() };
        if !places.contains(&place) {
            places.push(place);
        }
    }
    Ok(places)
}

async fn find(visit: &Signed<Owner>, id: &str) -> Result<Host, PageError> {
    let id = HostId::parse(id).ok_or(PageError::NotFound)?;
    visit.state.store.host(&id).await?.ok_or(PageError::NotFound)
}

async fn edit_page(
    visit: &Signed<Owner>,
    f: FormState,
    host: Option<Host>,
) -> Result<EditPage, PageError> {
    let members = match &host {
        Some(host) => visit.state.store.count_members_on(&host.id).await?,
        None => MembersOn::default(),
    };
    let region = |region: &Region| format!("{} {}", region.key, region.zones.join("/"));
    let regions: Vec<String> = visit.state.config.regions.iter().map(region).collect();
    let title = host.as_ref().map_or("Add a host".into(), |host| format!("Host {}", host.name));
    let layout = visit.layout(title, Nav::Hosts);
    Ok(EditPage { layout, f, host, members, regions: regions.join(", ") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::region::default_regions;

    #[test]
    fn what_keeps_a_host_is_what_is_to_be_done() {
        let kept = |all, beside| why_kept(MembersOn { all, beside });
        assert_eq!(kept(0, 0), "");
        assert!(kept(1, 0).contains("Delete that server"));
        assert!(kept(1, 1).contains("Disable high availability") && !kept(1, 1).contains("elete"));
        assert!(kept(2, 2).contains("Disable high availability") && !kept(2, 2).contains("elete"));
        assert!(
            kept(3, 1).contains("1 of them standbys") && kept(3, 1).contains("delete the others")
        );
    }

    #[test]
    fn places_are_lines_of_known_zones() {
        let regions = default_regions();
        let read = places(" westeurope 1 \n\nwesteurope\t2\nwesteurope 1\n", &regions).unwrap();
        assert_eq!(read.len(), 2);
        assert!(places("", &regions).unwrap().is_empty());
        for bad in ["westeurope", "westeurope 9", "nowhere 1", "westeurope 1 2"] {
            assert_eq!(places(bad, &regions).unwrap_err().field, Some("places"), "{bad}");
        }
    }
}
