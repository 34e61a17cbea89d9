//! A page of zones may be answered from memory, but never with anything that is no longer so.

use super::{alone, given};
use caracal_testkit::stack::{Service, Stack};
use caracal_testkit::{Answer, Client};
use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

/// A page as a caller of one of two replicas finds it, asked for twice, so that the second answer may be a remembered one.
async fn page(of: &[Client; 2], path: &str) -> Value {
    let mut pages = Vec::new();
    for admin in of.iter().chain(of) {
        let answer = admin.get(path).await;
        assert_eq!(answer.header("content-type"), "application/json");
        pages.push((answer.header("link").to_owned(), answer.expect(200)));
    }
    let first = pages.remove(0);
    assert!(pages.iter().all(|page| *page == first), "{pages:?}\n{first:?}");
    first.1
}

/// The same administrator at each of two replicas.
async fn replicas(stack: &Stack) -> (Client, Client) {
    let admin = stack.admin();
    let token = admin.post("/v1/admin-tokens", &json!({"scope": "global"})).await;
    assert_eq!(token.status, 201, "{}", token.text);
    let other = stack.anonymous(Service::Api, 1).bearer(token.member("token"));
    (admin, other)
}

fn slugs(page: &Value) -> Vec<&str> {
    let rows = page.as_array().into_iter().flatten();
    rows.filter_map(|row| row["slug"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_shows_every_change_at_once_whoever_made_it() {
    let stack = alone().replicas(Service::Api, 2).start().await;
    let (admin, other) = replicas(&stack).await;
    let both = [admin.clone(), other.clone()];
    let mut paths = Vec::new();
    for name in ["A", "B", "C", "D"] {
        let made = admin.post("/v1/zones", &json!({"name": name})).await;
        paths.push(format!("/v1/zones/{}", made.member("id")));
    }
    let first = page(&both, "/v1/zones?limit=3").await;
    assert_eq!(slugs(&first), ["caracal-sys", "a", "b"]);
    let next = admin.get("/v1/zones?limit=3").await;
    let next = next
        .header("link")
        .split(['<', '>'])
        .nth(1)
        .expect("a link")
        .to_owned();
    assert_eq!(slugs(&page(&both, &next).await), ["c", "d"]);

    // Whatever is shown of a zone, by a change that the other replica makes.
    for (field, value) in [
        ("name", json!("Changed")),
        ("org_id", json!("other")),
        ("slug", json!("changed")),
        ("dcr_enabled", json!(true)),
        ("pkce_required", json!(false)),
        ("login_flow", json!("sso")),
        ("is_system", json!(true)),
        ("mint_rate_per_minute", json!(7)),
    ] {
        let before = page(&both, "/v1/zones?limit=3").await;
        let changed = other.patch(&paths[1], &json!({field: value})).await.expect(200);
        let after = page(&both, "/v1/zones?limit=3").await;
        assert_eq!((&after[2], &after[2][field]), (&changed, &value), "{field}");
        assert_ne!(before, after, "{field}");
        assert_eq!((&before[0], &before[1]), (&after[0], &after[1]));
    }

    let by_hand = "UPDATE zones SET name = 'By hand' WHERE slug = 'changed'";
    given::sql(&stack, by_hand).await;
    assert_eq!(page(&both, "/v1/zones?limit=3").await[2]["name"], "By hand");

    assert_eq!(other.delete(&paths[0]).await.status, 204);
    let first = page(&both, "/v1/zones?limit=3").await;
    assert_eq!(
        slugs(&first),
        ["caracal-sys", "changed", "c"],
        "what lay behind moves up"
    );
    assert_eq!(slugs(&page(&both, &next).await), ["c", "d"]);
    assert_eq!(other.delete(&paths[3]).await.status, 204);
    assert_eq!(slugs(&page(&both, &next).await), ["c"]);
    assert_eq!(other.delete(&paths[2]).await.status, 204);
    assert_eq!(page(&both, &next).await, json!([]), "an empty page is one too");
    other.post("/v1/zones", &json!({"name": "E"})).await;
    assert_eq!(slugs(&page(&both, &next).await), ["e"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_writes_reads_what_was_written_among_many_who_read() {
    let stack = alone().replicas(Service::Api, 2).start().await;
    let (admin, other) = replicas(&stack).await;
    let many = "INSERT INTO zones (id, org_id, name, slug)
        SELECT gen_random_uuid(), 'default', 'Zone ' || n, 'zone-' || n FROM generate_series(1, 60) n";
    given::sql(&stack, many).await;
    let all = admin.get("/v1/zones").await.expect(200);
    let ids: Vec<&str> = all
        .as_array()
        .expect("zones")
        .iter()
        .filter_map(|zone| zone["id"].as_str())
        .collect();
    let writers = ids
        .iter()
        .skip(1)
        .take(6)
        .zip([&admin, &other].into_iter().cycle());
    let writing = writers.map(async |(id, client)| {
        for round in 0..12 {
            let name = format!("{id} {round}");
            let path = format!("/v1/zones/{id}");
            assert_eq!(client.patch(&path, &json!({"name": name})).await.status, 200);
            for reader in [&admin, &other] {
                let page = reader.get("/v1/zones").await.expect(200);
                let zones = page.as_array().expect("zones");
                let shown = zones.iter().find(|zone| zone["id"] == **id);
                assert_eq!(shown.map(|zone| &zone["name"]), Some(&json!(name)), "an old page");
            }
        }
    });
    join_all(writing).await;
}

/// The address that `Link` names is made for each request: its parameters are the caller's.
#[tokio::test(flavor = "multi_thread")]
async fn a_remembered_page_names_the_next_in_the_callers_own_words() {
    let stack = alone().start().await;
    let admin = stack.admin();
    for name in ["A", "B"] {
        admin.post("/v1/zones", &json!({"name": name})).await;
    }
    let link = |answer: &Answer| answer.header("link").to_owned();
    let plain = admin.get("/v1/zones?limit=2").await;
    let again = admin.get("/v1/zones?limit=2").await;
    assert_eq!(link(&plain), link(&again));
    assert!(
        link(&again).starts_with("</v1/zones?limit=2&cursor="),
        "{}",
        link(&again)
    );
    assert_eq!(link(&admin.get("/v1/zones?limit=3").await), "");
    let head = admin
        .send(Method::GET, "/v1/zones?limit=%32", |request| request)
        .await;
    assert_eq!(link(&head.expect("an answer")), link(&again));
}
