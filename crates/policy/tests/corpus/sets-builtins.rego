package caracal.authz

result := {"decision": "allow", "diagnostics": [union({a, b}), intersection({a, b})]} if {
	a := {t | some t in input.principal.traits}
	b := {l | some l in input.principal.labels}
	count(a & b) > 0
}
