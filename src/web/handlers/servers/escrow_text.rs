//! The text of the escrow file. Every command in it was tried on a machine without a portal.

use crate::domain::backup::path_of;
use crate::domain::ids::ServerId;
use crate::domain::version::Major;
use crate::secrets::Secret;
use chrono::{DateTime, Utc};

/// A repository that holds backups of the server.
pub struct Place {
    pub number: i64,
    /// Name of the host, for people.
    pub host: String,
    /// The Docker volume on it.
    pub volume: String,
    /// Where in the object storage; `None` for one that is on the host.
    pub location: Option<String>,
}

impl Place {
    /// Where it is, for people.
    pub fn words(&self) -> String {
        match &self.location {
            Some(location) => format!("object storage {location}"),
            None if self.number == 1 => {
                format!("host {}: Docker volume {}", self.host, self.volume)
            }
            None => format!(
                "host {}: Docker volume {}, in it at {path}: write repo1-path={path} where repo1-path stands below",
                self.host,
                self.volume,
                path = path_of(self.number)
            ),
        }
    }
}

/// What the file tells.
pub struct Escrow<'a> {
    pub server: &'a str,
    pub id: &'a ServerId,
    pub major: Major,
    pub stanza: &'a str,
    pub key: &'a Secret,
    pub places: &'a [Place],
    pub at: DateTime<Utc>,
    pub installation: &'a str,
}

/// How the commands differ for what lies in object storage. The location has the address, the bucket and the path.
const STORED_1: &str = "
When the host is gone, restore from the object storage: https://HOST[:PORT]/BUCKET/PATH is
";
const STORED_2: &str = "
Below leave out the repository's volume (-v …:/var/lib/pgbackrest:ro) and --network none, and in step 1 write in place of repo1-path=…:
repo1-type=s3, repo1-path=/PATH, repo1-s3-endpoint=HOST, repo1-storage-port=PORT (443 where none is named), repo1-s3-bucket=BUCKET,
repo1-s3-region=…, repo1-s3-uri-style=path (or host), repo1-s3-key=…, repo1-s3-key-secret=…, each on a line of its own. The last ones
are in the portal's configuration, [object_storage] of pgflex.toml. With an authority of your own, put its certificate into the
volume rescue and name it as repo1-storage-ca-file=/var/lib/pgflex/ca.pem.
";

impl Escrow<'_> {
    /// The whole file: it holds the key.
    pub fn text(&self) -> Secret {
        Secret::new([self.head(), self.places(), self.files(), self.commands()].concat())
    }

    fn head(&self) -> String {
        format!(
            "pgflex: key escrow of the backups of one server
================================================

Whoever has this file and the repository can read everything that is in the backups.
Keep it where the backups are not: printed, or in a safe of passwords.

server         {}  ({})
installation   {}
PostgreSQL     {}
stanza         {}
cipher         aes-256-cbc
key            {}
given out      {} UTC
",
            self.server,
            self.id,
            self.installation,
            self.major.number(),
            self.stanza,
            self.key.reveal(),
            self.at.format("%Y-%m-%d %H:%M:%S"),
        )
    }

    fn places(&self) -> String {
        let mut text = "\nWhere the backups lie\n---------------------\n\n".to_owned();
        for place in self.places {
            text.push_str(&format!("{}\n", place.words()));
        }
        if let Some(location) = self.places.iter().find_map(|place| place.location.as_ref()) {
            text.push_str(&format!("{STORED_1}{location}{STORED_2}"));
        }
        if self.places.is_empty() {
            text.push_str("There is no backup yet. Fetch this file again when there is one.\n");
        }
        text
    }

    fn volume(&self) -> &str {
        let on_host = self.places.iter().find(|place| place.location.is_none());
        on_host.map_or("REPOSITORY-VOLUME", |place| place.volume.as_str())
    }

    fn files(&self) -> String {
        format!(
            "
Restore without the portal
--------------------------

On a host with Docker, the volume {volume} and the image {image}
(any image with PostgreSQL {major} and pgBackRest does; then other paths may apply). The repository is only read.

1. A volume for the data, and in it what pgBackRest works from:

docker volume create rescue
docker run --rm -i --user 0 -v rescue:/var/lib/pgflex {image} sh -c 'cat > /var/lib/pgflex/pgbackrest.conf; chown -R 5432:5432 /var/lib/pgflex; chmod 600 /var/lib/pgflex/pgbackrest.conf' <<'END'
[global]
repo1-path=/var/lib/pgbackrest
repo1-cipher-type=aes-256-cbc
repo1-cipher-pass={key}
log-level-console=info
log-level-file=off
lock-path=/tmp/pgbackrest
[{stanza}]
pg1-path=/var/lib/pgflex/data
END
",
            volume = self.volume(),
            image = self.major.image_tag(),
            major = self.major.number(),
            key = self.key.reveal(),
            stanza = self.stanza,
        )
    }

    fn commands(&self) -> String {
        let run = format!(
            "docker run --rm --network none --user 5432:5432 -v rescue:/var/lib/pgflex -v {}:/var/lib/pgbackrest:ro {}",
            self.volume(),
            self.major.image_tag()
        );
        let pgbackrest =
            format!("pgbackrest --config=/var/lib/pgflex/pgbackrest.conf --stanza={}", self.stanza);
        format!(
            "
2. What there is:

{run} {pgbackrest} info

3. The data, to the newest commit that was archived. For an earlier moment add before the word restore:
   --type=time --target='2027-01-31 13:45:00+00' --target-action=promote

{run} sh -c 'mkdir -p -m 700 /var/lib/pgflex/data && {pgbackrest} --archive-mode=off restore'

4. Start it without any network, and let nobody in but who is in the container:

{rescue} sh -c 'echo \"local all all trust\" > /var/lib/pgflex/rescue_hba.conf; exec postgres -D /var/lib/pgflex/data -c hba_file=/var/lib/pgflex/rescue_hba.conf -c listen_addresses= -c unix_socket_directories=/tmp -c ssl=off -c archive_mode=off -c hot_standby=off'

5. When its log says that it is ready (docker logs -f rescue), take out what you need:

docker exec rescue psql -h /tmp -U pgflex_control -d postgres -c '\\l'
docker exec rescue pg_dumpall -h /tmp -U pgflex_control > everything.sql
",
            rescue = run.replacen("docker run --rm", "docker run -d --name rescue", 1),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::new_id;

    #[test]
    fn the_file_has_what_a_restore_needs() {
        let (id, key) = (new_id(ServerId::parse), Secret::new("c2VjcmV0"));
        let near = Place {
            number: 1,
            host: "rack-1".into(),
            volume: "pgflex-1-repository".into(),
            location: None,
        };
        let location = Some("https://s3.example.org:9000/backups/pgflex".to_owned());
        let places =
            [near, Place { number: 3, host: String::new(), volume: String::new(), location }];
        let escrow = Escrow {
            server: "shop",
            id: &id,
            major: Major::V17,
            stanza: "pgflex-0123",
            key: &key,
            places: &places,
            at: DateTime::UNIX_EPOCH,
            installation: "i",
        };
        let text = escrow.text();
        for needed in [
            "repo1-cipher-pass=c2VjcmV0\n",
            "[pgflex-0123]",
            "-v pgflex-1-repository:",
            "host rack-1",
            "pg_dumpall",
        ] {
            assert!(text.reveal().contains(needed), "{needed}\n{}", text.reveal());
        }
        let none = Escrow { places: &[], ..escrow };
        assert!(none.text().reveal().contains("no backup yet"));
    }
}
