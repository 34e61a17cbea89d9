//! The words and rules of Caracal: ids, scopes, narrowing, claims, decisions, refusals, anchors, events.
//!
//! This crate must never do I/O, be async, or ask the time: clocks are parameters ([`Clock`]). Everything above it
//! speaks in its types, so a rule stated here holds in every service.
//!
//! Start with [`claims`] (what a token says), then [`decision`] (how policies combine) and [`anchor`] (how authority
//! ends).

pub mod actor;
pub mod agent;
pub mod anchor;
pub mod claims;
pub mod clock;
pub mod decision;
pub mod delegation;
pub mod epoch;
pub mod event;
pub mod feed;
pub mod freshness;
pub mod id;
pub mod policy_input;
pub mod quota;
pub mod refusal;
pub mod request_id;
pub mod resource;
pub mod scope;
pub mod strict_json;
pub mod subject;
pub mod upstream_oauth;
pub mod zone;

pub use actor::Actor;
pub use anchor::{Anchor, AnchorKind, AnchorSet};
pub use claims::{Claims, SubjectType, TokenUse};
pub use clock::{Clock, Timestamp};
pub use decision::{Decision, PolicyVerdict, Ruling, combine};
pub use epoch::Epoch;
pub use event::{AuditDecision, AuditEvent, EventType};
pub use feed::{FeedBody, FeedEvent};
pub use freshness::Staleness;
pub use refusal::{OAuthCode, Refusal};
pub use request_id::RequestId;
pub use resource::{ResourceIdentifier, find_resource};
pub use scope::{Scope, ScopeSet};
pub use subject::{is_subject_name, is_visible};
