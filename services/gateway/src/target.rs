//! Which resource a call names: by `X-Caracal-Resource`, or by `/r/{zone_id}/{resource id}/…` for clients that cannot
//! set headers (contract §5).

use caracal_domain::id::{ResourceId, ZoneId};
use caracal_domain::{Refusal, ResourceIdentifier};
use http::HeaderMap;

/// The header that names the resource.
pub const X_CARACAL_RESOURCE: &str = "x-caracal-resource";

/// What a call named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The header.
    pub identifier: Option<ResourceIdentifier>,
    /// The path form.
    pub place: Option<Place>,
}

/// A resource by its address at this gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The zone.
    pub zone: ZoneId,
    /// The resource.
    pub resource: ResourceId,
}

impl Target {
    /// Reads header and path; the path that is left is the upstream's. `/r/…` with anything but two ids is an
    /// upstream's own path.
    ///
    /// # Errors
    /// [`Refusal::NoResourceNamed`] when neither names one, [`Refusal::ResourceConflict`] for two headers.
    pub fn read<'a>(headers: &HeaderMap, raw_path: &'a str) -> Result<(Self, &'a str), Refusal> {
        let (place, path) =
            Place::split(raw_path).map_or((None, raw_path), |(place, rest)| (Some(place), rest));
        let mut named = headers.get_all(X_CARACAL_RESOURCE).iter();
        let identifier = match (named.next(), named.next()) {
            (None, _) => None,
            (Some(_), Some(_)) => return Err(Refusal::ResourceConflict),
            (Some(only), None) => {
                let text = only.to_str().map_err(|_| Refusal::NoResourceNamed)?;
                Some(text.trim().parse().map_err(|_| Refusal::NoResourceNamed)?)
            }
        };
        if identifier.is_none() && place.is_none() {
            return Err(Refusal::NoResourceNamed);
        }
        Ok((Self { identifier, place }, path))
    }
}

impl Place {
    /// `/r/{zone_id}/{resource id}` and what follows it.
    #[must_use]
    pub fn split(raw_path: &str) -> Option<(Self, &str)> {
        let rest = raw_path.strip_prefix("/r/")?;
        let (zone, rest) = rest.split_once('/')?;
        let (resource, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        Some((
            Self {
                zone: zone.parse().ok()?,
                resource: resource.parse().ok()?,
            },
            path,
        ))
    }

    /// Its path at this gateway.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/r/{}/{}", self.zone, self.resource)
    }

    /// The name under which the STS knows it too.
    #[must_use]
    pub fn alias(&self, public_url: &str) -> Option<ResourceIdentifier> {
        format!("{public_url}{}", self.path()).parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZONE: &str = "0198c0de-0000-7000-8000-000000000001";
    const RESOURCE: &str = "0198c0de-0000-7000-8000-000000000002";

    fn read(headers: &[&'static str], path: &str) -> Result<(Option<String>, bool, String), Refusal> {
        let map = headers.iter().map(|v| {
            (
                http::HeaderName::from_static(X_CARACAL_RESOURCE),
                http::HeaderValue::from_static(v),
            )
        });
        let map: HeaderMap = map.collect();
        let (target, rest) = Target::read(&map, path)?;
        Ok((
            target.identifier.map(String::from),
            target.place.is_some(),
            rest.to_owned(),
        ))
    }

    #[test]
    fn a_resource_is_named_by_header_or_by_path() {
        let place = format!("/r/{ZONE}/{RESOURCE}");
        assert_eq!(
            read(&["resource://a"], "/x/y"),
            Ok((Some("resource://a".into()), false, "/x/y".into()))
        );
        assert_eq!(read(&[], &place), Ok((None, true, String::new())));
        assert_eq!(read(&[], &format!("{place}/")), Ok((None, true, "/".into())));
        assert_eq!(read(&[], &format!("{place}/x?")), Ok((None, true, "/x?".into())));
        assert_eq!(
            read(&["resource://a"], &format!("{place}/x")),
            Ok((Some("resource://a".into()), true, "/x".into()))
        );
        assert_eq!(
            read(&["resource://a"], "/r/orders/7"),
            Ok((Some("resource://a".into()), false, "/r/orders/7".into()))
        );
    }

    #[test]
    fn none_two_or_broken_ones_are_refused() {
        assert_eq!(read(&[], "/x"), Err(Refusal::NoResourceNamed));
        assert_eq!(read(&[], &format!("/r/{ZONE}/x")), Err(Refusal::NoResourceNamed));
        assert_eq!(read(&[], &format!("/r/{ZONE}")), Err(Refusal::NoResourceNamed));
        assert_eq!(read(&["a b"], "/x"), Err(Refusal::NoResourceNamed));
        assert_eq!(
            read(&["resource://a", "resource://a"], "/x"),
            Err(Refusal::ResourceConflict)
        );
    }
}
