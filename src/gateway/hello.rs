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
        // Bytes above the limit are never fed, so that the answer does not depend on where they were cut.
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn message(code: u32, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(8 + body.len()).unwrap();
        [&length.to_be_bytes()[..], &code.to_be_bytes(), body].concat()
    }

    /// A ClientHello as rustls sends it, with a name or, given an address, without.
    fn hello(name: &str) -> Vec<u8> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let name = rustls::pki_types::ServerName::try_from(name.to_owned()).unwrap();
        let mut bytes = vec![];
        rustls::ClientConnection::new(Arc::new(config), name)
            .unwrap()
            .write_tls(&mut bytes)
            .unwrap();
        bytes
    }

    /// The same handshake message cut into TLS records of `size` bytes.
    fn fragmented(hello: &[u8], size: usize) -> Vec<u8> {
        let record = |piece: &[u8]| {
            let length = u16::try_from(piece.len()).unwrap().to_be_bytes();
            [&[0x16, 3, 1][..], &length, piece].concat()
        };
        hello[5..].chunks(size).flat_map(record).collect()
    }

    fn read_cut(bytes: &[u8], cuts: &[usize]) -> Hello {
        let mut reader = HelloReader::default();
        let mut at = 0;
        for cut in cuts.iter().copied().chain([bytes.len()]) {
            let end = cut.clamp(at, bytes.len());
            reader.push(&bytes[at..end]);
            at = end;
        }
        reader.push(&[]).clone()
    }

    #[test]
    fn first_messages() {
        let cancel = message(CANCEL_CODE, &[0; 8]);
        let long_cancel = message(CANCEL_CODE, &[0; 260]);
        for (bytes, first, length) in [
            (SSL_REQUEST.to_vec(), First::SslRequest, 8),
            (message(GSSENC_CODE, &[]), First::GssencRequest, 8),
            (cancel, First::CancelRequest, 16),
            (long_cancel, First::CancelRequest, 268),
            (message(0x0003_0000, b"user\0x\0\0"), First::Startup, 16),
            (message(0x0003_0002, b"user\0x\0\0"), First::Startup, 16),
            (vec![0x16], First::DirectTls, 0),
        ] {
            assert_eq!(parse_first(&bytes), Parsed::Message(first, length));
        }
        for bad in [
            &b"GET / HTTP/1.1\r\n"[..],
            &[0, 0, 0, 7],
            &[0, 0, 0, 0],
            &[0xff; 8],
            &message(0x0002_0000, &[0; 30]),
            &message(CANCEL_CODE, &[0; 300]),
            &message(CANCEL_CODE, &[]),
            &message(SSL_CODE, &[0]),
        ] {
            assert_eq!(parse_first(bad), Parsed::Malformed, "{bad:?}");
        }
    }

    #[test]
    fn names_are_read_from_whole_and_fragmented_hellos() {
        let bytes = hello("Demo.Example.Test");
        let name = Hello::Complete { name: Some("demo.example.test".into()) };
        assert_eq!(read_cut(&bytes, &[]), name);
        assert_eq!(read_cut(&fragmented(&bytes, 1), &[]), name);
        assert_eq!(read_cut(&hello("192.0.2.1"), &[]), Hello::Complete { name: None });
        assert_eq!(read_cut(&bytes[..60], &[]), Hello::More);
        assert_eq!(read_cut(b"GET / HTTP/1.1\r\n\r\n", &[]), Hello::Malformed);
    }

    #[test]
    fn a_hello_without_end_is_too_long() {
        // A handshake message of 60,000 bytes in records of 1,000.
        let head = [1, 0, 0xea, 0x60, 3, 3];
        let body: Vec<u8> = head.into_iter().chain(std::iter::repeat_n(7, 60_000)).collect();
        let bytes = fragmented(&[&[0; 5][..], &body].concat(), 1000);
        assert_eq!(read_cut(&bytes, &[]), Hello::TooLong);
        let cuts: Vec<usize> = (0..bytes.len()).step_by(700).collect();
        assert_eq!(read_cut(&bytes, &cuts), Hello::TooLong);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = parse_first(&bytes);
            let _ = read_cut(&bytes, &[]);
            let tls = [&[0x16, 3, 1][..], &bytes].concat();
            let _ = read_cut(&tls, &[]);
        }

        #[test]
        fn a_first_message_is_the_same_at_any_length(code in prop::sample::select(vec![SSL_CODE, CANCEL_CODE, GSSENC_CODE, 0x0003_0000, 7]),
                                                     body in prop::collection::vec(any::<u8>(), 0..64)) {
            let bytes = message(code, &body);
            let whole = parse_first(&bytes);
            for end in 0..bytes.len() {
                match parse_first(&bytes[..end]) {
                    Parsed::More(wanted) => prop_assert!(wanted > end),
                    early => prop_assert_eq!(early, whole),
                }
            }
        }

        #[test]
        fn a_hello_is_the_same_however_it_is_cut(size in 1usize..600, cuts in prop::collection::vec(0usize..900, 0..20),
                                                 flip in prop::option::of((0usize..300, any::<u8>())),
                                                 after in prop::collection::vec(any::<u8>(), 0..50)) {
            let mut cuts = cuts;
            cuts.sort_unstable();
            let mut bytes = fragmented(&hello("demo.example.test"), size);
            if let Some((at, value)) = flip {
                let at = at % bytes.len();
                bytes[at] = value;
            }
            bytes.extend(after);
            prop_assert_eq!(read_cut(&bytes, &cuts), read_cut(&bytes, &[]));
        }
    }
}
