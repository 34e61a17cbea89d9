package caracal.authz

pairs := [[t, s] | some t in input.principal.traits; some s in input.context.requested_scopes; contains(s, substring(t, 0, 1))]

result := {"decision": "allow", "diagnostics": pairs} if count(pairs) > 1
