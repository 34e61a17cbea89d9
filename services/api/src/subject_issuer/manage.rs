//! What is done with subject issuers.

use super::{NewSubjectIssuerBody, SubjectIssuerPatch, SubjectIssuerView};
use crate::app::Api;
use crate::change::{By, Deed, Written};
use crate::error::{Failure, Refusal};
use crate::reply::IfMatch;
use crate::text::check_namespace;
use caracal_domain::id::{SubjectIssuerId, ZoneId};
use caracal_domain::{Epoch, FeedBody};
use caracal_egress::check_url;
use caracal_storage::subject_issuers::{self, NewSubjectIssuer, SubjectIssuerChanges, SubjectIssuerRow};
use caracal_storage::zones::{self, ZoneRow};
use url::Url;

const MOST_PER_ZONE: i64 = 20;
const MOST_URL_BYTES: usize = 2048;
const MOST_TEXT_CHARS: usize = 255;

impl Api {
    /// Registers an issuer.
    pub(super) async fn create_subject_issuer(
        &self,
        by: &By,
        zone: &ZoneRow,
        body: NewSubjectIssuerBody,
    ) -> Result<Written<SubjectIssuerRow>, Failure> {
        check_namespace(zone, &[&body.subject_prefix])?;
        let zone = zone.id;
        self.check_issuer(&body.issuer)?;
        if let Some(uri) = &body.jwks_uri {
            self.check_keys_uri(uri)?;
        }
        check_audience(&body.audience)?;
        check_prefix(&body.subject_prefix)?;
        let mut tx = self.database.begin(zone).await?;
        // One writer at a time counts, so that no two make the last one.
        zones::find_for_update(&mut tx, zone)
            .await?
            .ok_or(Refusal::ZoneNotFound)?;
        if subject_issuers::count(&mut tx, zone).await? >= MOST_PER_ZONE {
            return Err(Refusal::SubjectIssuerLimitExceeded.into());
        }
        let new = NewSubjectIssuer {
            zone_id: zone,
            id: SubjectIssuerId::mint(&*self.clock),
            issuer: body.issuer,
            jwks_uri: body.jwks_uri,
            audience: body.audience,
            subject_prefix: body.subject_prefix,
        };
        let row = subject_issuers::insert(&mut tx, &new).await?;
        let deed = Deed::new(zone, "subject_issuer.create", row.id)
            .to(&SubjectIssuerView::from(&row))
            .version(row.version);
        let epoch = self.conclude(tx, by, deed, FeedBody::ZoneChanged).await?;
        Ok(Written { value: row, epoch })
    }

    /// Changes an issuer.
    pub(super) async fn change_subject_issuer(
        &self,
        by: &By,
        zone: &ZoneRow,
        id: SubjectIssuerId,
        if_match: &IfMatch,
        patch: SubjectIssuerPatch,
    ) -> Result<Written<SubjectIssuerRow>, Failure> {
        check_namespace(zone, patch.subject_prefix.as_deref().as_slice())?;
        let zone = zone.id;
        let changes = SubjectIssuerChanges {
            issuer: patch.issuer,
            jwks_uri: patch.jwks_uri,
            audience: patch.audience,
            subject_prefix: patch.subject_prefix,
        };
        if changes == SubjectIssuerChanges::default() {
            return Err(Refusal::NoFields.into());
        }
        changes
            .issuer
            .as_ref()
            .map_or(Ok(()), |issuer| self.check_issuer(issuer))?;
        changes
            .jwks_uri
            .as_ref()
            .and_then(Option::as_ref)
            .map_or(Ok(()), |uri| self.check_keys_uri(uri))?;
        changes
            .audience
            .as_ref()
            .map_or(Ok(()), |text| check_audience(text))?;
        changes
            .subject_prefix
            .as_ref()
            .map_or(Ok(()), |text| check_prefix(text))?;
        let mut tx = self.database.begin(zone).await?;
        let before = subject_issuers::find_for_update(&mut tx, zone, id)
            .await?
            .ok_or(Refusal::SubjectIssuerNotFound)?;
        if_match.check(before.version)?;
        let row = subject_issuers::update(&mut tx, zone, id, &changes).await?;
        let deed = Deed::new(zone, "subject_issuer.update", id)
            .from(&SubjectIssuerView::from(&before))
            .to(&SubjectIssuerView::from(&row));
        self.conclude_change(tx, by, deed, (before, row)).await
    }

    /// Archives an issuer.
    pub(super) async fn archive_subject_issuer(
        &self,
        by: &By,
        zone: ZoneId,
        id: SubjectIssuerId,
        if_match: &IfMatch,
    ) -> Result<Epoch, Failure> {
        let mut tx = self.database.begin(zone).await?;
        let before = subject_issuers::find_for_update(&mut tx, zone, id)
            .await?
            .ok_or(Refusal::SubjectIssuerNotFound)?;
        if_match.check(before.version)?;
        subject_issuers::archive(&mut tx, zone, id).await?;
        let deed = Deed::new(zone, "subject_issuer.archive", id).from(&SubjectIssuerView::from(&before));
        self.conclude(tx, by, deed, FeedBody::ZoneChanged).await
    }

    /// An issuer is a URL without query and fragment (RFC 8414 §2), and never ours: our own tokens enter by their own
    /// rules only.
    fn check_issuer(&self, issuer: &str) -> Result<(), Failure> {
        let refuse = |why: String| Failure::field("issuer", why);
        let url = check_url(&self.egress, issuer).map_err(|why| refuse(why.to_string()))?;
        if url.query().is_some() || url.fragment().is_some() || issuer.len() > MOST_URL_BYTES {
            return Err(refuse("must have no query and no fragment".to_owned()));
        }
        if is_within(&self.issuer_url, &url) {
            return Err(refuse("is one of this installation's own issuers".to_owned()));
        }
        Ok(())
    }

    fn check_keys_uri(&self, uri: &str) -> Result<(), Failure> {
        let refuse = |why: String| Failure::field("jwks_uri", why);
        let url = check_url(&self.egress, uri).map_err(|why| refuse(why.to_string()))?;
        if url.fragment().is_some() || uri.len() > MOST_URL_BYTES {
            return Err(refuse(
                "must have no fragment and at most 2048 characters".to_owned(),
            ));
        }
        Ok(())
    }
}

/// Whether `url` is `base` or below it, however either is spelled; the scheme makes no difference.
fn is_within(base: &Url, url: &Url) -> bool {
    let place = |url: &Url| {
        let host = url.host_str().map(|host| host.trim_end_matches('.').to_owned());
        (host, url.port_or_known_default())
    };
    let path = |url: &Url| format!("{}/", url.path().trim_end_matches('/'));
    place(base) == place(url) && path(url).starts_with(&path(base))
}

fn check_audience(audience: &str) -> Result<(), Failure> {
    if audience.trim().is_empty() || !is_plain(audience) {
        return Err(Failure::field(
            "audience",
            "must be 1 to 255 characters, not blank and without control characters",
        ));
    }
    Ok(())
}

/// Perhaps empty.
fn check_prefix(prefix: &str) -> Result<(), Failure> {
    if prefix.chars().any(char::is_whitespace) || !is_plain(prefix) {
        return Err(Failure::field(
            "subject_prefix",
            "must be at most 255 characters without blanks and control characters",
        ));
    }
    Ok(())
}

fn is_plain(text: &str) -> bool {
    text.chars().count() <= MOST_TEXT_CHARS && caracal_domain::is_visible(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_issuers_are_seen_through_their_spelling() {
        let within = |base: &str, url: &str| {
            is_within(
                &Url::parse(base).expect("a URL"),
                &Url::parse(url).expect("a URL"),
            )
        };
        for ours in [
            "https://sts.example",
            "https://STS.example:443/zones/x",
            "http://sts.example:443/zones/x",
            "https://sts.example./zones/../zones/x",
        ] {
            assert!(within("https://sts.example", ours), "{ours}");
        }
        assert!(within("https://example/auth/", "https://example/auth/zones/x"));
        for other in [
            "https://example/authority",
            "https://example:8443/auth",
            "https://idp.example/auth",
        ] {
            assert!(!within("https://example/auth", other), "{other}");
        }
    }
}
