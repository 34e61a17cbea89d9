package caracal.authz

result := {"decision": "allow", "diagnostics": [lower(input.principal.name), upper(input.principal.name)]} if {
	contains(lower(input.principal.name), "orders")
}
