//! The clients: each does one thing at a time and goes on as soon as it can, whatever happens to its connection.

use super::history::{Outcome, Read, Row, Write};
use super::tls::Verified;
use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_postgres::error::SqlState;
use tokio_postgres::{AsyncMessage, CancelToken, Client, Config, Error};

/// Longest wait for a connection. The gateway holds clients while the primary changes, so this is not how
/// long a change takes.
const CONNECT: Duration = Duration::from_secs(3);
/// Longest wait for an answer; what comes later counts as unknown.
const ANSWER: Duration = Duration::from_secs(5);
/// Between two tries to connect.
const AGAIN: Duration = Duration::from_millis(20);
/// Accounts between which money goes.
const ACCOUNTS: i64 = 10;
/// What each account has at first.
const BALANCE: i64 = 100;
/// What all have together.
pub const SUM: i64 = ACCOUNTS * BALANCE;

/// How a server is reached: as its users do, through the gateway.
#[derive(Clone)]
pub struct Endpoint {
    pub port: u16,
    pub login: String,
    pub password: String,
    /// The root certificate, PEM.
    pub root: String,
}

/// What all clients of a run share.
pub struct Run {
    pub endpoint: Endpoint,
    pub tls: Verified,
    pub begun: Instant,
    pub clients: i32,
    /// Between two writes of one client.
    pub pause: Duration,
    pub is_over: AtomicBool,
    /// By which the statement of an inserting client is cancelled.
    pub tokens: Mutex<HashMap<i32, CancelToken>>,
    /// Inserts that ended with a warning.
    pub warned: AtomicUsize,
}

/// A session that is closed when it is dropped, also in the middle of a statement.
struct Session {
    client: Client,
    connection: JoinHandle<()>,
    /// Set by a warning that a commit was cut short: it is on the primary and perhaps nowhere else.
    warned: Arc<AtomicBool>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Run {
    pub fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }

    /// A session, or none within the time limit.
    async fn connect(&self) -> Option<Session> {
        tokio::time::timeout(CONNECT, self.open()).await.ok()?.ok()
    }

    /// A session, or what the server said; nothing when nobody said anything.
    async fn open(&self) -> Result<Session, Option<Error>> {
        let mut config = Config::new();
        config
            .user(&self.endpoint.login)
            .password(&self.endpoint.password)
            .dbname("postgres")
            .application_name("checker")
            .ssl_mode(tokio_postgres::config::SslMode::Require);
        let address = ("127.0.0.1", self.endpoint.port);
        let stream = TcpStream::connect(address).await.map_err(|_| None)?;
        let _ = stream.set_nodelay(true);
        let (client, mut connection) = config.connect_raw(stream, self.tls.clone()).await?;
        let warned = Arc::new(AtomicBool::new(false));
        let flag = warned.clone();
        // A notice is read before the answer that follows it.
        let connection = tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
                if let AsyncMessage::Notice(notice) = message
                    && notice.message().contains("synchronous replication")
                {
                    flag.store(true, Ordering::Release);
                }
            }
        });
        Ok(Session { client, connection, warned })
    }

    /// A session; tries until there is one or the run is over.
    async fn session(&self) -> Option<Session> {
        while self.goes_on() {
            if let Some(session) = self.connect().await {
                return Some(session);
            }
            tokio::time::sleep(AGAIN).await;
        }
        None
    }
}

/// Makes the tables.
pub async fn prepare(run: &Run) -> anyhow::Result<()> {
    let session = run.session().await.ok_or_else(|| anyhow::anyhow!("the run is over"))?;
    // No unique index: it would refuse the second row of a pair that this run is there to find.
    let sql = format!(
        "DROP TABLE IF EXISTS checked_rows, checked_accounts;
         CREATE TABLE checked_rows (place bigserial, client int, id bigint, filler text);
         CREATE INDEX ON checked_rows (client, id);
         CREATE TABLE checked_accounts (id bigint PRIMARY KEY, balance bigint NOT NULL);
         INSERT INTO checked_accounts SELECT id, {BALANCE} FROM generate_series(1, {ACCOUNTS}) id;"
    );
    Ok(session.client.batch_execute(&sql).await?)
}

/// What the server's answer says about a statement. A session that ends while its commit waits for a standby
/// has committed on the primary: an answer that it is being closed says nothing.
fn outcome_of(error: &Error) -> Outcome {
    let Some(answer) = error.as_db_error() else { return Outcome::Unknown };
    let is_refusal = ["22", "23", "25", "40", "42", "53", "54", "55"]
        .iter()
        .any(|class| answer.code().code().starts_with(class));
    if is_refusal { Outcome::Fail } else { Outcome::Unknown }
}

/// Inserts rows of its own, one in a transaction, until the run is over.
pub async fn insert(run: Arc<Run>, client: i32) -> Vec<Write> {
    let (mut writes, mut id) = (vec![], 0);
    while let Some(session) = run.session().await {
        run.tokens.lock().unwrap().insert(client, session.client.cancel_token());
        while run.goes_on() {
            id += 1;
            let invoked = run.now();
            // Every tenth row is so long that it is kept out of line.
            let filler = if id % 10 == 0 { 5_000 } else { 0 };
            let sql = format!(
                "INSERT INTO checked_rows (client, id, filler) SELECT {client}, {id}, string_agg(md5(n::text || {id}), '') FROM generate_series(1, {filler} / 32) n"
            );
            let answer = tokio::time::timeout(ANSWER, session.client.batch_execute(&sql)).await;
            let outcome = match &answer {
                Ok(Ok(())) if session.warned.load(Ordering::Acquire) => {
                    run.warned.fetch_add(1, Ordering::Relaxed);
                    Outcome::Unknown
                }
                Ok(Ok(())) => Outcome::Ok,
                Ok(Err(error)) => outcome_of(error),
                Err(_) => Outcome::Unknown,
            };
            writes.push(Write { client, id, invoked, ended: run.now(), outcome });
            if outcome != Outcome::Ok {
                break;
            }
            tokio::time::sleep(run.pause).await;
        }
    }
    writes
}

/// Opens sessions that write, until the server has no connection left; they stay until the run is over.
pub async fn crowd(run: &Arc<Run>) {
    loop {
        match tokio::time::timeout(CONNECT, run.open()).await {
            Ok(Ok(session)) => {
                let run = run.clone();
                tokio::spawn(async move {
                    let _ = session.client.batch_execute("INSERT INTO crowd VALUES (1)").await;
                    while run.goes_on() {
                        tokio::time::sleep(CONNECT).await;
                    }
                });
            }
            Ok(Err(Some(error))) if error.code() == Some(&SqlState::TOO_MANY_CONNECTIONS) => return,
            _ => tokio::time::sleep(AGAIN).await,
        }
    }
}

/// Cancels what every inserting client is at.
pub async fn cancel_all(run: &Run) {
    let tokens: Vec<CancelToken> = run.tokens.lock().unwrap().values().cloned().collect();
    let cancel = tokens.into_iter().map(|token| async move {
        let stream = TcpStream::connect(("127.0.0.1", run.endpoint.port)).await.ok()?;
        token.cancel_query_raw(stream, run.tls.clone()).await.ok()
    });
    let all = futures_util::future::join_all(cancel);
    let _ = tokio::time::timeout(CONNECT, all).await;
}

/// Moves money between accounts until the run is over; gives how many transfers were acknowledged.
pub async fn transfer(run: Arc<Run>) -> u64 {
    let (mut done, mut turn) = (0, 0_i64);
    while let Some(session) = run.session().await {
        while run.goes_on() {
            turn += 1;
            let (from, to) = (turn % ACCOUNTS + 1, (turn * 7 + 3) % ACCOUNTS + 1);
            let amount = turn % 5 + 1;
            let sql = format!(
                "BEGIN;
                 UPDATE checked_accounts SET balance = balance - {amount} WHERE id = {from};
                 UPDATE checked_accounts SET balance = balance + {amount} WHERE id = {to};
                 COMMIT;"
            );
            let answer = tokio::time::timeout(ANSWER, session.client.batch_execute(&sql)).await;
            if !matches!(answer, Ok(Ok(()))) {
                break;
            }
            done += 1;
            tokio::time::sleep(run.pause).await;
        }
    }
    done
}

/// Looks at what is there until the run is over.
pub async fn read(run: Arc<Run>) -> Vec<Read> {
    let sql = format!(
        "SELECT array(SELECT coalesce((SELECT max(id) FROM checked_rows WHERE client = c), 0) FROM generate_series(0, {} - 1) c),
           (SELECT sum(balance)::bigint FROM checked_accounts)",
        run.clients
    );
    let mut reads = vec![];
    while let Some(session) = run.session().await {
        while run.goes_on() {
            let started = run.now();
            let answer = tokio::time::timeout(ANSWER, session.client.query_one(&sql, &[])).await;
            let Ok(Ok(row)) = answer else { break };
            let (largest, sum) = (row.get(0), row.get(1));
            reads.push(Read { started, ended: run.now(), largest, sum });
            tokio::time::sleep(run.pause).await;
        }
    }
    reads
}

/// Everything that is there now.
pub async fn everything(run: &Run) -> Option<(Vec<Row>, i64)> {
    let session = run.connect().await?;
    let rows =
        session.client.query("SELECT client, id, place FROM checked_rows ORDER BY place", &[]);
    let rows = tokio::time::timeout(Duration::from_secs(30), rows).await.ok()?.ok()?;
    let rows = rows
        .iter()
        .map(|row| Row { client: row.get(0), id: row.get(1), place: row.get(2) })
        .collect();
    let sum = "SELECT sum(balance)::bigint FROM checked_accounts";
    let sum = tokio::time::timeout(ANSWER, session.client.query_one(sum, &[])).await.ok()?.ok()?;
    Some((rows, sum.get(0)))
}
