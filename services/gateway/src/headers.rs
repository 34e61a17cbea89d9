//! Which headers pass, in each direction. Towards the upstream the list is of what may pass; nothing else does.

use caracal_egress::headers::{is_hop_by_hop, may_be_forwarded};
use http::header::{HeaderMap, HeaderName, HeaderValue};

/// Passes by exact name (contract §5, "Forwarding").
const ALLOWED: [&str; 9] = [
    "range",
    "user-agent",
    "cache-control",
    "last-event-id",
    "idempotency-key",
    "traceparent",
    "tracestate",
    "baggage",
    "origin",
];

/// Passes by the beginning of its name.
const ALLOWED_PREFIXES: [&str; 4] = ["accept", "content-", "if-", "mcp-"];

/// A WebSocket handshake's own (RFC 6455 §4.1).
const WEBSOCKET_PREFIX: &str = "sec-websocket-";

/// Never passes to a caller.
const NEVER_ANSWERED: [&str; 7] = [
    "server",
    "x-powered-by",
    "set-cookie",
    "set-cookie2",
    "alt-svc",
    "content-length",
    "x-request-id",
];

/// What of a caller's headers goes to the upstream: the allow-list and the resource's own `extra` names, but nothing
/// the caller's `Connection` header names, and nothing by the name of the upstream's `credential`.
#[must_use]
pub fn for_upstream(
    incoming: &HeaderMap,
    extra: &[String],
    credential: Option<&HeaderName>,
    upgrade: bool,
) -> HeaderMap {
    let mut outgoing = HeaderMap::with_capacity(incoming.len());
    for (name, value) in incoming {
        let wanted = is_allowed(name.as_str())
            || (upgrade && name.as_str().starts_with(WEBSOCKET_PREFIX))
            || (may_be_forwarded(name.as_str())
                && extra.iter().any(|e| e.eq_ignore_ascii_case(name.as_str())));
        if wanted && credential != Some(name) && !is_nominated(incoming, name) {
            outgoing.append(name.clone(), value.clone());
        }
    }
    outgoing
}

/// What of an upstream's headers goes to the caller.
pub fn for_caller(answer: &HeaderMap) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
    answer.iter().filter(|(name, _)| {
        let text = name.as_str();
        !is_hop_by_hop(text)
            && !NEVER_ANSWERED.contains(&text)
            && !text.starts_with("x-caracal-")
            && !text.starts_with("caracal-")
            && !is_nominated(answer, name)
    })
}

fn is_allowed(name: &str) -> bool {
    name != "content-length"
        && (ALLOWED.contains(&name) || ALLOWED_PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
}

/// Whether `Connection` says that this header means only this connection.
fn is_nominated(headers: &HeaderMap, name: &HeaderName) -> bool {
    let lists = headers
        .get_all(http::header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok());
    lists
        .flat_map(|list| list.split(','))
        .any(|item| item.trim().eq_ignore_ascii_case(name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn map(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(n, v)| {
                (
                    n.parse::<HeaderName>().expect("a name"),
                    v.parse().expect("a value"),
                )
            })
            .collect()
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn only_what_is_listed_reaches_the_upstream() {
        let incoming = map(&[
            ("accept", "*/*"),
            ("accept-language", "en"),
            ("authorization", "Bearer caller"),
            ("content-length", "3"),
            ("content-type", "text/plain"),
            ("cookie", "a=b"),
            ("forwarded", "for=x"),
            ("host", "gateway"),
            ("if-none-match", "x"),
            ("mcp-session-id", "1"),
            ("origin", "https://a.example"),
            ("sec-websocket-key", "x"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("x-api-key", "stolen"),
            ("x-caracal-resource", "resource://a"),
            ("x-caracal-scope", "a"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-tenant", "7"),
        ]);
        let passed = for_upstream(&incoming, &[], None, false);
        assert_eq!(
            names(&passed),
            [
                "accept",
                "accept-language",
                "content-type",
                "if-none-match",
                "mcp-session-id",
                "origin"
            ]
        );
        let extra = [
            "X-Tenant".to_owned(),
            "Authorization".to_owned(),
            "X-Forwarded-For".to_owned(),
            "Cookie".to_owned(),
        ];
        let passed = for_upstream(&incoming, &extra, None, true);
        assert!(passed.contains_key("x-tenant") && passed.contains_key("sec-websocket-key"));
        for never in [
            "authorization",
            "cookie",
            "x-forwarded-for",
            "host",
            "transfer-encoding",
            "upgrade",
        ] {
            assert!(!passed.contains_key(never), "{never}");
        }
    }

    #[test]
    fn the_credential_and_what_connection_names_are_left_out() {
        let incoming = map(&[
            ("accept", "x"),
            ("if-match", "y"),
            ("connection", "close, If-Match"),
            ("content-key", "mine"),
        ]);
        let credential = HeaderName::from_static("content-key");
        assert_eq!(
            names(&for_upstream(&incoming, &[], Some(&credential), false)),
            ["accept"]
        );
    }

    #[test]
    fn answers_lose_what_is_not_for_the_caller() {
        let answer = map(&[
            ("connection", "x-private"),
            ("content-type", "text/plain"),
            ("etag", "x"),
            ("location", "/elsewhere"),
            ("server", "nginx"),
            ("set-cookie", "a=b"),
            ("alt-svc", "h3"),
            ("x-caracal-anything", "1"),
            ("x-powered-by", "php"),
            ("x-private", "1"),
            ("x-rate-limit", "5"),
        ]);
        let passed: Vec<&str> = for_caller(&answer).map(|(name, _)| name.as_str()).collect();
        assert_eq!(passed, ["content-type", "etag", "location", "x-rate-limit"]);
    }

    proptest! {
        #[test]
        fn no_name_of_ours_ever_passes(name in "(x-caracal-|x-forwarded-|caracal-)[a-z-]{1,12}", extra: bool) {
            let extra = if extra { vec![name.clone()] } else { vec![] };
            prop_assert!(for_upstream(&map(&[(&name, "x")]), &extra, None, true).is_empty());
        }
    }
}
