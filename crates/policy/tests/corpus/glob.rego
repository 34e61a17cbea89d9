package caracal.authz

result := {"decision": "allow", "determining_policies": ["glob"]} if {
	some s in input.context.requested_scopes
	glob.match("orders:*", [":"], s)
	not glob.match("**:delete", [":"], s)
}
