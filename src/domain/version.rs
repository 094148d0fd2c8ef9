//! PostgreSQL majors on offer and the images that carry them.

use serde::{Deserialize, Serialize};

/// A PostgreSQL major version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Major {
    V15,
    V17,
    V18,
}

impl Major {
    /// Newest first: the order of the form; the first is not the default, see [`Major::DEFAULT`].
    pub const ALL: [Major; 3] = [Major::V18, Major::V17, Major::V15];
    /// Chosen when nobody chooses: its image is the one that set-up builds.
    pub const DEFAULT: Major = Major::V17;

    pub fn number(self) -> u32 {
        match self {
            Major::V15 => 15,
            Major::V17 => 17,
            Major::V18 => 18,
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|major| major.number().to_string() == text)
    }

    /// Debian suite whose packages carry this major.
    pub fn suite(self) -> &'static str {
        match self {
            Major::V15 => "bookworm",
            Major::V17 => "trixie",
            Major::V18 => "forky",
        }
    }

    /// Oldest minor that may run: older ones have known data loss or security faults.
    pub fn minor_min(self) -> u32 {
        match self {
            Major::V15 => 13,
            Major::V17 => 5,
            Major::V18 => 1,
        }
    }

    /// Tag under which the newest image of this major is found on an engine.
    pub fn image_tag(self) -> String {
        format!("pgflex/postgres:{}-r{IMAGE_REVISION}", self.number())
    }

    /// End of community support, as published.
    pub fn supported_until(self) -> &'static str {
        match self {
            Major::V15 => "November 2027",
            Major::V17 => "November 2029",
            Major::V18 => "November 2030",
        }
    }
}

/// Raised by one whenever the Dockerfile changes, so that old and new images are told apart.
pub const IMAGE_REVISION: u32 = 3;
