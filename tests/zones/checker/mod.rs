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
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
        Ok(Verdict::of(history, &found))
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
            reads: history.reads.len(),
            transfers: history.transfers,
            anomalies,
            file,
            history,
        }
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
