//! The end of a portal's log for the message of a failure: what is printed of one is cut at some length.

/// The last thirty lines that are not the web server's own.
pub fn tail(log: &str) -> String {
    let lines = log.lines().filter(|line| !line.contains("actix_server"));
    let mut last: Vec<&str> = lines.rev().take(30).collect();
    last.reverse();
    last.join("\n")
}
