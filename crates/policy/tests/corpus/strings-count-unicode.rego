package caracal.authz

result := {"decision": "deny", "diagnostics": [{"n": count(t), "t": t} | some t in input.principal.traits]}
