use caracal_testkit::stack::{Service, Stack};
use caracal_testkit::world::World;
use caracal_testkit::{Client, eventually};
use reqwest::Response;
use serde_json::{Value, json};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// A session, a granted mandate and a refused one, all in the ledger; the request ids of the two mandates.
async fn played(stack: &Stack, world: &World) -> (String, String) {
    let sts = stack.sts(0);
    let session = world.session(&sts).await;
    let granted = world.mandate(&sts, &session, "orders:read").await;
    assert_eq!(granted.status, 200, "{}", granted.text);
    let refused = world.mandate(&sts, &session, "orders:delete").await;
    assert_eq!(refused.status, 403, "{}", refused.text);
    let hostile = [
        ("subject_token", session.as_str()),
        (
            "subject_token_type",
            "urn:ietf:params:oauth:token-type:access_token",
        ),
        ("resource", "=HYPERLINK(1)"),
    ];
    assert_eq!(world.token(&sts, &hostile).await.status, 400);
    let ids = [
        granted.header("x-request-id").to_owned(),
        refused.header("x-request-id").to_owned(),
    ];
    for id in &ids {
        eventually("event", PATIENCE, || async {
            (!world.events(id).await.is_empty()).then_some(())
        })
        .await;
    }
    let [granted, refused] = ids;
    (granted, refused)
}

async fn rows(admin: &Client, world: &World, query: &str) -> Vec<Value> {
    let answer = admin.get(&world.path(&format!("audit?{query}"))).await;
    answer.expect(200)["rows"].as_array().expect("rows").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_is_filtered_exported_and_explained() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let (granted, refused) = played(&stack, &world).await;
    let admin = stack.admin();
    let count = async |query: &str| rows(&admin, &world, query).await.len();

    // Filters.
    let of_application = format!(
        "application_id={}&event_type=token_exchange",
        world.application_id
    );
    eventually("all three exchanges", PATIENCE, || async {
        (rows(&admin, &world, &of_application).await.len() == 3).then_some(())
    })
    .await;
    let first = &rows(&admin, &world, &of_application).await[0];
    let session = first["metadata_json"]["session_id"]
        .as_str()
        .expect("a session")
        .to_owned();
    assert_eq!(
        count(&format!("session_id={session}&event_type=token_exchange")).await,
        3
    );
    assert_eq!(
        count(&format!("resource={}&decision=deny", world.resource)).await,
        1
    );
    assert_eq!(
        count(&format!("resource={}&decision=allow", world.resource)).await,
        2,
        "what made it, and what was granted of it"
    );
    assert_eq!(
        count("event_type=token_exchange&until=2020-01-01T00:00:00Z").await,
        0
    );
    assert_eq!(count("label=nobody").await, 0);
    assert_eq!(
        count("agent_session_id=0198c0de-0000-7000-8000-0000000000aa").await,
        0
    );
    for bad in [
        "session_id=x",
        "format=xml",
        "since=yesterday",
        "application_id=1&application_id=2",
        "color=red",
    ] {
        let answer = admin.get(&world.path(&format!("audit?{bad}"))).await;
        assert_eq!(
            (answer.status, answer.member("error")),
            (400, "invalid_query"),
            "{bad}"
        );
    }

    exported(&admin, &world).await;
    explained(&stack, &world, &granted, &refused).await;
}

async fn exported(admin: &Client, world: &World) {
    let all = rows(admin, world, "limit=1000").await;
    let ndjson = admin.get(&world.path("audit?format=ndjson")).await;
    assert_eq!(ndjson.header("content-type"), "application/x-ndjson");
    let lines: Vec<Value> = ndjson
        .text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), all.len(), "every event is exported");
    assert_eq!(lines[0]["id"], all[0]["id"], "newest first");
    assert!(lines[0]["hash"].is_string() && lines[0]["diagnostics_json"].is_array());

    let csv = admin.get(&world.path("audit?format=csv")).await;
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
    assert!(csv.header("content-disposition").contains(".csv"));
    let lines: Vec<&str> = csv.text.split_terminator("\r\n").collect();
    assert_eq!(lines.len(), all.len() + 1, "a header and a line an event");
    assert!(lines[0].starts_with("seq,id,zone_id,event_type,"), "{}", lines[0]);
    assert!(
        csv.text.contains("\"'=HYPERLINK(1)\""),
        "a formula never runs: {}",
        csv.text
    );

    let page = admin.get(&world.path("audit?format=csv&limit=2")).await;
    assert_eq!(page.text.split_terminator("\r\n").count(), 3);
    assert!(page.header("link").contains("format=csv") && page.header("link").contains("cursor="));
}

async fn explained(stack: &Stack, world: &World, granted: &str, refused: &str) {
    let admin = stack.admin();
    let explain = |id: &str| world.path(&format!("audit/by-request/{id}/explain"));
    let allowed = admin.get(&explain(granted)).await.expect(200);
    assert_eq!(
        (&allowed["final_decision"], &allowed["denied"]),
        (&json!("allow"), &json!([]))
    );
    assert_eq!(allowed["request_id"], json!(granted));
    let told = allowed["story"][0].as_str().expect("a sentence");
    assert!(
        told.contains("\"agent\" was granted orders:read on resource://order-book")
            && told.contains("\"orders v1\" allows"),
        "{told}"
    );

    let denied = admin.get(&explain(refused)).await.expect(200);
    assert_eq!(denied["final_decision"], json!("deny"));
    assert_eq!(denied["zone_id"], json!(world.zone_id));
    let denial = &denied["denied"][0];
    assert_eq!(denial["event_id"], denied["events"][0]["id"]);
    assert_eq!(denial["reason"], json!("policy_deny"));
    assert_eq!(denial["policies"][0]["decision"], json!("deny"));
    assert_eq!(denial["policies"][0]["determining_policies"], json!(["orders"]));
    let policy = world.path(&format!("policies/{}", world.policy_id));
    let policy = admin.get(&policy).await.expect(200);
    assert_eq!(
        denial["policies"][0]["policy_version_id"],
        policy["versions"][0]["id"]
    );
    assert_eq!(
        denial["policies"][0]["diagnostics"],
        json!([{"beyond": ["orders:delete"]}])
    );
    assert!(
        denial["input"]["context"]["requested_scopes"]
            .to_string()
            .contains("orders:delete")
    );
    let needs = denial["needs"].to_string();
    assert!(
        needs.contains("orders:delete") && needs.contains("must no longer deny"),
        "{needs}"
    );

    let unknown = admin.get(&explain("nobody-asked-this")).await;
    assert_eq!(
        (unknown.status, unknown.member("error")),
        (404, "request_not_found")
    );
    let other = admin
        .post("/v1/zones", &json!({"name": "Other"}))
        .await
        .member("id")
        .to_owned();
    let foreign = admin
        .get(&format!("/v1/zones/{other}/audit/by-request/{refused}/explain"))
        .await;
    assert_eq!(
        (foreign.status, foreign.member("error")),
        (404, "request_not_found"),
        "foreign is absent"
    );
}

/// Reads a stream of events until `wanted` has been seen, or the stream ends.
struct Follower {
    response: Response,
    text: String,
}

impl Follower {
    async fn of(stack: &Stack, world: &World, query: &str, last: Option<&str>) -> Self {
        let url = format!(
            "{}{}",
            stack.url(Service::Api, 0),
            world.path(&format!("audit/tail{query}"))
        );
        let request = caracal_testkit::client()
            .get(url)
            .bearer_auth(caracal_testkit::settings::ADMIN_TOKEN);
        let request = match last {
            Some(last) => request.header("Last-Event-ID", last),
            None => request,
        };
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status().as_u16(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self {
            response,
            text: String::new(),
        }
    }

    async fn until(&mut self, wanted: &str) {
        let reading = async {
            while !self.text.contains(wanted) {
                let chunk = self
                    .response
                    .chunk()
                    .await
                    .expect("a chunk")
                    .expect("the stream goes on");
                self.text.push_str(&String::from_utf8_lossy(&chunk));
            }
        };
        tokio::time::timeout(PATIENCE, reading)
            .await
            .expect("what was waited for comes");
    }

    fn ids(&self) -> Vec<i64> {
        let events = self
            .text
            .split("\n\n")
            .filter(|message| message.contains("event: audit\n"));
        events
            .filter_map(|event| event.lines().next()?.strip_prefix("id: ")?.parse().ok())
            .collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_shows_what_happens_resumes_where_it_was_cut_and_ends_on_drain() {
    let mut stack = Stack::start().await;
    let world = World::new(&stack).await;
    let admin = stack.admin();
    let mut all = Follower::of(&stack, &world, "", None).await;
    let mut denials = Follower::of(&stack, &world, "?decision=deny", None).await;
    all.until("retry:").await;
    denials.until("retry:").await;
    // Who is cut off before anything happens has a place to go on from.
    let place = all.text.lines().next().and_then(|line| line.strip_prefix("id: "));
    let place = place.expect("a place").to_owned();
    let (granted, refused) = played(&stack, &world).await;
    all.until(&refused).await;
    assert!(all.text.contains("event: audit\n") && all.text.contains(&granted));
    denials.until(&refused).await;
    assert!(!denials.text.contains(&granted), "only what was denied");
    let ids = all.ids();
    assert!(
        ids.windows(2).all(|pair| pair[0] < pair[1]),
        "in order of the chain: {ids:?}"
    );

    let mut early = Follower::of(&stack, &world, "", Some(&place)).await;
    early.until(&refused).await;
    assert_eq!(early.ids()[0], ids[0], "nothing is missed");
    let first = ids[0].to_string();
    let mut resumed = Follower::of(&stack, &world, "", Some(&first)).await;
    resumed.until(&refused).await;
    assert!(
        resumed.ids().iter().all(|id| *id > ids[0]) && resumed.ids().contains(&ids[1]),
        "nothing is missed or shown twice"
    );

    for bad in ["x", "-1", "1.5"] {
        let caller = admin.clone().with("Last-Event-ID", bad);
        let answer = caller.get(&world.path("audit/tail")).await;
        assert_eq!(
            (answer.status, answer.member("error")),
            (400, "invalid_cursor"),
            "{bad}"
        );
    }
    let answer = admin.get(&world.path("audit/tail?limit=5")).await;
    assert_eq!((answer.status, answer.member("error")), (400, "invalid_query"));
    let head = admin
        .send(reqwest::Method::HEAD, &world.path("audit/tail"), |request| {
            request
        })
        .await;
    assert_eq!(head.expect("HEAD does not wait").status, 200);

    let ended =
        tokio::spawn(async move { while all.response.chunk().await.expect("a whole stream").is_some() {} });
    stack.terminate(Service::Api, 0);
    tokio::time::timeout(PATIENCE, ended)
        .await
        .expect("the stream ends with the drain")
        .expect("no panic");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_than_so_many_may_follow() {
    let stack = super::alone().start().await;
    let zone = super::Zone::new(&stack, "Tails").await;
    let url = format!("{}{}", stack.url(Service::Api, 0), zone.at("audit/tail"));
    let http = caracal_testkit::client();
    let open = async || {
        let request = http.get(&url).bearer_auth(caracal_testkit::settings::ADMIN_TOKEN);
        request.send().await.expect("an answer")
    };
    let mut held = Vec::new();
    for _ in 0..32 {
        let response = open().await;
        assert_eq!(response.status().as_u16(), 200);
        held.push(response);
    }
    let other = super::Zone::new(&stack, "Other").await;
    let url = format!("{}{}", stack.url(Service::Api, 0), other.at("audit/tail"));
    let request = http.get(&url).bearer_auth(caracal_testkit::settings::ADMIN_TOKEN);
    let elsewhere = request.send().await.expect("an answer");
    assert_eq!(elsewhere.status().as_u16(), 200, "others follow all the same");
    let refused = zone.get("audit/tail").await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (429, "tail_limit_exceeded")
    );
    assert_eq!(
        zone.get("resources").await.status,
        200,
        "followers hold no connection"
    );
    held.pop();
    eventually("a place that was given up", PATIENCE, || async {
        (open().await.status() == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_policy_names_by_a_secrets_name_is_kept_nowhere() {
    let stack = Stack::builder().replicas(Service::Gateway, 0).start().await;
    let mut world = World::new(&stack).await;
    let leaky = r#"package caracal.authz

result := {
  "decision": "deny",
  "determining_policies": ["leaky", {"signingKey": "sEcret-1", "deep": [{"access-key": "sEcret-2"}]}],
  "diagnostics": [{"privateKey": "sEcret-3", "db": {"passwd": "sEcret-4", "secret_id": "sEcret-5"}, "api_keys": ["sEcret-6"], "why": "plain"}],
}
"#;
    let epoch = world.adopt(leaky).await;
    let sts = stack.sts(0).with("Caracal-Min-Epoch", &epoch);
    let session = world.session(&sts).await;
    let refused = world.mandate(&sts, &session, "orders:read").await;
    assert_eq!(refused.status, 403, "{}", refused.text);
    let id = refused.header("x-request-id").to_owned();
    eventually("event", PATIENCE, || async {
        (!world.events(&id).await.is_empty()).then_some(())
    })
    .await;
    let admin = stack.admin();
    for path in [
        format!("audit/by-request/{id}"),
        format!("audit/by-request/{id}/explain"),
        format!("audit?request_id={id}"),
        format!("audit?request_id={id}&format=csv"),
    ] {
        let shown = admin.get(&world.path(&path)).await;
        assert_eq!(shown.status, 200, "{path}");
        assert!(
            !shown.text.contains("sEcret") && shown.text.contains("[redacted]"),
            "{path}: {}",
            shown.text
        );
        assert!(
            shown.text.contains("plain") && shown.text.contains("leaky"),
            "{path}"
        );
    }
    let kept = format!(
        "SELECT count(*) FROM audit_events WHERE request_id = '{id}' AND (canonical LIKE '%sEcret%'::bytea
           OR metadata_json::text || determining_policies_json::text || diagnostics_json::text LIKE '%sEcret%')"
    );
    assert_eq!(stack.database().count(&kept).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_for_the_root_of_a_delegation_says_what_was_said_of_it() {
    let stack = super::alone().start().await;
    let zone = super::Zone::new(&stack, "Delegated").await;
    let (version, issuer) = (
        "0198c0de-0000-7000-8000-00000000000a",
        "0198c0de-0000-7000-8000-00000000000b",
    );
    let said = |decision: &str| {
        json!([{
            "policy_version_id": version, "decision": decision, "evaluation_status": "complete",
            "determining_policies": ["roles"], "diagnostics": ["not a manager"],
        }])
    };
    let metadata = json!({
        "resource": "resource://a", "requested_scopes": ["read"], "policies": said("allow"), "input": {"a": 1},
        "delegator": {"policies": said("deny"), "input": {"principal": {"id": issuer}}, "evaluation_us": 20},
    });
    let event = super::ledger::Event {
        request: "delegated",
        decision: "deny",
        reason: Some("delegator_not_authorized"),
        metadata,
        ..super::ledger::Event::default()
    };
    super::ledger::write(&stack, &zone, &event).await;
    let path = format!("/v1/zones/{}/audit/by-request/delegated/explain", zone.id);
    let told = stack.admin().get(&path).await.expect(200);
    let denial = &told["denied"][0];
    assert_eq!(denial["policies"][0]["decision"], "allow");
    assert_eq!(denial["delegator"]["policies"][0]["decision"], "deny");
    assert_eq!(denial["delegator"]["input"]["principal"]["id"], issuer);
    let needs = denial["needs"].to_string();
    assert!(
        needs.contains("at its root") && needs.contains("not a manager"),
        "{needs}"
    );
    assert!(
        told["story"][0]
            .as_str()
            .is_some_and(|told| told.contains("root")),
        "{}",
        told["story"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_asked_for_a_proof_is_told_which() {
    let stack = super::alone().start().await;
    let zone = super::Zone::new(&stack, "Proof").await;
    let id = "0198c0de-0000-7000-8000-00000000000c";
    let event = super::ledger::Event {
        kind: "step_up.required",
        decision: "deny",
        reason: Some("step_up_required"),
        metadata: json!({"challenge_id": id, "challenge_type": "mfa"}),
        ..super::ledger::Event::default()
    };
    super::ledger::write(&stack, &zone, &event).await;
    let told = zone.get("audit/by-request/r/explain").await.expect(200);
    let needs = told["denied"][0]["needs"].to_string();
    assert!(needs.contains(id) && needs.contains("mfa"), "{needs}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_buries_what_they_were_given_under_a_thousand_refusals() {
    let stack = super::alone().start().await;
    let zone = super::Zone::new(&stack, "Buried").await;
    let id = &zone.id;
    let many = format!(
        "INSERT INTO audit_events (zone_id, seq, id, event_type, request_id, decision, evaluation_status,
           determining_policies_json, diagnostics_json, metadata_json, occurred_at, canonical, previous_hash, hash)
         SELECT '{id}', n, gen_random_uuid(), 'token_exchange', 'r', CASE n WHEN 1024 THEN 'allow' ELSE 'deny' END,
           'complete', '[]', '[]', '{{}}', now() + n * interval '1 millisecond', '',
           decode(repeat('00', 32), 'hex'), decode(repeat('00', 32), 'hex')
         FROM generate_series(1, 1024) n"
    );
    super::given::sql(&stack, &many).await;
    let told = zone.get("audit/by-request/r/explain").await.expect(200);
    assert_eq!(told["final_decision"], "partial");
    assert_eq!(told["events"].as_array().map(Vec::len), Some(1000));
    let last = told["story"].as_array().and_then(|story| story.last()).cloned();
    let last = last
        .and_then(|last| last.as_str().map(str::to_owned))
        .expect("a sentence");
    assert!(
        last.starts_with("24 events more") && last.contains("1 allow and 1023 deny"),
        "{last}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_got_some_of_what_it_asked_for_ended_as_partial() {
    let stack = super::alone().start().await;
    let zone = super::Zone::new(&stack, "Partial").await;
    for (request, decision, reason, at) in [
        ("opened", "partial", None, 0),
        ("two", "allow", None, 1),
        ("two", "deny", Some("policy_deny"), 2),
        ("none", "deny", Some("policy_deny"), 3),
        ("none", "deny", Some("unknown_resource"), 4),
    ] {
        let event = super::ledger::Event {
            request,
            decision,
            reason,
            at,
            ..super::ledger::Event::default()
        };
        super::ledger::write(&stack, &zone, &event).await;
    }
    for (request, decision) in [("opened", "partial"), ("two", "partial"), ("none", "deny")] {
        let told = zone.get(&format!("audit/by-request/{request}/explain")).await;
        assert_eq!(told.expect(200)["final_decision"], decision, "{request}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_large_events_ends_early_and_the_next_goes_on_from_there() {
    let stack = super::alone().start().await;
    let zone = super::Zone::new(&stack, "Large").await;
    let id = &zone.id;
    let many = format!(
        "INSERT INTO audit_events (zone_id, seq, id, event_type, request_id, decision, evaluation_status,
           determining_policies_json, diagnostics_json, metadata_json, occurred_at, canonical, previous_hash, hash)
         SELECT '{id}', n, gen_random_uuid(), 'token_exchange', 'r', 'deny', 'complete', '[]', '[]',
           jsonb_build_object('note', repeat('x', 100000)), now() - n * interval '1 second',
           convert_to(repeat('x', 100000), 'UTF8'), decode(repeat('00', 32), 'hex'), decode(repeat('00', 32), 'hex')
         FROM generate_series(1, 250) n"
    );
    super::given::sql(&stack, &many).await;
    let (mut seen, mut pages, mut cursor) = (Vec::new(), 0, String::new());
    loop {
        let page = zone.get(&format!("audit?limit=250{cursor}")).await;
        assert!(page.text.len() < 12 << 20, "{}", page.text.len());
        let page = page.expect(200);
        let rows = page["rows"].as_array().expect("rows");
        seen.extend(rows.iter().map(|row| row["id"].to_string()));
        pages += 1;
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert!(pages > 2, "{pages}");
    assert_eq!(seen.len(), 250);
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 250, "each once");
    let told = zone.get("audit/by-request/r").await;
    assert!(told.text.len() < 10 << 20, "{}", told.text.len());
    assert!((70..90).contains(&told.expect(200).as_array().map_or(0, Vec::len)));
    let csv = zone.get("audit?format=csv&limit=250").await;
    assert!(csv.text.len() < 12 << 20 && csv.header("link").contains("cursor="));
}
