//! TCP with mutual TLS to an engine.
//!
//! Each request opens a connection of its own. A kept one would hide for seconds that the host is cut off;
//! a new one tells within [`CONNECT`]. Connections that stay open (events, long waits, images on their way) are
//! told by the kernel: it asks a silent peer again and again and gives up after about [`SILENCE`].

use crate::engine::{EngineError, EngineTls};
use bollard::BollardRequest;
use bollard::errors::Error;
use hyper::Response;
use hyper::body::Incoming;
use hyper::header::{HOST, HeaderValue};
use hyper_util::rt::TokioIo;
use rustix::net::sockopt;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Name, connection and handshake together. The system's own limit is minutes.
const CONNECT: Duration = Duration::from_secs(3);
/// Data that nobody acknowledged for so long end the connection.
const SILENCE: Duration = Duration::from_secs(6);
/// A connection without traffic is asked after so long, and again, this often.
const ASK_AFTER: Duration = Duration::from_secs(3);
const ASK_EVERY: Duration = Duration::from_secs(1);
const ASKS: u32 = 3;

/// The way to one engine. Clones share it.
#[derive(Clone)]
pub(super) struct Transport(Arc<Way>);

struct Way {
    host: String,
    port: u16,
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
}

impl Transport {
    /// Reads the certificates; nothing is opened yet.
    ///
    /// # Errors
    /// When a PEM text holds nothing usable, or certificate and key do not belong together. No text is repeated.
    pub(super) fn new(host: &str, port: u16, tls: &EngineTls) -> Result<Self, EngineError> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| refused("the host of the address is neither a name nor an address"))?;
        Ok(Self(Arc::new(Way { host: host.into(), port, name, config: Arc::new(config(tls)?) })))
    }

    /// The engine as bollard builds addresses of requests.
    pub(super) fn url(&self) -> String {
        format!("https://{}", self.authority())
    }

    fn authority(&self) -> String {
        let Way { host, port, .. } = &*self.0;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// One request over a connection of its own.
    pub(super) async fn call(
        self,
        mut request: BollardRequest,
    ) -> Result<Response<Incoming>, Error> {
        let stream = tokio::time::timeout(CONNECT, self.open()).await.map_err(|_| {
            let seconds = CONNECT.as_secs();
            let why = format!("no connection to {} within {seconds} s", self.authority());
            io::Error::new(io::ErrorKind::TimedOut, why)
        })??;
        if let Ok(host) = HeaderValue::from_str(&self.authority()) {
            request.headers_mut().insert(HOST, host);
        }
        // A server is asked by the path alone.
        if let Some(path) = request.uri().path_and_query().cloned() {
            *request.uri_mut() = path.into();
        }
        let io = TokioIo::new(stream);
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(io).await.map_err(io::Error::other)?;
        // Ends with the answer's body, or with the caller that waits no longer.
        tokio::spawn(connection.with_upgrades());
        Ok(sender.send_request(request).await.map_err(io::Error::other)?)
    }

    async fn open(&self) -> io::Result<TlsStream<TcpStream>> {
        let Way { host, port, name, config } = &*self.0;
        let stream = TcpStream::connect((host.as_str(), *port)).await?;
        stream.set_nodelay(true)?;
        notice_silence(&stream)?;
        TlsConnector::from(config.clone()).connect(name.clone(), stream).await
    }
}

/// Has the kernel end a connection whose other end is gone without a word.
fn notice_silence(stream: &TcpStream) -> io::Result<()> {
    let millis = u32::try_from(SILENCE.as_millis()).unwrap_or(u32::MAX);
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, ASK_AFTER)?;
    sockopt::set_tcp_keepintvl(stream, ASK_EVERY)?;
    sockopt::set_tcp_keepcnt(stream, ASKS)?;
    Ok(sockopt::set_tcp_user_timeout(stream, millis)?)
}

fn config(tls: &EngineTls) -> Result<ClientConfig, EngineError> {
    let mut roots = RootCertStore::empty();
    for authority in certificates(&tls.ca, "the CA certificate")? {
        roots
            .add(authority)
            .map_err(|_| refused("the CA certificate is not one of an authority"))?;
    }
    let chain = certificates(&tls.certificate, "the client certificate")?;
    let key = PrivateKeyDer::from_pem_slice(tls.key.reveal().as_bytes()).map_err(|_| {
        refused("the client key is no PEM text with one private key without a password")
    })?;
    // Named here, so that it does not matter what the process has installed.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_root_certificates(roots).with_client_auth_cert(chain, key))
        .map_err(|_| refused("the client certificate and its key do not belong together"))
}

fn certificates(pem: &str, what: &str) -> Result<Vec<CertificateDer<'static>>, EngineError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let is_empty = |all: &Vec<_>| !Vec::is_empty(all);
    read.ok().filter(is_empty).ok_or_else(|| refused(&format!("{what} is no PEM text")))
}

fn refused(why: &str) -> EngineError {
    EngineError::Refused(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::Secret;

    fn tls() -> EngineTls {
        let made = rcgen::generate_simple_self_signed(["portal".to_owned()]).unwrap();
        EngineTls {
            ca: made.cert.pem(),
            certificate: made.cert.pem(),
            key: Secret::new(made.signing_key.serialize_pem()),
        }
    }

    #[test]
    fn certificates_that_cannot_be_used_are_refused_without_their_text() {
        let good = tls();
        assert!(Transport::new("10.0.0.1", 2376, &good).is_ok());
        let bad = [
            EngineTls { ca: "x".into(), ..good.clone() },
            EngineTls { certificate: String::new(), ..good.clone() },
            EngineTls { key: Secret::new("-----BEGIN PRIVATE KEY-----\nhidden"), ..good.clone() },
            EngineTls { key: tls().key, ..good },
        ];
        for tls in bad {
            let Err(EngineError::Refused(why)) = Transport::new("h", 1, &tls) else {
                panic!("it was taken")
            };
            assert!(!why.contains("hidden"), "{why}");
        }
    }
}
