//! What introspection (RFC 7662) and revocation (RFC 7009) share: a form that names a token, and a client who proves
//! itself as at the token endpoint.

use crate::app::Sts;
use crate::authenticate::{Authenticated, Known, Presented};
use crate::error::Failure;
use crate::form::TokenRequest;
use crate::token::{is_form, limited};
use actix_web::HttpRequest;
use actix_web::web::Payload;
use caracal_domain::id::ZoneId;
use caracal_domain::{Epoch, Refusal, RequestId};
use caracal_jose::Unverified;
use caracal_web::{MinEpoch, source_address};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use std::net::IpAddr;

/// A request about a token, before anyone has looked at who asks.
#[derive(Debug)]
pub struct AboutToken {
    /// The token.
    pub token: SecretString,
    presented: Presented,
    zone: Option<ZoneId>,
    /// Where it comes from.
    pub source: IpAddr,
    endpoint: String,
    at_least: Option<Epoch>,
}

impl AboutToken {
    /// Reads the form. What is wrong with it is noted as at the token endpoint.
    ///
    /// # Errors
    /// What is wrong with it.
    pub async fn read(
        sts: &Sts,
        request: &HttpRequest,
        request_id: &RequestId,
        epoch: MinEpoch,
        body: Payload,
    ) -> Result<Self, Failure> {
        let source = source_address(request, &sts.trusted_proxies);
        let asked = Self::parse(request, source, epoch, body).await;
        if let Err(failure) = &asked {
            let metadata = json!({"source": source, "endpoint": request.path()});
            sts.note_stranger(source, request_id, failure.reason(), metadata);
        }
        asked
    }

    async fn parse(
        request: &HttpRequest,
        source: IpAddr,
        epoch: MinEpoch,
        body: Payload,
    ) -> Result<Self, Failure> {
        if !is_form(request.headers()) {
            return Err(Failure::UnsupportedMediaType);
        }
        let bytes = limited(body).await?;
        if !request.query_string().is_empty() {
            return Err(Refusal::QueryNotAllowed.into());
        }
        let mut form = TokenRequest::parse_about_token(&bytes)?;
        let token = form.token.take().ok_or(Refusal::MalformedForm)?;
        Ok(Self {
            token,
            at_least: epoch.get().map_err(|_| Refusal::MalformedEpoch)?,
            presented: Presented::read(request.headers(), &mut form)?,
            zone: form.zone_id,
            source,
            endpoint: request.path().to_owned(),
        })
    }

    /// Proves who asks: an application in its own zone, a gateway in the token's. `None`: a gateway asks about what
    /// belongs to no living zone. A failure is noted as at the token endpoint.
    ///
    /// # Errors
    /// As [`Sts::authenticate`] and [`Sts::let_in`].
    pub async fn caller(
        self,
        sts: &Sts,
        request_id: &RequestId,
    ) -> Result<(SecretString, Option<Authenticated>), Failure> {
        let named = json!({"source": self.source, "endpoint": self.endpoint});
        let known = match known(sts, &self.token, self.presented, self.zone, self.source).await {
            Ok(Some(known)) => known,
            Ok(None) => return Ok((self.token, None)),
            Err(failure) => {
                sts.note_stranger(self.source, request_id, failure.reason(), named);
                return Err(failure);
            }
        };
        let (zone, mut who) = (known.view.zone.config.id, known.who());
        let caller = sts.let_in(known, self.at_least).await;
        if let Err(failure) = &caller {
            if failure.is_of_client() {
                sts.note_stranger(self.source, request_id, failure.reason(), named);
            } else {
                if let Some(who) = who.as_object_mut() {
                    who.insert("endpoint".to_owned(), json!(self.endpoint));
                }
                sts.note_refused(zone, request_id, failure.reason(), who);
            }
        }
        Ok((self.token, Some(caller?)))
    }
}

async fn known(
    sts: &Sts,
    token: &SecretString,
    presented: Presented,
    zone: Option<ZoneId>,
    source: IpAddr,
) -> Result<Option<Known>, Failure> {
    let Presented::GatewayKey(key) = &presented else {
        return Ok(Some(sts.authenticate(presented, zone, source).await?));
    };
    sts.gateway(key)?;
    // Only a hint of where to look the key up; the token is verified there.
    let Ok(zone) = Unverified::parse(token.expose_secret()).map(|token| token.zone_hint()) else {
        return Ok(None);
    };
    match sts.authenticate(presented, Some(zone), source).await {
        Err(Failure::Refused(Refusal::SubjectTokenInvalid)) => Ok(None),
        known => known.map(Some),
    }
}
