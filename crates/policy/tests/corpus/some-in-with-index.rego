package caracal.authz

result := {"decision": "allow", "diagnostics": [[i, s] | some i, s in input.context.requested_scopes]} if {
	some i, s in input.context.requested_scopes
	i > 0
	s == "orders:read"
}
