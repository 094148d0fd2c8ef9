//! Telling a client no, in whatever it can understand at that point of its opening.

use super::hello::{First, Hello, HelloReader, Parsed, parse_first};
use super::identity::IdentityCache;
use super::refusal::Reason;
use crate::domain::ids::ServerId;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

/// What client and gateway have said to each other so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoken {
    /// Nothing that asks for TLS: answers are in plain text.
    Plain,
    /// The client sent SSLRequest and waits for the answer.
    TlsAsked,
    /// The client sends or has sent its ClientHello.
    TlsBegun,
}

/// Bytes of a refused client that are read and thrown away, at most.
const DRAIN_BYTES_MAX: usize = 64 * 1024;

/// Where refusals are told.
pub struct Farewells {
    identities: IdentityCache,
    in_tls: Semaphore,
}

impl Farewells {
    pub fn new(identities: IdentityCache, in_tls_max: usize) -> Self {
        Self { identities, in_tls: Semaphore::new(in_tls_max) }
    }

    /// Tells `reason` and closes. `heard` are the bytes of a ClientHello read already.
    pub async fn tell(
        &self,
        mut stream: TcpStream,
        spoken: Spoken,
        heard: Vec<u8>,
        server: Option<&ServerId>,
        reason: &Reason,
    ) -> io::Result<()> {
        if spoken == Spoken::Plain {
            stream.write_all(&reason.error_response()).await?;
            return close(stream).await;
        }
        if spoken == Spoken::TlsAsked {
            stream.write_all(b"S").await?;
        }
        let config = match server {
            Some(server) => self.identities.config(server).await,
            None => None,
        };
        match (config, self.in_tls.try_acquire()) {
            (Some(config), Ok(_permit)) => tell_in_tls(stream, heard, config, reason).await,
            _ => tell_by_alert(stream, &heard, reason).await,
        }
    }
}

/// The whole refusal, inside TLS with the server's certificate.
async fn tell_in_tls(
    stream: TcpStream,
    heard: Vec<u8>,
    config: std::sync::Arc<rustls::ServerConfig>,
    reason: &Reason,
) -> io::Result<()> {
    let acceptor = tokio_rustls::TlsAcceptor::from(config);
    let mut stream = acceptor.accept(Reheard { heard, at: 0, stream }).await?;
    let mut bytes = vec![];
    loop {
        match parse_first(&bytes) {
            Parsed::More(_) => {
                if stream.read_buf(&mut bytes).await? == 0 {
                    return Ok(());
                }
            }
            // A CancelRequest gets no answer in the protocol.
            Parsed::Message(First::CancelRequest, _) => break,
            _ => {
                stream.write_all(&reason.error_response()).await?;
                break;
            }
        }
    }
    stream.shutdown().await?;
    close(stream.into_inner().0.stream).await
}

/// One of TLS's own words, when there is no certificate to show.
async fn tell_by_alert(mut stream: TcpStream, heard: &[u8], reason: &Reason) -> io::Result<()> {
    let mut reader = HelloReader::default();
    let mut answer = reader.push(heard).clone();
    let mut bytes = vec![0; 4096];
    // The client must have said all of its hello: some read the alert only then.
    while answer == Hello::More {
        let read = stream.read(&mut bytes).await?;
        if read == 0 {
            return Ok(());
        }
        answer = reader.push(&bytes[..read]).clone();
    }
    stream.write_all(&reason.tls_alert()).await?;
    close(stream).await
}

/// Ends our side and waits for the client's end: closing on unread bytes would send a reset, which
/// can overtake the refusal.
async fn close(mut stream: TcpStream) -> io::Result<()> {
    stream.shutdown().await?;
    let mut bytes = vec![0; 4096];
    let mut drained = 0;
    while drained < DRAIN_BYTES_MAX {
        match stream.read(&mut bytes).await? {
            0 => break,
            read => drained += read,
        }
    }
    Ok(())
}

/// A stream whose first bytes were read already.
struct Reheard {
    heard: Vec<u8>,
    at: usize,
    stream: TcpStream,
}

impl AsyncRead for Reheard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.at < self.heard.len() {
            let count = buffer.remaining().min(self.heard.len() - self.at);
            buffer.put_slice(&self.heard[self.at..self.at + count]);
            self.at += count;
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Reheard {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
