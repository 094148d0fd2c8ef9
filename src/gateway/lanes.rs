//! Threads of the data path. A connection stays on one of them for life, with its sockets in that thread's own
//! event loop: no task moves between cores, and pages that compute do not delay bytes.

use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// The threads. Dropping them ends every connection.
pub struct Lanes {
    lanes: Vec<(Handle, oneshot::Sender<()>)>,
    next: AtomicUsize,
}

impl Lanes {
    /// Starts `count` threads, at least one.
    ///
    /// # Errors
    /// When the system gives no thread or no event loop.
    pub fn start(count: usize) -> io::Result<Self> {
        let lanes = (0..count.max(1)).map(lane).collect::<io::Result<_>>()?;
        Ok(Self { lanes, next: AtomicUsize::new(0) })
    }

    /// Runs a connection on the next thread in turn.
    pub fn spawn(&self, connection: impl Future<Output = ()> + Send + 'static) {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.lanes.len();
        self.lanes[turn].0.spawn(connection);
    }
}

fn lane(number: usize) -> io::Result<(Handle, oneshot::Sender<()>)> {
    let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
    let handle = runtime.handle().clone();
    let (stop, stopped) = oneshot::channel::<()>();
    std::thread::Builder::new().name(format!("gateway-{number}")).spawn(move || {
        // Ends when the sender is dropped; the runtime then drops its tasks and their sockets.
        let _ = runtime.block_on(stopped);
    })?;
    Ok((handle, stop))
}
