package caracal.authz

result := {"decision": "deny", "diagnostics": [sort(input.principal.traits), {t | some t in input.principal.traits}]}
