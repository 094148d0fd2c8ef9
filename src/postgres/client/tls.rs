//! TLS between the portal and a member: the installation's root on one side, the server's client CA on the other.

use super::{PostgresError, Target};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use tokio_rustls::client::TlsStream as RustlsStream;

/// Bytes that one session may send us. Answers are a few rows; more comes only from a server that is no
/// longer ours.
const RECEIVED_MAX: usize = 1 << 20;

pub(super) struct Connector {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

type Builder = rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

fn broken(what: &str) -> PostgresError {
    PostgresError::Refused(format!("{what} of this server cannot be read"))
}

impl Connector {
    /// What the target says is read here; a certificate that does not parse is ours and will not get better.
    pub(super) fn new(target: &Target) -> Result<Self, PostgresError> {
        let chain = CertificateDer::pem_slice_iter(target.client_certificate.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| broken("the portal's certificate"))?;
        let key = PrivateKeyDer::from_pem_slice(target.client_key.reveal().as_bytes())
            .map_err(|_| broken("the portal's key"))?;
        Self::with(target, |builder| builder.with_client_auth_cert(chain, key))
    }

    /// Shows no certificate: PgBouncer asks for none, and refuses those it does not know.
    pub(super) fn anonymous(target: &Target) -> Result<Self, PostgresError> {
        Self::with(target, |builder| Ok(builder.with_no_client_auth()))
    }

    fn with(
        target: &Target,
        finish: impl FnOnce(Builder) -> Result<ClientConfig, rustls::Error>,
    ) -> Result<Self, PostgresError> {
        let name = ServerName::try_from(target.server_name.clone())
            .map_err(|_| broken("the endpoint name"))?;
        let root = CertificateDer::from_pem_slice(target.root_certificate.as_bytes())
            .map_err(|_| broken("the root certificate"))?;
        let mut roots = RootCertStore::empty();
        roots.add(root).map_err(|_| broken("the root certificate"))?;
        // Named here, so that it does not matter what the process has installed.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| finish(builder.with_root_certificates(roots)))
            .map_err(|_| broken("the portal's certificate"))?;
        Ok(Self { config: Arc::new(config), name })
    }
}

impl TlsConnect<TcpStream> for Connector {
    type Stream = Stream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

    fn connect(self, stream: TcpStream) -> Self::Future {
        Box::pin(async move {
            let connector = tokio_rustls::TlsConnector::from(self.config);
            let inner = connector.connect(self.name, stream).await?;
            Ok(Stream { inner, left: RECEIVED_MAX })
        })
    }
}

/// An agreed TLS session that takes only so much.
pub(super) struct Stream {
    inner: RustlsStream<TcpStream>,
    left: usize,
}

impl TlsStream for Stream {
    /// The certificate is the proof; there is no SCRAM exchange to bind.
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(context, buffer);
        let got = buffer.filled().len() - before;
        match self.left.checked_sub(got) {
            Some(left) => self.left = left,
            None => return Poll::Ready(Err(io::Error::other("the server sent too much"))),
        }
        polled
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
