use super::*;
use crate::claims::{SubjectType, TokenUse};
use crate::clock::FixedClock;
use crate::id::{AgentSessionId, ApplicationId, DelegationEdgeId, SessionId, TokenId, ZoneId};

fn at(seconds: i64) -> Timestamp {
    chrono::DateTime::from_timestamp(seconds, 0).expect("in range")
}

fn claims() -> Claims {
    let clock = FixedClock(at(1_790_000_000));
    let sid = SessionId::mint(&clock);
    let client_id = ApplicationId::mint(&clock);
    Claims {
        iss: "https://sts/zones/z".into(),
        sub: client_id.to_string(),
        aud: vec!["resource://orders".into()],
        exp: 1_790_000_900,
        iat: 1_790_000_000,
        nbf: 1_790_000_000,
        jti: TokenId::mint(&clock),
        zone_id: ZoneId::mint(&clock),
        client_id,
        scope: "read".parse().expect("a scope"),
        sid,
        root_sid: sid,
        token_use: TokenUse::Resource,
        sub_type: SubjectType::Application,
        target: vec![],
        epoch: Epoch::from(10),
        event_id: None,
        auth_time: None,
        act: None,
        agent_session_id: Some(AgentSessionId::mint(&clock)),
        delegation_edge_id: None,
        delegation_path: vec![DelegationEdgeId::mint(&clock)],
        source_session_id: None,
        target_session_id: None,
        delegation_chain: vec![],
        hop_count: None,
        delegation_graph_epoch: None,
        actions: vec![],
    }
}

fn anchor(kind: AnchorKind, value: &impl ToString, epoch: i64) -> Anchor {
    Anchor {
        kind,
        value: value.to_string(),
        epoch: Epoch::from(epoch),
        expires_at: at(1_790_001_000),
    }
}

fn refused_by(anchor: Anchor, claims: &Claims, kid: SigningKeyId) -> Option<AnchorKind> {
    let mut set = AnchorSet::default();
    set.insert(anchor);
    set.refuses(claims, kid)
}

#[test]
fn every_exact_anchor_refuses_the_token_that_carries_it_and_no_other() {
    let token = claims();
    let other = claims();
    let kid = SigningKeyId::mint(&FixedClock(at(1_790_000_000)));
    let cases = [
        anchor(AnchorKind::Sid, &token.sid, 11),
        anchor(AnchorKind::RootSid, &token.root_sid, 11),
        anchor(
            AnchorKind::AgentSessionId,
            &token.agent_session_id.expect("set"),
            11,
        ),
        anchor(
            AnchorKind::DelegationEdgeId,
            &token.delegation_path.first().expect("set"),
            11,
        ),
        anchor(AnchorKind::Jti, &token.jti, 11),
    ];
    for case in cases {
        assert_eq!(refused_by(case.clone(), &token, kid), Some(case.kind));
        assert_eq!(refused_by(case, &other, kid), None);
    }
    assert_eq!(
        refused_by(anchor(AnchorKind::Kid, &kid, 11), &token, kid),
        Some(AnchorKind::Kid)
    );
}

#[test]
fn a_cut_off_refuses_older_tokens_only() {
    let token = claims();
    let kid = SigningKeyId::mint(&FixedClock(at(1_790_000_000)));
    for kind in [AnchorKind::Subject, AnchorKind::Application] {
        assert_eq!(refused_by(anchor(kind, &token.sub, 11), &token, kid), Some(kind));
        assert_eq!(
            refused_by(anchor(kind, &token.sub, 10), &token, kid),
            None,
            "decided at the cut-off itself"
        );
    }
}

#[test]
fn a_later_cut_off_is_never_weakened_by_an_earlier_one() {
    let token = claims();
    let kid = SigningKeyId::mint(&FixedClock(at(1_790_000_000)));
    let mut set = AnchorSet::default();
    set.insert(anchor(AnchorKind::Subject, &token.sub, 11));
    set.insert(anchor(AnchorKind::Subject, &token.sub, 3));
    assert_eq!(set.refuses(&token, kid), Some(AnchorKind::Subject));
}

#[test]
fn anchors_are_kept_until_the_second_they_expire() {
    let mut set = AnchorSet::default();
    set.insert(anchor(AnchorKind::Jti, &"x", 1));
    set.expire(at(1_790_000_999));
    assert_eq!(set.len(), 1);
    set.expire(at(1_790_001_000));
    assert!(set.is_empty());
}

#[test]
fn a_copy_shares_all_but_what_changed_with_its_original() {
    let mut set = AnchorSet::default();
    for number in 0..5_000_u32 {
        set.insert(anchor(AnchorKind::Jti, &number, 1));
    }
    let mut copy = set.clone();
    copy.insert(anchor(AnchorKind::Jti, &"one more", 1));
    assert_eq!((set.len(), copy.len()), (5_000, 5_001));
    let shared = set.shards.iter().zip(&copy.shards);
    let shared = shared.filter(|(one, other)| Arc::ptr_eq(one, other)).count();
    assert_eq!(shared, SHARDS - 1);
    copy.expire(at(1_790_000_999));
    let apart = set.shards.iter().zip(&copy.shards);
    let apart = apart.filter(|(one, other)| !Arc::ptr_eq(one, other)).count();
    assert_eq!(apart, 1, "nothing had expired");
}
