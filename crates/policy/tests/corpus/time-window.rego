package caracal.authz

result := {"decision": "allow", "determining_policies": ["hours"]} if {
	ns := input.context.time.unix * 1000000000
	[hour, _, _] := time.clock(ns)
	hour >= 8
	hour < 18
	not time.weekday(ns) in {"Saturday", "Sunday"}
}
