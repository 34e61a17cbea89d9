//! Names and identifiers: one live object of each, and an archived one in nobody's way.

use super::{ALLOW, Zone, alone};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_name_is_refused_and_an_archived_one_is_free() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Names").await;
    for (noun, body, field, code) in [
        (
            "applications",
            json!({"name": "taken", "registration_method": "managed"}),
            "name",
            "application_already_exists",
        ),
        (
            "resources",
            json!({"identifier": "taken", "scopes": ["read"]}),
            "identifier",
            "resource_already_exists",
        ),
        (
            "providers",
            json!({"identifier": "taken", "kind": "apikey"}),
            "identifier",
            "provider_already_exists",
        ),
        (
            "policies",
            json!({"name": "taken", "content": ALLOW}),
            "name",
            "policy_already_exists",
        ),
        (
            "policy-sets",
            json!({"name": "taken"}),
            "name",
            "policy_set_already_exists",
        ),
    ] {
        let first = zone.post(noun, &body).await;
        assert_eq!(first.status, 201, "{noun}: {}", first.text);
        let again = zone.post(noun, &body).await;
        assert_eq!((again.status, again.member("error")), (409, code), "{noun}");
        let mut other = body.clone();
        other[field] = json!("other");
        let other = zone.post(noun, &other).await;
        assert_eq!(other.status, 201, "{noun}: {}", other.text);
        let taken = json!({field: "taken"});
        let patchable = !noun.starts_with("polic");
        let at = |id: &str| zone.at(&format!("{noun}/{id}"));
        if patchable {
            let refused = zone.admin.patch(&at(other.member("id")), &taken).await;
            assert_eq!((refused.status, refused.member("error")), (409, code), "{noun}");
            let same = zone.admin.patch(&at(first.member("id")), &taken).await;
            assert_eq!(same.status, 200, "{noun}: its own name is not in its way");
        }
        assert_eq!(
            zone.admin.delete(&at(first.member("id"))).await.status,
            204,
            "{noun}"
        );
        if patchable {
            let renamed = zone.admin.patch(&at(other.member("id")), &taken).await;
            assert_eq!(renamed.status, 200, "{noun}: {}", renamed.text);
        }
        let mut third: Value = body.clone();
        third[field] = json!(if patchable { "other" } else { "taken" });
        let third = zone.post(noun, &third).await;
        assert_eq!(third.status, 201, "{noun}: {}", third.text);
    }
}
