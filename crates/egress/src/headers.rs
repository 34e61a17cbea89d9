//! Which headers are nobody's to set on a call that leaves: one list for what is saved and what is sent.

/// Means only one connection (RFC 9110 §7.6.1).
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Set by the gateway alone, or by nobody.
const NEVER_FORWARDED: [&str; 7] = [
    "authorization",
    "cookie",
    "host",
    "content-length",
    "forwarded",
    "x-request-id",
    "x-real-ip",
];

/// The same of whole families.
const NEVER_FORWARDED_PREFIXES: [&str; 4] = ["x-forwarded-", "x-caracal-", "caracal-", "sec-websocket-"];

/// Whether a header, named in lower case, means only one connection.
#[must_use]
pub fn is_hop_by_hop(name: &str) -> bool {
    HOP_BY_HOP.contains(&name)
}

/// Whether a caller's header of this name, in whatever case, may pass to an upstream that asks for it.
#[must_use]
pub fn may_be_forwarded(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    !NEVER_FORWARDED.contains(&name.as_str())
        && !is_hop_by_hop(&name)
        && !NEVER_FORWARDED_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

/// Whether an upstream's key may travel under this name: where a caller's header may, and in `Authorization`, which is
/// made for that.
#[must_use]
pub fn may_carry_a_key(name: &str) -> bool {
    name.eq_ignore_ascii_case("authorization") || may_be_forwarded(name)
}

/// Whether a text can be the value of a header as it is, to whoever reads it: visible ASCII and blanks within.
#[must_use]
pub fn is_value(text: &str) -> bool {
    text.trim_ascii() == text && text.bytes().all(|b| b == b' ' || b.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_gateways_own_is_nobody_elses() {
        for taken in [
            "Connection",
            "Proxy-Connection",
            "Keep-Alive",
            "Trailer",
            "TE",
            "Cookie",
            "Host",
            "X-Request-Id",
            "X-Real-IP",
            "X-Forwarded-Proto",
            "X-Caracal-Scope",
            "Sec-WebSocket-Key",
        ] {
            assert!(!may_be_forwarded(taken) && !may_carry_a_key(taken), "{taken}");
        }
        assert!(!may_be_forwarded("Authorization") && may_carry_a_key("Authorization"));
        assert!(may_be_forwarded("X-Tenant") && may_carry_a_key("X-API-Key"));
    }

    #[test]
    fn a_value_is_one_line_that_everybody_reads_alike() {
        for good in ["a", "a b", "Bearer~!", ""] {
            assert!(is_value(good), "{good:?}");
        }
        for bad in ["a\r\nX: y", "a\n", "\ta", " a", "a ", "caf\u{e9}", "a\u{7f}"] {
            assert!(!is_value(bad), "{bad:?}");
        }
    }
}
