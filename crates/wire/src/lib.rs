//! The protobuf messages of `proto/caracal/events/v1`, and their conversion to and from `domain`.
//!
//! This crate must never do I/O, and nothing outside it may name prost: callers hand in and get back domain types and
//! bytes. Decoding trusts nothing: whatever is not exactly a domain value is a [`WireError`].
//!
//! Start with [`encode_feed`] and [`decode_audit`]; `convert.rs` holds what both directions share.

mod audit;
mod convert;
mod feed;

pub use audit::{AUDIT_SUBJECT, USES_SUBJECT, decode_audit, encode_audit};
pub use convert::WireError;
pub use feed::{HEARTBEAT_SUBJECT, decode_feed, decode_heartbeat, encode_feed, encode_heartbeat};

#[expect(unreachable_pub, reason = "generated from proto/")]
mod v1 {
    include!(concat!(env!("OUT_DIR"), "/caracal.events.v1.rs"));
}
