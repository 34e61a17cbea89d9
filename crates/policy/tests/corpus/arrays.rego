package caracal.authz

result := {"decision": "allow", "diagnostics": [array.concat(s, ["x"]), array.slice(s, 0, 1), array.reverse(s)]} if {
	s := input.context.requested_scopes
	s[0] != s[count(s) - 1]
}
