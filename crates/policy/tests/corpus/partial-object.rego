package caracal.authz

limits[s] := n if {
	some i, s in input.context.requested_scopes
	n := i
}

result := {"decision": "allow", "diagnostics": [limits]} if limits["orders:read"] == 0
