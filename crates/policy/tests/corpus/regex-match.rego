package caracal.authz

result := {"decision": "allow", "determining_policies": ["regex"]} if {
	every s in input.context.requested_scopes {
		regex.match(`^[a-z]+:(read|write)$`, s)
	}
	regex.match("^resource://[^/]+(/[a-z0-9-]+)*$", input.resource.identifier)
}
