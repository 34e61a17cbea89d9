# Delegated authority.
#
# Allows an agent what a delegation edge hands to it: the edge was handed to the acting application and to the agent
# session that acts, it names this resource or none in particular, and it carries every scope that is asked for. Whether
# the edge still lives, and whether each edge above it does, is checked before any policy is asked.

package caracal.authz

result := {
	"decision": "allow",
	"evaluation_status": "complete",
	"determining_policies": ["delegation"],
	"diagnostics": [],
} if {
	edge := input.delegation_edge
	edge.receiver_application_id == input.principal.id
	edge.target_session_id == input.principal.agent_session_id
	covers(edge)
	count(input.context.requested_scopes) > 0
	every scope in input.context.requested_scopes {
		scope in edge.scopes
	}
}

covers(edge) if edge.resource_id == input.resource.id

covers(edge) if edge.resource_id == null
