//! The call itself: headers from the allow-list, the upstream's credential in place, bodies streamed both ways.

mod answer;
mod request;

use crate::app::Gateway;
use crate::error::{Refused, cause};
use crate::passage::Passage;
use crate::passage::admit::Admitted;
use crate::passage::decide::{Decided, with_provider};
use crate::passage::finish::Ending;
use crate::running::{Cut, Exchange};
use crate::upload::Upload;
use crate::websocket;
use actix_web::HttpResponse;
use actix_web::web::{Data, Payload};
use caracal_domain::{AnchorKind, Refusal};
use caracal_egress::{Body, EgressError};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::time::{Instant, sleep_until};

/// # Errors
/// The upstream is not allowed, not reached or not in time, or the call was cut before it answered.
pub(super) async fn forward(
    gateway: &Data<Gateway>,
    passage: &Passage,
    admitted: &Admitted,
    decided: Decided,
    payload: Payload,
) -> Result<HttpResponse, Refused> {
    let tokens = [
        Some(decided.token.clone()),
        decided.mandate.as_ref().map(|(mandate, _)| mandate.clone()),
    ];
    let tokens: Vec<_> = tokens.into_iter().flatten().collect();
    let registration = gateway
        .running
        .register(passage.id, admitted.bearer.clone(), tokens);
    // Whatever was revoked between the decision and the registration has cut nobody.
    if let Some(anchor) = gateway.views.refuses(&decided.token) {
        return Err(Refused::Revoked(anchor));
    }
    let cut = registration.exchange.cut().clone();
    let (mut payload, mut body) = (Some(payload), None);
    if passage.call.has_body()
        && !passage.call.wants_websocket
        && let Some(payload) = payload.take()
    {
        body = Some(Upload::begin(payload, passage.call.content_length(), cut));
    }
    let (body, upload) = body.unwrap_or_else(Upload::none);
    let mut ending = Ending::of(gateway, passage, &decided.token, std::sync::Arc::clone(&upload));
    let request = request::build(gateway, passage, admitted, &decided, body)?;
    let answered = send(
        gateway,
        request,
        passage.call.wants_websocket,
        &registration.exchange,
        &upload,
    )
    .await;
    let answer = match answered.and_then(|answer| accept(answer, &decided, passage.call.wants_websocket)) {
        Ok(answer) => answer,
        Err(refused) => {
            ending.answered(refused.status().as_u16());
            match registration.exchange.why() {
                Some(why) => ending.cut(Some(why)),
                None => ending.failed("upstream_failed"),
            }
            if let (Refused::Rule(Refusal::UpstreamCredentialRejected), Some(credential)) =
                (&refused, &decided.credential)
            {
                gateway.credentials.reject(&decided.wanted, credential).await;
            }
            return Err(refused);
        }
    };
    ending.answered(answer.status().as_u16());
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        return websocket::join(answer, payload, registration, ending, upload).await;
    }
    Ok(answer::stream(answer, &passage.call.method, registration, ending))
}

/// Waits for the head of the answer. The upstream's time runs while nothing is taken from us.
async fn send(
    gateway: &Gateway,
    request: Request<Body>,
    upgrade: bool,
    exchange: &Exchange,
    upload: &Upload,
) -> Result<Response<Incoming>, Refused> {
    let sending = async {
        if upgrade {
            gateway.upstreams.send_upgrade(request).await
        } else {
            gateway.upstreams.send(request).await
        }
    };
    let mut sending = std::pin::pin!(sending);
    loop {
        let out_of_time = upload.moved() + gateway.first_byte;
        tokio::select! {
            biased;
            () = exchange.cut().cancelled() => return Err(ended(exchange)),
            answer = &mut sending => return answer.map_err(|error| refusal(&error, upload).into()),
            () = sleep_until(out_of_time) => {
                if upload.moved() + gateway.first_byte <= Instant::now() {
                    return Err(Refusal::UpstreamTimeout.into());
                }
            }
        }
    }
}

/// A caller learns nothing from an upstream's 401: the credential it refused was not the caller's.
fn accept(
    answer: Response<Incoming>,
    decided: &Decided,
    upgrade: bool,
) -> Result<Response<Incoming>, Refused> {
    if with_provider(&decided.directive) && answer.status() == StatusCode::UNAUTHORIZED {
        return Err(Refusal::UpstreamCredentialRejected.into());
    }
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS && !upgrade {
        return Err(Refusal::UpstreamUnreachable.into());
    }
    Ok(answer)
}

fn refusal(error: &EgressError, upload: &Upload) -> Refusal {
    if upload.is_too_large() {
        return Refusal::BodyTooLarge;
    }
    tracing::info!(error = cause(error), "the upstream did not answer");
    match error {
        EgressError::Forbidden(_) => Refusal::UpstreamNotAllowed,
        EgressError::Unreachable(_) => Refusal::UpstreamUnreachable,
        EgressError::Timeout => Refusal::UpstreamTimeout,
    }
}

fn ended(exchange: &Exchange) -> Refused {
    match exchange.why() {
        Some(Cut::Expired) => Refusal::BearerExpired.into(),
        Some(Cut::Unconfirmed) => Refusal::StaleState.into(),
        Some(Cut::Revoked) | None => Refused::Revoked(AnchorKind::Sid),
    }
}
