//! The dimensions an edge bounds, and the order on them.

use crate::clock::Timestamp;
use crate::id::ResourceId;
use crate::resource::ResourceIdentifier;
use crate::scope::ScopeSet;
use crate::zone::Resource;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// `constraints_json` of an edge: what is in force, as stored (contract §3).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Constraints {
    /// How many edges the path may have from this one on; 1 means no re-delegation.
    #[serde(skip_serializing_if = "Option::is_none", alias = "max_depth")]
    pub max_hops: Option<u8>,
    /// The longest life of a mandate, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_seconds: Option<u32>,
    /// How many scopes a mandate may carry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<u32>,
    /// The resources it is for, by identifier or id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<BTreeSet<String>>,
    /// The HTTP methods it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actions: Option<BTreeSet<String>>,
    /// When it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// Everything an edge hands on. `None` does not limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// The scopes.
    pub scopes: ScopeSet,
    /// The one resource it is for.
    pub resource_id: Option<ResourceId>,
    /// The resources it is for, by identifier or id.
    pub resources: Option<BTreeSet<String>>,
    /// The HTTP methods it is for.
    pub actions: Option<BTreeSet<String>>,
    /// When it ends.
    pub expires_at: Timestamp,
    /// The longest life of a mandate, in seconds.
    pub ttl_seconds: Option<u32>,
    /// How many edges the path may have from this one on.
    pub max_hops: u8,
    /// How many scopes a mandate may carry.
    pub budget: Option<u32>,
}

/// What an edge under a parent asks for; what it leaves out it inherits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// The scopes.
    pub scopes: ScopeSet,
    /// The one resource it is for.
    pub resource_id: Option<ResourceId>,
    /// The rest.
    pub constraints: Constraints,
}

/// One of the ways in which an edge could be more than its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dimension {
    /// Scopes.
    Scopes,
    /// Resources, by list or by the one it names.
    Resources,
    /// HTTP methods.
    Actions,
    /// When it ends.
    Expiry,
    /// How long a mandate lives.
    Ttl,
    /// How often it may be handed on.
    MaxHops,
    /// How many scopes at once.
    Budget,
}

/// An edge would be more than its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a child is never more than its parent: {0:?}")]
pub struct BeyondParent(pub Dimension);

impl Bounds {
    /// What a child under these bounds has: its wish, with everything it left out inherited.
    ///
    /// # Errors
    /// [`BeyondParent`] with the first dimension in which the wish is more.
    pub fn hand_on(&self, wish: Wish) -> Result<Self, BeyondParent> {
        let asked = wish.constraints;
        let child = Self {
            scopes: wish.scopes,
            resource_id: wish.resource_id.or(self.resource_id),
            resources: asked.resources.or_else(|| self.resources.clone()),
            actions: asked.actions.or_else(|| self.actions.clone()),
            expires_at: asked.expires_at.unwrap_or(self.expires_at),
            ttl_seconds: asked.ttl_seconds.or(self.ttl_seconds),
            max_hops: asked.max_hops.unwrap_or_else(|| self.max_hops.saturating_sub(1)),
            budget: asked.budget.or(self.budget),
        };
        child.is_within(self)?;
        Ok(child)
    }

    /// Whether these bounds, those of a child, are within the parent's in every dimension.
    ///
    /// # Errors
    /// [`BeyondParent`] with the first one in which they are not.
    pub fn is_within(&self, parent: &Self) -> Result<(), BeyondParent> {
        let one = parent.resource_id.is_none() || self.resource_id == parent.resource_id;
        let rules = [
            (Dimension::Scopes, self.scopes.is_subset(&parent.scopes)),
            (
                Dimension::Resources,
                one && is_subset(self.resources.as_ref(), parent.resources.as_ref()),
            ),
            (
                Dimension::Actions,
                is_subset(self.actions.as_ref(), parent.actions.as_ref()),
            ),
            (Dimension::Expiry, self.expires_at <= parent.expires_at),
            (Dimension::Ttl, is_at_most(self.ttl_seconds, parent.ttl_seconds)),
            (
                Dimension::MaxHops,
                self.max_hops > 0 && self.max_hops < parent.max_hops,
            ),
            (Dimension::Budget, is_at_most(self.budget, parent.budget)),
        ];
        match rules.into_iter().find(|(_, holds)| !holds) {
            Some((dimension, _)) => Err(BeyondParent(dimension)),
            None => Ok(()),
        }
    }

    /// The greatest bounds within both: what is left of a path, whatever its rows say.
    #[must_use]
    pub fn meet(&self, other: &Self) -> Self {
        Self {
            scopes: self
                .scopes
                .iter()
                .filter(|scope| other.scopes.contains(scope))
                .cloned()
                .collect(),
            resource_id: other.resource_id.or(self.resource_id),
            resources: intersection(self.resources.as_ref(), other.resources.as_ref()),
            actions: intersection(self.actions.as_ref(), other.actions.as_ref()),
            expires_at: self.expires_at.min(other.expires_at),
            ttl_seconds: least(self.ttl_seconds, other.ttl_seconds),
            max_hops: self.max_hops.min(other.max_hops),
            budget: least(self.budget, other.budget),
        }
    }

    /// Whether `resource`, asked for as `asked`, is among those it is for.
    #[must_use]
    pub fn covers(&self, asked: &ResourceIdentifier, resource: &Resource) -> bool {
        let listed = |names: &BTreeSet<String>| {
            names.contains(asked.as_str())
                || names.contains(resource.identifier.as_str())
                || names.contains(&resource.id.to_string())
        };
        self.resource_id.is_none_or(|only| only == resource.id) && self.resources.as_ref().is_none_or(listed)
    }

    /// Whether `method` is among those it is for; HEAD counts as GET.
    #[must_use]
    pub fn permits(&self, method: &str) -> bool {
        let method = if method.eq_ignore_ascii_case("HEAD") {
            "GET"
        } else {
            method
        };
        let same = |action: &String| action.eq_ignore_ascii_case(method);
        self.actions
            .as_ref()
            .is_none_or(|actions| actions.iter().any(same))
    }

    /// Whether so many scopes are within the budget.
    #[must_use]
    pub fn affords(&self, scopes: &ScopeSet) -> bool {
        self.budget
            .is_none_or(|budget| usize::try_from(budget).is_ok_and(|budget| scopes.len() <= budget))
    }
}

fn is_subset(child: Option<&BTreeSet<String>>, parent: Option<&BTreeSet<String>>) -> bool {
    match (child, parent) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(child), Some(parent)) => child.is_subset(parent),
    }
}

fn is_at_most(child: Option<u32>, parent: Option<u32>) -> bool {
    match (child, parent) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(child), Some(parent)) => child <= parent,
    }
}

fn intersection(
    one: Option<&BTreeSet<String>>,
    other: Option<&BTreeSet<String>>,
) -> Option<BTreeSet<String>> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.intersection(other).cloned().collect()),
        (one, other) => one.or(other).cloned(),
    }
}

fn least(one: Option<u32>, other: Option<u32>) -> Option<u32> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
