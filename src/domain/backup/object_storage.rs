//! Object storage: where the third repository of a server can be, outside of every host. Pure.

/// Prefixes that pgBackRest could take for a repository on a host.
const RESERVED: &str = "var";
const NAME_CHARS_MAX: usize = 255;

/// A place in an object storage that speaks the protocol of S3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectStorage {
    pub host: String,
    pub port: u16,
    pub bucket: String,
    pub region: String,
    /// What the name of every object begins with; no slash at its ends.
    pub prefix: String,
    /// Whether the bucket stands in the path of an address; in the name of the host otherwise.
    pub is_path_style: bool,
}

impl ObjectStorage {
    /// From what an administrator wrote: `endpoint` is an address such as `https://s3.example.org:9000`.
    ///
    /// # Errors
    /// The word of the configuration that cannot be used, and how it is written.
    pub fn parse(
        endpoint: &str,
        bucket: &str,
        region: &str,
        prefix: &str,
        style: &str,
    ) -> Result<Self, String> {
        let (host, port) = parse_endpoint(endpoint)?;
        if !is_name(bucket, "-._") {
            return Err(format!("“{bucket}” is no bucket: write its name alone, without slashes."));
        }
        if !is_name(region, "-_") {
            return Err(format!(
                "“{region}” is no region: write it as the storage calls it, such as eu-west-1."
            ));
        }
        let parts: Vec<&str> = prefix.split('/').collect();
        let is_part = |part: &str| is_name(part, "-_") && part != RESERVED;
        if !parts.iter().all(|part| is_part(part)) {
            return Err(format!(
                "“{prefix}” is no prefix: write letters, digits, - and _, with / between and none at the ends, such as pgflex/office. A part named “{RESERVED}” is not for use."
            ));
        }
        let is_path_style = match style {
            "path" => true,
            "host" => false,
            other => return Err(format!("“{other}” is no style: write path or host.")),
        };
        let own = |text: &str| text.to_owned();
        Ok(Self {
            host,
            port,
            bucket: own(bucket),
            region: own(region),
            prefix: own(prefix),
            is_path_style,
        })
    }

    /// Where it is, for people and to tell it from every other: nothing in it is secret.
    pub fn location(&self) -> String {
        let port = if self.port == 443 { String::new() } else { format!(":{}", self.port) };
        format!("https://{}{port}/{}/{}", self.host, self.bucket, self.prefix)
    }

    /// The path of the repository within the bucket, as pgBackRest names it.
    pub fn path(&self) -> String {
        format!("/{}", self.prefix)
    }
}

fn parse_endpoint(endpoint: &str) -> Result<(String, u16), String> {
    let wrong = || {
        format!(
            "“{endpoint}” is no endpoint: write https://HOST or https://HOST:PORT, without a path. Backups travel over TLS alone."
        )
    };
    let rest = endpoint.strip_prefix("https://").ok_or_else(wrong)?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = match rest.split_once(':') {
        None => (rest, 443),
        Some((host, port)) => (host, port.parse().map_err(|_| wrong())?),
    };
    if !is_name(host, "-.") || port == 0 {
        return Err(wrong());
    }
    Ok((host.to_owned(), port))
}

fn is_name(text: &str, others: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || others.contains(c);
    !text.is_empty()
        && text.len() <= NAME_CHARS_MAX
        && text.chars().all(fits)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
}

/// Why object storage cannot be chosen where no administrator named one, and what to do.
pub const NO_OBJECT_STORAGE: &str = "No object storage is configured. An administrator names one in [object_storage] of pgflex.toml.";

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(
        endpoint: &str,
        bucket: &str,
        prefix: &str,
        style: &str,
    ) -> Result<ObjectStorage, String> {
        ObjectStorage::parse(endpoint, bucket, "eu-west-1", prefix, style)
    }

    #[test]
    fn a_place_says_where_it_is() {
        let one = parse("https://s3.example.org", "backups", "pgflex/office", "path").unwrap();
        assert_eq!(one.location(), "https://s3.example.org/backups/pgflex/office");
        assert_eq!((one.path().as_str(), one.is_path_style), ("/pgflex/office", true));
        let two = parse("https://10.0.0.7:9000/", "backups", "pgflex", "host").unwrap();
        assert_eq!(two.location(), "https://10.0.0.7:9000/backups/pgflex");
        assert_ne!(one.location(), two.location());
    }

    /// A line break or a bracket in one of them would be a line of pgBackRest's file.
    #[test]
    fn what_cannot_be_used_is_named_with_how_it_is_written() {
        for endpoint in [
            "http://a",
            "a",
            "https://",
            "https://a:0",
            "https://a:b",
            "https://a/b",
            "https://a\nb",
            "https://u@a",
        ] {
            let why = parse(endpoint, "b", "p", "path").unwrap_err();
            assert!(why.contains("no endpoint") && why.contains("https://HOST"), "{why}");
        }
        for bucket in ["", "a/b", "a\nb", "-a", "a b"] {
            assert!(parse("https://a", bucket, "p", "path").unwrap_err().contains("no bucket"));
        }
        for prefix in ["", "/p", "p/", "p//q", "../p", "var/lib", "p\n[global]"] {
            assert!(
                parse("https://a", "b", prefix, "path").unwrap_err().contains("no prefix"),
                "{prefix}"
            );
        }
        assert!(parse("https://a", "b", "p", "dns").unwrap_err().contains("path or host"));
    }
}
