//! (under construction)
use crate::operations::step::Step;
pub const STEPS: &[Step] = &[];
