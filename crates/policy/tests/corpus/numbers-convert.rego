package caracal.authz

result := {"decision": "allow", "diagnostics": [to_number(s), format_int(to_number(s), 10)]} if {
	some s in ["42", input.text]
	to_number(s) > 10
	s == input.text
}
