//! Who is calling: an application with its secret or its signature, or one of our gateways with its key (contract §2, "Client
//! authentication").

use crate::app::Sts;
use crate::error::Failure;
use crate::form::TokenRequest;
use crate::prove::Proved;
use crate::view::ZoneView;
use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use caracal_domain::id::{ApplicationId, ZoneId};
use caracal_domain::zone::Application;
use caracal_domain::{Epoch, OAuthCode, Refusal};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use std::net::IpAddr;
use std::sync::Arc;

/// What the request offers as proof, before anyone has looked at it.
#[derive(Debug)]
pub enum Presented {
    /// An application and what it proves itself with.
    Application {
        /// Who it says it is.
        application: ApplicationId,
        /// Its proof.
        proof: Proof,
    },
    /// A bearer key, which only a gateway has.
    GatewayKey(SecretString),
}

/// How an application proves itself.
#[derive(Debug)]
pub enum Proof {
    /// A shared secret, in the body or by HTTP Basic.
    Secret(Secret),
    /// An assertion it signed itself (`private_key_jwt`).
    Assertion(SecretString),
}

/// A shared secret as it was sent.
#[derive(Debug)]
pub struct Secret {
    /// What it says by the rules.
    pub read: SecretString,
    /// What was sent, when that is something else: many clients send a secret by HTTP Basic as it is.
    pub raw: Option<SecretString>,
}

impl From<SecretString> for Secret {
    fn from(read: SecretString) -> Self {
        Self { read, raw: None }
    }
}

impl Presented {
    /// Reads the one way of client authentication the request uses.
    ///
    /// # Errors
    /// [`Refusal::TwoClientMethods`], [`Refusal::MissingClient`], or [`Refusal::InvalidClient`] for a header that is
    /// not one.
    pub fn read(headers: &HeaderMap, form: &mut TokenRequest) -> Result<Self, Refusal> {
        let mut all = headers.get_all(AUTHORIZATION);
        let (header, another) = (all.next(), all.next());
        if another.is_some() {
            return Err(Refusal::TwoClientMethods);
        }
        match (header, form.client_secret.take(), form.client_assertion.take()) {
            (Some(header), None, None) => Self::header(header, form),
            (None, Some(secret), None) => {
                let application = form.application_id.ok_or(Refusal::MissingClient)?;
                let proof = Proof::Secret(secret.into());
                Ok(Self::Application { application, proof })
            }
            (None, None, Some(assertion)) => Self::assertion(assertion, form),
            // RFC 6749 §5.2: "no client authentication included" is an invalid client.
            (None, None, None) => Err(Refusal::InvalidClient),
            _ => Err(Refusal::TwoClientMethods),
        }
    }

    fn header(header: &HeaderValue, form: &TokenRequest) -> Result<Self, Refusal> {
        let header = header.to_str().map_err(|_| Refusal::InvalidClient)?;
        match header.split_once(' ') {
            Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Self::GatewayKey(key.into())),
            Some((scheme, pair)) if scheme.eq_ignore_ascii_case("basic") => Self::basic(pair, form),
            _ => Err(Refusal::InvalidClient),
        }
    }

    /// RFC 7521 §4.2: without `client_id` the assertion says who it is of.
    fn assertion(assertion: SecretString, form: &TokenRequest) -> Result<Self, Refusal> {
        let application = crate::assertion::application_of(&assertion)?;
        if form.application_id.is_some_and(|named| named != application) {
            return Err(Refusal::InvalidClient);
        }
        let proof = Proof::Assertion(assertion);
        Ok(Self::Application { application, proof })
    }

    /// RFC 6749 §2.3.1: both halves are form-encoded before they are joined. Common clients join them as they are; an id
    /// is the same either way, of a secret both readings are tried.
    fn basic(pair: &str, form: &TokenRequest) -> Result<Self, Refusal> {
        let decoded = STANDARD.decode(pair).map_err(|_| Refusal::InvalidClient)?;
        let text = String::from_utf8(decoded).map_err(|_| Refusal::InvalidClient)?;
        let (user, password) = text.split_once(':').ok_or(Refusal::InvalidClient)?;
        let application: ApplicationId = form_decoded(user)?.parse().map_err(|_| Refusal::InvalidClient)?;
        if form.application_id.is_some_and(|named| named != application) {
            return Err(Refusal::InvalidClient);
        }
        let secret = match form_decoded(password) {
            Ok(read) if read != password => Secret {
                read: read.into(),
                raw: Some(password.into()),
            },
            Ok(_) | Err(_) => SecretString::from(password).into(),
        };
        let proof = Proof::Secret(secret);
        Ok(Self::Application { application, proof })
    }
}

/// One value and nothing behind it: what is encoded as it should be has no `&` left.
fn form_decoded(text: &str) -> Result<String, Refusal> {
    let pairs: Result<Vec<(String, String)>, _> = serde_urlencoded::from_str(&format!("v={text}"));
    let mut pairs = pairs.map_err(|_| Refusal::InvalidClient)?.into_iter();
    match (pairs.next(), pairs.next()) {
        (Some((_, value)), None) => Ok(value),
        _ => Err(Refusal::InvalidClient),
    }
}

/// A caller who has proved who it is.
#[derive(Debug, Clone)]
pub enum Caller {
    /// An application of the zone.
    Application(Arc<Application>),
    /// A gateway, asking on behalf of the session token's holder.
    Gateway,
}

/// A caller who has proved who it is, on the view of that moment. Whatever is refused to it from here on is its own zone's
/// to know.
#[derive(Debug)]
pub struct Known {
    /// Where.
    pub view: Arc<ZoneView>,
    by: By,
}

/// Who has proved itself.
#[derive(Debug)]
enum By {
    Application(Box<Proved>),
    Gateway,
}

impl Known {
    /// Whether it is a gateway.
    #[must_use]
    pub const fn is_gateway(&self) -> bool {
        matches!(self.by, By::Gateway)
    }

    /// Who it is, for the ledger.
    #[must_use]
    pub fn who(&self) -> Value {
        match &self.by {
            By::Application(proved) => json!({"application_id": proved.application.id}),
            By::Gateway => json!({"caller": "gateway"}),
        }
    }
}

/// A proved caller and the zone it acts in.
#[derive(Debug)]
pub struct Authenticated {
    /// Who.
    pub caller: Caller,
    /// Where.
    pub view: Arc<ZoneView>,
}

impl Sts {
    /// Proves the caller.
    ///
    /// # Errors
    /// `invalid_client` whatever exactly was wrong with the client, 429 after too many failures, or that the state
    /// could not be read.
    pub async fn authenticate(
        &self,
        presented: Presented,
        zone: Option<ZoneId>,
        source: IpAddr,
    ) -> Result<Known, Failure> {
        match presented {
            Presented::GatewayKey(key) => {
                self.gateway(&key)?;
                let zone = zone.ok_or(Refusal::SubjectTokenInvalid)?;
                let view = self.zones.view(zone, None).await?;
                Ok(Known {
                    view: view.ok_or(Refusal::SubjectTokenInvalid)?,
                    by: By::Gateway,
                })
            }
            Presented::Application { application, proof } => {
                let identified = self.identified(application, proof, zone, source).await;
                let (view, proved) =
                    identified.map_err(|failure| self.counted(application, source, failure))?;
                Ok(Known {
                    view,
                    by: By::Application(Box::new(proved)),
                })
            }
        }
    }

    async fn identified(
        &self,
        application: ApplicationId,
        proof: Proof,
        zone: Option<ZoneId>,
        source: IpAddr,
    ) -> Result<(Arc<ZoneView>, Proved), Failure> {
        let zone = match zone {
            Some(zone) => Some(zone),
            None => self.zone_of(application).await?,
        };
        let zone = zone.ok_or(Refusal::InvalidClient)?;
        let view = self.zone_named(zone).await?;
        let view = view.ok_or(Refusal::InvalidClient)?;
        let proved = self.proved(&view, application, proof, source).await?;
        Ok((view, proved))
    }

    /// Lets a known caller in, on a view at `at_least` or later: only whoever is known may make us wait for one.
    ///
    /// # Errors
    /// That there is no such view, or none yet; `invalid_client` when the newer view shows another credential, or the
    /// assertion has been used.
    pub async fn let_in(&self, known: Known, at_least: Option<Epoch>) -> Result<Authenticated, Failure> {
        let zone = known.view.zone.config.id;
        let view = self.zones.view(zone, at_least).await?;
        match known.by {
            By::Gateway => Ok(Authenticated {
                caller: Caller::Gateway,
                view: view.ok_or(Refusal::SubjectTokenInvalid)?,
            }),
            By::Application(proved) => {
                let (application, source) = (proved.application.id, proved.source);
                let current = self.still_proved(view, *proved).await;
                current.map_err(|failure| self.counted(application, source, failure))
            }
        }
    }

    /// A failed proof counts, whether or not there is such an application: past the limit the answer is to wait, whatever
    /// was wrong.
    fn counted(&self, application: ApplicationId, source: IpAddr, failure: Failure) -> Failure {
        let Failure::Refused(refusal) = &failure else {
            return failure;
        };
        if refusal.code() != OAuthCode::InvalidClient {
            return failure;
        }
        let wait = self.throttled(application, source);
        wait.or_else(|| {
            let failed = self.quotas.failed(application, source, self.clock.now());
            failed
                .err()
                .map(|seconds| Failure::Wait(Refusal::ClientThrottled, seconds))
        })
        .unwrap_or(failure)
    }

    /// Whether `key` is the gateways' own, in constant time.
    ///
    /// # Errors
    /// [`Refusal::InvalidClient`] when it is not.
    pub fn gateway(&self, key: &SecretString) -> Result<(), Refusal> {
        let same = caracal_jose::constant_time_eq(
            key.expose_secret().as_bytes(),
            self.gateway_key.expose_secret().as_bytes(),
        );
        if same { Ok(()) } else { Err(Refusal::InvalidClient) }
    }

    /// The application, while it is neither archived nor expired.
    #[must_use]
    pub fn live(&self, view: &ZoneView, application: ApplicationId) -> Option<Arc<Application>> {
        let now = self.clock.now();
        let found = view.zone.config.applications.get(&application)?;
        found
            .expires_at
            .is_none_or(|end| now < end)
            .then(|| Arc::clone(found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderName;

    const ID: &str = "0198c0de-0000-7000-8000-000000000000";

    fn read(authorization: Option<&str>, body: &str) -> Result<Presented, Refusal> {
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert(
                HeaderName::from_static("authorization"),
                HeaderValue::from_str(value).expect("a header"),
            );
        }
        let mut form = TokenRequest::parse(body.as_bytes()).expect("a form");
        Presented::read(&headers, &mut form)
    }

    #[test]
    fn basic_is_form_decoded_and_may_not_be_doubled() {
        let header = format!("Basic {}", STANDARD.encode(format!("{ID}:a%2Bb%3A+c")));
        match read(Some(&header), "") {
            Ok(Presented::Application {
                application,
                proof: Proof::Secret(secret),
            }) => {
                assert_eq!(application.to_string(), ID);
                assert_eq!(secret.read.expose_secret(), "a+b: c");
                assert_eq!(secret.raw.expect("both").expose_secret(), "a%2Bb%3A+c");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(
            read(Some(&header), "client_secret=x").err(),
            Some(Refusal::TwoClientMethods)
        );
    }

    #[test]
    fn a_secret_that_cannot_be_form_encoded_is_what_it_is() {
        for raw in ["plain", "a&b", "100%", "=", "a=b&c", "%zz"] {
            let header = format!("Basic {}", STANDARD.encode(format!("{ID}:{raw}")));
            match read(Some(&header), "") {
                Ok(Presented::Application {
                    proof: Proof::Secret(secret),
                    ..
                }) => {
                    assert_eq!(secret.read.expose_secret(), raw);
                    assert!(secret.raw.is_none(), "{raw}");
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn what_is_not_a_credential_is_an_invalid_client() {
        for header in ["", "Basic", "Basic !!!", "Digest x", "Basic Og=="] {
            assert_eq!(
                read(Some(header), "").err(),
                Some(Refusal::InvalidClient),
                "{header:?}"
            );
        }
        assert_eq!(read(None, "").err(), Some(Refusal::InvalidClient));
        assert_eq!(read(None, "client_secret=x").err(), Some(Refusal::MissingClient));
        assert_eq!(
            read(None, &format!("client_id={ID}")).err(),
            Some(Refusal::InvalidClient)
        );
    }
}
