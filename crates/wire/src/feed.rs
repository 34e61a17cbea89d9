//! Feed events and heartbeats on the wire.

use crate::convert::{WireError, micros, parse, parse_optional, timestamp};
use crate::v1::{self, feed_event::Body};
use caracal_domain::feed::Heartbeat;
use caracal_domain::{Anchor, AnchorKind, FeedBody, FeedEvent};
use prost::Message as _;

/// The subject of [`Heartbeat`]s; those of events come from [`FeedBody::subject`].
pub const HEARTBEAT_SUBJECT: &str = "caracal.feed.heartbeat";

/// The bytes of a feed event (`feed.proto`).
#[must_use]
pub fn encode_feed(event: &FeedEvent) -> Vec<u8> {
    v1::FeedEvent {
        id: event.id.to_string(),
        zone_id: event.zone_id.to_string(),
        epoch: event.epoch.get(),
        previous_epoch: event.previous_epoch.get(),
        body: Some(encode_body(&event.body)),
    }
    .encode_to_vec()
}

/// The feed event in these bytes.
///
/// # Errors
/// When the bytes are not one.
pub fn decode_feed(bytes: &[u8]) -> Result<FeedEvent, WireError> {
    let message = v1::FeedEvent::decode(bytes)?;
    Ok(FeedEvent {
        id: parse(&message.id, "id")?,
        zone_id: parse(&message.zone_id, "zone_id")?,
        epoch: message.epoch.into(),
        previous_epoch: message.previous_epoch.into(),
        body: decode_body(message.body.ok_or(WireError::UnknownBody)?)?,
    })
}

/// The bytes of a heartbeat.
#[must_use]
pub fn encode_heartbeat(heartbeat: &Heartbeat) -> Vec<u8> {
    v1::Heartbeat {
        database_time_micros: micros(heartbeat.database_time),
    }
    .encode_to_vec()
}

/// The heartbeat in these bytes.
///
/// # Errors
/// When the bytes are not one.
pub fn decode_heartbeat(bytes: &[u8]) -> Result<Heartbeat, WireError> {
    let message = v1::Heartbeat::decode(bytes)?;
    Ok(Heartbeat {
        database_time: timestamp(message.database_time_micros, "database_time_micros")?,
    })
}

fn encode_body(body: &FeedBody) -> Body {
    match body {
        FeedBody::PolicyActivated {
            policy_set_version_id,
        } => Body::PolicyActivated(v1::PolicyActivated {
            policy_set_version_id: policy_set_version_id.map(|id| id.to_string()),
        }),
        FeedBody::PolicyCompiled { modules } => Body::PolicyCompiled(v1::PolicyCompiled {
            modules: modules.clone(),
        }),
        FeedBody::KeysChanged { anchors } => Body::KeysChanged(v1::KeysChanged {
            anchors: encode_anchors(anchors),
        }),
        FeedBody::ZoneChanged => Body::ZoneChanged(v1::ZoneChanged {}),
        FeedBody::SessionsRevoked { anchors } => Body::SessionsRevoked(v1::SessionsRevoked {
            anchors: encode_anchors(anchors),
        }),
        FeedBody::DelegationsRevoked { anchors } => Body::DelegationsRevoked(v1::DelegationsRevoked {
            anchors: encode_anchors(anchors),
        }),
        FeedBody::AgentsEnded { anchors } => Body::AgentsEnded(v1::AgentsEnded {
            anchors: encode_anchors(anchors),
        }),
    }
}

fn decode_body(body: Body) -> Result<FeedBody, WireError> {
    Ok(match body {
        Body::PolicyActivated(message) => FeedBody::PolicyActivated {
            policy_set_version_id: parse_optional(
                message.policy_set_version_id.as_deref(),
                "policy_set_version_id",
            )?,
        },
        Body::PolicyCompiled(message) => FeedBody::PolicyCompiled {
            modules: message.modules,
        },
        Body::KeysChanged(message) => FeedBody::KeysChanged {
            anchors: decode_anchors(message.anchors)?,
        },
        Body::ZoneChanged(_) => FeedBody::ZoneChanged,
        Body::SessionsRevoked(message) => FeedBody::SessionsRevoked {
            anchors: decode_anchors(message.anchors)?,
        },
        Body::DelegationsRevoked(message) => FeedBody::DelegationsRevoked {
            anchors: decode_anchors(message.anchors)?,
        },
        Body::AgentsEnded(message) => FeedBody::AgentsEnded {
            anchors: decode_anchors(message.anchors)?,
        },
    })
}

fn encode_anchors(anchors: &[Anchor]) -> Vec<v1::Anchor> {
    let encode = |anchor: &Anchor| v1::Anchor {
        kind: anchor.kind.as_str().to_owned(),
        value: anchor.value.clone(),
        epoch: anchor.epoch.get(),
        expires_at_micros: micros(anchor.expires_at),
    };
    anchors.iter().map(encode).collect()
}

fn decode_anchors(anchors: Vec<v1::Anchor>) -> Result<Vec<Anchor>, WireError> {
    let decode = |anchor: v1::Anchor| {
        Ok(Anchor {
            kind: AnchorKind::parse(&anchor.kind).ok_or(WireError::Field("anchor.kind"))?,
            value: anchor.value,
            epoch: anchor.epoch.into(),
            expires_at: timestamp(anchor.expires_at_micros, "anchor.expires_at_micros")?,
        })
    };
    anchors.into_iter().map(decode).collect()
}
