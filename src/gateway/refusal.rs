//! Why a client is not let through, in the words of the PostgreSQL protocol and of TLS.

use std::net::IpAddr;

/// Why a client is not let through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// No firewall rule admits the client's address.
    NotAdmitted { server: String, client: IpAddr },
    /// Private, stopped or being deleted.
    Closed { server: String },
    /// A planned interruption took longer than clients are held.
    Held { server: String },
    /// The server did not answer.
    Unreachable { server: String },
    /// As many connections as the server's size allows.
    ServerFull { server: String, max: u32 },
    /// As many connections as one client address may have.
    AddressFull { max: u32 },
    /// The gateway itself has no room.
    GatewayFull,
    /// No server has the name that TLS carried, or the port was given away.
    UnknownName { name: String },
    /// The shared port needs a name, and TLS carried none.
    NoName,
    /// The client did not ask for TLS.
    PlainText,
    /// Not the PostgreSQL protocol.
    Malformed,
    /// The client did not finish its opening in time.
    TooSlow,
}

/// Kinds of reasons, for counting.
pub const REASON_KINDS: [&str; 12] = [
    "not_admitted",
    "closed",
    "held",
    "unreachable",
    "server_full",
    "address_full",
    "gateway_full",
    "unknown_name",
    "no_name",
    "plain_text",
    "malformed",
    "too_slow",
];

/// TLS alert `access_denied`; psql prints it in words.
const ALERT_ACCESS_DENIED: u8 = 49;
const ALERT_INTERNAL_ERROR: u8 = 80;
const ALERT_UNRECOGNIZED_NAME: u8 = 112;

impl Reason {
    /// Place in [`REASON_KINDS`].
    pub fn kind(&self) -> usize {
        match self {
            Reason::NotAdmitted { .. } => 0,
            Reason::Closed { .. } => 1,
            Reason::Held { .. } => 2,
            Reason::Unreachable { .. } => 3,
            Reason::ServerFull { .. } => 4,
            Reason::AddressFull { .. } => 5,
            Reason::GatewayFull => 6,
            Reason::UnknownName { .. } => 7,
            Reason::NoName => 8,
            Reason::PlainText => 9,
            Reason::Malformed => 10,
            Reason::TooSlow => 11,
        }
    }

    /// SQLSTATE of the error response.
    pub fn sqlstate(&self) -> &'static str {
        match self {
            Reason::NotAdmitted { .. } | Reason::PlainText => "28000",
            Reason::Closed { .. } | Reason::Held { .. } | Reason::Unreachable { .. } => "57P03",
            Reason::ServerFull { .. } | Reason::AddressFull { .. } | Reason::GatewayFull => "53300",
            Reason::UnknownName { .. } | Reason::NoName => "08004",
            Reason::Malformed | Reason::TooSlow => "08P01",
        }
    }

    /// What happened, for the person at the client.
    pub fn message(&self) -> String {
        match self {
            Reason::NotAdmitted { server, client } => {
                format!("no firewall rule of server \"{server}\" admits the address {client}")
            }
            Reason::Closed { server } => format!(
                "server \"{server}\" takes no connections here: it is private, stopped or being deleted"
            ),
            Reason::Held { server } => {
                format!("the database system of server \"{server}\" is being restarted or moved")
            }
            Reason::Unreachable { server } => {
                format!("the database system of server \"{server}\" does not answer")
            }
            Reason::ServerFull { server, max } => {
                format!("server \"{server}\" has {max} connections, as many as its size allows")
            }
            Reason::AddressFull { max } => {
                format!("too many connections from your address (limit {max})")
            }
            Reason::GatewayFull => "the gateway has no room for more connections".into(),
            Reason::UnknownName { name } => format!("no server has the name \"{name}\""),
            Reason::NoName => {
                "this port is shared by all servers and needs the server's name".into()
            }
            Reason::PlainText => "connections must use TLS".into(),
            Reason::Malformed => {
                "this is a PostgreSQL server; what was sent is not its protocol".into()
            }
            Reason::TooSlow => "the connection was not opened in time".into(),
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Reason::NotAdmitted { .. } => {
                "Add a rule for this address on the server's Networking page."
            }
            Reason::Closed { .. } => "Look at the server's Overview page.",
            Reason::Held { .. } => "Try again in a few seconds.",
            Reason::Unreachable { .. } => {
                "Try again in a few seconds; if it stays so, look at the server's Overview page."
            }
            Reason::ServerFull { .. } => "Close connections, use a pool or choose a larger size.",
            Reason::AddressFull { .. } | Reason::GatewayFull => "Close connections or use a pool.",
            Reason::UnknownName { .. } | Reason::NoName => {
                "Use the host name or the port of the server's Connect page."
            }
            Reason::PlainText => "Connect with sslmode=require or stronger.",
            Reason::Malformed | Reason::TooSlow => "Connect with a PostgreSQL client.",
        }
    }

    /// The message of the protocol that carries all this: ErrorResponse, severity FATAL.
    pub fn error_response(&self) -> Vec<u8> {
        let message = self.message();
        let fields: [(u8, &str); 5] = [
            (b'S', "FATAL"),
            (b'V', "FATAL"),
            (b'C', self.sqlstate()),
            (b'M', &message),
            (b'H', self.hint()),
        ];
        let mut body = Vec::with_capacity(256);
        for (field, text) in fields {
            body.push(field);
            // A zero byte would end the field early: names come from the client here.
            body.extend(text.bytes().filter(|byte| *byte != 0));
            body.push(0);
        }
        body.push(0);
        let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
        [&b"E"[..], &length.to_be_bytes(), &body].concat()
    }

    /// The TLS alert for clients that expect a handshake and to whom we have no certificate to show.
    pub fn tls_alert(&self) -> [u8; 7] {
        let description = match self {
            Reason::NotAdmitted { .. } | Reason::Closed { .. } => ALERT_ACCESS_DENIED,
            Reason::UnknownName { .. } | Reason::NoName => ALERT_UNRECOGNIZED_NAME,
            _ => ALERT_INTERNAL_ERROR,
        };
        // Record: alert, TLS 1.2 on the wire, two bytes: fatal and the description.
        [0x15, 0x03, 0x03, 0, 2, 2, description]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_response_has_its_length_and_fields() {
        let bytes = Reason::UnknownName { name: "a\0b".into() }.error_response();
        assert_eq!(bytes[0], b'E');
        let length = u32::from_be_bytes(bytes[1..5].try_into().unwrap());
        assert_eq!(usize::try_from(length).unwrap(), bytes.len() - 1);
        let fields: Vec<_> = bytes[5..].split(|byte| *byte == 0).collect();
        assert_eq!(fields[2], b"C08004");
        assert_eq!(fields[3], b"Mno server has the name \"ab\"");
        assert_eq!(fields[5..], [b"", b""] as [&[u8]; 2]);
    }
}
