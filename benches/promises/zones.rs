//! The harness of the tests on three engines, used by [`crate::ha`]: the same zones, portal, pair and checker.

#![expect(dead_code, reason = "the tests use more of it")]
#![expect(clippy::unwrap_used, reason = "a panic is a section that breaks off")]

use crate::http;
#[path = "../../tests/zones/checker/mod.rs"]
pub mod checker;
#[path = "../../tests/zones/engines.rs"]
pub mod engines;
#[path = "../../tests/zones/harm.rs"]
pub mod harm;
#[path = "../../tests/zones/pair.rs"]
pub mod pair;
#[path = "../../tests/zones/portal.rs"]
pub mod portal;
#[path = "../../tests/zones/tricks.rs"]
pub mod tricks;
