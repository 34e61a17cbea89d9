# Guard: scopes.
#
# Denies scopes that the resource does not offer, more than 16 at once, and administrative scopes (verbs `admin`, `delete`,
# `manage`) for applications without the trait `scopes:administrative`. Says nothing about anything else, so put it into a
# set beside a policy that allows.

package caracal.authz

most_scopes := 16

administrative := {"admin", "delete", "manage"}

result := {
	"decision": "deny",
	"evaluation_status": "complete",
	"determining_policies": ["baseline-scopes"],
	"diagnostics": [violation | some violation in violations],
} if {
	count(violations) > 0
}

violations contains {"code": "scope_not_offered", "scope": scope} if {
	some scope in input.context.requested_scopes
	not scope in input.resource.scopes
	scope != "agent:lifecycle"
}

violations contains {"code": "too_many_scopes", "most": most_scopes} if {
	count(input.context.requested_scopes) > most_scopes
}

violations contains {"code": "administrative_scope", "scope": scope} if {
	some scope in input.context.requested_scopes
	words := split(replace(replace(scope, "/", ":"), ".", ":"), ":")
	words[count(words) - 1] in administrative
	not "scopes:administrative" in input.principal.traits
}
