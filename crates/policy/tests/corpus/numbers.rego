package caracal.authz

result := {"decision": "allow", "diagnostics": [n + 1, n * 2, round(n), abs(n), n > 10]} if {
	n := input.context.time.unix
	n % 2 == 0
}
