//! What a client says first: a pure parser of the opening messages of the PostgreSQL protocol and
//! of the TLS ClientHello. It sees copies of bytes, answers nothing and never waits.

use rustls::server::Acceptor;

/// Longest start-up message; PostgreSQL itself stops at the same size.
pub const STARTUP_BYTES_MAX: usize = 10_000;
/// Longest ClientHello, counted with the TLS records around it.
pub const HELLO_BYTES_MAX: usize = 32 * 1024;

/// SSLRequest as clients send it and as we send it to servers.
pub const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

const CANCEL_CODE: u32 = 80_877_102;
const SSL_CODE: u32 = 80_877_103;
const GSSENC_CODE: u32 = 80_877_104;
/// Length, code and process number: what every CancelRequest has before its key.
const CANCEL_BYTES_MIN: usize = 12 + 4;
/// The key has up to 256 bytes since protocol 3.2.
const CANCEL_BYTES_MAX: usize = 12 + 256;
/// Content type of a TLS handshake record. No start-up message begins so: its length would be 352 MB.
const TLS_HANDSHAKE: u8 = 0x16;

/// The first message of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum First {
    /// Asks for TLS and waits for one byte.
    SslRequest,
    /// Asks for GSSAPI encryption and waits for one byte.
    GssencRequest,
    /// Asks to cancel a statement of another connection.
    CancelRequest,
    /// Begins without encryption.
    Startup,
    /// Begins with a TLS handshake, without asking.
    DirectTls,
}

/// How far the bytes at hand go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// A message, and how many bytes it has. Of [`First::DirectTls`] nothing is taken.
    Message(First, usize),
    /// Nothing is wrong yet; at least this many bytes in all are needed.
    More(usize),
    /// No PostgreSQL client begins like this.
    Malformed,
}

/// Reads the first message out of `bytes`.
pub fn parse_first(bytes: &[u8]) -> Parsed {
    if bytes.first() == Some(&TLS_HANDSHAKE) {
        return Parsed::Message(First::DirectTls, 0);
    }
    let Some(length) = be_u32(bytes, 0).and_then(|length| usize::try_from(length).ok()) else {
        return Parsed::More(4);
    };
    if !(8..=STARTUP_BYTES_MAX).contains(&length) {
        return Parsed::Malformed;
    }
    let Some(code) = be_u32(bytes, 4) else { return Parsed::More(8) };
    let first = match (code, length) {
        (SSL_CODE, 8) => First::SslRequest,
        (GSSENC_CODE, 8) => First::GssencRequest,
        (CANCEL_CODE, CANCEL_BYTES_MIN..=CANCEL_BYTES_MAX) => First::CancelRequest,
        // Any minor of protocol 3; a client of protocol 2 would not understand our answer.
        (code, _) if code >> 16 == 3 => First::Startup,
        _ => return Parsed::Malformed,
    };
    if bytes.len() < length { Parsed::More(length) } else { Parsed::Message(first, length) }
}

fn be_u32(bytes: &[u8], at: usize) -> Option<u32> {
    let four: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(u32::from_be_bytes(four))
}

/// What a ClientHello says, or why it is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hello {
    /// Complete. The name is in lower case; `None` when the client gave none.
    Complete {
        name: Option<String>,
    },
    More,
    Malformed,
    /// More than [`HELLO_BYTES_MAX`] bytes and still not complete.
    TooLong,
}

/// Collects a ClientHello piece by piece. The same bytes give the same answer however they are cut.
pub struct HelloReader {
    acceptor: Acceptor,
    taken: usize,
    answer: Hello,
}

impl Default for HelloReader {
    fn default() -> Self {
        Self { acceptor: Acceptor::default(), taken: 0, answer: Hello::More }
    }
}

impl HelloReader {
    /// Takes the next bytes and says how far it is. After any answer but [`Hello::More`] bytes are not looked at.
    pub fn push(&mut self, bytes: &[u8]) -> &Hello {
        // One byte at a time costs too much and all at once would depend on the cut: records are
        // fed by the reader itself, and it is asked after each feeding.
        let mut rest = &bytes[..bytes.len().min(HELLO_BYTES_MAX - self.taken)];
        while self.answer == Hello::More && !rest.is_empty() {
            let before = rest.len();
            let read = self.acceptor.read_tls(&mut rest);
            self.taken += before - rest.len();
            self.answer = match read {
                Ok(0) | Err(_) => Hello::Malformed,
                Ok(_) => self.look(),
            };
        }
        if self.answer == Hello::More && self.taken >= HELLO_BYTES_MAX {
            self.answer = Hello::TooLong;
        }
        &self.answer
    }

    fn look(&mut self) -> Hello {
        match self.acceptor.accept() {
            Ok(None) => Hello::More,
            Ok(Some(accepted)) => Hello::Complete {
                name: accepted.client_hello().server_name().map(str::to_ascii_lowercase),
            },
            Err(_) => Hello::Malformed,
        }
    }
}
