//! The token endpoint's form, parsed once and strictly (contract §2, "Request").

use caracal_domain::id::{AgentSessionId, ApplicationId, ChallengeId, DelegationEdgeId, SessionId, ZoneId};
use caracal_domain::{Refusal, ResourceIdentifier, Scope, ScopeSet};
use secrecy::SecretString;
use std::collections::HashMap;

/// RFC 8693 §2.1.
pub const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const CLIENT_CREDENTIALS: &str = "client_credentials";
/// RFC 7523 §2.2.
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const MAX_RESOURCES: usize = 16;

/// The kinds of token there are names for (RFC 8693 §3). A name never decides which rules apply; it can only be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenType {
    /// An access token.
    AccessToken,
    /// Any JWT.
    Jwt,
    /// What an `OpenID` provider says of a sign-in; we issue none.
    IdToken,
}

impl TokenType {
    fn parse(name: &str) -> Option<Self> {
        match name.strip_prefix("urn:ietf:params:oauth:token-type:")? {
            "access_token" => Some(Self::AccessToken),
            "jwt" => Some(Self::Jwt),
            "id_token" => Some(Self::IdToken),
            _ => None,
        }
    }
}

/// What was asked for, every part of the right type.
#[derive(Debug, Default)]
pub struct TokenRequest {
    /// The zone, when the form or the path names it.
    pub zone_id: Option<ZoneId>,
    /// `application_id`, or its alias `client_id`.
    pub application_id: Option<ApplicationId>,
    /// The secret in the body (`client_secret_post`).
    pub client_secret: Option<SecretString>,
    /// The assertion that proves the client (RFC 7523 §2.2).
    pub client_assertion: Option<SecretString>,
    /// What is exchanged: a session token of ours, or a registered issuer's token.
    pub subject_token: Option<SecretString>,
    /// What the caller calls it.
    pub subject_token_type: Option<TokenType>,
    /// The session of whoever acts (RFC 8693 §2.1).
    pub actor_token: Option<SecretString>,
    /// The token to inspect (RFC 7662 §2.1).
    pub token: Option<SecretString>,
    /// The resources, in order, each once.
    pub resources: Vec<ResourceIdentifier>,
    /// The scopes; `None` means "what I may have".
    pub scopes: Option<ScopeSet>,
    /// What else was asked for as a scope: well formed (RFC 6749 §3.3), and not what a resource of ours can have.
    pub foreign_scopes: Vec<String>,
    /// Seconds the token should live.
    pub ttl_seconds: Option<u32>,
    /// The session the subject token must be of.
    pub session_id: Option<SessionId>,
    /// The agent session to act as.
    pub agent_session_id: Option<AgentSessionId>,
    /// The delegation to redeem.
    pub delegation_edge_id: Option<DelegationEdgeId>,
    /// The step-up challenge that was met, and the secret that came with it.
    pub challenge: Option<(ChallengeId, SecretString)>,
    /// The governed call's method, from a gateway only.
    pub method: Option<String>,
    /// The governed call's path, from a gateway only.
    pub path: Option<String>,
    /// The id of the credential that the upstream refused last time, from a gateway only.
    pub rejected_credential: Option<String>,
}

impl TokenRequest {
    /// Whether it has what only a gateway says.
    #[must_use]
    pub const fn is_of_a_call(&self) -> bool {
        self.method.is_some() || self.path.is_some() || self.rejected_credential.is_some()
    }

    /// Whether it lacks what a gateway has to say.
    #[must_use]
    pub const fn lacks_a_call(&self) -> bool {
        self.method.is_none() || self.path.is_none()
    }

    /// Every scope asked for, ours or not; `None` when there was no wish.
    #[must_use]
    pub fn scope_names(&self) -> Option<Vec<&str>> {
        let ours = self.scopes.as_ref()?.iter().map(Scope::as_str);
        Some(
            ours.chain(self.foreign_scopes.iter().map(String::as_str))
                .collect(),
        )
    }

    /// Parses the body of a request about a token (RFC 7662 §2.1, RFC 7009 §2.1). What the token endpoint takes besides is
    /// nothing here, whatever it says.
    ///
    /// # Errors
    /// The first [`Refusal`] in the order repeated, malformed.
    pub fn parse_about_token(body: &[u8]) -> Result<Self, Refusal> {
        let mut form = Form::read(body)?;
        form.assertion_type()?;
        Ok(Self {
            application_id: form.one_of("application_id", "client_id")?,
            zone_id: form.id("zone_id")?,
            client_secret: form.take("client_secret").map(SecretString::from),
            client_assertion: form.take("client_assertion").map(SecretString::from),
            token: form.take("token").map(SecretString::from),
            ..Self::default()
        })
    }

    /// Parses an `application/x-www-form-urlencoded` body.
    ///
    /// # Errors
    /// The first [`Refusal`] in the order grant, repeated, malformed.
    pub fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let mut form = Form::read(body)?;
        match form.take("grant_type").as_deref() {
            None | Some(TOKEN_EXCHANGE | CLIENT_CREDENTIALS) => {}
            Some(_) => return Err(Refusal::UnsupportedGrant),
        }
        let subject_token_type = form.token_types()?;
        form.assertion_type()?;
        let application_id = form.one_of("application_id", "client_id")?;
        let (scopes, foreign_scopes) = form.scopes()?;
        let request = Self {
            zone_id: form.id("zone_id")?,
            application_id,
            client_secret: form.take("client_secret").map(SecretString::from),
            client_assertion: form.take("client_assertion").map(SecretString::from),
            subject_token: form.take("subject_token").map(SecretString::from),
            subject_token_type,
            actor_token: form.take("actor_token").map(SecretString::from),
            token: None,
            scopes,
            foreign_scopes,
            ttl_seconds: form.ttl()?,
            session_id: form.id("session_id")?,
            agent_session_id: form.id("agent_session_id")?,
            delegation_edge_id: form.id("delegation_edge_id")?,
            challenge: form.challenge()?,
            method: form.take("method"),
            path: form.take("path"),
            rejected_credential: form.take("rejected_credential"),
            resources: form.resources()?,
        };
        // Both are of a session that is there already.
        let of_session = request.session_id.is_some() || request.delegation_edge_id.is_some();
        if of_session && request.subject_token.is_none() {
            return Err(Refusal::StrayParameter);
        }
        Ok(request)
    }
}

/// The parameters by name; only what names a target may repeat: `resource` (RFC 8707 §2), or by its other name `audience`
/// (RFC 8693 §2.1). Ours are known by one name each, so the two mean the same.
struct Form {
    single: HashMap<String, String>,
    resources: Vec<String>,
}

impl Form {
    fn read(body: &[u8]) -> Result<Self, Refusal> {
        let text = std::str::from_utf8(body).map_err(|_| Refusal::MalformedForm)?;
        if !is_percent_encoded(text) {
            return Err(Refusal::MalformedForm);
        }
        let pairs: Vec<(String, String)> =
            serde_urlencoded::from_str(text).map_err(|_| Refusal::MalformedForm)?;
        let mut form = Self {
            single: HashMap::new(),
            resources: Vec::new(),
        };
        for (name, value) in pairs {
            if value
                .chars()
                .any(|c| c.is_control() || c == char::REPLACEMENT_CHARACTER)
            {
                return Err(Refusal::MalformedForm);
            }
            if name == "resource" || name == "audience" {
                form.resources.push(value);
            } else if form.single.insert(name, value).is_some() {
                return Err(Refusal::RepeatedParameter);
            }
        }
        // RFC 6749 §3.2: a parameter without a value counts as omitted.
        form.single.retain(|_, value| !value.is_empty());
        Ok(form)
    }

    fn take(&mut self, name: &str) -> Option<String> {
        self.single.remove(name)
    }

    fn id<T: std::str::FromStr>(&mut self, name: &str) -> Result<Option<T>, Refusal> {
        self.take(name)
            .map(|text| text.parse())
            .transpose()
            .map_err(|_| Refusal::MalformedId)
    }

    fn one_of(&mut self, name: &str, alias: &str) -> Result<Option<ApplicationId>, Refusal> {
        match (self.id(name)?, self.id(alias)?) {
            (Some(one), Some(other)) if one != other => Err(Refusal::RepeatedParameter),
            (one, other) => Ok(one.or(other)),
        }
    }

    /// The subject token's type; the others are checked and not needed.
    fn token_types(&mut self) -> Result<Option<TokenType>, Refusal> {
        let mut named = |name: &str| match self.take(name) {
            None => Ok(None),
            Some(text) => TokenType::parse(&text)
                .map(Some)
                .ok_or(Refusal::UnsupportedTokenType),
        };
        let (subject, actor) = (named("subject_token_type")?, named("actor_token_type")?);
        // An ID token is not a session of ours, and we issue none.
        if named("requested_token_type")? == Some(TokenType::IdToken) || actor == Some(TokenType::IdToken) {
            return Err(Refusal::UnsupportedTokenType);
        }
        let given = |name: &str| self.single.contains_key(name);
        let stray = |named: bool, token: &str| named && !given(token);
        if stray(subject.is_some(), "subject_token") || stray(actor.is_some(), "actor_token") {
            return Err(Refusal::StrayParameter);
        }
        if given("actor_token") && !given("subject_token") {
            return Err(Refusal::ActorWithoutSubject);
        }
        Ok(subject)
    }

    fn assertion_type(&mut self) -> Result<(), Refusal> {
        match (
            self.take("client_assertion_type"),
            self.single.contains_key("client_assertion"),
        ) {
            (None, false) => Ok(()),
            (Some(_), false) => Err(Refusal::StrayParameter),
            (Some(kind), true) if kind == JWT_BEARER => Ok(()),
            (_, true) => Err(Refusal::UnsupportedAssertionType),
        }
    }

    fn challenge(&mut self) -> Result<Option<(ChallengeId, SecretString)>, Refusal> {
        match (self.id("challenge_id")?, self.take("challenge_response")) {
            (None, None) => Ok(None),
            (Some(id), Some(response)) => Ok(Some((id, response.into()))),
            (Some(_), None) | (None, Some(_)) => Err(Refusal::ChallengeIncomplete),
        }
    }

    /// What is well formed and can be no scope of ours is kept apart: that no resource has it is for a later step to say.
    fn scopes(&mut self) -> Result<(Option<ScopeSet>, Vec<String>), Refusal> {
        let Some(text) = self.take("scope") else {
            return Ok((None, Vec::new()));
        };
        let (mut ours, mut foreign) = (Vec::new(), Vec::new());
        for name in text.split(' ') {
            match name.parse::<Scope>() {
                Ok(scope) => ours.push(scope),
                Err(_) if is_scope_token(name) => foreign.push(name.to_owned()),
                Err(_) => return Err(Refusal::MalformedForm),
            }
        }
        Ok((Some(ours.into_iter().collect()), foreign))
    }

    fn ttl(&mut self) -> Result<Option<u32>, Refusal> {
        let Some(text) = self.take("ttl_seconds") else {
            return Ok(None);
        };
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        // A number beyond u32 is a valid wish for "as long as possible".
        let seconds = if digits {
            text.parse().unwrap_or(u32::MAX)
        } else {
            0
        };
        if seconds == 0 {
            Err(Refusal::InvalidTtl)
        } else {
            Ok(Some(seconds))
        }
    }

    fn resources(self) -> Result<Vec<ResourceIdentifier>, Refusal> {
        let mut resources: Vec<ResourceIdentifier> = Vec::new();
        for text in self.resources.into_iter().filter(|text| !text.is_empty()) {
            let resource = text.parse().map_err(|_| Refusal::MalformedForm)?;
            if !resources.contains(&resource) {
                resources.push(resource);
            }
            if resources.len() > MAX_RESOURCES {
                return Err(Refusal::TooManyResources);
            }
        }
        Ok(resources)
    }
}

/// RFC 6749 §3.3.
fn is_scope_token(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_graphic() && b != b'"' && b != b'\\';
    !text.is_empty() && text.bytes().all(allowed)
}

/// Whether every `%` begins two hexadecimal digits (RFC 3986 §2.1).
fn is_percent_encoded(text: &str) -> bool {
    text.split('%').skip(1).all(|rest| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    fn refusal(body: &str) -> Option<Refusal> {
        TokenRequest::parse(body.as_bytes()).err()
    }

    #[test]
    fn a_whole_request_is_read() {
        let body = "grant_type=client_credentials&client_id=0198c0de-0000-7000-8000-000000000000&client_secret=s%20t\
                    &resource=resource%3A%2F%2Fa&resource=resource%3A%2F%2Fb&scope=read+write&ttl_seconds=60";
        let request = TokenRequest::parse(body.as_bytes()).expect("well formed");
        assert_eq!(request.resources.len(), 2);
        let named = TokenRequest::parse(b"audience=a:b&audience=a:c&resource=a:b").expect("well formed");
        assert_eq!(named.resources.len(), 2, "an audience is a target too");
        assert_eq!(request.scopes.expect("given").to_string(), "read write");
        assert_eq!(request.ttl_seconds, Some(60));
        assert_eq!(request.client_secret.expect("given").expose_secret(), "s t");
    }

    #[test]
    fn bad_forms_are_refused_each_for_its_own_reason() {
        let many = (0..17)
            .map(|n| format!("resource=r%3A{n}"))
            .collect::<Vec<_>>()
            .join("&");
        let cases = [
            ("grant_type=password", Refusal::UnsupportedGrant),
            ("scope=a&scope=a", Refusal::RepeatedParameter),
            ("grant_type=&grant_type=", Refusal::RepeatedParameter),
            ("zone_id=7", Refusal::MalformedId),
            ("application_id=%F0%9F%92%A9", Refusal::MalformedId),
            ("scope=a++b", Refusal::MalformedForm),
            ("scope=a%22b", Refusal::MalformedForm),
            ("scope=a%5Cb", Refusal::MalformedForm),
            ("scope=caf%C3%A9", Refusal::MalformedForm),
            ("scope=+a", Refusal::MalformedForm),
            ("foo=%zz", Refusal::MalformedForm),
            ("foo=1%", Refusal::MalformedForm),
            ("f%2=1", Refusal::MalformedForm),
            ("ttl_seconds=0", Refusal::InvalidTtl),
            ("ttl_seconds=-1", Refusal::InvalidTtl),
            ("ttl_seconds=1.5", Refusal::InvalidTtl),
            ("resource=a%00b", Refusal::MalformedForm),
            ("resource=%E2%80%AEx", Refusal::MalformedForm),
            ("scope=%FF", Refusal::MalformedForm),
            (
                "subject_token_type=urn:ietf:params:oauth:token-type:saml2",
                Refusal::UnsupportedTokenType,
            ),
            ("delegation_edge_id=x", Refusal::MalformedId),
            (
                "requested_token_type=urn:ietf:params:oauth:token-type:id_token",
                Refusal::UnsupportedTokenType,
            ),
            (
                "actor_token_type=urn:ietf:params:oauth:token-type:jwt",
                Refusal::StrayParameter,
            ),
            (
                "subject_token_type=urn:ietf:params:oauth:token-type:jwt",
                Refusal::StrayParameter,
            ),
            (
                "subject_token=&subject_token_type=urn:ietf:params:oauth:token-type:jwt",
                Refusal::StrayParameter,
            ),
            ("client_assertion=x", Refusal::UnsupportedAssertionType),
            (
                "client_assertion=x&client_assertion_type=urn:x",
                Refusal::UnsupportedAssertionType,
            ),
            (
                "client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                Refusal::StrayParameter,
            ),
            ("actor_token=x", Refusal::ActorWithoutSubject),
            (
                "session_id=0198c0de-0000-7000-8000-000000000000",
                Refusal::StrayParameter,
            ),
            (
                "delegation_edge_id=0198c0de-0000-7000-8000-000000000000",
                Refusal::StrayParameter,
            ),
            ("challenge_response=x", Refusal::ChallengeIncomplete),
            (
                "challenge_id=0198c0de-0000-7000-8000-000000000000",
                Refusal::ChallengeIncomplete,
            ),
            (many.as_str(), Refusal::TooManyResources),
        ];
        for (body, expected) in cases {
            assert_eq!(refusal(body), Some(expected), "{body}");
        }
        assert!(TokenRequest::parse(&[0xff, 0xfe]).is_err());
    }

    #[test]
    fn a_scope_that_is_none_of_ours_is_kept_apart() {
        let request = TokenRequest::parse(b"scope=a:read+A+b*+~%5B%5D").expect("well formed");
        assert_eq!(request.scopes.as_ref().expect("given").to_string(), "a:read");
        assert_eq!(request.foreign_scopes, ["A", "b*", "~[]"]);
        assert_eq!(request.scope_names().expect("given").len(), 4);
        let long = format!("scope={}", "a".repeat(201));
        let request = TokenRequest::parse(long.as_bytes()).expect("well formed");
        assert_eq!(request.foreign_scopes.len(), 1, "longer than any of ours");
    }

    #[test]
    fn a_request_about_a_token_takes_what_it_defines_and_nothing_else() {
        let body = b"token=t&grant_type=password&scope=caf%C3%A9&ttl_seconds=0&subject_token_type=x&actor_token=x\
                     &challenge_id=x&resource=%C3%A9&client_id=0198c0de-0000-7000-8000-000000000000&client_secret=s";
        let request = TokenRequest::parse_about_token(body).expect("well formed");
        assert_eq!(request.token.expect("given").expose_secret(), "t");
        assert!(request.application_id.is_some() && request.client_secret.is_some());
        for (body, expected) in [
            ("token=a&token=b", Refusal::RepeatedParameter),
            ("token=a&client_id=x", Refusal::MalformedId),
            ("token=a&zone_id=x", Refusal::MalformedId),
            ("token=a&client_assertion=x", Refusal::UnsupportedAssertionType),
            ("token=%0", Refusal::MalformedForm),
        ] {
            let refused = TokenRequest::parse_about_token(body.as_bytes());
            assert_eq!(refused.err(), Some(expected), "{body}");
        }
    }

    #[test]
    fn a_wish_for_ever_is_shortened_not_refused() {
        let request = TokenRequest::parse(b"ttl_seconds=99999999999999999999").expect("well formed");
        assert_eq!(request.ttl_seconds, Some(u32::MAX));
    }
}
