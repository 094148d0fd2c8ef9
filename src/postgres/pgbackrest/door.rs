//! A door: for one backup, the server of pgBackRest's protocol beside a member's data, for a helper that is elsewhere.

use super::{
    BACKUP_ROLE, Client, DATA, DIRECTORY, Host, REPOSITORY_PORT, Reach, file, header, server_name,
};
use crate::domain::version::Major;
use crate::postgres::conf::ConfigFile;
use crate::secrets::Secret;

/// Name of a member's door in its server's own network, by the member's short id; the door's certificate carries it.
/// A backup of a pair may open two.
pub fn door_name(member: &str) -> String {
    format!("pgflex-door-{member}")
}

/// What a door works from, with its certificate: it lets one client into one stanza.
pub fn door_files(client: &Client, certificate: &str, key: &Secret) -> Vec<ConfigFile> {
    let mut text = header();
    text.push_str(&format!(
        "tls-server-address=*\ntls-server-port={REPOSITORY_PORT}\n\
         tls-server-ca-file={DIRECTORY}/repository-ca.crt\ntls-server-cert-file={DIRECTORY}/door.crt\n\
         tls-server-key-file={DIRECTORY}/door.key\n"
    ));
    text.push_str(&format!("tls-server-auth={}={}\n", client.name, client.stanzas.join(",")));
    vec![file("door.conf", &text), file("door.crt", certificate), file("door.key", key.reveal())]
}

/// Arguments of a door: whoever comes through it reaches PostgreSQL as a helper on the member's volume does.
pub fn door_command(server: Host<'_>) -> Vec<String> {
    let mut words = server_name(server);
    words.extend(
        ["pgbackrest", &format!("--config={DIRECTORY}/door.conf"), "server"].map(Into::into),
    );
    words
}

/// The file of a helper that finds the data behind a door.
pub fn through(helper: ConfigFile, door: &Reach) -> ConfigFile {
    extended(helper, &host_lines(1, door))
}

/// The file of a helper that copies from a standby, always behind a door: libpq inside of one process finds one server
/// alone. pgBackRest tells itself which of the two is the primary, and refuses when there are not one of each.
pub fn beside(helper: ConfigFile, standby: &Reach) -> ConfigFile {
    let lines = format!(
        "backup-standby=y\npg2-path={DATA}\npg2-user={BACKUP_ROLE}\npg2-database=postgres\n{}",
        host_lines(2, standby)
    );
    extended(helper, &lines)
}

fn host_lines(member: u8, door: &Reach) -> String {
    let Reach::Tls { host, port } = door else { return String::new() };
    let lines = [
        format!("host={host}"),
        "host-type=tls".into(),
        format!("host-port={port}"),
        format!("host-ca-file={DIRECTORY}/repository-ca.crt"),
        format!("host-cert-file={DIRECTORY}/repository.crt"),
        format!("host-key-file={DIRECTORY}/repository.key"),
    ];
    lines.iter().map(|line| format!("pg{member}-{line}\n")).collect()
}

fn extended(file: ConfigFile, lines: &str) -> ConfigFile {
    let mut content = file.content;
    content.extend_from_slice(lines.as_bytes());
    ConfigFile { content, ..file }
}

/// Port at which the door of a host is published, of the range's last ones: those of the repository's servers come
/// first. `None` when the range has too few.
pub fn door_port((first, last): (u16, u16)) -> Option<u16> {
    let servers = u16::try_from(Major::ALL.len()).ok()?;
    last.checked_sub(servers).filter(|port| *port >= first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::backup::Retention;
    use crate::postgres::pgbackrest::{Access, helper_file};

    #[test]
    fn a_door_lets_one_client_into_one_stanza_and_has_no_key_of_backups() {
        let client = Client { name: "id".into(), stanzas: vec!["pgflex-1".into()] };
        let files = door_files(&client, "certificate", &Secret::new("key".to_owned()));
        let text = String::from_utf8(files[0].content.clone()).unwrap();
        assert_eq!(text.matches("tls-server-auth=").count(), 1);
        assert!(text.contains("tls-server-auth=id=pgflex-1\n"), "{text}");
        assert!(!text.contains("cipher") && !text.contains("repo1"), "{text}");
        let command = door_command(("db", Some("10.0.0.7"))).join(" ");
        assert!(
            command.contains("PGHOST=db PGHOSTADDR=10.0.0.7 ") && command.ends_with(" server"),
            "{command}"
        );
    }

    #[test]
    fn a_helper_finds_the_data_behind_the_door() {
        let key = Secret::new("k".to_owned());
        let one =
            Access { stanza: "s", number: 1, major: Major::V17, reach: Reach::Mounted, key: &key };
        let near = helper_file(&one, Retention::default());
        assert!(!String::from_utf8(near.content.clone()).unwrap().contains("pg1-host"));
        let door = Reach::Tls { host: "10.0.0.1".into(), port: 22996 };
        let text = String::from_utf8(through(near, &door).content).unwrap();
        let stanza = text.split("[s]").nth(1).unwrap();
        assert!(stanza.contains("pg1-host=10.0.0.1\npg1-host-type=tls\npg1-host-port=22996\n"));
        assert!(stanza.contains(&format!("pg1-user={BACKUP_ROLE}\n")), "{stanza}");
        assert!(!text.contains("pg2-") && !text.contains("backup-standby"), "{text}");
        assert_eq!(door_port((22000, 22999)), Some(22996));
        assert_eq!(door_port((22998, 22999)), None);
    }

    #[test]
    fn a_helper_of_a_pair_finds_the_standby_behind_a_door_of_its_own() {
        let key = Secret::new("k".to_owned());
        let one =
            Access { stanza: "s", number: 1, major: Major::V17, reach: Reach::Mounted, key: &key };
        let near = helper_file(&one, Retention::default());
        let door = |name: &str| Reach::Tls { host: door_name(name), port: REPOSITORY_PORT };
        let text =
            String::from_utf8(beside(through(near, &door("a")), &door("b")).content).unwrap();
        let stanza = text.split("[s]").nth(1).unwrap();
        assert!(stanza.contains("pg1-host=pgflex-door-a\n"), "{stanza}");
        assert!(stanza.contains("\nbackup-standby=y\npg2-path=/var/lib/pgflex/data\n"), "{stanza}");
        assert!(stanza.contains("pg2-host=pgflex-door-b\npg2-host-type=tls\n"), "{stanza}");
        assert!(stanza.contains(&format!("pg2-user={BACKUP_ROLE}\npg2-database=postgres\n")));
        assert_eq!(stanza.matches("pg2-host-").count(), 5, "{stanza}");
    }
}
