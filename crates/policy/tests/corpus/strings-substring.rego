package caracal.authz

result := {"decision": "allow", "diagnostics": [substring(input.principal.name, 1, 3), substring(input.principal.name, 2, -1), indexof(input.principal.name, "d"), strings.reverse(input.principal.name)]} if {
	count(input.principal.name) > 2
}
