package caracal.authz

o := input.delegation_edge

result := {"decision": "allow", "diagnostics": [object.keys(o), object.remove(o, ["path"]), object.filter(o, ["scopes"]), object.union(o, {"x": 1})]} if is_object(o)
