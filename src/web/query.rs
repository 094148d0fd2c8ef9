//! Filters and pages of lists, as they stand in a URL.

use crate::web::form::Posted;
use crate::web::paths;
use actix_web::HttpRequest;

/// The query of a request. One that makes no sense is an empty one: a list then shows everything.
pub fn of(request: &HttpRequest) -> Posted {
    Posted::parse(request.query_string().as_bytes()).unwrap_or_default()
}

/// A path with those pairs that have a value.
pub fn url(path: &str, pairs: &[(&str, &str)]) -> String {
    let query: Vec<String> = pairs
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name}={}", paths::encoded(value)))
        .collect();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{}", query.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_filters_in_use_are_in_the_url() {
        assert_eq!(url("/x", &[("a", ""), ("b", "")]), "/x");
        assert_eq!(url("/x", &[("a", "1 2"), ("b", ""), ("c", "&")]), "/x?a=1%202&c=%26");
    }
}
