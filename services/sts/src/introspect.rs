//! `POST /oauth/2/introspect` (RFC 7662): is this token good, right now?

use crate::about_token::AboutToken;
use crate::app::Sts;
use crate::authenticate::Caller;
use crate::error::{Failure, OAuthError};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use caracal_domain::{Claims, Epoch, RequestId};
use caracal_web::{CurrentRequestId, MinEpoch, NO_STORE, zone_epoch};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

/// Answers `{"active": false}` for every token that is not good, without saying why (RFC 7662 §2.2), and refuses with
/// 503 when it cannot be known.
///
/// # Errors
/// The OAuth error that is the answer.
pub async fn introspect(
    sts: Data<Sts>,
    request: HttpRequest,
    id: CurrentRequestId,
    epoch: MinEpoch,
    body: Payload,
) -> Result<HttpResponse, OAuthError> {
    let outcome = inspect(&sts, &request, &id.0, epoch, body).await;
    let (answer, at) = outcome.map_err(|failure| failure.answering(id.0))?;
    let mut response = HttpResponse::Ok();
    for header in NO_STORE {
        response.insert_header(header);
    }
    if let Some(epoch) = at {
        response.insert_header(zone_epoch(epoch));
    }
    Ok(response.json(answer))
}

async fn inspect(
    sts: &Sts,
    request: &HttpRequest,
    id: &RequestId,
    epoch: MinEpoch,
    body: Payload,
) -> Result<(Value, Option<Epoch>), Failure> {
    let asked = AboutToken::read(sts, request, id, epoch, body).await?;
    let (token, Some(client)) = asked.caller(sts, id).await? else {
        return Ok((inactive(), None));
    };
    let (view, verified) = sts.verify_current(client.view, token.expose_secret()).await;
    let good = verified.ok();
    let good = good.filter(|verified| view.anchors.refuses(verified.claims(), verified.kid()).is_none());
    let good = good.filter(|verified| sts.live(&view, verified.claims().client_id).is_some());
    let good = good.filter(|verified| may_see(&client.caller, verified.claims()));
    let answer = good.map_or_else(inactive, |verified| active(verified.claims()));
    Ok((answer, Some(view.epoch)))
}

/// An application may ask about its own tokens and those meant for anyone in its zone; a gateway about all.
fn may_see(caller: &Caller, claims: &Claims) -> bool {
    match caller {
        Caller::Gateway => true,
        Caller::Application(application) => {
            claims.client_id == application.id || claims.token_use == caracal_domain::TokenUse::Resource
        }
    }
}

fn inactive() -> Value {
    json!({"active": false})
}

fn active(claims: &Claims) -> Value {
    let mut answer = serde_json::to_value(claims).unwrap_or_default();
    if let Some(members) = answer.as_object_mut() {
        members.insert("active".to_owned(), Value::Bool(true));
        members.insert("token_type".to_owned(), Value::String("Bearer".to_owned()));
    }
    answer
}
