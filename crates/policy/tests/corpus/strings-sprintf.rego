package caracal.authz

result := {"decision": "deny", "diagnostics": [sprintf("%s has %d traits", [input.principal.id, count(input.principal.traits)])]}
