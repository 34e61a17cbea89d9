package caracal.authz

result := {"decision": "allow", "determining_policies": ["prefix"]} if {
	startswith(input.resource.identifier, "resource://")
	not endswith(input.resource.identifier, "/")
}
