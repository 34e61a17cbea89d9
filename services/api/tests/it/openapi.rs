use super::{Zone, alone};
use caracal_api::openapi::document;
use caracal_api::routes::TABLE;
use caracal_testkit::stack::Service;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;

/// What every service answers; no part of the table.
const PROBES: [&str; 3] = ["/health", "/ready", "/metrics"];

fn described() -> Value {
    serde_json::from_str(document()).expect("the document is JSON")
}

/// Every object in the document that describes an operation, with its method and path.
fn operations(document: &Value) -> Vec<(String, String, &Value)> {
    let paths = document["paths"].as_object().expect("paths");
    paths
        .iter()
        .flat_map(|(path, item)| {
            let item = item.as_object().expect("a path item");
            item.iter()
                .map(move |(method, operation)| (method.clone(), path.clone(), operation))
        })
        .collect()
}

#[test]
fn the_document_describes_every_route_and_no_other() {
    let document = described();
    let described: BTreeSet<_> = operations(&document)
        .into_iter()
        .map(|(method, path, _)| (path, method))
        .collect();
    let registered: BTreeSet<_> = TABLE
        .iter()
        .map(|route| (route.path.to_owned(), route.method.to_owned()))
        .collect();
    let probes = PROBES.map(|path| (path.to_owned(), "get".to_owned()));
    assert_eq!(described, registered.iter().cloned().chain(probes).collect());
    assert_eq!(registered.len(), TABLE.len(), "no route is registered twice");
}

#[test]
fn every_operation_says_who_may_call_it_and_how_it_refuses() {
    let document = described();
    assert_eq!(document["openapi"], "3.1.0");
    let mut ids = BTreeSet::new();
    for (method, path, operation) in operations(&document) {
        let name = format!("{method} {path}");
        assert!(
            ids.insert(operation["operationId"].to_string()),
            "{name}: its id is taken"
        );
        let public = operation["security"] == serde_json::json!([]);
        let answers = operation["responses"].as_object().expect("responses");
        assert_eq!(answers.contains_key("401"), !public, "{name}");
        assert!(answers.keys().any(|status| status.starts_with('2')), "{name}");
        let refusals = answers.iter().filter(|(status, _)| !status.starts_with('2'));
        // What a probe answers is no refusal: it has a body of its own.
        for (status, answer) in refusals.filter(|_| !PROBES.contains(&path.as_str())) {
            let usual = &document["components"]["responses"][status];
            let is_usual = answer["$ref"] == format!("#/components/responses/{status}");
            let answer = if is_usual { usual } else { answer };
            let schema = &answer["content"]["application/json"]["schema"]["$ref"];
            assert_eq!(schema, "#/components/schemas/Envelope", "{name} {status}");
        }
        for (status, answer) in answers {
            let said = answer.get("$ref").or_else(|| answer.get("description"));
            assert!(
                said.and_then(Value::as_str).is_some_and(|said| !said.is_empty()),
                "{name} {status}"
            );
        }
        // A body is an object, also one that may be left out.
        let body = &operation["requestBody"]["content"]["application/json"]["schema"];
        assert!(body["oneOf"].is_null(), "{name} {body}");
        if path.ends_with("{id}") {
            let not_found = answers["404"]["description"].as_str().unwrap_or_default();
            assert!(not_found.contains("_not_found"), "{name} {not_found}");
        }
        let parameters = operation["parameters"].as_array().expect("parameters");
        for segment in path.split('/').filter(|segment| segment.starts_with('{')) {
            let known = parameters
                .iter()
                .any(|p| segment == format!("{{{}}}", p["name"].as_str().unwrap_or_default()));
            assert!(known, "{name} {segment}");
        }
        if operation.get("requestBody").is_some() {
            assert!(
                answers.contains_key("413") && answers.contains_key("415"),
                "{name}"
            );
        }
    }
}

/// A title says in words of its own what is done: not the path again, and no sentence.
#[test]
fn every_operation_has_a_title_of_its_own_under_one_of_the_headings() {
    let document = described();
    let headings = document["tags"].as_array().expect("tags");
    let mut titles = BTreeSet::new();
    let mut used = BTreeSet::new();
    for (method, path, operation) in operations(&document) {
        let name = format!("{method} {path}");
        let title = operation["summary"].as_str().unwrap_or_default();
        assert!(titles.insert(title), "{name}: {title:?} is another's");
        let words: Vec<&str> = title.split(' ').collect();
        let verb = words.first().is_some_and(|verb| {
            verb.starts_with(|first: char| first.is_ascii_uppercase()) && verb.ends_with('s')
        });
        assert!(
            verb && words.len() > 1,
            "{name}: {title:?} says nobody does anything"
        );
        assert!(
            !title.contains(['/', '`', '\n', '_']) && !title.ends_with('.'),
            "{name}: {title:?}"
        );
        let description = operation
            .get("description")
            .map(|text| text.as_str().unwrap_or_default());
        assert!(
            description.is_none_or(|text| text.ends_with('.')),
            "{name}: {description:?}"
        );
        let tags = operation["tags"].as_array().expect("tags");
        assert_eq!(tags.len(), 1, "{name}");
        assert!(
            headings.iter().any(|heading| heading["name"] == tags[0]),
            "{name}: {tags:?}"
        );
        used.insert(tags[0].as_str());
    }
    assert_eq!(
        used.len(),
        headings.len(),
        "a heading has nothing below it: {used:?}"
    );
    assert!(headings.iter().all(|heading| heading["description"].is_string()));
}

#[test]
fn every_reference_in_the_document_leads_somewhere() {
    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str));
                members.values().for_each(|inner| references(inner, found));
            }
            Value::Array(items) => items.iter().for_each(|inner| references(inner, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let document = described();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 100);
    for reference in found {
        let pointer = reference.trim_start_matches('#');
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

/// `UPDATE_REFERENCE=1` writes it anew.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test reads its own environment")]
fn the_reference_in_docs_is_what_the_code_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/openapi.json");
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("docs/reference");
        std::fs::write(&path, document()).expect("docs/reference/openapi.json is writable");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == document(),
        "docs/reference/openapi.json is old: UPDATE_REFERENCE=1 deploy/dev/test.sh -p caracal-api openapi"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_is_public_and_its_page_loads_nothing_from_elsewhere() {
    let stack = alone().start().await;
    let anyone = stack.anonymous(Service::Api, 0);
    let answer = anyone.get("/openapi.json").await;
    assert_eq!((answer.status, answer.text.as_str()), (200, document()));
    for path in ["/docs", "/docs/page.js", "/docs/page.css"] {
        let answer = anyone.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        let policy = answer.header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'") && !policy.contains("unsafe"),
            "{policy}"
        );
        assert!(
            !answer.text.contains("http://")
                && !answer.text.contains("https://")
                && !answer.text.contains("src=\"//")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn null_is_described_as_it_is_taken() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Null").await;
    let document: Value = serde_json::from_str(caracal_api::openapi::document()).expect("JSON");
    let body = |path: &str, method: &str| {
        let schema = &document["paths"][path][method]["requestBody"]["content"]["application/json"]["schema"];
        let name = schema["$ref"]
            .as_str()
            .expect("a schema")
            .rsplit('/')
            .next()
            .expect("a name");
        document["components"]["schemas"][name].clone()
    };
    let admits = |schema: &Value| {
        let is_null = |kind: &Value| kind == "null";
        let choices = schema["oneOf"].as_array().into_iter().flatten();
        let kinds = schema["type"].as_array().into_iter().flatten();
        kinds.into_iter().any(is_null) || choices.into_iter().any(|choice| is_null(&choice["type"]))
    };
    let mut fields = 0;
    for (noun, new) in [
        (
            "applications",
            json!({"name": "n", "registration_method": "managed"}),
        ),
        (
            "resources",
            json!({"identifier": "resource://n", "scopes": ["a"]}),
        ),
        ("providers", json!({"identifier": "n", "kind": "apikey"})),
        (
            "subject-issuers",
            json!({"issuer": "https://idp.example", "audience": "a", "subject_prefix": "n|", "jwks_uri": "https://idp.example/k"}),
        ),
    ] {
        let list = format!("/v1/zones/{{zone_id}}/{noun}");
        let made = body(&list, "post");
        let mut all = new.clone();
        for (field, schema) in made["properties"].as_object().expect("properties") {
            fields += 1;
            let required = made["required"]
                .as_array()
                .expect("a list")
                .contains(&json!(field));
            assert_eq!(admits(schema), !required, "POST {noun} {field}: {schema}");
            if !required && new.get(field).is_none() {
                all[field] = Value::Null;
            }
        }
        let made = zone.post(noun, &all).await;
        assert_eq!(made.status, 201, "{noun}: {}", made.text);
        let changed = body(&format!("{list}/{{id}}"), "patch");
        let path = zone.at(&format!("{noun}/{}", made.member("id")));
        for (field, schema) in changed["properties"].as_object().expect("properties") {
            fields += 1;
            let answer = zone.admin.patch(&path, &json!({field: null})).await;
            assert_eq!(
                admits(schema),
                answer.status == 200,
                "PATCH {noun} {field}: {schema}: {}",
                answer.text
            );
        }
    }
    assert!(fields > 50, "{fields}");
}
