package caracal.authz

result := {"decision": "allow", "determining_policies": ["unicode"]} if {
	input.principal.name in {"é", "日本", "😀", "Orders agent", "ß"}
}
