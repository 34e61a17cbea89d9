//! `GET /v1/oauth/callback`: a user comes back from a provider. Public; the state says who and what for.

use super::ConnectionView;
use super::authorize::row_of;
use crate::admin_token::sha256;
use crate::app::Api;
use crate::attempt::Attempt;
use crate::change::{By, Change, Deed};
use crate::error::{Failure, Refusal};
use crate::sight::Sight;
use actix_web::http::header::{ACCEPT, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue};
use actix_web::web::Data;
use actix_web::{HttpMessage, HttpRequest, HttpResponse, HttpResponseBuilder};
use caracal_domain::id::ConnectionId;
use caracal_domain::upstream_oauth::{Grant, TokenAnswer};
use caracal_domain::{Epoch, FeedBody};
use caracal_jose::Purpose;
use caracal_provider::{OauthProvider, Tokens, Unasked};
use caracal_storage::connections::{self, ConnectionRow, NewConnection, StateRow};
use caracal_storage::{Conn, providers};
use caracal_web::{ApiError, CurrentRequestId, to_completion, zone_epoch};
use chrono::TimeDelta;
use serde::Serialize;
use serde_json::json;
use std::collections::HashMap;
use url::{Url, form_urlencoded};
use utoipa::ToSchema;
use zeroize::Zeroizing;

const PAGE: &str = include_str!("connected.html");
const REFUSED_PAGE: &str = include_str!("refused.html");
/// A page that loads nothing, runs nothing and is framed by nobody.
const PAGE_POLICY: (HeaderName, HeaderValue) = (
    CONTENT_SECURITY_POLICY,
    HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
);
/// The longest parameter that is looked at.
const MAX_PARAMETER_BYTES: usize = 4096;

/// A connection that was made.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Connected {
    id: ConnectionId,
    #[schema(example = "active")]
    status: &'static str,
}

/// What the provider sent along.
struct Callback {
    state: String,
    issuer: Option<String>,
    outcome: Result<String, String>,
}

/// Finishes a user's consent.
///
/// The provider sends the user's browser here: single use, within ten minutes. Public.
#[utoipa::path(
    get,
    path = "/v1/oauth/callback",
    params(
        ("state" = String, Query), ("code" = Option<String>, Query), ("error" = Option<String>, Query),
        ("iss" = Option<String>, Query),
    ),
    responses(
        (status = 200, description = "Connected; a small page where `Accept` asks for one.", content(
            (Connected = "application/json"), (String = "text/html"),
        )),
        (status = 400, description = "`invalid_oauth_callback`, `oauth_state_invalid`, `provider_oauth_denied`; a small page, too"),
        (status = 502, description = "`provider_token_exchange_failed`; a small page, too"),
    ),
    security(())
)]
pub(crate) async fn callback(
    api: Data<Api>,
    request: HttpRequest,
    id: CurrentRequestId,
) -> Result<HttpResponse, ApiError> {
    if !wants_page(&request) {
        let (connected, epoch) = finish(&api, &request, id).await?;
        return Ok(answer(epoch).json(connected));
    }
    match finish(&api, &request, id).await {
        Ok((_, epoch)) => Ok(answer(epoch)
            .insert_header(PAGE_POLICY)
            .content_type("text/html; charset=utf-8")
            .body(PAGE)),
        Err(refused) => {
            let (name, value) = PAGE_POLICY;
            Err(refused.with_header(name, value).with_page(REFUSED_PAGE))
        }
    }
}

fn answer(epoch: Epoch) -> HttpResponseBuilder {
    let mut answer = HttpResponse::Ok();
    answer
        .insert_header(zone_epoch(epoch))
        .insert_header(("Cache-Control", "no-store"))
        .insert_header(("Referrer-Policy", "no-referrer"));
    answer
}

/// The connection that comes of it, and the epoch that shows it.
async fn finish(
    api: &Data<Api>,
    request: &HttpRequest,
    id: CurrentRequestId,
) -> Result<(Connected, Epoch), ApiError> {
    let callback = read(request.query_string()).ok_or(Refusal::InvalidOauthCallback)?;
    let state = api.state(&callback.state).await?;
    // Whatever comes of it is in the ledger of the zone that sent the user.
    let attempt = Attempt {
        actor: None,
        zone: Some(state.zone_id),
        about: json!({
            "user_id": state.user_id, "resource_id": state.resource_id, "provider_id": state.provider_id,
        }),
    };
    request.extensions_mut().insert(attempt);
    let (by, api) = (By::system(id.0), api.clone());
    let finished = async move { api.finish_connection(&by, state, callback).await };
    let (row, epoch) = to_completion(finished).await?;
    let connected = Connected {
        id: row.id,
        status: "active",
    };
    Ok((connected, epoch))
}

impl Api {
    async fn finish_connection(
        &self,
        by: &By,
        state: StateRow,
        callback: Callback,
    ) -> Result<(ConnectionRow, Epoch), ApiError> {
        let (provider, verifier) = self.take_state(&state, &callback.state).await?;
        let code = match &callback.outcome {
            Ok(code) => code,
            Err(error) => {
                return Err(ApiError::from(Refusal::ProviderOauthDenied).with_detail(json!({"error": error})));
            }
        };
        let failed = |why: Unasked| {
            let cause: &(dyn std::error::Error + 'static) = &why;
            tracing::warn!(error = cause, "a provider did not exchange a code");
            ApiError::from(Refusal::ProviderTokenExchangeFailed)
        };
        let provider = self.asker.discovered(provider).await.map_err(failed)?;
        check_issuer(callback.issuer.as_deref(), &provider)?;
        let redirect_uri = self.callback_url();
        let grant = Grant::Code {
            code,
            verifier: &verifier,
            redirect_uri: &redirect_uri,
        };
        let answer = self.asker.token(&provider, &grant).await.map_err(failed)?;
        let tokens = Tokens::from(&answer);
        let kept = self.keep_connection(by, state, answer, &tokens).await;
        if kept.is_err()
            && let Err(why) = self.give_back(&provider, &tokens).await
        {
            tracing::warn!(%why, "a provider did not take back the tokens of an unwanted consent");
        }
        Ok(kept?)
    }

    /// Who was sent to a provider with this state, and what for.
    async fn state(&self, state: &str) -> Result<StateRow, Failure> {
        let hash = sha256(state);
        let find = async |conn: &mut Conn| connections::find_state(conn, &hash).await;
        let found = self.read(Sight::Everything, find).await?;
        Ok(found.ok_or(Refusal::OauthStateInvalid)?)
    }

    /// Uses the state up, whatever comes of it, and opens what it stands for.
    async fn take_state(
        &self,
        state: &StateRow,
        text: &str,
    ) -> Result<(OauthProvider, Zeroizing<String>), Failure> {
        let hash = sha256(text);
        let mut conn = self.database.acquire(Sight::Everything).await?;
        if !connections::consume_state(&mut conn, state.zone_id, &hash).await? {
            return Err(Refusal::OauthStateInvalid.into());
        }
        let row = providers::find(&mut conn, state.zone_id, state.provider_id).await?;
        let row = row.ok_or(Refusal::OauthStateInvalid)?;
        // After the provider was read, so that it is the one that the user was sent to.
        if !connections::is_wanted(&conn, state.zone_id, &hash).await? {
            return Err(Refusal::OauthStateInvalid.into());
        }
        let provider = self.oauth_provider(&mut conn, &row).await?;
        let dek = self.dek(&mut conn, state.zone_id).await?;
        let verifier = dek.open(
            state.zone_id,
            Purpose::ConnectionToken,
            row_of(&hash),
            &state.verifier(),
        )?;
        let verifier =
            String::from_utf8(verifier.to_vec()).map_err(|_| Failure::Fault("reading a verifier"))?;
        Ok((provider, Zeroizing::new(verifier)))
    }

    /// One active connection for a user, resource and provider: this one.
    async fn keep_connection(
        &self,
        by: &By,
        state: StateRow,
        answer: TokenAnswer,
        tokens: &Tokens,
    ) -> Result<(ConnectionRow, Epoch), Failure> {
        let zone = state.zone_id;
        let id = ConnectionId::mint(&*self.clock);
        let expires_at = answer
            .expires_in
            .map(|seconds| self.clock.now() + TimeDelta::seconds(seconds));
        let scopes = answer
            .scope
            .as_ref()
            .map_or_else(|| state.scopes.clone(), |granted| scopes_of(granted));
        let mut tx = self.database.begin(zone).await?;
        // The zone first, so that two consents of one user come one after the other.
        let change = Change::draw(&tx, &*self.clock, zone, by).await;
        let change = change.map_err(|failure| {
            let gone = matches!(failure, Failure::Refused(Refusal::ZoneNotFound));
            if gone {
                Refusal::OauthStateInvalid.into()
            } else {
                failure
            }
        })?;
        // What has been withdrawn while the provider was asked is no connection.
        if !connections::is_wanted(&tx, zone, &state.state_sha256).await? {
            return Err(Refusal::OauthStateInvalid.into());
        }
        let dek = self.dek(&mut tx, zone).await?;
        let new = NewConnection {
            zone_id: zone,
            id,
            user_id: state.user_id,
            resource_id: state.resource_id,
            provider_id: state.provider_id,
            scopes,
            tokens: tokens.seal(&dek, zone, id)?,
            access_expires_at: expires_at,
        };
        let (row, replaced) = connections::replace(&mut tx, &new).await?;
        let mut view = serde_json::to_value(ConnectionView::from(&row)).unwrap_or_default();
        if let Some(view) = view.as_object_mut() {
            view.insert("authorized_by".to_owned(), json!(state.created_by));
            view.insert("replaces".to_owned(), json!(replaced));
        }
        let deed = Deed::new(zone, "connection.create", id).to(&view);
        let epoch = self
            .conclude_at(tx, by, deed, change, FeedBody::ZoneChanged)
            .await?;
        Ok((row, epoch))
    }
}

/// RFC 9207 §2.4: an `iss` that is there must be the provider's. One that is configured without its issuer is known by
/// the host where its users consent.
fn check_issuer(named: Option<&str>, provider: &OauthProvider) -> Result<(), Refusal> {
    let Some(named) = named else { return Ok(()) };
    let same = match (
        &provider.settings.issuer,
        &provider.settings.authorization_endpoint,
    ) {
        (Some(issuer), _) => issuer.trim_end_matches('/') == named.trim_end_matches('/'),
        (None, Some(endpoint)) => Url::parse(named).is_ok_and(|named| named.origin() == endpoint.origin()),
        (None, None) => false,
    };
    if same {
        Ok(())
    } else {
        Err(Refusal::InvalidOauthCallback)
    }
}

/// A state and either a code or an error, each once. What else a provider sends is not looked at.
fn read(query: &str) -> Option<Callback> {
    const KNOWN: [&str; 4] = ["state", "code", "error", "iss"];
    let mut found: HashMap<String, String> = HashMap::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if !KNOWN.contains(&&*name) {
            continue;
        }
        let fine = (1..=MAX_PARAMETER_BYTES).contains(&value.len()) && !value.chars().any(char::is_control);
        if !fine || found.insert(name.into_owned(), value.into_owned()).is_some() {
            return None;
        }
    }
    let outcome = match (found.remove("code"), found.remove("error")) {
        (Some(code), None) => Ok(code),
        (None, Some(error)) => Err(error),
        (Some(_), Some(_)) | (None, None) => return None,
    };
    Some(Callback {
        state: found.remove("state")?,
        issuer: found.remove("iss"),
        outcome,
    })
}

fn wants_page(request: &HttpRequest) -> bool {
    let accept = request.headers().get_all(ACCEPT);
    let accept: Vec<&str> = accept.filter_map(|value| value.to_str().ok()).collect();
    prefers_page(&accept.join(","))
}

/// Whether `Accept` weighs a page higher than JSON (RFC 9110 §12.5.1); JSON where it weighs both alike.
fn prefers_page(accept: &str) -> bool {
    weight(accept, "text", "html") > weight(accept, "application", "json")
}

/// The weight, in thousandths, of the most specific range that a media type is in.
fn weight(accept: &str, kind: &str, subtype: &str) -> u16 {
    let of_range = |range: &str| {
        let mut parts = range.split(';').map(str::trim);
        let precision = match parts.next()?.split_once('/')? {
            (k, s) if k.eq_ignore_ascii_case(kind) && s.eq_ignore_ascii_case(subtype) => 2_u8,
            (k, "*") if k.eq_ignore_ascii_case(kind) => 1,
            ("*", "*") => 0,
            _ => return None,
        };
        let parameter = |part: &str| {
            let (name, value) = part.split_once('=')?;
            name.trim()
                .eq_ignore_ascii_case("q")
                .then(|| value.trim().to_owned())
        };
        Some((
            precision,
            parts.find_map(parameter).map_or(1000, |q| thousandths(&q)),
        ))
    };
    let best = accept.split(',').filter_map(of_range).max();
    best.map_or(0, |(_, weight)| weight)
}

/// `0.85` as 850; what is no weight weighs nothing.
fn thousandths(q: &str) -> u16 {
    let (whole, fraction) = q.split_once('.').unwrap_or((q, ""));
    let digits = format!("{fraction:0<3}");
    let fraction = digits.get(..3).and_then(|digits| digits.parse::<u16>().ok());
    match (whole, fraction) {
        ("1", Some(_)) => 1000,
        ("0", Some(fraction)) => fraction,
        _ => 0,
    }
}

/// The scopes that a provider says it granted: separated by spaces (RFC 6749 §3.3), or by commas, as GitHub has it.
fn scopes_of(granted: &str) -> Vec<String> {
    let scopes = granted.split([' ', ',']).filter(|scope| !scope.is_empty());
    scopes.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_for_those_who_weigh_it_higher() {
        for page in [
            "text/html",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "application/json;q=0.5, TEXT/HTML",
            "text/*",
            "application/json;q=0, */*",
        ] {
            assert!(prefers_page(page), "{page}");
        }
        for json in [
            "",
            "*/*",
            "application/json",
            "application/json, text/html;q=0.9",
            "text/html;q=0.1, application/json;q=0.2",
            "text/html;q=0",
            "text/html;q=0, */*",
            "text/html;q=x",
        ] {
            assert!(!prefers_page(json), "{json}");
        }
    }

    #[test]
    fn a_callback_has_a_state_and_a_code_or_an_error() {
        assert!(read("state=s&code=c&session_state=x").is_some_and(|found| found.outcome == Ok("c".into())));
        assert!(read("state=s&error=access_denied").is_some_and(|found| found.outcome.is_err()));
        for bad in [
            "",
            "state=s",
            "code=c",
            "state=s&code=c&error=e",
            "state=s&state=t&code=c",
            "state=s&code=",
            "state=&code=c",
            "state=s&code=a%00b",
        ] {
            assert!(read(bad).is_none(), "{bad}");
        }
        assert!(read(&format!("state=s&code={}", "c".repeat(5000))).is_none());
    }

    #[test]
    fn scopes_are_separated_by_spaces_or_commas() {
        for granted in ["repo gist", "repo,gist", " repo,  gist "] {
            assert_eq!(scopes_of(granted), ["repo", "gist"]);
        }
        assert!(scopes_of("").is_empty());
    }
}
