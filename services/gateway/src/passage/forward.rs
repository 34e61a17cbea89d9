//! The call itself: headers from the allow-list, the upstream's credential in place, bodies streamed both ways.

mod answer;
mod request;

use crate::app::Gateway;
use crate::error::Refused;
use crate::passage::admit::Admitted;
use crate::passage::decide::{Decided, of_upstream, refuse_overtaken, with_provider};
use crate::passage::{Passage, Passed, finish};
use crate::running::{Cut, Exchange};
use crate::upload::Upload;
use crate::websocket;
use actix_web::HttpResponse;
use actix_web::web::{Data, Payload};
use caracal_domain::{AnchorKind, OAuthCode, Refusal};
use caracal_egress::{Body, EgressError, Judged};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use tokio::time::{Instant, sleep_until};

/// Forwards an admitted call and hands its answer on. Whatever goes wrong from here on is how the call ended.
pub(super) async fn forward(gateway: &Data<Gateway>, passed: Passed, payload: Payload) -> HttpResponse {
    let Passed {
        passage,
        admitted,
        decided,
        mut ending,
    } = passed;
    let tokens = decided.tokens().cloned().collect();
    let registration = gateway
        .running
        .register(passage.id, admitted.bearer.clone(), tokens);
    let wants_websocket = passage.call.wants_websocket;
    let (payload, body) = if wants_websocket {
        (Some(payload), None)
    } else {
        (None, Some(payload))
    };
    let (body, upload) = match body.filter(|_| passage.call.has_body()) {
        Some(body) => {
            let cut = registration.exchange.cut().clone();
            Upload::begin(body, passage.call.content_length(), cut)
        }
        None => Upload::none(),
    };
    ending.counts(&upload);
    let opening = open(
        gateway,
        &passage,
        &admitted,
        &decided,
        &registration.exchange,
        body,
        &upload,
    );
    match Box::pin(opening).await {
        Ok(Opened::Answer(answer)) => {
            ending.answered(answer.status().as_u16());
            answer::stream(answer, &passage.call.method, registration, ending)
        }
        Ok(Opened::Switched(answer, upgraded)) => {
            ending.answered(answer.status().as_u16());
            websocket::join(&answer, upgraded, payload, registration, ending, upload)
        }
        Err(refused) => {
            ending.answered(refused.status().as_u16());
            match registration.exchange.why() {
                Some(why) => ending.cut(Some(why)),
                None => ending.failed(refused.reason()),
            }
            tracing::info!(reason = refused.reason(), "an admitted call came to nothing");
            finish::answer(gateway, &passage, &refused)
        }
    }
}

/// What the upstream opened with.
enum Opened {
    Answer(Response<Incoming>),
    Switched(Response<Incoming>, Upgraded),
}

/// Sends the request and waits for the head of its answer.
async fn open(
    gateway: &Gateway,
    passage: &Passage,
    admitted: &Admitted,
    decided: &Decided,
    exchange: &Exchange,
    body: Body,
    upload: &Upload,
) -> Result<Opened, Refused> {
    // Whatever was revoked between the decision and the registration has cut nobody.
    if let Err(refused) = refuse_overtaken(gateway, passage, admitted, decided).await {
        let revoked = refused.code() == OAuthCode::InvalidToken;
        exchange.end(if revoked { Cut::Revoked } else { Cut::Unconfirmed });
        return Err(refused);
    }
    let request = request::build(gateway, passage, admitted, decided, body)?;
    let upgrade = passage.call.wants_websocket;
    let mut answer = send(gateway, &decided.judged, request, upgrade, exchange, upload).await?;
    if with_provider(&decided.directive) && answer.status() == StatusCode::UNAUTHORIZED {
        // A caller learns nothing from an upstream's 401: the credential it refused was not the caller's.
        if let Some(credential) = &decided.credential {
            gateway.credentials.reject(&decided.wanted, credential).await;
        }
        return Err(Refusal::UpstreamCredentialRejected.into());
    }
    match (answer.status() == StatusCode::SWITCHING_PROTOCOLS, upgrade) {
        (false, _) => Ok(Opened::Answer(answer)),
        (true, true) => match hyper::upgrade::on(&mut answer).await {
            Ok(upgraded) => Ok(Opened::Switched(answer, upgraded)),
            Err(_) => Err(Refusal::UpstreamUnreachable.into()),
        },
        (true, false) => Err(Refusal::UpstreamUnreachable.into()),
    }
}

/// Waits for the head of the answer. The upstream's time runs while nothing is taken from us.
async fn send(
    gateway: &Gateway,
    judged: &Judged,
    request: Request<Body>,
    upgrade: bool,
    exchange: &Exchange,
    upload: &Upload,
) -> Result<Response<Incoming>, Refused> {
    let sending = async {
        if upgrade {
            gateway.upstreams.upgrade_at(judged, request).await
        } else {
            gateway.upstreams.send_to(judged, request).await
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

fn refusal(error: &EgressError, upload: &Upload) -> Refusal {
    if upload.is_too_large() {
        return Refusal::BodyTooLarge;
    }
    of_upstream(error)
}

fn ended(exchange: &Exchange) -> Refused {
    match exchange.why() {
        Some(Cut::Expired) => Refusal::BearerExpired.into(),
        Some(Cut::Unconfirmed) => Refusal::StaleState.into(),
        Some(Cut::Revoked) | None => Refused::Revoked(AnchorKind::Sid),
    }
}
