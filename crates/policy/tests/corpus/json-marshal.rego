package caracal.authz

result := {"decision": "allow", "diagnostics": [json.marshal(input.text)]} if {
	json.marshal(input.numbers) != "[]"
}
