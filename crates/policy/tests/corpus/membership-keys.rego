package caracal.authz

table := {"orders:read": {"reader", "writer"}, "orders:write": {"writer"}}

result := {"decision": "allow", "determining_policies": ["table"]} if {
	every s in input.context.requested_scopes {
		some t in input.principal.traits
		trim_prefix(t, "role:") in table[s]
	}
}
