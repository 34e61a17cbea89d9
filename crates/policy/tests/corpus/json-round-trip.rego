package caracal.authz

result := {"decision": "allow", "diagnostics": [json.unmarshal(json.marshal(input.delegation_edge))]} if {
	json.is_valid(input.text)
	x := json.unmarshal(input.text)
	x != null
}
