# Guard: delegation.
#
# Denies a delegated request whose path is longer than three hops, whose edge was handed to another application or agent
# session than the one that acts, or whose edge does not cover the resource or a scope asked for. Requests without a
# delegation pass.

package caracal.authz

most_hops := 3

result := {
	"decision": "deny",
	"evaluation_status": "complete",
	"determining_policies": ["baseline-delegation-constraints"],
	"diagnostics": [violation | some violation in violations],
} if {
	count(violations) > 0
}

edge := input.delegation_edge if is_object(input.delegation_edge)

violations contains {"code": "delegation_too_long", "most": most_hops} if count(edge.path) > most_hops

violations contains {"code": "not_the_receiver"} if edge.receiver_application_id != input.principal.id

violations contains {"code": "not_the_target_agent"} if {
	edge.target_session_id != object.get(input.principal, "agent_session_id", null)
}

violations contains {"code": "resource_not_delegated"} if {
	edge.resource_id != null
	edge.resource_id != input.resource.id
}

violations contains {"code": "scope_not_delegated", "scope": scope} if {
	some scope in input.context.requested_scopes
	edge
	not scope in edge.scopes
}
