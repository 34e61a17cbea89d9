//! Class by provenance, the regression: what was narrowed once never comes back in by the plain path, however the
//! request that brings it is spelled (contract §2, "Classes").

use crate::hands::{Hands, bounds, second, text};
use crate::signing::ASSERTION_TYPE;
use caracal_testkit::settings::GATEWAY_STS_KEY;
use caracal_testkit::world::claims;
use caracal_testkit::{Client, Stack, World};
use serde_json::json;

const TYPE: &str = "urn:ietf:params:oauth:token-type:";

/// Mandates of every kind: the application's own, one under an edge, an agent's, and one made for a gateway's call.
async fn mandates(stack: &Stack, world: &World, session: &str) -> Vec<(&'static str, String)> {
    let (hands, sts) = (Hands::of(stack, world), stack.sts(0));
    let giver = second(stack, world, "giver").await;
    // Whoever asks is looked for; who only handed something on is known once the replica has heard of it.
    assert_eq!(giver.token(&sts, &[]).await.status, 200);
    let (from, to) = (
        hands.agent(&giver.id, 3600).await,
        hands.agent(&world.application_id, 3600).await,
    );
    let ends = ((from, giver.id.as_str()), (to, world.application_id.as_str()));
    let edge = hands.edge(ends.0, ends.1, None, bounds("orders:read", 1)).await;
    let (agent, edge) = (to.to_string(), edge.id.to_string());
    let base = [("subject_token", session), ("resource", world.resource.as_str())];
    let as_agent = [
        base[0],
        base[1],
        ("scope", "orders:read"),
        ("agent_session_id", agent.as_str()),
    ];
    let delegated = [
        base[0],
        base[1],
        as_agent[3],
        ("delegation_edge_id", edge.as_str()),
    ];
    let called = [
        base[0],
        base[1],
        ("scope", "orders:read"),
        ("method", "GET"),
        ("path", "/orders"),
    ];
    let answers = [
        ("plain", world.mandate(&sts, session, "orders:read").await),
        ("an agent's", world.token(&sts, &as_agent).await),
        ("delegated", world.token(&sts, &delegated).await),
        (
            "a gateway's",
            sts.bearer(GATEWAY_STS_KEY).form("/oauth/2/token", &called).await,
        ),
    ];
    let mandates = answers.map(|(kind, answer)| {
        let answer = answer.expect(200);
        let token = text(&answer, "access_token");
        assert_eq!(text(&claims(&token), "use"), "resource", "{kind}");
        (kind, token)
    });
    let delegated = mandates
        .iter()
        .filter(|(_, token)| claims(token).get("delegation_edge_id").is_some());
    assert_eq!(delegated.count(), 1);
    mandates.into()
}

/// Every way to spell a request with this subject token.
fn spellings(world: &World, token: &str) -> Vec<(String, Vec<(String, String)>)> {
    let paths = [
        "/oauth/2/token".to_owned(),
        format!("/zones/{}/oauth/2/token", world.zone_id),
    ];
    let kinds = [None, Some("access_token"), Some("jwt"), Some("id_token")];
    let grants = [
        None,
        Some("client_credentials"),
        Some("urn:ietf:params:oauth:grant-type:token-exchange"),
    ];
    let resources = [None, Some(world.resource.as_str())];
    let mut all = Vec::new();
    for path in &paths {
        for kind in kinds {
            for grant in grants {
                for resource in resources {
                    let kind = kind.map(|kind| format!("{TYPE}{kind}"));
                    let fields = [
                        ("subject_token", Some(token)),
                        ("subject_token_type", kind.as_deref()),
                        ("grant_type", grant),
                        ("resource", resource),
                    ];
                    let given = fields
                        .into_iter()
                        .filter_map(|(name, value)| Some((name, value?)));
                    all.push((
                        path.clone(),
                        given.map(|(n, v)| (n.to_owned(), v.to_owned())).collect(),
                    ));
                }
            }
        }
    }
    all
}

async fn refused(world: &World, sts: &Client, path: &str, fields: &[(String, String)]) {
    let mut form = vec![
        ("client_id", world.application_id.as_str()),
        ("client_secret", world.client_secret.as_str()),
    ];
    form.extend(fields.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let answer = sts.form(path, &form).await;
    let got = (answer.status, answer.member("error"), answer.member("reason"));
    assert_eq!(
        got,
        (400, "invalid_grant", "subject_token_wrong_use"),
        "{path} {fields:?}: {}",
        answer.text
    );
}

#[tokio::test]
async fn a_delegated_or_resource_token_never_re_enters_by_the_plain_path_however_it_is_spelled() {
    let stack = Stack::start().await;
    let (world, sts) = (World::new(&stack).await, stack.sts(0));
    let session = world.session(&sts).await;
    let mandates = mandates(&stack, &world, &session).await;
    let before = stack.database().count("SELECT count(*) FROM sessions").await;
    for (kind, token) in mandates {
        for (path, fields) in spellings(&world, &token) {
            refused(&world, &sts, &path, &fields).await;
        }
        let called = [
            ("subject_token", token.as_str()),
            ("resource", &world.resource),
            ("method", "GET"),
            ("path", "/orders"),
        ];
        let by_gateway = sts
            .clone()
            .bearer(GATEWAY_STS_KEY)
            .form("/oauth/2/token", &called)
            .await;
        assert_eq!(
            by_gateway.member("reason"),
            "subject_token_wrong_use",
            "{kind}: {}",
            by_gateway.text
        );
        let as_actor = [
            ("subject_token", session.as_str()),
            ("actor_token", &token),
            ("resource", &world.resource),
        ];
        let as_actor = world.token(&sts, &as_actor).await;
        assert_eq!(
            as_actor.member("reason"),
            "actor_token_wrong_use",
            "{kind}: {}",
            as_actor.text
        );
        let assertion = [
            ("client_assertion", token.as_str()),
            ("client_assertion_type", ASSERTION_TYPE),
        ];
        let as_client = sts.form("/oauth/2/token", &assertion).await;
        assert_eq!(
            (as_client.status, as_client.member("error")),
            (401, "invalid_client"),
            "{kind}"
        );
        let as_bearer = sts.clone().bearer(&token).form("/oauth/2/token", &[]).await;
        assert_eq!(
            (as_bearer.status, as_bearer.member("error")),
            (401, "invalid_client"),
            "{kind}"
        );
    }
    let after = stack.database().count("SELECT count(*) FROM sessions").await;
    assert_eq!(before, after, "and nothing of it opened a session");
}

#[tokio::test]
async fn a_session_bound_to_an_agent_stays_bound_however_its_token_is_exchanged() {
    let stack = Stack::start().await;
    let (world, sts) = (World::new(&stack).await, stack.sts(0));
    let agent = Hands::of(&stack, &world).agent(&world.application_id, 3600).await;
    let id = agent.to_string();
    let bound = world.token(&sts, &[("agent_session_id", &id)]).await.expect(200);
    let bound = bound["access_token"].as_str().expect("a token");
    for kind in ["access_token", "jwt"] {
        let kind = format!("{TYPE}{kind}");
        let fields = [
            ("subject_token", bound),
            ("subject_token_type", &kind),
            ("resource", &world.resource),
            ("scope", "orders:read"),
        ];
        let mandate = world.token(&sts, &fields).await;
        let said = claims(mandate.member("access_token"));
        assert_eq!(said["agent_session_id"], json!(id), "{}", mandate.text);
    }
}
