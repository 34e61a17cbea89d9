//! Who is calling: the bearer it shows and the address it calls from.

use actix_web::HttpRequest;
use actix_web::http::header;
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr};

/// The token of `Authorization: Bearer …` (RFC 6750 §2.1); the scheme's case does not matter. Two such headers, or an
/// empty token, are none.
#[must_use]
pub fn bearer(request: &HttpRequest) -> Option<&str> {
    let mut values = request.headers().get_all(header::AUTHORIZATION);
    let (Some(only), None) = (values.next(), values.next()) else {
        return None;
    };
    let (scheme, token) = only.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// The address a request comes from: the TCP peer or, when that is a trusted proxy, the last address of
/// `X-Forwarded-For` that no trusted proxy added (contract §2, `TRUSTED_PROXIES`).
#[must_use]
pub fn source_address(request: &HttpRequest, trusted: &[IpNet]) -> IpAddr {
    let peer = request
        .peer_addr()
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| {
            address.ip().to_canonical()
        });
    let is_trusted = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
    if !is_trusted(&peer) {
        return peer;
    }
    let forwarded: Vec<&str> = request
        .headers()
        .get_all(header::X_FORWARDED_FOR)
        .filter_map(|value| value.to_str().ok())
        .collect();
    let hops = forwarded
        .iter()
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .rev();
    let mut nearest = peer;
    for hop in hops {
        let Ok(address) = hop.parse::<IpAddr>() else { break };
        nearest = address.to_canonical();
        if !is_trusted(&nearest) {
            break;
        }
    }
    nearest
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    #[test]
    fn only_a_trusted_proxy_may_speak_for_another() {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let ask = |peer: &str, forwarded: &str| {
            let request = TestRequest::default()
                .peer_addr(format!("{peer}:1").parse().unwrap())
                .insert_header(("X-Forwarded-For", forwarded))
                .to_http_request();
            source_address(&request, &trusted).to_string()
        };
        assert_eq!(ask("192.0.2.1", "198.51.100.7"), "192.0.2.1");
        assert_eq!(ask("10.0.0.1", "198.51.100.7"), "198.51.100.7");
        assert_eq!(
            ask("10.0.0.1", "203.0.113.9, 198.51.100.7, 10.0.0.2"),
            "198.51.100.7"
        );
        assert_eq!(ask("10.0.0.1", "198.51.100.7, nonsense"), "10.0.0.1");
    }

    #[test]
    fn a_bearer_is_one_header_with_one_token() {
        let with = |values: &[&str]| {
            let request = values.iter().fold(TestRequest::default(), |r, v| {
                r.append_header(("Authorization", *v))
            });
            bearer(&request.to_http_request()).map(str::to_owned)
        };
        assert_eq!(with(&["bearer abc"]).as_deref(), Some("abc"));
        for none in [
            &[][..],
            &["Basic abc"],
            &["Bearer "],
            &["Bearer"],
            &["Bearer a", "Bearer b"],
        ] {
            assert_eq!(with(none), None, "{none:?}");
        }
    }
}
