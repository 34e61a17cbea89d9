package caracal.authz

result := {"decision": "allow", "diagnostics": [object.get(input, ["delegation_edge", "constraints_json", "region"], "none")]} if {
	input.delegation_edge.constraints_json.limits.amount <= 100
}
