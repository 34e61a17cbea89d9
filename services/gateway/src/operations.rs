//! Which of a resource's operations a call is (contract §5, "Operations").

use crate::path::{SafePath, normalise};
use caracal_domain::zone::Operation;

/// The first operation of the list that covers this method and path.
#[must_use]
pub fn find<'a>(operations: &'a [Operation], method: &str, path: &SafePath) -> Option<&'a Operation> {
    operations
        .iter()
        .find(|operation| same_method(&operation.method, method) && covers(&operation.path, path))
}

/// Whether two methods count as the same; HEAD counts as GET.
#[must_use]
pub fn same_method(a: &str, b: &str) -> bool {
    canonical(a).eq_ignore_ascii_case(canonical(b))
}

fn canonical(method: &str) -> &str {
    if method.eq_ignore_ascii_case("HEAD") {
        "GET"
    } else {
        method
    }
}

fn covers(pattern: &str, path: &SafePath) -> bool {
    let mut segments = path.segments();
    let mut patterns = pattern.strip_prefix('/').unwrap_or(pattern).split('/').peekable();
    while let Some(pattern) = patterns.next() {
        if pattern == "**" && patterns.peek().is_none() {
            return true;
        }
        if !segments
            .next()
            .is_some_and(|segment| covers_segment(pattern, segment))
        {
            return false;
        }
    }
    segments.next().is_none()
}

/// `{name}` stands for one segment. One that hides a separator is two to some upstreams, so only `/**` covers it.
fn covers_segment(pattern: &str, segment: &str) -> bool {
    if pattern.starts_with('{') && pattern.ends_with('}') {
        return !segment.is_empty()
            && !segment.contains("%2F")
            && !segment.contains("%5C")
            && !segment.contains('\\');
    }
    normalise(pattern).is_some_and(|literal| literal == segment)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(pattern: &str, method: &str, raw: &str) -> bool {
        let operation = Operation {
            method: "GET".to_owned(),
            path: pattern.to_owned(),
            scope: "x".parse().expect("a scope"),
        };
        find(&[operation], method, &SafePath::parse(raw).expect("safe")).is_some()
    }

    #[test]
    fn literals_names_and_tails() {
        assert!(found("/orders", "GET", "/orders"));
        assert!(found("/orders/{id}", "GET", "/orders/7"));
        assert!(found("/orders/{id}/lines/{line}", "GET", "/orders/7/lines/2"));
        assert!(found("/files/**", "GET", "/files/a/b%2Fc/d"));
        assert!(found("/files/**", "GET", "/files/"));
        assert!(found("/**", "GET", "/anything/at/all"));
        assert!(found("/caf%C3%A9", "GET", "/caf%c3%a9"));
        assert!(found("/", "GET", "/"));
        for (pattern, raw) in [
            ("/orders", "/orders/"),
            ("/orders", "/orders/7"),
            ("/orders", "/Orders"),
            ("/orders/{id}", "/orders"),
            ("/orders/{id}", "/orders/"),
            ("/orders/{id}", "/orders/7/lines"),
            ("/orders/{id}", "/orders/7%2Flines"),
            ("/orders/{id}", "/orders/7%5Clines"),
            ("/files/**", "/filesystem"),
            ("/**/x", "/a/b/x"),
        ] {
            assert!(!found(pattern, "GET", raw), "{pattern} {raw}");
        }
    }

    #[test]
    fn head_counts_as_get_and_nothing_else_does() {
        assert!(found("/orders", "HEAD", "/orders"));
        for method in ["POST", "DELETE", "OPTIONS", "GETX"] {
            assert!(!found("/orders", method, "/orders"), "{method}");
        }
    }
}
