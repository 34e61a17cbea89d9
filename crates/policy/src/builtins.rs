//! Which builtins a policy may call. An allow-list, because opa-wasm resolves many names that fail only when called, and
//! some reach out of the sandbox (`opa.runtime` would hand over the environment).

/// Built into every module by OPA's Wasm compiler (OPA 1.22): they cost no call to the host. Left out are those that the
/// differential test caught answering otherwise than OPA itself does: `json.unmarshal` and `json.is_valid` take text that
/// is not JSON, `json.marshal` escapes differently, `base64.decode` does not take an empty one.
const IN_WASM: &[&str] = &[
    "abs",
    "and",
    "array.concat",
    "array.flatten",
    "array.reverse",
    "array.slice",
    "assign",
    "base64.encode",
    "base64.is_valid",
    "base64url.encode",
    "bits.and",
    "bits.lsh",
    "bits.negate",
    "bits.or",
    "bits.rsh",
    "bits.xor",
    "ceil",
    "concat",
    "contains",
    "count",
    "div",
    "endswith",
    "eq",
    "equal",
    "floor",
    "format_int",
    "glob.match",
    "graph.reachable",
    "gt",
    "gte",
    "indexof",
    "internal.member_2",
    "internal.member_3",
    "internal.print",
    "intersection",
    "is_array",
    "is_boolean",
    "is_null",
    "is_number",
    "is_object",
    "is_set",
    "is_string",
    "json.filter",
    "json.remove",
    "lower",
    "lt",
    "lte",
    "max",
    "min",
    "minus",
    "mul",
    "neq",
    "net.cidr_contains",
    "net.cidr_intersects",
    "numbers.range",
    "object.filter",
    "object.get",
    "object.keys",
    "object.remove",
    "object.union",
    "object.union_n",
    "or",
    "plus",
    "print",
    "product",
    "regex.find_all_string_submatch_n",
    "regex.is_valid",
    "regex.match",
    "rego.metadata.chain",
    "rego.metadata.rule",
    "rem",
    "replace",
    "round",
    "sort",
    "split",
    "startswith",
    "strings.replace_n",
    "strings.reverse",
    "substring",
    "sum",
    "to_number",
    "trim",
    "trim_left",
    "trim_prefix",
    "trim_right",
    "trim_space",
    "trim_suffix",
    "type_name",
    "union",
    "upper",
    "walk",
];

/// Provided by opa-wasm, at the price of a JSON round trip each, and pure: no clock, no randomness, no network. A policy
/// cannot be interrupted while one runs, so each must be linear in its arguments, of which each is bounded
/// (`engine/meter.rs`): `json.patch` (quadratic) and `yaml.*` (slow, and aliases multiply) are left out.
const BY_HOST: &[&str] = &[
    "base64url.encode_no_pad",
    "crypto.hmac.md5",
    "crypto.hmac.sha1",
    "crypto.hmac.sha256",
    "crypto.hmac.sha512",
    "crypto.md5",
    "crypto.sha1",
    "crypto.sha256",
    "hex.decode",
    "hex.encode",
    "semver.compare",
    "semver.is_valid",
    "sprintf",
    "time.add_date",
    "time.clock",
    "time.date",
    "time.parse_duration_ns",
    "time.parse_rfc3339_ns",
    "time.weekday",
    "units.parse",
    "units.parse_bytes",
    "urlquery.decode",
    "urlquery.decode_object",
    "urlquery.encode",
    "urlquery.encode_object",
];

/// Language features beyond Rego v1 that need builtins we do not have.
const FEATURES: &[&str] = &["keywords_in_refs", "rego_v1", "rego_v1_import"];

/// Whether a policy may call `name`.
pub(crate) fn is_allowed(name: &str) -> bool {
    IN_WASM.contains(&name) || BY_HOST.contains(&name)
}

/// Whether the compiler may use the language feature `name`.
pub(crate) fn is_allowed_feature(name: &str) -> bool {
    FEATURES.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_builtin_of_the_host_is_tried_in_the_host() {
        let tried = include_str!("../tests/it/every_builtin.rego");
        for name in BY_HOST {
            assert!(tried.contains(&format!("{name}(")), "{name}");
        }
    }
}
