package caracal.authz

result := {"decision": "allow", "diagnostics": [time.date(t), age]} if {
	t := time.parse_rfc3339_ns(input.session.authenticated_at)
	age := (input.context.time.unix * 1000000000) - t
	age < 3600 * 1000000000
}
