//! The request as the upstream gets it.

use crate::app::Gateway;
use crate::error::Refused;
use crate::headers::for_upstream;
use crate::passage::Passage;
use crate::passage::admit::Admitted;
use crate::passage::decide::Decided;
use crate::path::SafePath;
use crate::sts_client::{Credential, CredentialLocation};
use caracal_domain::Refusal;
use caracal_domain::zone::AuthMode;
use caracal_egress::Body;
use caracal_lifecycle::trace::{TRACEPARENT, current_traceparent};
use http::header::{AUTHORIZATION, CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, UPGRADE};
use http::{Request, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

/// RFC 3986's unreserved characters stay as they are in a parameter.
const PARAMETER: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// # Errors
/// [`Refusal::MalformedRequest`] when the call's path or query cannot be passed on.
pub(super) fn build(
    gateway: &Gateway,
    passage: &Passage,
    admitted: &Admitted,
    decided: &Decided,
    body: Body,
) -> Result<Request<Body>, Refused> {
    let directive = &decided.directive;
    let (in_header, in_query) = place(decided.credential.as_deref())?;
    let mandate = decided
        .mandate
        .as_ref()
        .map_or(&admitted.bearer, |(_, text)| text);
    let in_header = match directive.auth_mode {
        AuthMode::CaracalJwt => Some((AUTHORIZATION, bearer(mandate)?)),
        AuthMode::ProviderOauth | AuthMode::ProviderApikey | AuthMode::None => in_header,
    };
    let credential = in_header.as_ref().map(|(name, _)| name);
    let upgrade = passage.call.wants_websocket;
    let mut headers = for_upstream(
        &passage.call.headers,
        &directive.forward_headers,
        credential,
        upgrade,
    );
    stamp(gateway, passage, &mut headers);
    if upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    }
    if let Some((name, value)) = in_header {
        headers.insert(name, value);
    }
    let uri = address(
        &directive.url,
        &admitted.path,
        passage.call.query.as_deref(),
        in_query,
    )?;
    let mut request = Request::new(body);
    *request.method_mut() = passage.call.method.clone();
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    Ok(request)
}

/// What the gateway says itself; whatever the caller said of it is gone.
fn stamp(gateway: &Gateway, passage: &Passage, headers: &mut HeaderMap) {
    let mut set = |name: &'static str, text: &str| {
        if let Ok(value) = HeaderValue::from_str(text) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    set("x-request-id", passage.call.request_id.as_str());
    set("x-forwarded-for", &passage.call.source.to_string());
    set(
        "x-forwarded-proto",
        if gateway.public_url.starts_with("https:") {
            "https"
        } else {
            "http"
        },
    );
    if let Some(host) = passage.call.headers.get(HOST).and_then(|host| host.to_str().ok()) {
        set("x-forwarded-host", host);
    }
    if let Some(traceparent) = current_traceparent() {
        set(TRACEPARENT, &traceparent);
    }
}

fn bearer(token: &SecretString) -> Result<HeaderValue, Refusal> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()))
        .map_err(|_| Refusal::BearerInvalid)?;
    value.set_sensitive(true);
    Ok(value)
}

type InHeader = Option<(HeaderName, HeaderValue)>;
type InQuery<'a> = Option<(&'a str, &'a SecretString)>;

fn place(credential: Option<&Credential>) -> Result<(InHeader, InQuery<'_>), Refusal> {
    let Some(credential) = credential else {
        return Ok((None, None));
    };
    match credential.location {
        CredentialLocation::Query => Ok((None, Some((&credential.name, &credential.value)))),
        CredentialLocation::Header => {
            let name =
                HeaderName::try_from(credential.name.as_str()).map_err(|_| Refusal::ProviderNotReady)?;
            let value = HeaderValue::from_str(credential.value.expose_secret());
            let mut value = value.map_err(|_| Refusal::ProviderNotReady)?;
            value.set_sensitive(true);
            Ok((Some((name, value)), None))
        }
    }
}

/// The call's path below the upstream's base, and the queries of both.
fn address(
    base: &Url,
    path: &SafePath,
    query: Option<&str>,
    credential: InQuery<'_>,
) -> Result<Uri, Refusal> {
    let root = base.path().trim_end_matches('/');
    let path = match (root, path.as_str()) {
        ("", path) => path.to_owned(),
        (_, "/") => base.path().to_owned(),
        (root, path) => format!("{root}{path}"),
    };
    let hidden = credential.map(|(name, _)| name);
    let mut parameters: Vec<String> = [base.query(), query]
        .into_iter()
        .flatten()
        .flat_map(|query| query.split('&'))
        .filter(|pair| !pair.is_empty() && hidden.is_none_or(|name| !is_named(pair, name)))
        .map(str::to_owned)
        .collect();
    if let Some((name, value)) = credential {
        let (name, value) = (encode(name), encode(value.expose_secret()));
        parameters.push(format!("{name}={value}"));
    }
    let query = if parameters.is_empty() {
        String::new()
    } else {
        format!("?{}", parameters.join("&"))
    };
    let authority = &base[url::Position::BeforeHost..url::Position::AfterPort];
    format!("{}://{authority}{path}{query}", base.scheme())
        .parse()
        .map_err(|_| Refusal::MalformedRequest)
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, PARAMETER).to_string()
}

/// Whether a parameter has this name in some upstream's reading.
fn is_named(pair: &str, name: &str) -> bool {
    pair.split(';').any(|pair| {
        let written = pair.split('=').next().unwrap_or_default().replace('+', " ");
        percent_decode_str(&written)
            .decode_utf8_lossy()
            .trim()
            .eq_ignore_ascii_case(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(base: &str, path: &str, query: Option<&str>, key: Option<&str>) -> String {
        let key = key.map(SecretString::from);
        let credential = key.as_ref().map(|key| ("api_key", key));
        let base = base.parse().expect("a URL");
        address(&base, &SafePath::parse(path).expect("safe"), query, credential)
            .expect("an address")
            .to_string()
    }

    #[test]
    fn the_path_lies_below_the_base() {
        assert_eq!(to("http://up:9", "/", None, None), "http://up:9/");
        assert_eq!(
            to("http://up:9/", "/a/b", Some("x=1"), None),
            "http://up:9/a/b?x=1"
        );
        assert_eq!(to("https://up/api/", "/a", None, None), "https://up/api/a");
        assert_eq!(to("https://up/mcp", "/", None, None), "https://up/mcp");
        assert_eq!(to("https://up/mcp/", "/", None, None), "https://up/mcp/");
        assert_eq!(to("https://up/mcp", "", Some(""), None), "https://up/mcp");
        assert_eq!(
            to("https://up/api?v=2", "/a", Some("x=1&y=%20"), None),
            "https://up/api/a?v=2&x=1&y=%20"
        );
        assert_eq!(to("http://[::1]:9/", "//a", None, None), "http://[::1]:9//a");
    }

    #[test]
    fn the_credential_replaces_every_parameter_of_its_name() {
        assert_eq!(
            to("http://up/", "/a", None, Some("k&1")),
            "http://up/a?api_key=k%261"
        );
        for query in [
            "api_key=mine",
            "API_KEY=mine",
            "%61pi_key=mine",
            "api_key",
            "api_key=mine&api_key=again",
            "x=1;api_key=mine",
            "+api_key=mine",
        ] {
            assert_eq!(
                to("http://up/", "/a", Some(query), Some("key")),
                "http://up/a?api_key=key",
                "{query}"
            );
        }
        assert_eq!(
            to("http://up/", "/a", Some("q=api_key&api_keys=1"), Some("key")),
            "http://up/a?q=api_key&api_keys=1&api_key=key"
        );
    }
}
