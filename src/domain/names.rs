//! Names and passwords a person types: parsed once, valid ever after.
//!
//! Rules: the original's validation table (names 3-63, admin 1-63, password 8-128 from three classes).

use super::refusal::Refusal;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Name of a server: 3 to 63 of a-z, 0-9 and hyphen; no hyphen at the ends, none doubled.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ServerName(String);

impl ServerName {
    pub const LENGTH_MIN: usize = 3;
    pub const LENGTH_MAX: usize = 63;

    /// Parses a typed name. Capitals are folded, as in the original's tool.
    pub fn parse(typed: &str) -> Result<Self, Refusal> {
        let name = typed.trim().to_ascii_lowercase();
        let refuse = |text: &str| Err(Refusal::at("name", text));
        if name.is_empty() {
            return refuse("Enter a name for the server.");
        }
        if name.len() < Self::LENGTH_MIN || name.len() > Self::LENGTH_MAX {
            return refuse("A server name has 3 to 63 characters.");
        }
        if !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
            return refuse("A server name has only lower-case letters a-z, digits and hyphens.");
        }
        if name.starts_with('-') || name.ends_with('-') {
            return refuse("A server name begins and ends with a letter or a digit.");
        }
        if name.contains("--") {
            return refuse("A server name has no two hyphens in a row.");
        }
        Ok(Self(name))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Login of the server's administrator: a PostgreSQL role that is no superuser.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AdminLogin(String);

/// Names that belong to the service, to PostgreSQL, or that everybody guesses first.
const RESERVED_LOGINS: &[&str] = &[
    "azure_superuser",
    "azure_pg_admin",
    "admin",
    "administrator",
    "root",
    "guest",
    "public",
    "postgres",
    "none",
    "user",
    "current_user",
    "session_user",
    "current_role",
    "replication",
    "all",
];

impl AdminLogin {
    pub const LENGTH_MAX: usize = 63;

    pub fn parse(typed: &str) -> Result<Self, Refusal> {
        let login = typed.trim();
        let refuse = |text: String| Err(Refusal::at("admin_login", text));
        if login.is_empty() {
            return refuse("Enter a login for the administrator.".into());
        }
        if login.len() > Self::LENGTH_MAX {
            return refuse("An administrator login has 1 to 63 characters.".into());
        }
        if !login.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return refuse(
                "An administrator login has only letters a-z, digits and underscores.".into(),
            );
        }
        if !login.as_bytes()[0].is_ascii_alphabetic() {
            return refuse("An administrator login begins with a letter.".into());
        }
        let folded = login.to_ascii_lowercase();
        if folded.starts_with("pg_") || folded.starts_with("pgflex") {
            return refuse(
                "Logins that begin with pg_ or pgflex belong to the service. Choose another."
                    .into(),
            );
        }
        if RESERVED_LOGINS.contains(&folded.as_str()) {
            return refuse(format!("{folded} is a reserved name. Choose another."));
        }
        Ok(Self(login.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Checks a server administrator's password: 8 to 128 characters from three of the four classes, without the login in it.
pub fn check_admin_password(password: &str, login: &str) -> Result<(), Refusal> {
    let refuse = |text: &str| Err(Refusal::at("admin_password", text));
    let length = password.chars().count();
    if !(8..=128).contains(&length) {
        return refuse("A password has 8 to 128 characters.");
    }
    if password.chars().any(char::is_control) {
        return refuse("A password has no control characters such as tab or line break.");
    }
    let classes = [
        password.chars().any(|c| c.is_ascii_uppercase()),
        password.chars().any(|c| c.is_ascii_lowercase()),
        password.chars().any(|c| c.is_ascii_digit()),
        password.chars().any(|c| !c.is_ascii_alphanumeric()),
    ];
    if classes.iter().filter(|present| **present).count() < 3 {
        return refuse(
            "A password has characters of at least three kinds: upper case, lower case, digit, other.",
        );
    }
    if login.len() >= 3 && password.to_ascii_lowercase().contains(&login.to_ascii_lowercase()) {
        return refuse("The password must not contain the administrator login.");
    }
    Ok(())
}

/// What a reset of the administrator's password is told: never the password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordReset {
    /// Part of the names under which the verifiers are sealed.
    pub reset: String,
}

/// A name and value attached to a server. Names are unique on a server without regard to case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    pub name: String,
    pub value: String,
}

impl Tag {
    pub const NAME_LENGTH_MAX: usize = 64;
    pub const VALUE_LENGTH_MAX: usize = 256;
    /// Tags on one server.
    pub const COUNT_MAX: usize = 50;

    /// Parses one typed pair. Both empty is `None`: an unused line of the form.
    pub fn parse(name: &str, value: &str) -> Result<Option<Self>, Refusal> {
        let (name, value) = (name.trim(), value.trim());
        let refuse = |text: String| Err(Refusal::at("tags", text));
        if name.is_empty() && value.is_empty() {
            return Ok(None);
        }
        if name.is_empty() {
            return refuse(format!("The tag with the value “{value}” needs a name."));
        }
        if name.chars().count() > Self::NAME_LENGTH_MAX
            || value.chars().count() > Self::VALUE_LENGTH_MAX
        {
            return refuse("A tag name has at most 64 characters, a tag value at most 256.".into());
        }
        if name.chars().chain(value.chars()).any(char::is_control)
            || name.contains(['<', '>', '%', '&', '\\', '?', '/', ':', ','])
        {
            return refuse(format!(
                "The tag name “{name}” may not contain < > % & \\ ? / : , or control characters."
            ));
        }
        Ok(Some(Self { name: name.to_owned(), value: value.to_owned() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_names() {
        for good in ["abc", "a-b", "shop-1", "Shop", &"a".repeat(63)] {
            assert!(ServerName::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "ab",
            "-abc",
            "abc-",
            "a_b",
            "a b",
            "a--b",
            "ärger",
            "a.b",
            "abc\n x",
            &"a".repeat(64),
        ] {
            assert!(ServerName::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(ServerName::parse(" Shop ").unwrap().as_str(), "shop");
    }

    #[test]
    fn admin_logins() {
        for good in ["a", "shopadmin", "App_1"] {
            assert!(AdminLogin::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "pg_x",
            "PG_x",
            "azure_superuser",
            "admin",
            "Root",
            "postgres",
            "pgflex_control",
            "a-b",
            "1a",
            "a\"b",
            &"a".repeat(64),
        ] {
            assert!(AdminLogin::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn admin_passwords_need_length_and_three_classes() {
        assert!(check_admin_password("Secret123", "shop").is_ok());
        assert!(check_admin_password("secret-123", "shop").is_ok());
        for bad in [
            "Sec123!",
            "secretsecret",
            "secret123",
            "Shop1234x!shop",
            "Secret\t123",
            &"aA1".repeat(43),
        ] {
            assert!(check_admin_password(bad, "shop").is_err(), "{bad}");
        }
    }

    #[test]
    fn tags() {
        assert_eq!(Tag::parse("", " "), Ok(None));
        assert!(Tag::parse("", "x").is_err());
        assert!(Tag::parse("a<b", "x").is_err());
        assert_eq!(Tag::parse("env", "prod").unwrap().unwrap().value, "prod");
    }
}
