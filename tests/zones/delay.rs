//! A detour that takes time: this kernel has no `netem`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Passes connections on, each byte so much later; both ways.
pub struct Delay {
    pub port: u16,
    millis: Arc<AtomicU64>,
    passed: Arc<AtomicUsize>,
}

impl Delay {
    /// Listens at an address of this machine for as long as the story runs.
    pub async fn start(here: &str, to: (&str, u16)) -> Self {
        let listener = TcpListener::bind((here, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (millis, passed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicUsize::new(0)));
        let to = (to.0.to_owned(), to.1);
        let (shared, count) = (millis.clone(), passed.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(pass(client, to.clone(), shared.clone()));
            }
        });
        Self { port, millis, passed }
    }

    /// From now on.
    pub fn set(&self, delay: Duration) {
        self.millis.store(u64::try_from(delay.as_millis()).unwrap(), Ordering::Relaxed);
    }

    /// Waits until somebody came this way.
    pub async fn is_used(&self) {
        let used = async {
            while self.passed.load(Ordering::Relaxed) == 0 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let used = tokio::time::timeout(Duration::from_secs(60), used).await;
        assert!(used.is_ok(), "nobody came this way");
    }
}

async fn pass(client: TcpStream, to: (String, u16), millis: Arc<AtomicU64>) {
    let Ok(server) = TcpStream::connect(to).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::join!(
        later(from_client, to_server, millis.clone()),
        later(from_server, to_client, millis)
    );
}

async fn later(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    millis: Arc<AtomicU64>,
) {
    let (queue, mut due) = mpsc::channel::<(Instant, Vec<u8>)>(10_000);
    let read = async move {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let delay = Duration::from_millis(millis.load(Ordering::Relaxed));
            if queue.send((Instant::now() + delay, buffer[..count].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let write = async move {
        while let Some((at, bytes)) = due.recv().await {
            tokio::time::sleep_until(at).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    };
    tokio::join!(read, write);
}
