//! The one table of typed ids. All are UUIDv7 (RFC 9562 §5.7), so they sort by time of creation: across processes as
//! well as their clocks agree, and within one process exactly in the order in which they were made.

use crate::clock::{Clock, Timestamp};
use serde::de::{self, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use uuid::{NoContext, Uuid};

/// The text is not a UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid id")]
pub struct InvalidId;

/// Parts of a millisecond that fit in the twelve bits of `rand_a` (RFC 9562 §6.2, method 3).
const TICKS_A_MILLISECOND: u64 = 1 << 12;
/// A clock that goes back further than this was set, or is another clock: its ids do not wait for the old time.
const BACKWARDS: u64 = 1000 * TICKS_A_MILLISECOND;

/// The tick of the last id that was made in a sequence. It orders nothing but itself, so every access is relaxed.
struct LastTick(AtomicU64);

/// The one sequence of this process.
static LAST_TICK: LastTick = LastTick(AtomicU64::new(0));

impl LastTick {
    /// The tick of the next id: `now`, unless an id of this sequence has that or a later one already.
    fn following(&self, now: u64) -> u64 {
        let next = |last: u64| {
            let was_set_back = now.saturating_add(BACKWARDS) < last;
            if was_set_back { now } else { now.max(last + 1) }
        };
        let set = |last| Some(next(last));
        match self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, set) {
            Ok(last) | Err(last) => next(last),
        }
    }

    fn mint(&self, now: Timestamp) -> Uuid {
        let seconds = u64::try_from(now.timestamp()).unwrap_or_default();
        let nanos = now.timestamp_subsec_nanos();
        let in_second = u64::from(nanos) * TICKS_A_MILLISECOND / 1_000_000;
        let tick = self.following(seconds * 1000 * TICKS_A_MILLISECOND + in_second);
        // Made by the library for its random half alone: time and order are the upper half.
        let random = Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, seconds, nanos));
        let (_, random) = random.as_u64_pair();
        let (millis, part) = (tick / TICKS_A_MILLISECOND, tick % TICKS_A_MILLISECOND);
        Uuid::from_u64_pair(millis << 16 | 0x7000 | part, random)
    }
}

fn canonical(text: &str) -> Result<Uuid, InvalidId> {
    let id = Uuid::try_parse(text).map_err(|_| InvalidId)?;
    let spelt = id.hyphenated().encode_lower(&mut Uuid::encode_buffer()) == text;
    spelt.then_some(id).ok_or(InvalidId)
}

/// Reads an id from text, so that a body spells it as a path does.
struct Canonical;

impl Visitor<'_> for Canonical {
    type Value = Uuid;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an id: a UUID with hyphens, in small letters")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Uuid, E> {
        canonical(text).map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id for something that comes into being now.
            #[must_use]
            pub fn mint(clock: &dyn Clock) -> Self {
                Self(LAST_TICK.mint(clock.now()))
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
                canonical(text).map(Self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(Canonical).map(Self)
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
    /// A user's connection at a provider.
    ConnectionId,
    /// A step-up challenge.
    ChallengeId,
    /// An outside issuer whose tokens make user sessions.
    SubjectIssuerId,
    /// An invitation to administer a zone.
    InvitationId,
    /// An administrator's bearer token.
    AdminTokenId,
    /// A decision event in the ledger.
    EventId,
    /// A row of the transactional outbox; also its `Nats-Msg-Id`.
    OutboxId,
    /// A zone's signing key; the `kid` header.
    SigningKeyId,
    /// A key that signs checkpoints of ledgers.
    LedgerKeyId,
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

    fn at(seconds: i64, nanos: u32) -> Timestamp {
        chrono::DateTime::from_timestamp(seconds, nanos).expect("in range")
    }

    /// The upper half: time and order.
    fn upper(id: &Uuid) -> u64 {
        id.as_u64_pair().0
    }

    fn new_sequence() -> LastTick {
        LastTick(AtomicU64::new(0))
    }

    #[test]
    fn an_id_tells_the_millisecond_it_was_made_in() {
        let id = new_sequence().mint(at(1_800_000_000, 5_999_999));
        assert_eq!(upper(&id) >> 16, 1_800_000_000_005);
        assert_eq!(
            (id.get_version_num(), id.get_variant()),
            (7, uuid::Variant::RFC4122)
        );
    }

    #[test]
    fn a_clock_that_was_set_back_is_believed() {
        let sequence = new_sequence();
        let (late, early) = (
            sequence.mint(at(1_900_000_000, 0)),
            sequence.mint(at(1_000_000_000, 0)),
        );
        assert_eq!(upper(&early) >> 16, 1_000_000_000_000);
        assert!(early < late);
    }

    #[test]
    fn threads_that_mint_at_once_share_one_order() {
        let sequence = new_sequence();
        let mint_many = || {
            let ids = (0..1000).map(|_| sequence.mint(at(1_800_000_000, 0)));
            ids.collect::<Vec<_>>()
        };
        let ids: Vec<Vec<Uuid>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(mint_many)).collect();
            let ended = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
            ended.map(|ids| ids.expect("no thread panics")).collect()
        });
        for of_one in &ids {
            assert!(of_one.is_sorted_by(|earlier, later| earlier < later));
        }
        let uppers: std::collections::HashSet<u64> = ids.iter().flatten().map(upper).collect();
        assert_eq!(uppers.len(), 4000, "no two share a tick");
    }

    proptest::proptest! {
        /// Whatever a clock does that runs on, stands still or stumbles a little.
        #[test]
        fn ids_sort_in_the_order_they_were_made(
            steps in proptest::collection::vec(-900_000_i64..2_000_000, 1..50)
        ) {
            let (sequence, mut now) = (new_sequence(), at(1_800_000_000, 0));
            let mut ids = Vec::new();
            for step in steps {
                now += chrono::TimeDelta::nanoseconds(step);
                ids.push(sequence.mint(now));
            }
            proptest::prop_assert!(ids.is_sorted_by(|earlier, later| earlier < later));
        }
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
            let in_a_body = serde_json::from_value::<ZoneId>(text.into());
            assert!(in_a_body.is_err(), "{text:?}");
        }
    }
}
