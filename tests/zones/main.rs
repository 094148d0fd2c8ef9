//! Three engines, faults, and the checker of acknowledged commits.

mod checker;
