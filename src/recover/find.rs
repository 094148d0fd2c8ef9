//! Where backups of the store are: on engines, in the portal's own folder, in a file that a person names.

use crate::app::hosts;
use crate::config::HostConfig;
use crate::engine::docker::DockerEngine;
use crate::engine::{Engine, EngineError, EngineTls};
use crate::operations::store_backup::{all_slots, get, volume_name};
use crate::secrets::Sealer;
use crate::secrets::stream::SealedLines;
use crate::store::dump::{DumpError, Header};
use anyhow::Context;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// Backups kept in memory while the newest that is whole is looked for.
const KEPT: usize = 12;

type Connect = dyn Fn(&str) -> Result<Arc<dyn Engine>, EngineError> + Send + Sync;

/// An engine to look on.
pub struct Place {
    /// For people.
    pub name: String,
    /// The engine as an installation of this identity sees it.
    connect: Box<Connect>,
}

impl Place {
    /// A host of the configuration, with its certificates.
    ///
    /// # Errors
    /// When a file of them cannot be read or the address is not one that may be used.
    pub fn of_host(host: &HostConfig) -> anyhow::Result<Self> {
        let tls = host.tls.as_ref().map(hosts::read).transpose();
        let tls = tls.with_context(|| format!("the certificates of the host {}", host.name))?;
        let tls =
            tls.map(|tls| EngineTls { ca: tls.ca, certificate: tls.certificate, key: tls.key });
        Self::at(host.name.clone(), host.address.clone(), tls)
    }

    /// An engine by its address.
    ///
    /// # Errors
    /// When the address is not one that may be used.
    pub fn at(name: String, address: String, tls: Option<EngineTls>) -> anyhow::Result<Self> {
        DockerEngine::connect_with(&address, tls.as_ref(), "")
            .with_context(|| format!("the host {name}"))?;
        let connect = move |install: &str| -> Result<Arc<dyn Engine>, EngineError> {
            Ok(Arc::new(DockerEngine::connect_with(&address, tls.as_ref(), install)?))
        };
        Ok(Self::with(name, connect))
    }

    /// An engine that somebody else connects to.
    pub fn with(
        name: String,
        connect: impl Fn(&str) -> Result<Arc<dyn Engine>, EngineError> + Send + Sync + 'static,
    ) -> Self {
        Self { name, connect: Box::new(connect) }
    }
}

/// A backup whose beginning opens with the master key. Whether the rest does is not known yet.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// For people: which host, which file.
    pub source: String,
    pub header: Header,
    pub content: Arc<Vec<u8>>,
}

impl Candidate {
    /// What it is and from when.
    pub fn words(&self) -> String {
        let at = self.header.made_at().format("%Y-%m-%d %H:%M:%S UTC");
        format!("the backup of {at} ({})", self.source)
    }

    /// The same with what is in it.
    pub fn sentence(&self) -> String {
        let header = &self.header;
        format!(
            "{}, of pgflex {} (migration {}): {} servers, {} users, {} operations; {} KiB",
            self.words(),
            header.program,
            header.migration,
            header.rows_of("servers"),
            header.rows_of("users"),
            header.rows_of("operations"),
            self.content.len().div_ceil(1024),
        )
    }
}

/// Where to look, and with which key.
pub struct Search<'a> {
    pub sealer: &'a Sealer,
    pub places: &'a [Place],
    /// The portal's own folder of backups.
    pub folder: Option<&'a Path>,
    /// A file that a person named.
    pub file: Option<&'a Path>,
    /// The installation, where a person named it.
    pub install: Option<&'a str>,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// The newest first.
    pub candidates: Vec<Candidate>,
    /// What could not be looked at, and what did not open.
    pub notes: Vec<String>,
}

/// Looks everywhere. An engine that is silent or a file that does not open is noted and no error, except for the file
/// that a person named.
///
/// # Errors
/// When that file cannot be read or does not open, or backups of several installations were found.
pub async fn candidates(search: &Search<'_>) -> anyhow::Result<Found> {
    let mut found = Found::default();
    if let Some(path) = search.file {
        let content =
            std::fs::read(path).with_context(|| format!("the file {}", path.display()))?;
        found.take(search, format!("the file {}", path.display()), content).map_err(|error| {
            anyhow::anyhow!("the file {}: {error}. Nothing was changed", path.display())
        })?;
    }
    if let Some(folder) = search.folder {
        for slot in all_slots(search.sealer) {
            let path = folder.join(slot);
            if let Ok(content) = std::fs::read(&path) {
                found.try_take(search, &format!("the file {}", path.display()), content);
            }
        }
    }
    for place in search.places {
        if let Err(error) = look_at(search, place, &mut found).await {
            found.notes.push(format!("Host {}: {error}. It was not looked at.", place.name));
        }
    }
    let installs: BTreeSet<&str> =
        found.candidates.iter().map(|found| found.header.install_id.as_str()).collect();
    if installs.len() > 1 {
        let all = installs.into_iter().collect::<Vec<_>>().join(", ");
        anyhow::bail!(
            "backups of several installations open with this master key: {all}. Name one with --install. Nothing was changed"
        );
    }
    Ok(found)
}

async fn look_at(search: &Search<'_>, place: &Place, found: &mut Found) -> Result<(), EngineError> {
    let nobody = (place.connect)("")?;
    for install in nobody.installations().await? {
        if search.install.is_some_and(|wanted| wanted != install) {
            continue;
        }
        let engine = (place.connect)(&install)?;
        for slot in all_slots(search.sealer) {
            match get(&*engine, &install, &slot).await {
                Ok(Some(content)) => {
                    found.try_take(search, &format!("host {}, {slot}", place.name), content);
                }
                Ok(None) => {}
                Err(error) => found.notes.push(format!("Host {}, {slot}: {error}.", place.name)),
            }
        }
    }
    Ok(())
}

impl Found {
    fn try_take(&mut self, search: &Search<'_>, source: &str, content: Vec<u8>) {
        if let Err(error) = self.take(search, source.to_owned(), content) {
            self.notes.push(format!("{source}: {error}. Passed over."));
        }
    }

    fn take(
        &mut self,
        search: &Search<'_>,
        source: String,
        content: Vec<u8>,
    ) -> Result<(), DumpError> {
        let header = header(search.sealer, &content)?;
        let is_wanted = search.install.is_none_or(|install| install == header.install_id);
        let is_known = self.candidates.iter().any(|known| *known.content == content);
        if is_wanted && !is_known {
            self.candidates.push(Candidate { source, header, content: Arc::new(content) });
            self.candidates.sort_by_key(|found| std::cmp::Reverse(found.header.made_at));
            self.candidates.truncate(KEPT);
        }
        Ok(())
    }
}

fn header(sealer: &Sealer, content: &[u8]) -> Result<Header, DumpError> {
    let unreadable =
        |error: crate::secrets::stream::StreamError| DumpError::Unreadable(error.to_string());
    let first = SealedLines::new(sealer, content).map_err(unreadable)?.next();
    Header::parse(&first.ok_or(DumpError::Header)?.map_err(unreadable)?)
}

/// Where an installation has a volume of backups of its store, of whatever key. Only a backup makes one.
///
/// # Errors
/// When an engine does not answer.
pub async fn backups_of_store(places: &[Place], install: &str) -> anyhow::Result<Vec<String>> {
    let mut found = vec![];
    let volume = volume_name(install);
    for place in places {
        let engine = (place.connect)(install)?;
        let there = engine.has_volume(&volume).await;
        if there.with_context(|| format!("the host {}. Nothing was changed", place.name))? {
            found.push(format!("host {}, volume {volume}", place.name));
        }
    }
    Ok(found)
}

/// The portal's own folder of backups, where there is anything in it.
pub fn backups_in(folder: &Path) -> Option<String> {
    let mut entries = std::fs::read_dir(folder).ok()?;
    entries.next().map(|_| format!("the folder {}", folder.display()))
}

/// Installations that have objects on engines.
#[derive(Debug, Default)]
pub struct Installs {
    pub all: BTreeSet<String>,
    pub notes: Vec<String>,
}

impl Installs {
    /// The only one.
    ///
    /// # Errors
    /// When there is none or more than one.
    pub fn one(&self) -> anyhow::Result<String> {
        let all: Vec<&str> = self.all.iter().map(String::as_str).collect();
        match all.as_slice() {
            [one] => Ok((*one).to_owned()),
            [] => anyhow::bail!("no engine has anything of pgflex. Nothing was changed"),
            many => anyhow::bail!(
                "the engines have objects of several installations: {}. Name yours with --install. Nothing was changed",
                many.join(", ")
            ),
        }
    }
}

/// Asks every engine whose objects it has. One that is silent stops the search: servers on it would be missing afterwards.
///
/// # Errors
/// When an engine does not answer.
pub async fn installations(places: &[Place], wanted: Option<&str>) -> anyhow::Result<Installs> {
    let mut installs = Installs::default();
    for place in places {
        let nobody = (place.connect)("")?;
        let found = nobody.installations().await.with_context(|| {
            format!("the host {} must answer, or its servers would be missing afterwards. Nothing was changed", place.name)
        })?;
        installs.notes.push(format!("Host {}: {} installations.", place.name, found.len()));
        installs.all.extend(found.into_iter().filter(|id| wanted.is_none_or(|one| one == id)));
    }
    Ok(installs)
}
