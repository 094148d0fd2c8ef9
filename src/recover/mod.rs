//! `pgflex recover`: the portal's own store on a fresh host, from a backup of it or, failing any, from the labels on the engines.
//!
//! The containers of servers go on all the while. Nothing here starts, stops, makes or removes one: only rows are written, into an empty
//! database, and until the last of them the portal refuses to start on it.

pub mod adopt;
pub mod find;
mod labels;
pub mod pairs;
pub mod rebuild;

use crate::app::{self, App};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, ServeArgs};
use crate::operations::context::Services;
use crate::operations::store_backup::FOLDER;
pub use crate::operations::store_backup::verify;
use crate::secrets::Sealer;
use crate::secrets::stream::SealedLines;
use crate::store::Store;
use crate::store::dump::{self, Checked, DumpError};
use anyhow::Context;
use clap::Args;
use find::{Candidate, Place, Search};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Settings of `pgflex recover`, beside those of `pgflex serve`.
#[derive(Debug, Clone, Args)]
pub struct RecoverArgs {
    #[command(flatten)]
    pub serve: Box<ServeArgs>,
    /// A backup of the store as a file, beside those on the engines.
    #[arg(long)]
    pub from: Option<PathBuf>,
    /// A further Docker Engine to look on: unix:///… or tcp:// to a loopback address. Engines behind TLS are named in the configuration
    /// file, with their certificates.
    #[arg(long = "host")]
    pub hosts: Vec<String>,
    /// Identity of the installation, where backups or labels of several are found.
    #[arg(long)]
    pub install: Option<String>,
    /// Without any backup: write the store anew from the labels on the engines. Accounts, rules, history and certificates are lost.
    #[arg(long)]
    pub from_labels: bool,
    /// With --from-labels: although backups of the portal's store exist, which would bring back more.
    #[arg(long, requires = "from_labels")]
    pub even_though_backups_exist: bool,
    /// A host, by its name, that is lost for good: members on it count as gone, and nobody waits to look at them. If one of them was
    /// the primary, commits that only it had are lost.
    #[arg(long = "without-host")]
    pub without_hosts: Vec<String>,
    /// Only says what there is.
    #[arg(long)]
    pub look: bool,
}

/// Runs the command; says on standard output what it finds and does.
///
/// # Errors
/// When nothing can be recovered. The text says what was left as it was.
pub async fn run(args: RecoverArgs) -> anyhow::Result<()> {
    let config = Config::load((*args.serve).clone())?;
    app::make_private_folder(&config)?;
    let places = places(&config, &args.hosts)?;
    if args.from_labels {
        return from_labels(config, &args, &places).await;
    }
    let sealer = open_key(&config.args.data)?;
    let folder = config.args.data.join(FOLDER);
    let search = Search {
        sealer: &sealer,
        places: &places,
        folder: Some(&folder),
        file: args.from.as_deref(),
        install: args.install.as_deref(),
    };
    let found = find::candidates(&search).await?;
    found.notes.iter().for_each(|note| println!("  {note}"));
    let chosen = choose(&sealer, &found.candidates)?;
    println!("Found: {}", chosen.0.sentence());
    if args.look {
        println!("Nothing was written: --look.");
        return Ok(());
    }
    from_backup(config, &sealer, chosen, &args.without_hosts).await
}

/// The key that the backup was sealed with. A new one would open nothing, so none is made.
fn open_key(data: &Path) -> anyhow::Result<Sealer> {
    let path = data.join("master.key");
    if !path.exists() {
        anyhow::bail!(
            "the master key {} is not there, and without it no backup opens. Nothing was changed. \
             Put the copy that you keep elsewhere there (mode 0400), or name its folder with --data.",
            path.display()
        );
    }
    Sealer::from_file(&path).context("the master key cannot be used")
}

fn places(config: &Config, further: &[String]) -> anyhow::Result<Vec<Place>> {
    let mut places = vec![];
    for host in &config.hosts {
        places.push(Place::of_host(host)?);
    }
    for address in further {
        places.push(Place::at(address.clone(), address.clone(), None)?);
    }
    Ok(places)
}

/// The newest that is whole. One that is not is said and passed over.
fn choose<'a>(
    sealer: &Sealer,
    candidates: &'a [Candidate],
) -> anyhow::Result<(&'a Candidate, Checked)> {
    for candidate in candidates {
        match verify(sealer, &candidate.content) {
            Ok(checked) => return Ok((candidate, checked)),
            Err(error) => println!("  {}: {error}. Passed over.", candidate.source),
        }
    }
    anyhow::bail!(
        "no backup of the store that opens with this master key and is whole was found. Nothing was changed. \
         Name a file with --from, further engines with --host, or, where there is none at all, use --from-labels."
    )
}

/// Fills an empty database from a backup that was verified.
///
/// # Errors
/// When the database is not empty or refuses; then nothing of the backup is in it.
pub async fn load(
    url: &str,
    sealer: &Sealer,
    file: &[u8],
    checked: &Checked,
) -> Result<Store, DumpError> {
    let store = Store::open_empty(url, checked.header.migration).await?;
    let lines = SealedLines::new(sealer, file);
    let lines = lines.map_err(|error| DumpError::Unreadable(error.to_string()))?;
    store.load(SystemClock.now(), checked, lines).await?;
    store.migrate().await?;
    Ok(store)
}

async fn from_backup(
    config: Config,
    sealer: &Sealer,
    (chosen, checked): (&Candidate, Checked),
    lost: &[String],
) -> anyhow::Result<()> {
    let store = load(&config.database_url(), sealer, &chosen.content, &checked)
        .await
        .map_err(with_causes)
        .context("the store was not recovered. No portal starts on what is in the database now; name an empty one for the next try")?;
    println!("Every row is back: {} rows in {} tables.", checked.rows, checked.header.tables.len());
    let app = App::assemble(config, store).await?;
    let services = app.services().await?;
    println!("Looking at the hosts:");
    adopt::adopt_without(&services, lost).await?.iter().for_each(|line| println!("  {line}"));
    println!(
        "Accounts, roles, locks and retention are those of that moment: what was taken from somebody since is back. Look through them. Open invitations have expired."
    );
    finish(&services, &chosen.words()).await
}

async fn from_labels(config: Config, args: &RecoverArgs, places: &[Place]) -> anyhow::Result<()> {
    let installs = find::installations(places, args.install.as_deref()).await?;
    installs.notes.iter().for_each(|note| println!("  {note}"));
    let install_id = installs.one()?;
    println!("Found: objects of the installation {install_id}");
    let mut backups = find::backups_of_store(places, &install_id).await?;
    backups.extend(find::backups_in(&config.args.data.join(FOLDER)));
    for found in &backups {
        println!("Found: backups of the portal's own store: {found}");
    }
    if args.look {
        println!("Nothing was written: --look.");
        return Ok(());
    }
    if !backups.is_empty() && !args.even_though_backups_exist {
        anyhow::bail!(
            "backups of the portal's own store are there: {}. They bring back accounts, rules and keys, which labels do not. Nothing was changed. \
             Use pgflex recover without --from-labels, with the master key of the lost portal. Where that key is lost, or no backup opens, give --even-though-backups-exist.",
            backups.join(", ")
        );
    }
    let key = config.args.data.join("master.key");
    let had_key = key.exists();
    let ports = config.args.gateway_ports;
    let store = Store::open_empty(&config.database_url(), dump::latest_migration())
        .await
        .map_err(with_causes)?;
    let now = SystemClock.now();
    store.begin_recovery(now).await?;
    store.setting_or_insert(now, "install_id", &install_id).await?;
    let app = App::assemble(config, store).await?;
    let services = app.services().await?;
    rebuild::rebuild(&services, ports).await?.iter().for_each(|line| println!("  {line}"));
    if !had_key {
        println!(
            "A new master key was made: {}. Keep a copy of it elsewhere, now. What was sealed with the old one stays where it is and opens with the old one only.",
            key.display()
        );
    }
    println!("{}", rebuild::LOST);
    finish(&services, "the labels on the engines").await
}

async fn finish(services: &Arc<Services>, source: &str) -> anyhow::Result<()> {
    let settled = services.store.settle_recovery(services.clock.now(), source).await?;
    if settled.made > 0 {
        println!(
            "{} servers were being created. They are marked Failed: repair them, or delete them.",
            settled.made
        );
    }
    if settled.parked > 0 {
        println!(
            "{} changes were under way. They wait for your decision: see Operations.",
            settled.parked
        );
    }
    if settled.ended > 0 {
        println!("{} other operations that were under way were ended.", settled.ended);
    }
    services.store.close().await;
    println!(
        "Recovered from {source}. Start the portal with pgflex serve and the same settings. Everybody signs in again."
    );
    Ok(())
}

fn with_causes(error: DumpError) -> anyhow::Error {
    anyhow::Error::new(error)
}
