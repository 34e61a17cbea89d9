package caracal.authz

keys := {k | walk(input.delegation_edge, [p, _]); count(p) > 0; k := p[count(p) - 1]; is_string(k)}

result := {"decision": "allow", "diagnostics": [keys]} if "amount" in keys
