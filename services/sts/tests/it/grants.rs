//! `input.grant`: the active grant of application, user and resource; null for an application acting for itself.

use crate::hands::Hands;
use caracal_testkit::{Stack, World};

const ONLY_WITH_A_GRANT: &str = r#"package caracal.authz
result := {"decision": "allow", "evaluation_status": "complete", "determining_policies": ["grant"], "diagnostics": []} if {
  every scope in input.context.requested_scopes { scope in input.grant.scopes }
  input.grant.user_id == input.session.subject_id
}"#;

#[tokio::test]
async fn policy_reads_the_active_grant_of_a_user_and_forgets_it_when_it_is_revoked() {
    let stack = Stack::start().await;
    let mut world = World::new(&stack).await;
    let epoch = world.adopt(ONLY_WITH_A_GRANT).await;
    let hands = Hands::of(&stack, &world);
    let at = |epoch: &str| stack.sts(0).with("Caracal-Min-Epoch", epoch);
    let own = world.session(&at(&epoch)).await;
    let issuer = caracal_testkit::world::claims(&own)["iss"]
        .as_str()
        .expect("an issuer")
        .to_owned();
    let session = hands.user_session(&world, &issuer, "alice").await;
    let (none, itself) = (
        world.mandate(&at(&epoch), &session, "orders:read").await,
        world.mandate(&at(&epoch), &own, "orders:read").await,
    );
    assert_eq!(
        (none.status, itself.status),
        (403, 403),
        "{} {}",
        none.text,
        itself.text
    );
    let (id, epoch) = hands.grant(&world, "alice", "orders:read").await;
    let granted = world.mandate(&at(&epoch), &session, "orders:read").await;
    assert_eq!(granted.status, 200, "{}", granted.text);
    assert_eq!(
        world.mandate(&at(&epoch), &session, "orders:write").await.status,
        403
    );
    assert_eq!(
        world.mandate(&at(&epoch), &own, "orders:read").await.status,
        403,
        "an application has none"
    );
    let epoch = hands.revoke_grant(id).await;
    let revoked = world.mandate(&at(&epoch), &session, "orders:read").await;
    assert_eq!(
        (revoked.status, revoked.member("reason")),
        (403, "policy_deny"),
        "{}",
        revoked.text
    );
}
