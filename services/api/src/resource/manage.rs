//! What is done with resources.

use super::binding::{auth_mode, check_credential_header, live_provider, provider_of};
use super::{NewResourceBody, ResourcePatch, ResourceView};
use crate::app::Api;
use crate::change::{By, Change, Deed, Written};
use crate::error::{Failure, Refusal};
use crate::reply::IfMatch;
use crate::text::{Name, check_namespace, once_each};
use caracal_domain::id::{ResourceId, ZoneId};
use caracal_domain::resource::InvalidResourceIdentifier;
use caracal_domain::zone::{AuthMode, Operation};
use caracal_domain::{Epoch, FeedBody, ResourceIdentifier, Scope, ScopeSet};
use caracal_egress::check_url;
use caracal_egress::headers::may_be_forwarded;
use caracal_storage::connections::{self, Of};
use caracal_storage::providers;
use caracal_storage::resources::{self, NewResource, ResourceChanges, ResourceRow};
use caracal_storage::zones::ZoneRow;

const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

impl Api {
    /// Registers a resource.
    pub(crate) async fn create_resource(
        &self,
        by: &By,
        zone: &ZoneRow,
        body: NewResourceBody,
    ) -> Result<Written<ResourceRow>, Failure> {
        let name = body
            .name
            .map_or_else(|| body.identifier.clone(), Name::into_string);
        check_namespace(zone, &[&body.identifier, &name])?;
        let identifier = identifier(&body.identifier)?;
        let scopes: ScopeSet = body.scopes.iter().cloned().collect();
        check_scopes(&scopes)?;
        check_operations(&body.operations, &scopes)?;
        check_forward_headers(&body.forward_headers)?;
        let mut tx = self.database.begin(zone).await?;
        let provider = match body.credential_provider_id {
            Some(id) => {
                providers::hold(&mut tx, zone.id).await?;
                Some(live_provider(&mut tx, zone.id, id).await?)
            }
            None => None,
        };
        let auth_mode = auth_mode(provider.as_ref(), body.auth_mode)?;
        check_credential_header(provider.as_ref(), auth_mode, &body.forward_headers)?;
        let new = NewResource {
            zone_id: zone.id,
            id: ResourceId::mint(&*self.clock),
            name,
            identifier: identifier.into(),
            prefix: body.prefix,
            scopes: once_each(&body.scopes),
            upstream_url: body.upstream_url.map(|url| self.upstream(&url)).transpose()?,
            credential_provider_id: body.credential_provider_id,
            auth_mode,
            operations: body.operations,
            forward_headers: body.forward_headers,
        };
        let row = resources::insert(&mut tx, &new).await?;
        let deed = Deed::new(zone.id, "resource.create", row.id)
            .to(&ResourceView::from(&row))
            .version(row.version);
        let epoch = self.conclude(tx, by, deed, FeedBody::ZoneChanged).await?;
        Ok(Written { value: row, epoch })
    }

    /// Changes a resource; what it becomes is checked as a whole.
    pub(super) async fn change_resource(
        &self,
        by: &By,
        zone: &ZoneRow,
        id: ResourceId,
        if_match: &IfMatch,
        patch: ResourcePatch,
    ) -> Result<Written<ResourceRow>, Failure> {
        if patch == ResourcePatch::default() {
            return Err(Refusal::NoFields.into());
        }
        let names = [patch.identifier.as_deref(), patch.name.as_ref().map(Name::as_str)];
        check_namespace(zone, &names.into_iter().flatten().collect::<Vec<_>>())?;
        let identifier = patch.identifier.as_deref().map(identifier).transpose()?;
        check_forward_headers(patch.forward_headers.as_deref().unwrap_or_default())?;
        let mut tx = self.database.begin(zone).await?;
        providers::hold(&mut tx, zone.id).await?;
        let before = resources::find_for_update(&mut tx, zone.id, id)
            .await?
            .ok_or(Refusal::ResourceNotFound)?;
        if_match.check(before.version)?;
        check_changed_scopes(&before, &patch)?;
        let provider = provider_of(&mut tx, &before, &patch).await?;
        // `none`, which was chosen, stays as long as the provider does; every other mode follows it.
        let named = patch.credential_provider_id;
        let same = named.is_none_or(|named| named == before.credential_provider_id);
        let stays = same && before.auth_mode == AuthMode::None;
        let wish = patch.auth_mode.or(stays.then_some(AuthMode::None));
        let auth_mode = auth_mode(provider.as_ref(), wish)?;
        let headers = patch.forward_headers.as_ref().unwrap_or(&before.forward_headers);
        check_credential_header(provider.as_ref(), auth_mode, headers)?;
        let upstream_url = patch
            .upstream_url
            .map(|url| url.map(|url| self.upstream(&url)).transpose())
            .transpose()?;
        let changes = ResourceChanges {
            name: patch.name.map(Name::into_string),
            identifier: identifier.map(Into::into),
            prefix: patch.prefix,
            scopes: patch.scopes.as_deref().map(once_each),
            upstream_url,
            credential_provider_id: patch.credential_provider_id,
            auth_mode: Some(auth_mode),
            operations: patch.operations,
            forward_headers: patch.forward_headers,
        };
        let row = resources::update(&mut tx, zone.id, id, &changes).await?;
        let deed = Deed::new(zone.id, "resource.update", id);
        let deed = deed
            .from(&ResourceView::from(&before))
            .to(&ResourceView::from(&row));
        self.conclude_change(tx, by, deed, (before, row)).await
    }

    /// Archives a resource: nothing more is minted or forwarded for it.
    pub(super) async fn archive_resource(
        &self,
        by: &By,
        zone: ZoneId,
        id: ResourceId,
        if_match: &IfMatch,
    ) -> Result<Epoch, Failure> {
        let mut tx = self.database.begin(zone).await?;
        let before = resources::find_for_update(&mut tx, zone, id)
            .await?
            .ok_or(Refusal::ResourceNotFound)?;
        if_match.check(before.version)?;
        resources::archive(&mut tx, zone, id).await?;
        let deed = Deed::new(zone, "resource.archive", id).from(&ResourceView::from(&before));
        let change = Change::draw(&tx, &*self.clock, zone, by).await?;
        let ended = connections::revoke_all(&mut tx, zone, Of::Resource(id))
            .await?
            .len();
        let deed = deed.about("revoked_connections", ended);
        self.conclude_at(tx, by, deed, change, FeedBody::ZoneChanged)
            .await
    }

    fn upstream(&self, given: &str) -> Result<String, Failure> {
        let url =
            check_url(&self.egress, given).map_err(|why| Failure::field("upstream_url", why.to_string()))?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(Failure::field(
                "upstream_url",
                "must have no query and no fragment",
            ));
        }
        // As it was given, unless it is spelt in a way that only a lenient reader takes for this address.
        let plain = given.starts_with("http://") || given.starts_with("https://");
        let plain = plain && given.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
        Ok(if plain { given.to_owned() } else { url.into() })
    }
}

fn check_scopes(scopes: &ScopeSet) -> Result<(), Failure> {
    if !(1..=256).contains(&scopes.len()) {
        return Err(Failure::field("scopes", "must hold 1 to 256 scopes"));
    }
    if scopes.iter().any(Scope::is_agent_lifecycle) {
        return Err(Failure::field("scopes", "agent:lifecycle is the platform's own"));
    }
    Ok(())
}

/// The operations must be among the scopes after the change, whichever of the two changes.
fn check_changed_scopes(before: &ResourceRow, patch: &ResourcePatch) -> Result<(), Failure> {
    let scopes: ScopeSet = match &patch.scopes {
        Some(scopes) => scopes.iter().cloned().collect(),
        None => before
            .scopes
            .iter()
            .filter_map(|scope| scope.parse::<Scope>().ok())
            .collect(),
    };
    if patch.scopes.is_some() {
        check_scopes(&scopes)?;
    }
    if let Some(operations) = &patch.operations {
        return check_operations(operations, &scopes);
    }
    let operations: Vec<Operation> = serde_json::from_value(before.operations.clone()).unwrap_or_default();
    check_operations(&operations, &scopes)
}

fn check_operations(operations: &[Operation], scopes: &ScopeSet) -> Result<(), Failure> {
    for (index, operation) in operations.iter().enumerate() {
        let refuse = |field: &str, why: &str| Failure::field(&format!("operations.{index}.{field}"), why);
        if !METHODS.contains(&operation.method.as_str()) {
            return Err(refuse("method", "must be an HTTP method in capitals"));
        }
        if !is_path_pattern(&operation.path) {
            return Err(refuse(
                "path",
                "must be /segments, {name} segments and perhaps a trailing /**",
            ));
        }
        if !scopes.contains(&operation.scope) {
            return Err(refuse("scope", "must be one of the resource's scopes"));
        }
    }
    Ok(())
}

/// `/a/{b}/**`: segments as they are after normalisation, `{name}` for any one, `**` only at the end.
fn is_path_pattern(path: &str) -> bool {
    let Some(below) = path.strip_prefix('/') else {
        return false;
    };
    let segments: Vec<&str> = below.split('/').collect();
    let last = segments.len() - 1;
    segments
        .iter()
        .enumerate()
        .all(|(index, segment)| match *segment {
            "**" | "" => index == last,
            "." | ".." => false,
            name if name.starts_with('{') => {
                let inner = name
                    .strip_prefix('{')
                    .and_then(|n| n.strip_suffix('}'))
                    .unwrap_or_default();
                !inner.is_empty() && inner.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            }
            plain => plain
                .bytes()
                .all(|b| b.is_ascii_graphic() && !b"{}*?#%\\".contains(&b)),
        })
}

fn check_forward_headers(headers: &[String]) -> Result<(), Failure> {
    for (index, header) in headers.iter().enumerate() {
        let name = header.to_ascii_lowercase();
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        let well_formed = (1..=100).contains(&name.len()) && name.bytes().all(token);
        if !well_formed || !may_be_forwarded(&name) {
            let why =
                "must be a header name, and none that the gateway, the credential or the connection sets";
            return Err(Failure::field(&format!("forward_headers.{index}"), why));
        }
    }
    Ok(())
}

/// Read once it is known not to belong to system zones, so that such a one is told so however it is written.
fn identifier(text: &str) -> Result<ResourceIdentifier, Failure> {
    text.parse()
        .map_err(|why: InvalidResourceIdentifier| Failure::field("identifier", why.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_patterns() {
        for good in [
            "/",
            "/orders",
            "/orders/",
            "/orders/{id}",
            "/orders/{id}/lines",
            "/files/**",
            "/**",
        ] {
            assert!(is_path_pattern(good), "{good}");
        }
        for bad in [
            "", "orders", "/**/x", "/a//b", "/../x", "/a/./b", "/{", "/{}", "/{a-b}", "/a*", "/a?b", "/a%2f",
        ] {
            assert!(!is_path_pattern(bad), "{bad}");
        }
    }

    #[test]
    fn some_headers_are_never_forwarded() {
        let check = |name: &str| check_forward_headers(&[name.to_owned()]).is_ok();
        assert!(check("X-Tenant") && check("Stripe-Version"));
        for bad in [
            "",
            "Authorization",
            "cookie",
            "X-Forwarded-For",
            "X-Caracal-Resource",
            "Transfer-Encoding",
            "Proxy-Connection",
            "X-Request-Id",
            "X-Real-IP",
            "Sec-WebSocket-Key",
            "a b",
        ] {
            assert!(!check(bad), "{bad}");
        }
    }
}
