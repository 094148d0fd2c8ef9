//! Who may log in from where: `pg_hba.conf`, rendered whole. First match wins.

use super::{Replication, Settings};
use crate::postgres::pgbackrest::BACKUP_ROLE;
use crate::postgres::replication::REPLICATION_ROLE;
use crate::postgres::{CONTROL_ROLE, POOLER_ROLE};
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;

/// Where people may come from. The portal comes from anywhere, by its certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Whoever reaches the server: with public access that is the gateway, which judges by the firewall rules.
    Everyone,
    /// Containers in a network, but not the host, which comes from its end of the bridge.
    Network { range: Ipv4Net, host: Option<Ipv4Addr> },
    /// Nobody: the network that people come from is not there.
    Nobody,
}

/// The portal proves itself by certificate and by nothing else, and so do PgBouncer when it asks for verifiers and the
/// helper that takes a backup;
/// people come with a SCRAM password, over TLS
/// unless the server was told not to require it; replication and sockets are refused. In a pair a standby reads the
/// log by certificate; by it nobody gets at a database.
pub(super) fn pg_hba_conf(settings: &Settings<'_>) -> String {
    let pooler = match settings.configuration.pooler.enabled {
        true => format!("hostssl    all          {POOLER_ROLE}   all                 cert\n"),
        false => String::new(),
    };
    let standbys = match settings.replication {
        Replication::None => String::new(),
        _ => format!(
            "hostssl    replication  {REPLICATION_ROLE}  all                cert\n\
             host       all          {REPLICATION_ROLE}  all                reject\n"
        ),
    };
    let mut text = format!(
        "# Rendered by pgflex; changes are lost.\n\
         # TYPE     DATABASE     USER            ADDRESS             METHOD\n\
         hostssl    all          {CONTROL_ROLE}  all                 cert\n\
         host       all          {CONTROL_ROLE}  all                 reject\n\
         {pooler}\
         host       all          {POOLER_ROLE}   all                 reject\n\
         hostssl    postgres     {BACKUP_ROLE}   all                 cert\n\
         host       all          {BACKUP_ROLE}   all                 reject\n\
         {standbys}\
         local      all          all                                 reject\n\
         local      replication  all                                 reject\n\
         host       replication  all             all                 reject\n"
    );
    let people =
        if settings.configuration.require_secure_transport { "hostssl" } else { "host   " };
    for (kind, address, method) in lines(settings.admission, people) {
        text.push_str(&format!("{kind}    all          all             {address:<19} {method}\n"));
    }
    text.push_str("host       all          all             all                 reject\n");
    text
}

fn lines(admission: Admission, people: &'static str) -> Vec<(&'static str, String, &'static str)> {
    match admission {
        Admission::Everyone => vec![(people, "all".into(), "scram-sha-256")],
        Admission::Network { range, host } => {
            let host = host.map(|host| ("host   ", format!("{host}/32"), "reject"));
            let mut lines: Vec<_> = host.into_iter().collect();
            lines.push((people, range.to_string(), "scram-sha-256"));
            // A database that connects to its own server (dblink) comes from one of its own addresses.
            lines.push((people, "samehost".into(), "scram-sha-256"));
            lines
        }
        Admission::Nobody => vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::super::Archiving;
    use super::*;
    use crate::domain::catalog::{Sku, StorageSize};
    use crate::domain::configuration::Configuration;
    use crate::domain::names::ServerName;
    use crate::domain::version::Major;

    /// Lines that are about people, with single spaces.
    fn people(admission: Admission, require_secure_transport: bool) -> Vec<String> {
        let name = ServerName::parse("shop").unwrap();
        let configuration = Configuration { require_secure_transport, ..Configuration::default() };
        let settings = Settings {
            name: &name,
            major: Major::V17,
            sku: Sku::by_name("Standard_B1ms").unwrap(),
            storage: StorageSize::by_gib(32).unwrap(),
            configuration: &configuration,
            admission,
            replication: Replication::None,
            archiving: Archiving::Waiting,
        };
        let text = pg_hba_conf(&settings);
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let is_about_people =
            |line: &String| line.starts_with("host") && line.contains(" all all ");
        let is_about_people =
            |line: &String| is_about_people(line) && !line.contains("replication");
        text.lines().map(words).filter(is_about_people).collect()
    }

    #[test]
    fn a_private_server_lets_in_its_network_without_the_host() {
        let range = "10.20.0.0/24".parse().unwrap();
        let host = Some(Ipv4Addr::new(10, 20, 0, 1));
        assert_eq!(
            people(Admission::Network { range, host }, true),
            [
                "host all all 10.20.0.1/32 reject",
                "hostssl all all 10.20.0.0/24 scram-sha-256",
                "hostssl all all samehost scram-sha-256",
                "host all all all reject",
            ]
        );
        let without = people(Admission::Network { range, host: None }, false);
        assert_eq!(without[0], "host all all 10.20.0.0/24 scram-sha-256");
        assert_eq!(people(Admission::Nobody, true), ["host all all all reject"]);
        assert_eq!(people(Admission::Everyone, true)[0], "hostssl all all all scram-sha-256");
    }
}
