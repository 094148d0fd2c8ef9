//! The checker of acknowledged commits: clients that write and read through the gateway while things break, and a
//! judge over what they saw. `reliability.md` c.4 is its specification.
//!
//! [`history`] is what was seen, [`verify`] judges it and is pure, [`client`] are the clients. `tests/checker` tests
//! the judge with histories that were spoiled: a checker that cannot fail proves nothing.

mod client;
mod history;
mod tls;
mod verify;

pub use client::Endpoint;
use client::Run;
use history::{Found, History, Outcome};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
pub use verify::Anomaly;

/// Clients that insert.
const CLIENTS: i32 = 8;
/// Longest wait for the last look, when all should be well again.
const LAST_LOOK: Duration = Duration::from_secs(60);

/// Clients at work.
pub struct Checker {
    run: Arc<Run>,
    inserts: Vec<JoinHandle<Vec<history::Write>>>,
    transfers: JoinHandle<u64>,
    reads: JoinHandle<Vec<history::Read>>,
}

/// What came out.
pub struct Verdict {
    history: History,
    pub anomalies: Vec<Anomaly>,
    /// Inserts that were acknowledged.
    pub acknowledged: usize,
    /// Inserts of which nobody said how they ended.
    pub unknown: usize,
    /// Inserts that were acknowledged with a warning that they may be on one host only; unknown as well.
    pub warned: usize,
    pub reads: usize,
    pub transfers: u64,
    /// The file with everything that was seen, when something is wrong.
    pub file: Option<std::path::PathBuf>,
}

impl Checker {
    /// Makes its tables and begins; `pause` lies between two writes of a client.
    ///
    /// # Errors
    /// When the server cannot be used at all.
    pub async fn start(endpoint: Endpoint, pause: Duration) -> anyhow::Result<Self> {
        let run = Arc::new(Run {
            tls: tls::Verified::new(&endpoint.root, "localhost")?,
            endpoint,
            begun: Instant::now(),
            clients: CLIENTS,
            pause,
            is_over: AtomicBool::new(false),
            tokens: Mutex::default(),
            warned: AtomicUsize::new(0),
        });
        tokio::time::timeout(LAST_LOOK, client::prepare(&run)).await??;
        let inserts = (0..CLIENTS).map(|id| tokio::spawn(client::insert(run.clone(), id)));
        Ok(Self {
            inserts: inserts.collect(),
            transfers: tokio::spawn(client::transfer(run.clone())),
            reads: tokio::spawn(client::read(run.clone())),
            run,
        })
    }

    /// The time of this run, by which [`Verdict::longest_gap`] is asked.
    pub fn now(&self) -> Duration {
        self.run.now()
    }

    /// Cancels what every inserting client is at. A commit that ends with a warning because of it counts as unknown.
    pub async fn cancel_all(&self) {
        client::cancel_all(&self.run).await;
    }

    /// Takes every connection that the server has left, each with a write that waits; a table `crowd` must be there.
    pub async fn crowd(&self) {
        client::crowd(&self.run).await;
    }

    /// Ends the clients, looks at what is there, and judges.
    ///
    /// # Errors
    /// When the server cannot be read any more.
    pub async fn finish(self) -> anyhow::Result<Verdict> {
        self.run.is_over.store(true, Ordering::Relaxed);
        let mut history = History { sum: client::SUM, ..History::default() };
        for task in self.inserts {
            history.writes.extend(task.await?);
        }
        history.transfers = self.transfers.await?;
        history.reads = self.reads.await?;
        let found = last_look(&self.run).await?;
        let warned = self.run.warned.load(Ordering::Relaxed);
        Ok(Verdict { warned, ..Verdict::of(history, &found) })
    }
}

async fn last_look(run: &Run) -> anyhow::Result<Found> {
    let begun = Instant::now();
    while begun.elapsed() < LAST_LOOK {
        if let Some((rows, sum)) = client::everything(run).await {
            return Ok(Found { rows, sum });
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    anyhow::bail!("the server cannot be read {} s after the run", LAST_LOOK.as_secs())
}

impl Verdict {
    fn of(history: History, found: &Found) -> Self {
        let anomalies = verify::verify(&history, found);
        let file = (!anomalies.is_empty()).then(|| keep(&history, found));
        Self {
            acknowledged: history.count(Outcome::Ok),
            unknown: history.count(Outcome::Unknown),
            warned: 0,
            reads: history.reads.len(),
            transfers: history.transfers,
            anomalies,
            file,
            history,
        }
    }

    /// Inserts that were acknowledged between two moments, and asked for after the first.
    pub fn acknowledged_within(&self, from: Duration, to: Duration) -> usize {
        let writes = self.history.writes.iter().filter(|write| write.outcome == Outcome::Ok);
        writes.filter(|write| write.invoked > from && write.ended < to).count()
    }

    /// Without rows that were read, are gone, and were acknowledged to nobody: a cancelled wait shows a commit early.
    pub fn but_unconfirmed_reads(&self) -> Vec<&Anomaly> {
        let is_unknown = |client, id| {
            self.history.writes.iter().any(|write| {
                (write.client, write.id, write.outcome) == (client, id, Outcome::Unknown)
            })
        };
        let counts = |anomaly: &&Anomaly| !matches!(**anomaly, Anomaly::Vanished { client, id } if is_unknown(client, id));
        self.anomalies.iter().filter(counts).collect()
    }

    /// The longest time without an acknowledged write that touches these moments.
    pub fn longest_gap(&self, from: Duration, to: Duration) -> Duration {
        self.history.longest_gap(from, to)
    }
}

/// Writes everything into a file whose name nobody has.
fn keep(history: &History, found: &Found) -> std::path::PathBuf {
    let name = format!("history-{}.txt", pgflex::clock::new_uuid());
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if let Err(error) = std::fs::write(&path, history.as_text(found)) {
        eprintln!("the history could not be kept: {error}");
    }
    path
}
