//! The data path: bytes from client to server and back, without a look at them.
//!
//! One `recv` and one `send` for each message and about half an `epoll_wait` (seen with strace): the reading
//! goes through tokio's `poll_read`, which after a short read waits for the next event without
//! asking the kernel again, as `try_read` would.
//!
//! Measured on two cores shared by client, gateway, server and other work, so only runs next to each
//! other may be compared: pgbench -S over TLS to PostgreSQL 15 on the same machine, 5 s a run. CPU
//! is user + sys of the proxy's process for each transaction.
//!
//! | run next to each other | 1 client | 4 clients | 16 clients |
//! |---|---|---|---|
//! | direct | 7,800-9,700 tps, 0.10-0.13 ms | 32,500-34,500 tps, 0.12 ms | 32,000-34,800 tps, 0.5 ms |
//! | this, one thread | 7,300-8,100 tps, 0.12-0.14 ms, 34-38 us | 21,500 tps, 0.19 ms, 17 us | 25,400-27,900 tps, 0.6 ms, 12-13 us |
//! | this, two threads | 7,400-8,300 tps, 0.12-0.14 ms, 34-40 us | 19,100-19,900 tps, 0.2 ms, 18-21 us | 24,600-25,000 tps, 0.65 ms, 14-17 us |
//! | HAProxy 2.6, two threads | 7,400-7,900 tps, 0.13-0.14 ms, 37-38 us | 19,500-20,200 tps, 0.2 ms, 20 us | 26,900-27,700 tps, 0.6 ms, 13 us |
//!
//! | run next to each other | 1 client | 4 clients | 16 clients |
//! |---|---|---|---|
//! | this, one thread | 12,100 tps, 19 us | 20,100 tps, 18 us | 26,200 tps, 12 us |
//! | the engine's docker-proxy | 10,600 tps, 37 us | 16,400 tps, 31 us | 19,300 tps, 26 us |
//!
//! So it is level with HAProxy, with a little less CPU at few clients, and ahead of the engine's own proxy
//! at half its CPU. Most of the CPU is the kernel's TCP; our own share is 1.5-6 us. How near to direct it
//! comes where everybody has a core of their own could not be measured here. A new connection each time (-C,
//! 4 clients, busy machine): direct 18-27 ms, this 23-25 ms, HAProxy 25-32 ms.
//!
//! Tried and left out:
//! - `splice(2)` through a pipe once reads fill the buffer: 2 GB of COPY took 0.43-0.60 s of CPU per GB
//!   beside 0.44-0.64 s with copying, at 5-35 % less throughput, for two more descriptors in each
//!   direction (HAProxy with `splice-auto`: 0.46-0.53 s). Small messages never get there.
//! - sockmap (`SK_SKB` verdict, a C prototype; BPF is allowed to root here): no CPU in the gateway, but
//!   the kernel's worker threads send instead: 16,100-26,100 tps with 8 clients beside 17,500-23,000
//!   here, and the CPU of the whole machine per transaction was 76-129 us beside 75-120 us.
//!   It would need BPF rights and code that this crate forbids.
//! - Address translation after admission (iptables DNAT): about as fast as direct (16,400-34,700 tps with 4 clients
//!   where direct had 15,900-26,100). Not taken: kernel rules outlive the process that made them. A gateway that died would
//!   go on forwarding under an old epoch and old rules, with nobody to fence it; here its death closes every
//!   connection. It also needs NET_ADMIN in the host's own network, cannot serve the shared port,
//!   and neither counts connections nor sees CancelRequests.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

/// Bytes moved by one read, at most.
const SCRATCH_BYTES: usize = 64 * 1024;

thread_local! {
    /// One buffer for all connections of a thread: a connection owns memory only while its receiver is slow.
    static SCRATCH: RefCell<Box<[u8; SCRATCH_BYTES]>> = RefCell::new(Box::new([0; SCRATCH_BYTES]));
}

/// One direction of a connection.
struct Flow<'a> {
    from: ReadHalf<'a>,
    to: WriteHalf<'a>,
    /// What the receiver had no room for.
    left: Vec<u8>,
    sent: usize,
    ended: bool,
    done: bool,
}

impl<'a> Flow<'a> {
    fn new(from: ReadHalf<'a>, to: WriteHalf<'a>) -> Self {
        Self { from, to, left: Vec::new(), sent: 0, ended: false, done: false }
    }

    /// Moves what can be moved now. Ready when the sender has ended and the receiver was told so.
    fn poll(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<io::Result<()>> {
        while !self.done {
            ready!(self.poll_left(cx))?;
            if self.ended {
                ready!(Pin::new(&mut self.to).poll_shutdown(cx))?;
                self.done = true;
                break;
            }
            let mut buffer = ReadBuf::new(scratch);
            if Pin::new(&mut self.from).poll_read(cx, &mut buffer)?.is_pending() {
                self.left = Vec::new();
                return Poll::Pending;
            }
            let read = buffer.filled();
            self.ended = read.is_empty();
            let mut at = 0;
            while at < read.len() {
                match Pin::new(&mut self.to).poll_write(cx, &read[at..])? {
                    Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    Poll::Ready(written) => at += written,
                    Poll::Pending => {
                        self.left.extend_from_slice(&read[at..]);
                        return Poll::Pending;
                    }
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.left.len() {
            let left = &self.left[self.sent..];
            match ready!(Pin::new(&mut self.to).poll_write(cx, left))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.sent += written,
            }
        }
        self.left.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }
}

/// Copies both ways until both sides have ended or one fails. The end of one side is passed on to
/// the other, which may go on sending.
///
/// # Errors
/// When a socket fails; both sides are to be closed then.
pub async fn relay(client: &mut TcpStream, server: &mut TcpStream) -> io::Result<()> {
    let (client_read, client_write) = client.split();
    let (server_read, server_write) = server.split();
    let mut up = Flow::new(client_read, server_write);
    let mut down = Flow::new(server_read, client_write);
    std::future::poll_fn(|cx| {
        SCRATCH.with_borrow_mut(|scratch| {
            let up = up.poll(cx, &mut scratch[..])?;
            let down = down.poll(cx, &mut scratch[..])?;
            if up.is_ready() && down.is_ready() { Poll::Ready(Ok(())) } else { Poll::Pending }
        })
    })
    .await
}
