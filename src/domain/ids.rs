//! Identifiers: UUID text made by the id source, one type per noun so that they cannot be swapped.

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Reads the canonical form of a UUID: 36 lower-case characters. Anything else is no id of ours.
            pub fn parse(text: &str) -> Option<Self> {
                is_uuid(text).then(|| Self(text.to_owned()))
            }

            /// The canonical text, as stored and as used in URLs.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The last twelve hexadecimal digits: random in UUIDv7, so short names made of them do not meet.
            pub fn short(&self) -> &str {
                &self.0[self.0.len() - 12..]
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

id! {
    /// A managed server.
    ServerId;
    /// One PostgreSQL container of a server.
    MemberId;
    /// A durable piece of work.
    OperationId;
    /// A person who signs in to the portal.
    UserId;
    /// A machine with a Docker Engine.
    HostId;
    /// A public handle of a session; the cookie value itself is never stored.
    SessionId;
    /// A firewall rule.
    RuleId;
    /// A create form that is being filled in.
    DraftId;
    /// A link that lets a person make an account.
    InviteId;
    /// One line of the activity log.
    ActivityId;
    /// A resource group.
    GroupId;
    /// A lock on a server or a group.
    LockId;
    /// A virtual network.
    NetworkId;
}

impl GroupId {
    /// The group that always exists and takes what nobody sorted.
    pub fn default_group() -> Self {
        Self("00000000-0000-7000-8000-000000000001".to_owned())
    }
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_uuids_are_ids() {
        let good = "01890a5d-ac96-774b-bcce-b302099a8057";
        assert_eq!(ServerId::parse(good).unwrap().short(), "b302099a8057");
        for bad in [
            "",
            "x",
            "01890A5D-ac96-774b-bcce-b302099a8057",
            "01890a5dac96774bbcceb302099a8057",
            "../../etc/passwd",
        ] {
            assert_eq!(ServerId::parse(bad), None, "{bad}");
        }
    }
}
