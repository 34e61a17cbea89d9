//! How domain types sit in columns, so that `domain` never hears of diesel.

use caracal_domain::agent::{AgentStatus, Lifecycle};
use caracal_domain::anchor::AnchorKind;
use caracal_domain::claims::SubjectType;
use caracal_domain::decision::ChallengeType;
use caracal_domain::event::AuditDecision;
use caracal_domain::zone::{AuthMode, CredentialType, KeyStatus, ProviderKind, RegistrationMethod};
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::pg::{Pg, PgValue};
use diesel::sql_types::{Nullable, Text, Uuid as SqlUuid};
use uuid::Uuid;

/// A closed enum stored under the name the wire uses; the table's CHECK lists the same names.
pub(crate) trait Named: Copy + Sized + 'static {
    /// What a bad value is called in an error.
    const WHAT: &'static str;
    /// Every value and its name.
    const NAMES: &'static [(Self, &'static str)];

    /// The name of this value.
    fn name(self) -> &'static str;
}

/// Reads a [`Named`] value from a text column: `#[diesel(deserialize_as = Stored<T>)]`.
#[derive(Debug, FromSqlRow)]
pub struct Stored<T>(T);

impl<T: Named> FromSql<Text, Pg> for Stored<T> {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        let text = std::str::from_utf8(value.as_bytes())?;
        let found = T::NAMES.iter().find(|(_, name)| *name == text);
        found
            .map(|(value, _)| Self(*value))
            .ok_or_else(|| format!("not a {}", T::WHAT).into())
    }
}

/// Reads a typed id that may be absent: `#[diesel(deserialize_as = Optional<XId>)]`.
#[derive(Debug, FromSqlRow)]
pub struct Optional<T>(Option<T>);

impl<T: From<Uuid>> FromSql<Nullable<SqlUuid>, Pg> for Optional<T> {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        <Uuid as FromSql<SqlUuid, Pg>>::from_sql(value).map(|id| Self(Some(id.into())))
    }

    fn from_nullable_sql(value: Option<PgValue<'_>>) -> deserialize::Result<Self> {
        value.map_or(Ok(Self(None)), Self::from_sql)
    }
}

impl<T> From<Optional<T>> for Option<T> {
    fn from(optional: Optional<T>) -> Self {
        optional.0
    }
}

macro_rules! named {
    ($($type:ty, $what:literal: $($variant:ident = $name:literal),+;)+) => {$(
        impl Named for $type {
            const WHAT: &'static str = $what;
            const NAMES: &'static [(Self, &'static str)] = &[$((Self::$variant, $name)),+];

            fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }

        impl From<Stored<$type>> for $type {
            fn from(stored: Stored<$type>) -> Self {
                stored.0
            }
        }
    )+};
}

named! {
    KeyStatus, "key status": Next = "next", Active = "active", Retiring = "retiring", Retired = "retired";
    CredentialType, "credential type":
        Token = "token", Password = "password", PublicKey = "public-key", Url = "url", Public = "public";
    RegistrationMethod, "registration method": Managed = "managed", Dcr = "dcr";
    AuthMode, "authentication mode": CaracalJwt = "caracal_jwt", ProviderOauth = "provider_oauth",
        ProviderApikey = "provider_apikey", None = "none";
    ProviderKind, "provider kind": Oauth2 = "oauth2", Oidc = "oidc", Apikey = "apikey", Workload = "workload",
        Oauth2AuthorizationCode = "oauth2_authorization_code",
        Oauth2ClientCredentials = "oauth2_client_credentials", ApiKey = "api_key", BearerToken = "bearer_token";
    SubjectType, "session type": Application = "application", User = "user";
    AuditDecision, "decision": Allow = "allow", Deny = "deny", Partial = "partial";
    AnchorKind, "anchor kind": Sid = "sid", RootSid = "root_sid", AgentSessionId = "agent_session_id",
        DelegationEdgeId = "delegation_edge_id", Jti = "jti", Kid = "kid", Subject = "subject",
        Application = "application";
    Lifecycle, "lifecycle": Task = "task", Service = "service";
    AgentStatus, "agent status": Active = "active", Suspended = "suspended", Terminated = "terminated",
        Expired = "expired";
    ChallengeType, "challenge type": SoftwareAttestation = "software_attestation", Mfa = "mfa",
        HumanApproval = "human_approval";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_stored_are_the_names_on_the_wire() {
        fn agree<T: Named + serde::Serialize>() {
            for (value, name) in T::NAMES {
                assert_eq!(
                    serde_json::to_value(value).ok(),
                    Some((*name).into()),
                    "{}",
                    T::WHAT
                );
                assert_eq!(value.name(), *name);
            }
        }
        agree::<KeyStatus>();
        agree::<CredentialType>();
        agree::<RegistrationMethod>();
        agree::<AuthMode>();
        agree::<ProviderKind>();
        agree::<SubjectType>();
        agree::<AuditDecision>();
        agree::<AnchorKind>();
        agree::<Lifecycle>();
        agree::<AgentStatus>();
        agree::<ChallengeType>();
    }
}
