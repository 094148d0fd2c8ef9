//! Addresses of engines, and which of them may be used without TLS.

use crate::engine::EngineError;
use std::net::{IpAddr, SocketAddr};

/// Port of an engine with TLS when the address names none.
const TLS_PORT: u16 = 2376;

/// Where an engine listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    Unix(String),
    Loopback(SocketAddr),
    Tls {
        /// Address or name, as the engine's certificate has it; no brackets.
        host: String,
        port: u16,
    },
}

impl Address {
    /// `has_tls`: certificates come with the address. They are refused where they would not be used.
    pub(super) fn parse(text: &str, has_tls: bool) -> Result<Self, EngineError> {
        let refused = |why: &str| EngineError::Refused(format!("the address “{text}” {why}"));
        if let Some(path) = text.strip_prefix("unix://").filter(|path| path.starts_with('/')) {
            let unused = || refused("is a local socket, which takes no certificates");
            return if has_tls { Err(unused()) } else { Ok(Address::Unix(path.to_owned())) };
        }
        let Some(rest) = text.strip_prefix("tcp://").or_else(|| text.strip_prefix("https://"))
        else {
            return Err(refused("is neither unix:///path/of/socket nor tcp://host:port"));
        };
        let rest = rest.trim_end_matches('/');
        if has_tls {
            let why = "has no host and port, such as tcp://10.0.0.5:2376";
            return split(rest)
                .map(|(host, port)| Address::Tls { host, port })
                .ok_or_else(|| refused(why));
        }
        match rest.replacen("localhost:", "127.0.0.1:", 1).parse::<SocketAddr>() {
            Ok(address) if address.ip().to_canonical().is_loopback() => {
                Ok(Address::Loopback(address))
            }
            _ if split(rest).is_none() => {
                Err(refused("has no address and port, such as tcp://127.0.0.1:2375"))
            }
            _ => Err(refused(
                "is another machine, and no certificates are given for it: over plain TCP anybody on the way \
                 could take over the host. Give CA, certificate and key, or use a local socket or an SSH tunnel to a loopback port",
            )),
        }
    }
}

/// An address that needs TLS and has none cannot be made; this says so where the types do not.
pub(super) fn needs_tls() -> EngineError {
    EngineError::Refused("the address needs certificates".into())
}

/// Host and port; a name or address of ordinary letters only, because it goes into URLs and messages.
fn split(text: &str) -> Option<(String, u16)> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return (address.port() > 0).then(|| (address.ip().to_string(), address.port()));
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some((address.to_string(), TLS_PORT));
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, port.parse().ok().filter(|port| *port > 0)?),
        None => (text, TLS_PORT),
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    (!host.is_empty() && host.chars().all(is_plain)).then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_certificates_only_a_socket_or_loopback_is_an_address() {
        for good in ["unix:///var/run/docker.sock", "tcp://127.0.0.1:2375", "tcp://localhost:1"] {
            assert!(Address::parse(good, false).is_ok(), "{good}");
        }
        for bad in [
            "",
            "unix://x",
            "tcp://10.0.0.1:2375",
            "tcp://127.0.0.1",
            "http://127.0.0.1:1",
            "ssh://h",
        ] {
            assert!(Address::parse(bad, false).is_err(), "{bad}");
        }
    }

    #[test]
    fn with_certificates_a_host_and_a_port() {
        let tls = |host: &str, port| Ok(Address::Tls { host: host.into(), port });
        assert_eq!(Address::parse("tcp://10.0.0.1:2376", true), tls("10.0.0.1", 2376));
        assert_eq!(Address::parse("https://node-1.example", true), tls("node-1.example", 2376));
        assert_eq!(Address::parse("tcp://[::1]:99/", true), tls("::1", 99));
        for bad in ["unix:///x", "tcp://", "tcp://a b:1", "tcp://h:0", "tcp://h:x", "http://h:1"] {
            assert!(Address::parse(bad, true).is_err(), "{bad}");
        }
    }
}
