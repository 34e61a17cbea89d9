//! The words of other crates as `OpenAPI` shows them (`build.rs` says which stands for which).

use std::borrow::Cow;
use std::collections::HashMap;
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};

/// Words of which there is a closed list.
macro_rules! closed {
    ($($(#[doc = $what:literal])+ $name:ident: $($word:literal)|+;)+) => {$(
        $(#[doc = $what])+
        #[derive(Debug)]
        pub(crate) struct $name;

        impl $name {
            const WORDS: &'static [&'static str] = &[$($word),+];
        }

        impl utoipa::PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let words = Self::WORDS.iter().copied();
                let text = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words));
                text.description(Some(concat!($($what),+).trim())).into()
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                stringify!($name).trim_end_matches("Word").into()
            }
        }
    )+};
}

closed! {
    /// How it was decided.
    AuditDecisionWord: "allow" | "deny" | "partial";
    /// How the gateway authenticates to a resource's upstream.
    AuthModeWord: "caracal_jwt" | "provider_oauth" | "provider_apikey" | "none";
    /// What proof is asked for.
    ChallengeTypeWord: "mfa" | "human_approval" | "software_attestation";
    /// Whether users are asked before an application acts for them.
    ConsentWord: "implicit" | "required";
    /// How an application proves itself.
    CredentialTypeWord: "token" | "password" | "public-key" | "url" | "public";
    /// What a policy or a set of them says.
    DecisionWord: "allow" | "deny";
    /// Where a signing key stands in its life.
    KeyStatusWord: "next" | "active" | "retiring" | "retired";
    /// How far an activation has come.
    PropagationStatusWord: "pending" | "loaded" | "failed";
    /// What a provider is; the finer names are equal values.
    ProviderKindWord: "oauth2" | "oidc" | "apikey" | "workload" | "oauth2_authorization_code"
        | "oauth2_client_credentials" | "api_key" | "bearer_token";
    /// How an application came to be.
    RegistrationMethodWord: "managed" | "dcr";
    /// Where a session stands.
    SessionStatusWord: "active" | "revoked" | "expired";
    /// What a session is of.
    SubjectTypeWord: "application" | "user";
}

/// One action a token may take, such as `orders:read`.
#[derive(Debug, ToSchema)]
#[schema(as = Scope, pattern = "^[a-z0-9:_./-]+$", min_length = 1, max_length = 200)]
#[expect(dead_code, reason = "only its schema is wanted")]
pub(crate) struct ScopeWord(String);

/// A stable name of a resource, such as `resource://orders`: visible ASCII.
#[derive(Debug, ToSchema)]
#[schema(as = ResourceIdentifier, min_length = 1, max_length = 2048)]
#[expect(dead_code, reason = "only its schema is wanted")]
pub(crate) struct ResourceIdentifierWord(String);

/// Public keys (RFC 7517 §5).
#[derive(Debug, ToSchema)]
#[schema(as = JwkSet)]
#[expect(dead_code, reason = "only its schema is wanted")]
pub(crate) struct JwkSetWord {
    #[schema(min_items = 1, max_items = 16)]
    keys: Vec<JwkWord>,
}

/// A public key (RFC 7517 §4); which other members there are follows from its kind.
#[derive(Debug, ToSchema)]
#[schema(as = Jwk)]
#[expect(dead_code, reason = "only its schema is wanted")]
pub(crate) struct JwkWord {
    kty: String,
    #[serde(flatten)]
    others: HashMap<String, serde_json::Value>,
}

/// How a provider is reached. Which of these it takes follows from its kind; `…_url` are other names of `…_endpoint`.
#[derive(Debug, ToSchema)]
#[schema(as = ProviderConfiguration)]
#[expect(dead_code, reason = "only its schema is wanted")]
pub(crate) struct ProviderConfigurationWord {
    authorization_endpoint: Option<String>,
    authorization_url: Option<String>,
    token_endpoint: Option<String>,
    token_url: Option<String>,
    revocation_endpoint: Option<String>,
    issuer: Option<String>,
    client_id: Option<String>,
    scopes: Option<Vec<String>>,
    /// `client_secret_basic`, `client_secret_post`, `private_key_jwt` or `none`.
    client_auth_method: Option<String>,
    authorization_params: Option<HashMap<String, String>>,
    token_params: Option<HashMap<String, String>>,
    allowed_token_hosts: Option<Vec<String>>,
    audience: Option<String>,
    resource: Option<String>,
    /// `header` or `query`.
    location: Option<String>,
    name: Option<String>,
    scheme: Option<String>,
    subject: Option<String>,
    ttl_seconds: Option<i64>,
}

/// One permitted call of a resource.
#[derive(Debug, ToSchema)]
#[schema(as = Operation)]
#[expect(dead_code, reason = "only its schema is wanted")]
pub(crate) struct OperationWord {
    /// HTTP method; HEAD counts as GET.
    method: String,
    /// Path with `{name}` segments and perhaps a trailing `/**`.
    path: String,
    /// The scope the caller must hold.
    scope: ScopeWord,
}

#[cfg(test)]
mod tests {
    use super::*;
    use caracal_domain::decision::ChallengeType;
    use caracal_domain::{AuditDecision, Decision, SubjectType, zone};
    use caracal_storage::sessions::SessionStatus;
    use serde::de::DeserializeOwned;

    #[test]
    fn the_words_shown_are_the_words_understood() {
        fn understood<T: DeserializeOwned>(words: &[&str]) {
            for word in words {
                assert!(serde_json::from_value::<T>((*word).into()).is_ok(), "{word}");
            }
        }
        understood::<AuditDecision>(AuditDecisionWord::WORDS);
        understood::<ChallengeType>(ChallengeTypeWord::WORDS);
        understood::<Decision>(DecisionWord::WORDS);
        understood::<zone::AuthMode>(AuthModeWord::WORDS);
        understood::<zone::CredentialType>(CredentialTypeWord::WORDS);
        understood::<zone::KeyStatus>(KeyStatusWord::WORDS);
        understood::<zone::ProviderKind>(ProviderKindWord::WORDS);
        understood::<zone::RegistrationMethod>(RegistrationMethodWord::WORDS);
        understood::<SubjectType>(SubjectTypeWord::WORDS);
        assert!(
            SessionStatusWord::WORDS
                .iter()
                .all(|word| SessionStatus::parse(word).is_some())
        );
    }
}
