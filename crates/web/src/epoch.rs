//! Read your writes: `Caracal-Min-Epoch` in, `Caracal-Zone-Epoch` out.

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use caracal_domain::Epoch;
use caracal_domain::epoch::InvalidEpoch;
use std::convert::Infallible;
use std::future::{Ready, ready};

/// The epoch a request must be decided at, or later.
pub const CARACAL_MIN_EPOCH: &str = "Caracal-Min-Epoch";
/// The epoch a write gave its zone.
pub const CARACAL_ZONE_EPOCH: &str = "Caracal-Zone-Epoch";

/// What the caller asked for with [`CARACAL_MIN_EPOCH`]; each service refuses a malformed one in its own words.
#[derive(Debug, Clone, Copy)]
pub struct MinEpoch(Result<Option<Epoch>, InvalidEpoch>);

impl MinEpoch {
    /// The epoch, if one was asked for.
    ///
    /// # Errors
    /// The header is malformed or repeated.
    pub const fn get(self) -> Result<Option<Epoch>, InvalidEpoch> {
        self.0
    }
}

impl FromRequest for MinEpoch {
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let mut values = request.headers().get_all(CARACAL_MIN_EPOCH);
        let asked = match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => value
                .to_str()
                .map_err(|_| InvalidEpoch)
                .and_then(|text| text.trim().parse().map(Some)),
            (Some(_), Some(_)) => Err(InvalidEpoch),
        };
        ready(Ok(Self(asked)))
    }
}

/// The header that tells a writer which epoch its write has.
#[must_use]
pub fn zone_epoch(epoch: Epoch) -> (&'static str, String) {
    (CARACAL_ZONE_EPOCH, epoch.to_string())
}
