package caracal.authz

result := {"decision": "allow", "diagnostics": [sum(ns), min(ns), max(ns), sort(ns)]} if {
	ns := input.numbers
	max(ns) >= min(ns)
}
