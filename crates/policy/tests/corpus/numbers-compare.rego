package caracal.authz

result := {"decision": "deny", "diagnostics": [[a < b, a == b, a <= b] | some a in input.numbers; some b in input.numbers]}
