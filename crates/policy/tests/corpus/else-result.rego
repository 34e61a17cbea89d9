package caracal.authz

result := {"decision": "deny", "determining_policies": ["first"]} if {
	input.grant.scopes[_] == "orders:delete"
} else := {"decision": "allow", "determining_policies": ["second"]} if {
	input.session.type == "application"
} else := {"decision": "deny"}
