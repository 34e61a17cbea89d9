use super::*;
use crate::agent::{AgentStatus, Lifecycle};
use crate::scope::ScopeSet;
use proptest::prelude::*;
use std::collections::BTreeSet;
use uuid::Uuid;

fn at(seconds: i64) -> Timestamp {
    chrono::DateTime::from_timestamp(seconds, 0).expect("in range")
}

fn scopes() -> impl Strategy<Value = ScopeSet> {
    proptest::collection::btree_set("[a-d]", 0..4)
        .prop_map(|set| set.into_iter().map(|s| s.parse().expect("a scope")).collect())
}

fn names() -> impl Strategy<Value = Option<BTreeSet<String>>> {
    proptest::option::of(proptest::collection::btree_set("[a-c]", 1..4))
}

prop_compose! {
    fn bounds()(
        scopes in scopes(), resource in proptest::option::of(0u128..3), resources in names(), actions in names(),
        expires in 1i64..5, ttl_seconds in proptest::option::of(1u32..5), max_hops in 1u8..5,
        budget in proptest::option::of(1u32..5),
    ) -> Bounds {
        Bounds {
            scopes, resource_id: resource.map(|n| Uuid::from_u128(n).into()), resources, actions,
            expires_at: at(expires), ttl_seconds, max_hops, budget,
        }
    }
}

prop_compose! {
    fn wish()(
        scopes in scopes(), resource in proptest::option::of(0u128..3), resources in names(), actions in names(),
        expires in proptest::option::of(1i64..5), ttl_seconds in proptest::option::of(1u32..5),
        max_hops in proptest::option::of(0u8..5), budget in proptest::option::of(1u32..5),
    ) -> Wish {
        Wish {
            scopes,
            resource_id: resource.map(|n| Uuid::from_u128(n).into()),
            constraints: Constraints { max_hops, ttl_seconds, budget, resources, actions, expires_at: expires.map(at) },
        }
    }
}

/// Everything that bounds let through, asked one question at a time.
fn lets_through(
    bounds: &Bounds,
    scope: &str,
    name: &str,
    resource: u128,
    moment: i64,
    seconds: u32,
    count: u32,
) -> bool {
    bounds.scopes.contains(&scope.parse().expect("a scope"))
        && bounds
            .resource_id
            .is_none_or(|only| only == Uuid::from_u128(resource).into())
        && bounds.resources.as_ref().is_none_or(|names| names.contains(name))
        && bounds.permits(name)
        && at(moment) < bounds.expires_at
        && bounds.ttl_seconds.is_none_or(|most| seconds <= most)
        && bounds.budget.is_none_or(|most| count <= most)
}

/// A property about what is granted says nothing when nothing is, or when nothing is let through.
#[test]
fn the_wishes_of_these_properties_are_often_granted_and_often_refused() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut granted, mut refused, mut through) = (0, 0, 0);
    for _ in 0..4_000 {
        let pair = (bounds(), wish()).new_tree(&mut runner).expect("a pair");
        let (parent, wish) = proptest::strategy::ValueTree::current(&pair);
        match parent.hand_on(wish) {
            Ok(child) => {
                granted += 1;
                let scopes = ["a", "b", "c", "d"];
                let any = |scope: &&str| lets_through(&child, scope, "a", 1, 0, 1, 1);
                through += u32::from(scopes.iter().any(any));
            }
            Err(_) => refused += 1,
        }
    }
    assert!(
        granted >= 150 && refused >= 150 && through >= 15,
        "{granted} {refused} {through}"
    );
}

proptest! {
    #[test]
    fn a_child_is_never_more_than_its_parent(
        parent in bounds(), wish in wish(), scope in "[a-d]", name in "[a-c]", resource in 0u128..3, moment in 0i64..5,
        seconds in 1u32..5, count in 1u32..5,
    ) {
        let Ok(child) = parent.hand_on(wish) else { return Ok(()) };
        prop_assert!(child.is_within(&parent).is_ok());
        prop_assert!(child.max_hops < parent.max_hops, "handing on ends");
        let through = |bounds: &Bounds| lets_through(bounds, &scope, &name, resource, moment, seconds, count);
        prop_assert!(!through(&child) || through(&parent));
    }

    #[test]
    fn what_is_left_of_two_is_within_both(
        one in bounds(), other in bounds(), scope in "[a-d]", name in "[a-c]", moment in 0i64..5, seconds in 1u32..5,
        count in 1u32..5,
    ) {
        let left = one.meet(&other);
        let through = |bounds: &Bounds| lets_through(bounds, &scope, &name, 9, moment, seconds, count);
        prop_assert!(!through(&left) || (through(&one) && through(&other)));
    }

    #[test]
    fn an_empty_wish_inherits_everything_but_one_hop(parent in bounds()) {
        let wish = Wish { scopes: parent.scopes.clone(), ..Wish::default() };
        match parent.hand_on(wish) {
            Ok(child) => prop_assert_eq!(child, Bounds { max_hops: parent.max_hops - 1, ..parent }),
            Err(BeyondParent(dimension)) => {
                prop_assert_eq!(dimension, Dimension::MaxHops);
                prop_assert_eq!(parent.max_hops, 1);
            }
        }
    }
}

fn id<T: From<Uuid>>(n: u128) -> T {
    Uuid::from_u128(n).into()
}

/// Agents 1, 2, 3, … each of an application of its own number; edge n from agent n to agent n + 1.
fn line(hops: u128) -> Lineage {
    let edge = |n: u128| Edge {
        id: id(n),
        source_session_id: id(n),
        target_session_id: id(n + 1),
        issuer_application_id: id(n),
        receiver_application_id: id(n + 1),
        parent_edge_id: n.checked_sub(1).filter(|above| *above > 0).map(id),
        path: (1..=n).map(id).collect(),
        bounds: Bounds {
            scopes: "a b".parse().expect("scopes"),
            resource_id: None,
            resources: None,
            actions: None,
            expires_at: at(100),
            ttl_seconds: None,
            max_hops: u8::try_from(5 - n).expect("few"),
            budget: None,
        },
        constraints_json: Value::Null,
        edge_version: 1,
        graph_epoch: 1,
        revoked: false,
    };
    let agent = |n: u128| Agent {
        id: id(n),
        application_id: id(n),
        session: None,
        lifecycle: Lifecycle::Task,
        status: AgentStatus::Active,
        labels: vec![],
        expires_at: at(100),
        lease_expires_at: None,
    };
    Lineage {
        edges: (1..=hops).map(edge).collect(),
        agents: (1..=hops + 1).map(|n| (id(n), agent(n))).collect(),
        graph_epoch: 1,
    }
}

#[test]
fn a_sound_path_is_worth_what_its_leaf_says_and_its_chain_runs_from_the_root() {
    let line = line(3);
    let authority = line.authority(at(1)).expect("sound");
    assert_eq!(authority.scopes.to_string(), "a b");
    let chain: Vec<_> = line
        .chain()
        .into_iter()
        .map(|hop| (hop.agent_session_id, hop.delegation_edge_id))
        .collect();
    let expected = vec![
        (id(1), None),
        (id(2), Some(id(1))),
        (id(3), Some(id(2))),
        (id(4), Some(id(3))),
    ];
    assert_eq!(chain, expected);
}

#[test]
fn one_hop_that_does_not_hold_breaks_the_path() {
    type Break = fn(&mut Lineage);
    let breaks: [(&str, Break, Refusal); 9] = [
        (
            "revoked",
            |line| line.edges[0].revoked = true,
            Refusal::DelegationRevoked,
        ),
        (
            "expired",
            |line| line.edges[1].bounds.expires_at = at(1),
            Refusal::DelegationExpired,
        ),
        (
            "no agent",
            |line| drop(line.agents.remove(&id(1))),
            Refusal::AgentNotLive,
        ),
        (
            "suspended",
            |line| line.agents.get_mut(&id(2)).expect("there").status = AgentStatus::Suspended,
            Refusal::AgentNotLive,
        ),
        (
            "past its TTL",
            |line| line.agents.get_mut(&id(4)).expect("there").expires_at = at(1),
            Refusal::AgentNotLive,
        ),
        (
            "one more scope",
            |line| line.edges[2].bounds.scopes = "a c".parse().expect("scopes"),
            Refusal::DelegationExceedsParent,
        ),
        (
            "too long",
            |line| line.edges[0].bounds.max_hops = 2,
            Refusal::DelegationTooLong,
        ),
        (
            "a gap",
            |line| drop(line.edges.remove(1)),
            Refusal::DelegationBroken,
        ),
        (
            "another's agent",
            |line| line.edges[2].receiver_application_id = id(9),
            Refusal::DelegationBroken,
        ),
    ];
    for (what, break_it, refusal) in breaks {
        let mut line = line(3);
        break_it(&mut line);
        assert_eq!(line.authority(at(1)).err(), Some(refusal), "{what}");
    }
    let none = Lineage {
        edges: vec![],
        agents: HashMap::new(),
        graph_epoch: 0,
    };
    assert_eq!(none.authority(at(1)).err(), Some(Refusal::DelegationNotFound));
}
