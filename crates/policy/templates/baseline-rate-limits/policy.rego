# Guard: how much one exchange may take.
#
# A policy sees one request and keeps no count, so how often a zone mints is the zone's `mint_rate_per_minute`. What a
# policy can bound is the size of each bite: at most 8 scopes per request (4 for self-registered applications), no bulk
# scopes (verbs `all`, `bulk`, `export`) for self-registered applications or delegated agents, and at most 32 labels.

package caracal.authz

default most_scopes := 4

most_scopes := 8 if input.principal.registration_method == "managed"

most_labels := 32

bulk := {"all", "bulk", "export"}

result := {
	"decision": "deny",
	"evaluation_status": "complete",
	"determining_policies": ["baseline-rate-limits"],
	"diagnostics": [violation | some violation in violations],
} if {
	count(violations) > 0
}

violations contains {"code": "too_many_scopes", "most": most_scopes} if {
	count(input.context.requested_scopes) > most_scopes
}

violations contains {"code": "too_many_labels", "most": most_labels} if count(input.principal.labels) > most_labels

violations contains {"code": "bulk_scope", "scope": scope} if {
	borrowed
	some scope in input.context.requested_scopes
	words := split(replace(replace(scope, "/", ":"), ".", ":"), ":")
	words[count(words) - 1] in bulk
}

# Authority that is not the application's own and lasting.
borrowed if input.principal.registration_method == "dcr"

borrowed if is_object(input.delegation_edge)
