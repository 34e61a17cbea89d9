package caracal.authz

result := {"decision": "allow", "determining_policies": ["every"]} if {
	every l in input.principal.labels {
		l != ""
		count(l) < 12
	}
}
