package caracal.authz

by_verb := {verb: scopes |
	some s in input.context.requested_scopes
	verb := split(s, ":")[1]
	scopes := [o | some o in input.context.requested_scopes; endswith(o, verb)]
}

result := {"decision": "allow", "diagnostics": [by_verb]} if count(by_verb) == 1
