//! What holds for every route and so is said once: who may call, path ids, idempotency, the envelope, headers.

use super::{probes, tags};
use crate::error::Refusal;
use serde_json::{Map, Value, json};

const ZONE: &str = "/v1/zones/{zone_id}";
const METHODS: [&str; 4] = ["get", "post", "patch", "delete"];
/// Every status that may be refused with, and why.
const REFUSALS: [(&str, &str); 14] = [
    (
        "400",
        "The body, a query parameter or a header is not what the route takes.",
    ),
    ("401", "No token, or not one that is live."),
    (
        "403",
        "The token does not reach so far: `admin_token_zone_mismatch`, `admin_token_read_only`, `system_zone_read_only`.",
    ),
    ("404", "No such object, or not one the token may see."),
    ("408", "The body did not arrive within ten seconds."),
    ("409", "It contradicts what is there."),
    ("412", "If-Match names another version."),
    ("413", "The body is larger than 1 MiB."),
    ("415", "The body is not JSON by its media type."),
    ("422", "The policy is no policy."),
    ("429", "Too many, or too fast."),
    ("500", "Our own fault; X-Request-Id finds it in the log."),
    ("502", "The provider did not answer as it should."),
    ("503", "Something it needs cannot be reached; nothing was done."),
];

const REQUEST_ID: &str = "The caller's, or a new one; the ledger knows the request by it.";

/// What is a POST and stores nothing: it tells of no epoch, and a key has nothing to keep.
const WITHOUT_TRACE: [&str; 4] = [
    "/v1/policies/validate",
    "/v1/zones/{zone_id}/policy-sets/{id}/simulate",
    "/v1/zones/{zone_id}/policy-sets/{id}/replay",
    "/v1/zones/{zone_id}/providers/{id}/check",
];
/// What is made or shown without a version of its own.
const WITHOUT_ETAG: [&str; 2] = [
    "/v1/local/bootstrap",
    "/v1/zones/{zone_id}/audit/by-request/{request_id}",
];

/// Completes a document that holds what the handlers say of themselves.
pub(super) fn complete(document: &mut Value) {
    if let Some(components) = member(document, "components") {
        let responses = REFUSALS.map(|(status, why)| (status.to_owned(), refusal(status, why)));
        components.insert("responses".to_owned(), Value::Object(Map::from_iter(responses)));
        let scheme = json!({"admin_token": {
            "type": "http", "scheme": "bearer", "description": "CARACAL_ADMIN_TOKEN, or one of /v1/admin-tokens",
        }});
        components.insert("securitySchemes".to_owned(), scheme);
    }
    if let Some(members) = document.as_object_mut() {
        members.insert("tags".to_owned(), tags::list());
    }
    settle_null(document);
    let Some(paths) = member(document, "paths") else {
        return;
    };
    for (path, item) in paths.iter_mut() {
        for method in METHODS {
            if let Some(operation) = item.get_mut(method).and_then(Value::as_object_mut) {
                complete_operation(method, path, operation);
            }
        }
    }
    probes::add(paths);
}

fn refusal(status: &str, why: &str) -> Value {
    let mut headers = Map::from_iter([("X-Request-Id".to_owned(), header(REQUEST_ID, true))]);
    match status {
        "401" => headers.insert(
            "WWW-Authenticate".to_owned(),
            header("`Bearer` (RFC 6750).", true),
        ),
        "409" | "429" | "503" => headers.insert(
            "Retry-After".to_owned(),
            header("Seconds, where trying again may help.", false),
        ),
        _ => None,
    };
    json!({
        "description": why,
        "headers": headers,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Envelope"}}},
    })
}

fn complete_operation(method: &str, path: &str, operation: &mut Map<String, Value>) {
    name(operation);
    let public = operation.contains_key("security");
    operation.insert(
        "security".to_owned(),
        if public {
            json!([])
        } else {
            json!([{"admin_token": []}])
        },
    );
    let parameters = parameters(method, path, operation);
    let takes = |place: &str| {
        parameters
            .iter()
            .any(|p| p.get("in").is_some_and(|found| found == place))
    };
    let named = |name: &str| {
        parameters
            .iter()
            .any(|p| p.get("name").is_some_and(|found| found == name))
    };
    let body = operation.contains_key("requestBody");
    let reasons = [
        ("400", true),
        ("401", !public),
        ("403", !public),
        ("404", takes("path")),
        ("408", body),
        ("409", method != "get"),
        ("412", named("If-Match")),
        ("413", body),
        ("415", body),
        ("500", true),
        ("503", true),
    ];
    let facts = Facts {
        tells: !public && method != "get" && path.starts_with(ZONE) && !WITHOUT_TRACE.contains(&path),
        has_version: !WITHOUT_ETAG.contains(&path),
        item: path.ends_with("id}") && method != "delete",
        // Sessions name the next page in the answer itself.
        pages: named("cursor") && !path.ends_with("/sessions"),
    };
    operation.insert("parameters".to_owned(), Value::Array(parameters));
    if let Some(body) = operation.get_mut("requestBody") {
        leave_out_null(body);
    }
    let not_found = not_found(path);
    let responses = operation.entry("responses").or_insert_with(|| json!({}));
    let Some(responses) = responses.as_object_mut() else {
        return;
    };
    for (status, answer) in responses.iter_mut() {
        if status.starts_with('2') {
            describe(method, status, answer);
            add_headers(&facts, status, answer);
        } else {
            // What the handler says of its own codes, or what is said everywhere.
            let said = answer.get("description").and_then(Value::as_str);
            let said = said
                .filter(|said| !said.is_empty())
                .map(|said| refusal(status, said));
            *answer = said.unwrap_or_else(|| reference(status));
        }
    }
    for (status, _) in reasons.iter().filter(|(_, applies)| *applies) {
        let usual = match *status {
            "404" => refusal("404", &not_found),
            status => reference(status),
        };
        responses.entry(*status).or_insert(usual);
    }
}

/// What a PATCH takes away by `null`; of its other fields `null` is a mistake.
const REMOVABLE: [(&str, &str); 3] = [
    ("ResourcePatch", "upstream_url"),
    ("ResourcePatch", "credential_provider_id"),
    ("SubjectIssuerChanges", "jwks_uri"),
];

/// Of the fields of a POST that may be left out `null` is as good as absent.
fn settle_null(document: &mut Value) {
    let bodies: Vec<(String, String)> = bodies(document).collect();
    let Some(schemas) = document.pointer_mut("/components/schemas") else {
        return;
    };
    for (method, name) in bodies {
        let Some(schema) = schemas.get_mut(&name) else {
            continue;
        };
        let required = schema.get("required").cloned().unwrap_or_default();
        let is_required = |field: &str| {
            required
                .as_array()
                .is_some_and(|all| all.iter().any(|one| one == field))
        };
        let fields = schema.get_mut("properties").and_then(Value::as_object_mut);
        for (field, schema) in fields.into_iter().flatten() {
            let removable = REMOVABLE.contains(&(name.as_str(), field.as_str()));
            if method == "patch" && !removable {
                refuse_null(schema);
            } else if !is_required(field) {
                admit_null(schema);
            }
        }
    }
}

/// The methods of what takes a body, and the name of its schema.
fn bodies(document: &Value) -> impl Iterator<Item = (String, String)> {
    let paths = document.get("paths").and_then(Value::as_object);
    let operations = paths
        .into_iter()
        .flat_map(Map::values)
        .filter_map(Value::as_object)
        .flatten();
    operations.filter_map(|(method, operation)| {
        let schema = operation.pointer("/requestBody/content/application~1json/schema")?;
        let choices = schema.get("oneOf").and_then(Value::as_array);
        let mut named = choices.into_iter().flatten().chain([schema]);
        let name = named.find_map(|schema| schema.get("$ref")?.as_str()?.rsplit('/').next())?;
        Some((method.clone(), name.to_owned()))
    })
}

fn is_null(schema: &Value) -> bool {
    schema.get("type").is_some_and(|kind| kind == "null")
}

fn refuse_null(schema: &mut Value) {
    let Some(members) = schema.as_object_mut() else {
        return;
    };
    if members.get("default").is_some_and(Value::is_null) {
        members.remove("default");
    }
    if let Some(Value::Array(kinds)) = members.get_mut("type") {
        kinds.retain(|kind| kind != "null");
        if let [only] = kinds.as_slice() {
            let only = only.clone();
            members.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = members.get_mut("oneOf") {
        choices.retain(|choice| !is_null(choice));
        if let [Value::Object(only)] = choices.as_slice() {
            let only = only.clone();
            members.remove("oneOf");
            // What is said of the field itself says more.
            for (name, value) in only {
                members.entry(name).or_insert(value);
            }
        }
    }
}

fn admit_null(schema: &mut Value) {
    let kinds = schema.get("type").and_then(Value::as_array);
    let choices = schema.get("oneOf").and_then(Value::as_array);
    let admits = kinds.is_some_and(|kinds| kinds.iter().any(|kind| kind == "null"))
        || choices.is_some_and(|choices| choices.iter().any(is_null));
    if !admits {
        *schema = json!({"oneOf": [{"type": "null"}, schema.take()]});
    }
}

/// A body may be left out, but when it is there it is an object.
fn leave_out_null(body: &mut Value) {
    let schemas = body.get_mut("content").and_then(Value::as_object_mut);
    for media in schemas.into_iter().flat_map(Map::values_mut) {
        let choices = media.pointer("/schema/oneOf").and_then(Value::as_array);
        let object = choices.and_then(|all| all.iter().find(|choice| !is_null(choice)).cloned());
        if let (Some(object), Some(media)) = (object, media.as_object_mut()) {
            media.insert("schema".to_owned(), object);
        }
    }
}

/// What a success is, where the handler does not say: `OpenAPI` asks for a description of each.
fn describe(method: &str, status: &str, answer: &mut Value) {
    let usual = match (method, status) {
        (_, "201") => "Made.",
        (_, "202") => "Accepted; it takes effect within the bound.",
        (_, "204") => "Done; there is nothing to show.",
        ("get", _) => "What was asked for.",
        _ => "Done.",
    };
    if let Some(answer) = answer.as_object_mut() {
        let said = answer.get("description").and_then(Value::as_str);
        if said.is_none_or(str::is_empty) {
            answer.insert("description".to_owned(), json!(usual));
        }
    }
}

/// The codes of a route's 404: the zone, and the object that the path names by its id.
fn not_found(path: &str) -> String {
    let segments: Vec<&str> = path.split('/').collect();
    let named = segments.windows(2).filter_map(|pair| match pair {
        ["zones", "{zone_id}"] => Some(Refusal::ZoneNotFound),
        ["admin-tokens", "{id}"] => Some(Refusal::AdminTokenNotFound),
        ["applications", "{id}"] => Some(Refusal::ApplicationNotFound),
        ["resources", "{id}"] => Some(Refusal::ResourceNotFound),
        ["providers", "{id}"] => Some(Refusal::ProviderNotFound),
        ["provider-connections", "{id}"] => Some(Refusal::ConnectionNotFound),
        ["policies", "{id}"] => Some(Refusal::PolicyNotFound),
        ["policy-sets", "{id}"] => Some(Refusal::PolicySetNotFound),
        ["versions", "{version_id}"] => Some(Refusal::VersionNotFound),
        ["grants", "{id}"] => Some(Refusal::GrantNotFound),
        ["subject-issuers", "{id}"] => Some(Refusal::SubjectIssuerNotFound),
        ["step-up-challenges", "{id}"] => Some(Refusal::ChallengeNotFoundOrExpired),
        ["invitations", "{id}"] => Some(Refusal::InvitationNotFound),
        ["sessions", "{id}"] => Some(Refusal::SessionNotFound),
        ["by-request", "{request_id}"] => Some(Refusal::RequestNotFound),
        ["proof", "inclusion"] => Some(Refusal::EventNotFound),
        _ => None,
    });
    let codes: Vec<String> = named.map(|refusal| format!("`{}`", refusal.parts().1)).collect();
    format!(
        "No such object, or not one the token may see: {}.",
        codes.join(" or ")
    )
}

/// What the headers of a success depend on.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact by itself")]
struct Facts {
    tells: bool,
    has_version: bool,
    item: bool,
    pages: bool,
}

fn header(what: &str, always: bool) -> Value {
    json!({"description": what, "required": always, "schema": {"type": "string"}})
}

fn add_headers(facts: &Facts, status: &str, answer: &mut Value) {
    let mut headers = Map::new();
    // Whatever is named here is sent; only the last page has no next.
    let mut add = |name: &str, what: &str| headers.insert(name.to_owned(), header(what, name != "Link"));
    add("X-Request-Id", REQUEST_ID);
    if facts.tells {
        add("Caracal-Zone-Epoch", "The zone's epoch that shows the change.");
    }
    if facts.has_version && (facts.item || status == "201") {
        add("ETag", "The object's version, for If-Match.");
    }
    if facts.pages {
        add("Link", "The next page, if there is one (rel=\"next\").");
    }
    if let Some(answer) = answer.as_object_mut() {
        answer.insert("headers".to_owned(), Value::Object(headers));
    }
}

/// A heading, a unique id, and a summary that reads as a title. A handler that says nothing of itself is left without one.
fn name(operation: &mut Map<String, Value>) {
    let module = tags::retag(operation);
    let id = operation
        .get("operationId")
        .and_then(Value::as_str)
        .unwrap_or_default();
    operation.insert("operationId".to_owned(), json!(format!("{module}_{id}")));
    if let Some(said) = operation.get("summary").and_then(Value::as_str) {
        let title = said.strip_suffix('.').unwrap_or(said);
        operation.insert("summary".to_owned(), json!(title));
    }
}

/// What the handler names, the path's ids, and what every route of its kind takes.
fn parameters(method: &str, path: &str, operation: &mut Map<String, Value>) -> Vec<Value> {
    let said = match operation.remove("parameters") {
        Some(Value::Array(said)) => said,
        _ => Vec::new(),
    };
    let segments = path
        .split('/')
        .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    let mut all: Vec<Value> = segments.map(path_parameter).collect();
    all.extend(
        said.into_iter()
            .filter(|parameter| parameter.get("in").is_none_or(|place| place != "path")),
    );
    if method == "post" && !WITHOUT_TRACE.contains(&path) {
        all.push(json!({
            "name": "Idempotency-Key", "in": "header", "required": false,
            "description": "The same key and body within 24 hours are answered as the first time.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255},
        }));
    }
    all
}

fn path_parameter(name: &str) -> Value {
    let schema = if name == "request_id" {
        json!({"type": "string", "minLength": 1, "maxLength": 128})
    } else {
        json!({"type": "string", "format": "uuid"})
    };
    json!({"name": name, "in": "path", "required": true, "schema": schema})
}

fn reference(status: &str) -> Value {
    json!({"$ref": format!("#/components/responses/{status}")})
}

fn member<'a>(value: &'a mut Value, name: &str) -> Option<&'a mut Map<String, Value>> {
    value
        .as_object_mut()?
        .entry(name)
        .or_insert_with(|| json!({}))
        .as_object_mut()
}
