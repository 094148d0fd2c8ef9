//! The data path: bytes from client to server and back, without a look at them.

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
