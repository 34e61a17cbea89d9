//! What introspection (RFC 7662) and revocation (RFC 7009) share: a form that names a token, and a client who proves
//! itself as at the token endpoint.

use crate::app::Sts;
use crate::authenticate::{Authenticated, Presented};
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
        let mut form = TokenRequest::parse(&bytes)?;
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
    /// As [`Sts::authenticate`].
    pub async fn caller(
        self,
        sts: &Sts,
        request_id: &RequestId,
    ) -> Result<(SecretString, Option<Authenticated>), Failure> {
        let (source, endpoint) = (self.source, self.endpoint.clone());
        let proved = self.prove(sts).await;
        if let Err(failure) = &proved {
            let metadata = json!({"source": source, "endpoint": endpoint});
            sts.note_stranger(source, request_id, failure.reason(), metadata);
        }
        proved
    }

    async fn prove(self, sts: &Sts) -> Result<(SecretString, Option<Authenticated>), Failure> {
        let Presented::GatewayKey(key) = &self.presented else {
            let caller = sts
                .authenticate(self.presented, self.zone, self.source, self.at_least)
                .await?;
            return Ok((self.token, Some(caller)));
        };
        sts.gateway(key)?;
        // Only a hint of where to look the key up; the token is verified there.
        let Ok(zone) = Unverified::parse(self.token.expose_secret()).map(|token| token.zone_hint()) else {
            return Ok((self.token, None));
        };
        match sts
            .authenticate(self.presented, Some(zone), self.source, self.at_least)
            .await
        {
            Err(Failure::Refused(Refusal::SubjectTokenInvalid)) => Ok((self.token, None)),
            proved => Ok((self.token, Some(proved?))),
        }
    }
}
