package caracal.authz

result := {"decision": "allow", "diagnostics": [numbers.range(1, n), bits.and(n, 3), bits.lsh(1, n)]} if {
	n := count(input.context.requested_scopes)
	n > 0
}
