package caracal.authz

level(x) := 1 if x == "read"

level(x) := 2 if x == "write"

level(x) := 3 if x in {"delete", "admin"}

result := {"decision": "allow", "diagnostics": [m]} if {
	m := max([level(split(s, ":")[1]) | some s in input.context.requested_scopes])
	m < 3
}
