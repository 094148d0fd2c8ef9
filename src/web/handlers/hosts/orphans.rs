//! Objects on a host that are ours by label and belong to no server on record. They are shown with the
//! commands to look at them and to remove them by hand; nothing here or elsewhere removes them.

use crate::domain::host::Orphan;

/// One orphan with its commands.
#[derive(Debug, Clone, PartialEq)]
pub struct OrphanRow {
    pub kind: String,
    pub name: String,
    /// Name of the server in its label; "not named" without one.
    pub server: String,
    pub look: String,
    pub remove: String,
    /// What removal destroys; empty when nothing of value.
    pub warning: &'static str,
}

/// The row of an orphan on the engine at `address`.
pub fn row(orphan: &Orphan, address: &str) -> OrphanRow {
    let docker = docker(address);
    let name = quoted(&orphan.name);
    let (look, remove, warning) = match orphan.kind.as_str() {
        "volume" => (
            format!("{docker} volume inspect {name}"),
            format!("{docker} volume rm {name}"),
            "The data of a server is on it. Removing it cannot be undone.",
        ),
        "network" => {
            (format!("{docker} network inspect {name}"), format!("{docker} network rm {name}"), "")
        }
        _ => (
            format!("{docker} container inspect {name}"),
            format!("{docker} container rm --force {name}"),
            "Connections to the PostgreSQL in it end. Its volume stays.",
        ),
    };
    let server = if orphan.server.is_empty() { "not named".into() } else { orphan.server.clone() };
    OrphanRow {
        kind: orphan.kind.clone(),
        name: orphan.name.clone(),
        server,
        look,
        remove,
        warning,
    }
}

/// The client, told which engine where it is not the usual one of the machine.
fn docker(address: &str) -> String {
    if address == "unix:///var/run/docker.sock" {
        "docker".into()
    } else {
        format!("docker --host {}", quoted(address))
    }
}

/// A word that a shell reads as it is. Names come from labels and engines: they are not trusted.
fn quoted(text: &str) -> String {
    let is_plain = !text.is_empty()
        && !text.starts_with('-')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-:/".contains(c));
    if is_plain { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_ready_to_paste_and_cannot_be_poisoned() {
        let orphan = |kind: &str, name: &str| Orphan {
            kind: kind.into(),
            name: name.into(),
            server: "shop".into(),
        };
        let volume = row(&orphan("volume", "pgflex-1-data"), "unix:///var/run/docker.sock");
        assert_eq!(volume.remove, "docker volume rm pgflex-1-data");
        assert!(volume.warning.contains("cannot be undone"));
        let hostile = row(&orphan("network", "x; rm -rf '/'"), "tcp://10.0.0.2:2376");
        assert_eq!(
            hostile.look,
            r"docker --host tcp://10.0.0.2:2376 network inspect 'x; rm -rf '\''/'\'''"
        );
    }
}
