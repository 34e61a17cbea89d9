//! What both directions share: ids and JSON as text, times as microseconds.

use caracal_domain::Timestamp;
use chrono::DateTime;
use serde_json::Value;
use std::str::FromStr;

/// The bytes are not one of our messages.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Not protobuf, or not of this message's shape.
    #[error("decoding a protobuf message")]
    Protobuf(#[from] prost::DecodeError),
    /// The message lacks a body, or has one this version does not know.
    #[error("the message has no known body")]
    UnknownBody,
    /// A field holds what its type in the domain does not allow.
    #[error("the field {0} holds no valid value")]
    Field(&'static str),
}

pub(crate) fn micros(time: Timestamp) -> i64 {
    time.timestamp_micros()
}

pub(crate) fn timestamp(micros: i64, field: &'static str) -> Result<Timestamp, WireError> {
    DateTime::from_timestamp_micros(micros).ok_or(WireError::Field(field))
}

pub(crate) fn parse<T: FromStr>(text: &str, field: &'static str) -> Result<T, WireError> {
    text.parse().map_err(|_| WireError::Field(field))
}

pub(crate) fn parse_optional<T: FromStr>(
    text: Option<&str>,
    field: &'static str,
) -> Result<Option<T>, WireError> {
    text.map(|text| parse(text, field)).transpose()
}

pub(crate) fn json(text: &str, field: &'static str) -> Result<Value, WireError> {
    serde_json::from_str(text).map_err(|_| WireError::Field(field))
}
