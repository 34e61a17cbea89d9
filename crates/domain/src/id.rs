//! The one table of typed ids. All are UUIDv7 (RFC 9562 §5.7), so they sort by time of creation.

use crate::clock::Clock;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use uuid::{NoContext, Uuid};

/// The text is not a UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid id")]
pub struct InvalidId;

fn mint(clock: &dyn Clock) -> Uuid {
    let now = clock.now();
    let seconds = u64::try_from(now.timestamp()).unwrap_or_default();
    Uuid::new_v7(uuid::Timestamp::from_unix(
        NoContext,
        seconds,
        now.timestamp_subsec_nanos(),
    ))
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id for something that comes into being now.
            #[must_use]
            pub fn mint(clock: &dyn Clock) -> Self {
                Self(mint(clock))
            }

            /// The raw UUID, for adapters.
            #[must_use]
            pub const fn as_uuid(&self) -> &Uuid {
                &self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            /// Only the canonical hyphenated lower-case form is an id; every other spelling is refused.
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let id = Uuid::try_parse(text).map_err(|_| InvalidId)?;
                if id.hyphenated().encode_lower(&mut Uuid::encode_buffer()) == text { Ok(Self(id)) } else { Err(InvalidId) }
            }
        }
    )+};
}

ids! {
    /// A zone: the tenancy boundary (seed `000`).
    ZoneId,
    /// A registered client, service or agent workload.
    ApplicationId,
    /// A protected API, MCP server, tool group or upstream.
    ResourceId,
    /// Where an upstream credential comes from.
    ProviderId,
    /// A policy: a named line of immutable versions.
    PolicyId,
    /// One immutable version of a policy.
    PolicyVersionId,
    /// A named bundle of policy versions.
    PolicySetId,
    /// One immutable manifest of a policy set.
    PolicySetVersionId,
    /// A subject session; the `sid` claim.
    SessionId,
    /// The run-time unit of an agent.
    AgentSessionId,
    /// A bounded transfer of authority between agent sessions.
    DelegationEdgeId,
    /// A binding of application, user and resource to scopes.
    GrantId,
    /// A step-up challenge.
    ChallengeId,
    /// An administrator's bearer token.
    AdminTokenId,
    /// A decision event in the ledger.
    EventId,
    /// A row of the transactional outbox; also its `Nats-Msg-Id`.
    OutboxId,
    /// A zone's signing key; the `kid` header.
    SigningKeyId,
    /// A token; the `jti` claim.
    TokenId,
    /// A running replica of a service.
    InstanceId,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::FixedClock;

    #[test]
    fn ids_are_version_7_and_survive_a_round_trip() {
        let clock = FixedClock(chrono::DateTime::from_timestamp(1_790_000_000, 5_000_000).expect("in range"));
        let id = ZoneId::mint(&clock);
        assert_eq!(id.as_uuid().get_version_num(), 7);
        assert_eq!(id.to_string().parse::<ZoneId>(), Ok(id));
    }

    #[test]
    fn only_the_canonical_spelling_is_an_id() {
        for text in [
            "",
            "x",
            "0198C0DE-0000-7000-8000-000000000000",
            "0198c0de00007000800000000000000a",
            "{0198c0de-0000-7000-8000-000000000000}",
        ] {
            assert_eq!(text.parse::<ZoneId>(), Err(InvalidId), "{text:?}");
        }
    }
}
