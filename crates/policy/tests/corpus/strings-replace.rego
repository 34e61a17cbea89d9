package caracal.authz

result := {"decision": "allow", "diagnostics": [replace(s, ":", "/"), strings.replace_n({"read": "write", "a": "b"}, s)]} if {
	s := input.context.requested_scopes[0]
	replace(s, ":", "") != s
}
