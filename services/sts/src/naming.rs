//! What a request calls its resources, and what each is called whatever the spelling: the gateway's address of a resource
//! is the resource (contract §2). Answers and tokens hold what was asked for; everything that compares holds the name.

use crate::app::Sts;
use crate::view::ZoneView;
use caracal_domain::ResourceIdentifier;
use caracal_domain::id::ResourceId;
use caracal_domain::zone::Resource;
use std::collections::BTreeSet;
use std::sync::Arc;

/// One resource that a request names.
#[derive(Debug, Clone)]
pub struct Named {
    /// The identifier asked for.
    pub asked: ResourceIdentifier,
    /// What it is called: of an alias the resource's own identifier.
    pub name: ResourceIdentifier,
    /// What it means, if it means anything.
    pub resource: Option<Arc<Resource>>,
}

impl Sts {
    /// Each resource asked for, once, in the order asked.
    #[must_use]
    pub fn named(&self, view: &ZoneView, asked: &[ResourceIdentifier]) -> Vec<Named> {
        let mut seen = BTreeSet::new();
        asked
            .iter()
            .map(|asked| self.name(view, asked))
            .filter(|named| seen.insert(named.name.clone()))
            .collect()
    }

    /// What `asked` is called.
    #[must_use]
    pub fn name_of(&self, view: &ZoneView, asked: &ResourceIdentifier) -> ResourceIdentifier {
        self.name(view, asked).name
    }

    /// The resource `asked` means: by the gateway's address for it, which is nobody else's whatever it is called, or by
    /// identifier.
    #[must_use]
    pub fn resource(&self, view: &ZoneView, asked: &ResourceIdentifier) -> Option<Arc<Resource>> {
        self.name(view, asked).resource
    }

    fn name(&self, view: &ZoneView, asked: &ResourceIdentifier) -> Named {
        let (name, resource) = match self.aliased(view, asked) {
            Some(resource) => (&resource.identifier, Some(resource)),
            None => (asked, view.zone.config.resource(asked)),
        };
        Named {
            asked: asked.clone(),
            name: name.clone(),
            resource: resource.map(Arc::clone),
        }
    }

    fn aliased<'v>(&self, view: &'v ZoneView, asked: &ResourceIdentifier) -> Option<&'v Arc<Resource>> {
        let config = &view.zone.config;
        let alias = asked.as_str().strip_prefix(self.gateway_public_url.as_str())?;
        let of_zone = alias.strip_prefix(format!("/r/{}/", config.id).as_str())?;
        let id = of_zone.strip_suffix('/').unwrap_or(of_zone);
        let meant: ResourceId = id.parse().ok()?;
        // Ids have other spellings too; the address has one.
        let is_exact = meant.to_string() == id;
        config
            .resources
            .iter()
            .find(|resource| is_exact && resource.id == meant)
    }
}
