//! Agent sessions and delegated mandates: every hop is checked again at every mint (contract §2 and §3).

use crate::hands::{Hands, Second, bounds, second};
use caracal_domain::agent::AgentStatus;
use caracal_domain::delegation::{Bounds, Edge};
use caracal_domain::id::AgentSessionId;
use caracal_testkit::world::claims;
use caracal_testkit::{Answer, Client, Stack, World};
use chrono::Duration;
use serde_json::json;

/// A root application with an agent, a receiver with an agent, an edge between them, and the receiver's session.
struct Scene {
    world: World,
    hands: Hands,
    receiver: Second,
    root_agent: AgentSessionId,
    agent: AgentSessionId,
    session: String,
}

impl Scene {
    async fn new(stack: &Stack) -> Self {
        let world = World::new(stack).await;
        let hands = Hands::of(stack, &world);
        let receiver = second(stack, &world, "receiver").await;
        let root_agent = hands.agent(&world.application_id, 3600).await;
        let agent = hands.agent(&receiver.id, 3600).await;
        let session = receiver
            .token(&stack.sts(0), &[])
            .await
            .member("access_token")
            .to_owned();
        Self {
            world,
            hands,
            receiver,
            root_agent,
            agent,
            session,
        }
    }

    async fn edge(&self, bounds: Bounds) -> Edge {
        let from = (self.root_agent, self.world.application_id.as_str());
        self.hands
            .edge(from, (self.agent, &self.receiver.id), None, bounds)
            .await
    }

    async fn redeem(&self, sts: &Client, edge: &Edge, more: &[(&str, &str)]) -> Answer {
        let (agent, edge) = (edge.target_session_id.to_string(), edge.id.to_string());
        let mut fields = vec![
            ("subject_token", self.session.as_str()),
            ("agent_session_id", &agent),
            ("delegation_edge_id", &edge),
            ("resource", &self.world.resource),
        ];
        fields.extend_from_slice(more);
        self.receiver.token(sts, &fields).await
    }
}

fn refused(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.member("reason"))
}

#[tokio::test]
async fn a_delegated_mandate_says_whose_authority_it_is_and_every_bound_holds() {
    let stack = Stack::start().await;
    let scene = Scene::new(&stack).await;
    let sts = stack.sts(0);
    let narrow = Bounds {
        actions: Some(["GET".to_owned()].into()),
        ttl_seconds: Some(60),
        budget: Some(1),
        resources: Some([scene.world.resource.clone()].into()),
        ..bounds("orders:read orders:write", 1)
    };
    let edge = scene.edge(narrow).await;
    let minted = scene.redeem(&sts, &edge, &[("scope", "orders:read")]).await;
    let answer = minted.clone().expect(200);
    assert_eq!(
        (&answer["scope"], &answer["expires_in"]),
        (&json!("orders:read"), &json!(60))
    );
    let said = claims(minted.member("access_token"));
    assert_eq!(said["client_id"], json!(scene.receiver.id));
    assert_eq!(said["agent_session_id"], json!(scene.agent));
    assert_eq!(said["delegation_edge_id"], json!(edge.id));
    assert_eq!(said["source_session_id"], json!(scene.root_agent));
    assert_eq!(said["target_session_id"], json!(scene.agent));
    assert_eq!(said["delegation_path"], json!([edge.id]));
    assert_eq!(said["hop_count"], json!(1));
    assert_eq!(said["actions"], json!(["GET"]));
    assert!(said["delegation_graph_epoch"].is_number());
    let chain = json!([
        {"application_id": scene.world.application_id, "agent_session_id": scene.root_agent},
        {"application_id": scene.receiver.id, "agent_session_id": scene.agent, "delegation_edge_id": edge.id},
    ]);
    assert_eq!(said["delegation_chain"], chain);
    let gateway = scene
        .world
        .through(stack.gateway(0), minted.member("access_token"));
    let posted = gateway.post("/orders", &json!({})).await;
    assert_eq!(refused(&posted), (403, "action_not_allowed"), "{}", posted.text);
    assert_eq!(gateway.get("/orders").await.status, 200);

    let over = scene.redeem(&sts, &edge, &[]).await;
    assert_eq!(
        refused(&over),
        (403, "delegation_budget_exceeded"),
        "both scopes by default: {}",
        over.text
    );
    let wider = scene.redeem(&sts, &edge, &[("scope", "orders:delete")]).await;
    assert_eq!(
        refused(&wider),
        (403, "delegation_scopes_exceeded"),
        "{}",
        wider.text
    );
    let elsewhere = Bounds {
        resources: Some(["resource://other".to_owned()].into()),
        ..bounds("orders:read", 1)
    };
    let elsewhere = scene.redeem(&sts, &scene.edge(elsewhere).await, &[]).await;
    assert_eq!(
        refused(&elsewhere),
        (403, "delegation_resource_not_covered"),
        "{}",
        elsewhere.text
    );
    let expired = Bounds {
        expires_at: crate::hands::now() - Duration::seconds(1),
        ..bounds("orders:read", 1)
    };
    let expired = scene.redeem(&sts, &scene.edge(expired).await, &[]).await;
    assert_eq!(refused(&expired), (403, "delegation_expired"), "{}", expired.text);
}

#[tokio::test]
async fn only_the_target_redeems_an_edge_and_only_its_owner_acts_as_an_agent() {
    let stack = Stack::start().await;
    let scene = Scene::new(&stack).await;
    let sts = stack.sts(0);
    let edge = scene.edge(bounds("orders:read", 1)).await;
    let (edge_id, root) = (edge.id.to_string(), scene.root_agent.to_string());
    let session = scene.world.session(&sts).await;
    let own = [
        ("subject_token", session.as_str()),
        ("agent_session_id", &root),
        ("resource", &scene.world.resource),
        ("scope", "orders:read"),
    ];
    let as_agent = scene.world.token(&sts, &own).await;
    assert_eq!(
        claims(as_agent.member("access_token"))["agent_session_id"],
        json!(scene.root_agent)
    );
    let mut by_the_issuer = own.to_vec();
    by_the_issuer.push(("delegation_edge_id", &edge_id));
    let by_the_issuer = scene.world.token(&sts, &by_the_issuer).await;
    assert_eq!(
        refused(&by_the_issuer),
        (403, "delegation_not_found"),
        "{}",
        by_the_issuer.text
    );
    let target = scene.agent.to_string();
    let stolen = [
        ("subject_token", session.as_str()),
        ("agent_session_id", &target),
        ("resource", &scene.world.resource),
    ];
    let stolen = scene.world.token(&sts, &stolen).await;
    assert_eq!(
        refused(&stolen),
        (403, "agent_session_not_usable"),
        "{}",
        stolen.text
    );
    let alone = [
        ("subject_token", session.as_str()),
        ("delegation_edge_id", &edge_id),
        ("resource", &scene.world.resource),
    ];
    let alone = scene.world.token(&sts, &alone).await;
    assert_eq!(refused(&alone), (400, "agent_session_missing"), "{}", alone.text);

    let bound = scene.world.token(&sts, &[("agent_session_id", &root)]).await;
    let token = bound.member("access_token");
    assert_eq!(claims(token)["agent_session_id"], json!(scene.root_agent));
    let mandate = scene.world.mandate(&sts, token, "orders:read").await;
    assert_eq!(
        claims(mandate.member("access_token"))["agent_session_id"],
        json!(scene.root_agent)
    );
    let another = scene
        .hands
        .agent(&scene.world.application_id, 60)
        .await
        .to_string();
    let switched = [
        ("subject_token", token),
        ("agent_session_id", &another),
        ("resource", &scene.world.resource),
    ];
    let switched = scene.world.token(&sts, &switched).await;
    assert_eq!(
        refused(&switched),
        (403, "agent_session_not_usable"),
        "{}",
        switched.text
    );
    let other_session = [
        ("subject_token", token),
        ("session_id", &another),
        ("resource", &scene.world.resource),
    ];
    let other_session = scene.world.token(&sts, &other_session).await;
    assert_eq!(
        refused(&other_session),
        (400, "session_mismatch"),
        "{}",
        other_session.text
    );
}

#[tokio::test]
async fn what_ends_anywhere_on_the_path_ends_at_the_next_mint() {
    let stack = Stack::start().await;
    let scene = Scene::new(&stack).await;
    let sts = stack.sts(0);
    let third = second(&stack, &scene.world, "third").await;
    let first = scene.edge(bounds("orders:read", 2)).await;
    let leaf_agent = scene.hands.agent(&third.id, 3600).await;
    let (from, to) = (
        (scene.agent, scene.receiver.id.as_str()),
        (leaf_agent, third.id.as_str()),
    );
    let shorter = Bounds {
        expires_at: crate::hands::now() + Duration::minutes(30),
        ..bounds("orders:read", 1)
    };
    let leaf = scene.hands.edge(from, to, Some(&first), shorter).await;
    let session = third.token(&sts, &[]).await.member("access_token").to_owned();
    let (agent_id, edge_id) = (leaf_agent.to_string(), leaf.id.to_string());
    let fields = [
        ("subject_token", session.as_str()),
        ("agent_session_id", &agent_id),
        ("delegation_edge_id", &edge_id),
        ("resource", &scene.world.resource),
    ];
    let minted = third.token(&sts, &fields).await;
    let said = claims(minted.member("access_token"));
    assert_eq!(
        (&said["hop_count"], &said["delegation_path"]),
        (&json!(2), &json!([first.id, leaf.id]))
    );

    let epoch = scene.hands.move_agent(scene.agent, AgentStatus::Suspended).await;
    let at = |epoch: &str| stack.sts(0).with("Caracal-Min-Epoch", epoch);
    let held_up = third.token(&at(&epoch), &fields).await;
    assert_eq!(
        refused(&held_up),
        (403, "agent_session_not_active"),
        "{}",
        held_up.text
    );
    let epoch = scene.hands.move_agent(scene.agent, AgentStatus::Active).await;
    assert_eq!(third.token(&at(&epoch), &fields).await.status, 200);
    let epoch = scene.hands.revoke_edge(first.id).await;
    let revoked = third.token(&at(&epoch), &fields).await;
    assert_eq!(refused(&revoked), (403, "delegation_revoked"), "{}", revoked.text);

    let above = scene.edge(bounds("orders:read", 2)).await;
    let wider = scene
        .hands
        .edge(from, to, Some(&above), bounds("orders:write", 1))
        .await;
    let wider = wider.id.to_string();
    let beyond = third
        .token(
            &sts,
            &[fields[0], fields[1], ("delegation_edge_id", &wider), fields[3]],
        )
        .await;
    assert_eq!(
        refused(&beyond),
        (403, "delegation_exceeds_parent_authority"),
        "{}",
        beyond.text
    );

    let mayfly = scene.hands.agent(&third.id, 2).await;
    let id = mayfly.to_string();
    let own = [
        ("subject_token", session.as_str()),
        ("agent_session_id", &id),
        fields[3],
        ("scope", "orders:read"),
    ];
    let short = third.token(&sts, &own).await;
    assert!(
        short.body["expires_in"]
            .as_i64()
            .is_some_and(|seconds| seconds <= 2),
        "{}",
        short.text
    );
    tokio::time::sleep(std::time::Duration::from_millis(2100)).await;
    let late = third.token(&sts, &own).await;
    assert_eq!(
        refused(&late),
        (403, "agent_session_not_active"),
        "a TTL counts before the sweep: {}",
        late.text
    );
    let epoch = scene.hands.terminate_agent(leaf_agent).await;
    let ended = third.token(&at(&epoch), &fields[..2]).await;
    assert_eq!(
        refused(&ended).0,
        400,
        "no resource is said first: {}",
        ended.text
    );
}

#[tokio::test]
async fn a_token_lists_each_hop_as_it_received_root_to_leaf() {
    let stack = Stack::start().await;
    let scene = Scene::new(&stack).await;
    let sts = stack.sts(0);
    let third = second(&stack, &scene.world, "third").await;
    let first = scene.edge(bounds("orders:read", 2)).await;
    let leaf_agent = scene.hands.agent(&third.id, 3600).await;
    let (from, to) = (
        (scene.agent, scene.receiver.id.as_str()),
        (leaf_agent, third.id.as_str()),
    );
    let shorter = Bounds {
        expires_at: crate::hands::now() + Duration::minutes(30),
        ..bounds("orders:read", 1)
    };
    let leaf = scene.hands.edge(from, to, Some(&first), shorter).await;
    let session = third.token(&sts, &[]).await;
    let fields = [
        ("subject_token", session.member("access_token")),
        ("agent_session_id", &leaf_agent.to_string()),
        ("delegation_edge_id", &leaf.id.to_string()),
        ("resource", &scene.world.resource),
    ];
    let minted = third.token(&sts, &fields).await;
    let said = claims(minted.member("access_token"));
    let chain = json!([
        {"application_id": scene.world.application_id, "agent_session_id": scene.root_agent},
        {"application_id": scene.receiver.id, "agent_session_id": scene.agent, "delegation_edge_id": first.id},
        {"application_id": third.id, "agent_session_id": leaf_agent, "delegation_edge_id": leaf.id},
    ]);
    assert_eq!(said["delegation_chain"], chain, "{}", minted.text);
    assert_eq!(
        (&said["source_session_id"], &said["target_session_id"]),
        (&json!(scene.agent), &json!(leaf_agent))
    );
}

#[tokio::test]
async fn the_root_issuer_must_itself_be_allowed() {
    let stack = Stack::start().await;
    let mut scene = Scene::new(&stack).await;
    let edge = scene.edge(bounds("orders:read", 1)).await;
    let only_the_receiver = format!(
        r#"package caracal.authz
result := {{"decision": "allow", "evaluation_status": "complete", "determining_policies": ["one"], "diagnostics": []}} if {{
  input.principal.id == "{}"
}}"#,
        scene.receiver.id
    );
    let epoch = scene.world.adopt(&only_the_receiver).await;
    let sts = stack.sts(0).with("Caracal-Min-Epoch", &epoch);
    let denied = scene.redeem(&sts, &edge, &[]).await;
    assert_eq!(
        refused(&denied),
        (403, "delegator_not_authorized"),
        "{}",
        denied.text
    );
    let the_edge = r#"package caracal.authz
result := {"decision": "allow", "evaluation_status": "complete", "determining_policies": ["edge"], "diagnostics": []} if {
  input.delegation_edge.target_session_id == input.principal.agent_session_id
  input.delegation_edge.constraints_json.max_hops == 1
  input.principal.lifecycle == "task"
  input.principal.labels == ["blue"]
}
result := {"decision": "allow", "evaluation_status": "complete", "determining_policies": ["root"], "diagnostics": []} if {
  input.delegation_edge == null
}"#;
    let epoch = scene.world.adopt(the_edge).await;
    let sts = stack.sts(0).with("Caracal-Min-Epoch", &epoch);
    assert_eq!(scene.redeem(&sts, &edge, &[]).await.status, 200);
}
