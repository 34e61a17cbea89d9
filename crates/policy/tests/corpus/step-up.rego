package caracal.authz

result := {"decision": "deny", "diagnostics": [{"step_up_required": "mfa"}]} if {
	"orders:write" in input.context.requested_scopes
	not input.context.challenge_resolved
} else := {"decision": "allow"}
