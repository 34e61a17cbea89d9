//! How much of what is asked for may be decided at all: never more than the resource has, nor than the session was
//! limited to. Pure, so that it can be proved: see the property tests.

use caracal_domain::zone::Resource;
use caracal_domain::{Claims, Refusal, ResourceIdentifier, ScopeSet};
use std::sync::Arc;

/// What a session was limited to when it was created; empty parts do not limit.
#[derive(Debug, Clone, Default)]
pub struct Ceiling {
    scopes: ScopeSet,
    targets: Vec<ResourceIdentifier>,
}

impl Ceiling {
    /// The ceiling a session token carries, its targets by their own names. The platform's own scope is no authority over
    /// a resource.
    #[must_use]
    pub fn of(session: &Claims, name: impl Fn(&ResourceIdentifier) -> ResourceIdentifier) -> Self {
        Self {
            scopes: session.scope.without_agent_lifecycle(),
            targets: session.target.iter().map(name).collect(),
        }
    }

    /// Who may have a whole prefix resource may have what lies below it.
    fn admits(&self, name: &ResourceIdentifier, resource: &Resource, scopes: &ScopeSet) -> bool {
        let covers = |target: &ResourceIdentifier| {
            target == name || (resource.prefix && *target == resource.identifier)
        };
        (self.targets.is_empty() || self.targets.iter().any(covers))
            && (self.scopes.is_empty() || scopes.is_subset(&self.scopes))
    }
}

/// The scopes a mandate is decided for. Without a wish: the edge's, else the ceiling's, else all that every known
/// resource has. One set for all resources, so that the token's `scope` holds at each of them.
#[must_use]
pub fn wished(
    wish: Option<&ScopeSet>,
    edge: Option<&ScopeSet>,
    ceiling: &Ceiling,
    known: &[Arc<Resource>],
) -> ScopeSet {
    let given = [wish, edge, Some(&ceiling.scopes)];
    let given = given.into_iter().flatten().find(|scopes| !scopes.is_empty());
    given.cloned().unwrap_or_else(|| common_scopes(known))
}

/// Whether a mandate may be for these scopes, whatever the resource.
///
/// # Errors
/// [`Refusal::PlatformScopeOnMandate`], or [`Refusal::ScopeExceedsResource`] when there is nothing to decide.
pub fn for_mandate(scopes: &ScopeSet) -> Result<(), Refusal> {
    if scopes.iter().any(caracal_domain::Scope::is_agent_lifecycle) {
        Err(Refusal::PlatformScopeOnMandate)
    } else if scopes.is_empty() {
        Err(Refusal::ScopeExceedsResource)
    } else {
        Ok(())
    }
}

fn common_scopes(known: &[Arc<Resource>]) -> ScopeSet {
    let Some((first, rest)) = known.split_first() else {
        return ScopeSet::default();
    };
    first
        .scopes
        .iter()
        .filter(|scope| rest.iter().all(|r| r.scopes.contains(scope)))
        .cloned()
        .collect()
}

/// Whether these scopes may be decided for this resource: all of them or none, never trimmed.
///
/// # Errors
/// [`Refusal::ScopeExceedsResource`] or [`Refusal::SessionCeiling`].
pub fn within_bounds(
    scopes: &ScopeSet,
    name: &ResourceIdentifier,
    resource: &Resource,
    ceiling: &Ceiling,
) -> Result<(), Refusal> {
    if scopes.narrow(&resource.scopes).is_err() {
        return Err(Refusal::ScopeExceedsResource);
    }
    if ceiling.admits(name, resource, scopes) {
        Ok(())
    } else {
        Err(Refusal::SessionCeiling)
    }
}

/// Seconds a token may live: the wish, capped by its class and by everything it hangs on. Never more than any of them.
///
/// # Errors
/// The refusal that goes with the first of them of which nothing is left.
pub fn lifetime(
    wish: Option<u32>,
    class_maximum: u32,
    limits: impl IntoIterator<Item = (i64, Refusal)>,
) -> Result<i64, Refusal> {
    let asked = i64::from(wish.unwrap_or(class_maximum).min(class_maximum));
    limits
        .into_iter()
        .try_fold(asked, |seconds, (left, ended)| match left {
            ..=0 => Err(ended),
            left => Ok(seconds.min(left)),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use caracal_domain::id::ResourceId;
    use caracal_domain::zone::AuthMode;
    use proptest::prelude::*;

    fn resource(name: &str, scopes: ScopeSet) -> Arc<Resource> {
        Arc::new(Resource {
            id: ResourceId::from(uuid::Uuid::nil()),
            name: name.to_owned(),
            identifier: name.parse().expect("an identifier"),
            prefix: false,
            scopes,
            upstream_url: None,
            provider_id: None,
            auth_mode: AuthMode::None,
            operations: vec![],
            forward_headers: vec![],
        })
    }

    fn scopes() -> impl Strategy<Value = ScopeSet> {
        proptest::collection::btree_set("[a-e]", 0..5)
            .prop_map(|set| set.into_iter().map(|s| s.parse().expect("a scope")).collect())
    }

    /// Sets that overlap, so that what is allowed and what is refused both come up often.
    fn some_scopes() -> impl Strategy<Value = ScopeSet> {
        prop_oneof![
            scopes(),
            Just("a b".parse().expect("scopes")),
            Just("a b c d e".parse().expect("scopes"))
        ]
    }

    #[test]
    fn a_mandate_never_exceeds_its_resource_its_session_nor_its_edge() {
        let (allowed, refused) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
        let optional = || proptest::option::of(some_scopes());
        let whatever = (
            optional(),
            optional(),
            some_scopes(),
            some_scopes(),
            any::<bool>(),
        );
        let outcome = proptest::test_runner::TestRunner::default().run(
            &whatever,
            |(wish, edge, limit, has, elsewhere)| {
                let held = resource("resource://a", has);
                let target = if elsewhere { "resource://b" } else { "resource://a" };
                let ceiling = Ceiling {
                    scopes: limit.clone(),
                    targets: vec![target.parse().expect("an identifier")],
                };
                let decided = wished(
                    wish.as_ref(),
                    edge.as_ref(),
                    &ceiling,
                    std::slice::from_ref(&held),
                );
                let verdict = for_mandate(&decided)
                    .and_then(|()| within_bounds(&decided, &held.identifier, &held, &ceiling));
                let fits = !decided.is_empty()
                    && decided.is_subset(&held.scopes)
                    && (limit.is_empty() || decided.is_subset(&limit))
                    && !elsewhere;
                prop_assert_eq!(verdict.is_ok(), fits, "nothing more, and nothing less");
                if let Some(wish) = wish.filter(|wish| !wish.is_empty()) {
                    prop_assert_eq!(
                        &decided,
                        &wish,
                        "exactly what was asked for, never a union or a trim"
                    );
                } else if let Some(edge) = edge.filter(|edge| !edge.is_empty()) {
                    prop_assert_eq!(&decided, &edge);
                }
                let tally = if fits { &allowed } else { &refused };
                tally.set(tally.get() + 1);
                Ok(())
            },
        );
        outcome.expect("it holds");
        assert!(
            allowed.get() > 10 && refused.get() > 10,
            "both came up: {allowed:?}, {refused:?}"
        );
    }

    proptest! {
        #[test]
        fn no_token_outlives_what_it_hangs_on(wish in proptest::option::of(1u32..), rest in proptest::collection::vec(-5i64..4000, 0..4)) {
            let limits = rest.iter().map(|left| (*left, Refusal::AgentNotLive));
            match lifetime(wish, 900, limits) {
                Ok(seconds) => prop_assert!(seconds > 0 && seconds <= 900 && rest.iter().all(|r| seconds <= *r)),
                Err(_) => prop_assert!(rest.iter().any(|r| *r <= 0)),
            }
        }
    }

    #[test]
    fn which_limit_has_ended_is_said() {
        let limits = |agent, edge| [(agent, Refusal::AgentNotLive), (edge, Refusal::DelegationExpired)];
        assert_eq!(lifetime(None, 900, limits(20, 10)), Ok(10));
        assert_eq!(
            lifetime(None, 900, limits(20, 0)),
            Err(Refusal::DelegationExpired)
        );
        assert_eq!(lifetime(None, 900, limits(0, 0)), Err(Refusal::AgentNotLive));
    }

    #[test]
    fn a_ceiling_on_a_prefix_resource_covers_what_lies_below_it_and_nothing_else_does() {
        let mut whole = (*resource("resource://a", ScopeSet::default())).clone();
        whole.prefix = true;
        let (above, below): (ResourceIdentifier, ResourceIdentifier) = (
            whole.identifier.clone(),
            "resource://a/b".parse().expect("an identifier"),
        );
        let limited_to = |target: &ResourceIdentifier| Ceiling {
            scopes: ScopeSet::default(),
            targets: vec![target.clone()],
        };
        let none = ScopeSet::default();
        assert!(limited_to(&above).admits(&below, &whole, &none));
        assert!(!limited_to(&below).admits(&above, &whole, &none));
        whole.prefix = false;
        assert!(!limited_to(&above).admits(&below, &whole, &none));
    }

    #[test]
    fn without_a_wish_several_resources_get_what_all_of_them_have() {
        let a = resource("resource://a", "read write".parse().expect("scopes"));
        let b = resource("resource://b", "read".parse().expect("scopes"));
        let decided = wished(None, None, &Ceiling::default(), &[a, b]);
        assert_eq!(decided.to_string(), "read");
    }

    #[test]
    fn the_platform_scope_is_not_for_mandates() {
        let wish: ScopeSet = "agent:lifecycle".parse().expect("a scope");
        assert_eq!(for_mandate(&wish), Err(Refusal::PlatformScopeOnMandate));
        assert_eq!(
            for_mandate(&ScopeSet::default()),
            Err(Refusal::ScopeExceedsResource)
        );
    }
}
