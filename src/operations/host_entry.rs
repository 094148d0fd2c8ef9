//! What the file or a form says of a host, checked and with its certificates sealed, as the store takes it. No engine is
//! asked, because whether it answers is for the monitor to see, but for one thing: who it is, before a host with members
//! is led to another address.

use crate::domain::host::Place;
use crate::domain::refusal::Refusal;
use crate::engine::docker::{DockerEngine, host_of};
use crate::engine::{Engine, EngineError, EngineTls};
use crate::secrets::{Sealer, Secret};
use crate::store::hosts::HostEntry;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::time::Duration;
use zeroize::Zeroizing;

/// Fields of a host, as refusals name them.
pub const NAME: &str = "host_name";
pub const ADDRESS: &str = "address";
pub const MEMBER_ADDRESS: &str = "member_address";
pub const CERTIFICATES: &str = "tls_ca";

/// Longest name of a host.
pub const NAME_MAX: usize = 64;

/// Certificates as PEM text.
pub struct Certificates {
    pub ca: String,
    pub certificate: String,
    pub key: Secret,
}

/// A host as somebody wants it.
pub struct HostWish {
    pub name: String,
    pub address: String,
    /// Empty: the address of an engine with TLS, where that is an IP address.
    pub member_address: String,
    pub places: Vec<Place>,
    pub tls: Option<Certificates>,
}

/// Checks everything that can be checked without the engine. `kept`: sealed certificates that the host has already and
/// keeps where no new ones are given and the address needs them.
///
/// # Errors
/// The first thing that is wrong, at its field.
pub fn check(sealer: &Sealer, wish: HostWish, kept: Option<&[u8]>) -> Result<HostEntry, Refusal> {
    let name = parse_name(&wish.name)?;
    let is_tcp = !wish.address.starts_with("unix:");
    let tls = match (wish.tls, kept.filter(|_| is_tcp)) {
        (Some(new), _) => {
            Some(EngineTls { ca: new.ca, certificate: new.certificate, key: new.key })
        }
        (None, Some(kept)) => Some(open_tls(sealer, &name, kept).map_err(at(CERTIFICATES))?),
        (None, None) => None,
    };
    // The identity of the installation matters to calls only.
    DockerEngine::connect_with(&wish.address, tls.as_ref(), "").map_err(|error| {
        let text = plain(&error);
        let field = if text.starts_with("the address") { ADDRESS } else { CERTIFICATES };
        Refusal::at(field, sentence(&text))
    })?;
    let member_address = member_address(&wish.member_address, &wish.address, tls.is_some())?;
    let sealed_tls = tls.map(|tls| seal_tls(sealer, &name, &tls)).transpose();
    let sealed_tls = sealed_tls.map_err(at(CERTIFICATES))?;
    Ok(HostEntry { name, address: wish.address, places: wish.places, member_address, sealed_tls })
}

/// Time in which an engine must say who it is.
const IDENTITY_MAX: Duration = Duration::from_secs(8);

/// Identity of the engine that a checked host leads to, asked now.
///
/// # Errors
/// When it does not answer in time, or its certificates do not open.
pub async fn engine_id(sealer: &Sealer, entry: &HostEntry) -> Result<String, EngineError> {
    let tls = entry.sealed_tls.as_deref().map(|sealed| open_tls(sealer, &entry.name, sealed));
    let engine = DockerEngine::connect_with(&entry.address, tls.transpose()?.as_ref(), "")?;
    let told = tokio::time::timeout(IDENTITY_MAX, engine.facts()).await;
    let late = || EngineError::Silent("the engine did not say in time who it is".into());
    Ok(told.map_err(|_| late())??.engine_id)
}

fn parse_name(typed: &str) -> Result<String, Refusal> {
    let is_fine = !typed.is_empty()
        && typed.len() <= NAME_MAX
        && typed.chars().all(|c| !c.is_control() && c != '<' && c != '>');
    let why = || {
        Refusal::at(
            NAME,
            format!("A host's name has 1 to {NAME_MAX} characters and no angle brackets."),
        )
    };
    is_fine.then(|| typed.to_owned()).ok_or_else(why)
}

fn member_address(typed: &str, address: &str, has_tls: bool) -> Result<Option<IpAddr>, Refusal> {
    let refuse = |text: &str| Err(Refusal::at(MEMBER_ADDRESS, text));
    if !typed.is_empty() {
        return match typed.parse::<IpAddr>() {
            Ok(ip) if ip.is_unspecified() || ip.is_multicast() => {
                refuse("Give one address of the host, at which other machines reach it.")
            }
            Ok(ip) => Ok(Some(ip)),
            Err(_) => {
                refuse("This is an IP address of the host, such as 10.0.0.5; no name, no port.")
            }
        };
    }
    match host_of(address).filter(|_| has_tls).map(|host| host.parse::<IpAddr>()) {
        None => Ok(None),
        Some(Ok(ip)) if !ip.to_canonical().is_loopback() => Ok(Some(ip)),
        Some(_) => refuse(
            "Say at which IP address other machines reach this host: its address does not tell.",
        ),
    }
}

fn at(field: &'static str) -> impl Fn(EngineError) -> Refusal {
    move |error| Refusal::at(field, sentence(&plain(&error)))
}

/// Without the words about an engine, which nobody asked.
fn plain(error: &EngineError) -> String {
    match error {
        EngineError::Refused(why) => why.clone(),
        other => other.to_string(),
    }
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str().trim_end_matches('.'))
}

/// What is sealed of a host's certificates.
#[derive(Serialize, Deserialize)]
struct Sealed {
    ca: String,
    certificate: String,
    key: Zeroizing<String>,
}

/// The place the certificates of a host are sealed for.
fn place(host: &str) -> String {
    format!("hosts/{host}/tls")
}

fn seal_tls(sealer: &Sealer, host: &str, tls: &EngineTls) -> Result<Vec<u8>, EngineError> {
    let refused = |why: String| EngineError::Refused(why);
    let parts = Sealed {
        ca: tls.ca.clone(),
        certificate: tls.certificate.clone(),
        key: Zeroizing::new(tls.key.reveal().to_owned()),
    };
    let text = serde_json::to_vec(&parts).map_err(|error| refused(error.to_string()))?;
    sealer.seal(&place(host), &Zeroizing::new(text)).map_err(|error| refused(error.to_string()))
}

/// Opens what [`check`] sealed for the host of this name.
///
/// # Errors
/// When the master key is another one, or the value was moved from another host.
pub(super) fn open_tls(
    sealer: &Sealer,
    host: &str,
    sealed: &[u8],
) -> Result<EngineTls, EngineError> {
    let refused =
        |why: &str| EngineError::Refused(format!("the certificates of host {host}: {why}"));
    let plain = sealer.open(&place(host), sealed).map_err(|error| refused(&error.to_string()))?;
    let Sealed { ca, certificate, key } =
        serde_json::from_slice(&plain).map_err(|_| refused("what is sealed is not understood"))?;
    Ok(EngineTls { ca, certificate, key: Secret::new(key.as_str()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(address: &str, member_address: &str, has_tls: bool) -> HostWish {
        let made = rcgen::generate_simple_self_signed(["portal".to_owned()]).unwrap();
        let tls = has_tls.then(|| Certificates {
            ca: made.cert.pem(),
            certificate: made.cert.pem(),
            key: Secret::new(made.signing_key.serialize_pem()),
        });
        let (name, places) = ("rack-1".into(), vec![]);
        HostWish {
            name,
            address: address.into(),
            member_address: member_address.into(),
            places,
            tls,
        }
    }

    #[test]
    fn each_fault_is_at_its_field() {
        let sealer = Sealer::from_key([7; 32]);
        let field = |wish| check(&sealer, wish, None).unwrap_err().field.unwrap();
        assert_eq!(field(wish("tcp://10.0.0.1:2376", "", false)), ADDRESS);
        assert_eq!(field(wish("unix:///x", "", true)), ADDRESS);
        assert_eq!(field(wish("tcp://node-1:2376", "", true)), MEMBER_ADDRESS);
        assert_eq!(field(wish("tcp://127.0.0.1:2376", "", true)), MEMBER_ADDRESS);
        assert_eq!(field(wish("tcp://10.0.0.1:2376", "0.0.0.0", true)), MEMBER_ADDRESS);
        assert_eq!(field(HostWish { name: String::new(), ..wish("unix:///x", "", false) }), NAME);
        let broken =
            Certificates { ca: "x".into(), certificate: "x".into(), key: Secret::new("x") };
        let broken = HostWish { tls: Some(broken), ..wish("tcp://10.0.0.1:2376", "", false) };
        assert_eq!(field(broken), CERTIFICATES);
    }

    #[test]
    fn certificates_are_sealed_for_one_host_and_kept_by_an_edit() {
        let sealer = Sealer::from_key([7; 32]);
        let made = check(&sealer, wish("tcp://10.0.0.1:2376", "", true), None).unwrap();
        assert_eq!(made.member_address, Some("10.0.0.1".parse().unwrap()));
        let sealed = made.sealed_tls.unwrap();
        assert!(!String::from_utf8_lossy(&sealed).contains("PRIVATE KEY"));
        assert!(open_tls(&sealer, "rack-2", &sealed).is_err());
        let edited = check(&sealer, wish("tcp://10.0.0.2:2376", "", false), Some(&sealed)).unwrap();
        assert!(edited.sealed_tls.is_some());
        let local = check(&sealer, wish("unix:///x", "", false), Some(&sealed)).unwrap();
        assert!(local.sealed_tls.is_none() && local.member_address.is_none());
    }
}
