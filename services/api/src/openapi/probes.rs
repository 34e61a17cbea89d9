//! What every service answers about itself (contract, "Conventions"); `caracal-lifecycle` serves it and knows no `OpenAPI`.

use serde_json::{Map, Value, json};

/// Adds them to the paths of a document.
pub(super) fn add(paths: &mut Map<String, Value>) {
    let alive = json!({
        "type": "object", "required": ["ok"], "additionalProperties": false,
        "properties": {"ok": {"type": "boolean", "const": true}},
    });
    let health = answer("It lives.", &json!({"application/json": {"schema": alive}}));
    add_probe(paths, "/health", "Says whether it lives", &json!({"200": health}));

    let readiness = json!({"application/json": {"schema": {
        "type": "object", "required": ["ok", "draining"], "additionalProperties": false,
        "properties": {
            "ok": {"type": "boolean"}, "draining": {"type": "boolean"},
            "missing": {"type": "array", "items": {"type": "string"}, "description": "What it waits for, or does without."},
        },
    }}});
    let ready = json!({
        "200": answer("It takes requests.", &readiness),
        "503": answer("It takes none: something is missing, or it drains.", &readiness),
    });
    add_probe(paths, "/ready", "Says whether it takes requests", &ready);

    let text = json!({"schema": {"type": "string"}});
    let metrics = json!({"text/plain": text, "application/openmetrics-text": text});
    let metrics = json!({"200": answer("Prometheus text.", &metrics)});
    add_probe(paths, "/metrics", "Shows what it counts and measures", &metrics);
}

fn answer(description: &str, content: &Value) -> Value {
    let id = "The caller's, or a new one.";
    json!({
        "description": description, "content": content,
        "headers": {"X-Request-Id": {"description": id, "required": true, "schema": {"type": "string"}}},
    })
}

fn add_probe(paths: &mut Map<String, Value>, path: &str, summary: &str, responses: &Value) {
    let id = format!("probes_{}", path.trim_start_matches('/'));
    let get = json!({
        "tags": ["Probes"], "summary": summary, "operationId": id, "security": [], "parameters": [],
        "responses": responses,
    });
    paths.insert(path.to_owned(), json!({"get": get}));
}
