//! Pure: a member's spec to the description of its container, volume and network.

/// Where a member's volume is mounted; everything that must survive is below it.
pub const VOLUME_PATH: &str = "/var/lib/pgflex";
