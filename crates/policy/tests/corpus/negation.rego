package caracal.authz

result := {"decision": "allow", "determining_policies": ["negation"]} if {
	not missing
	not input.grant

}

missing if {
	some s in input.context.requested_scopes
	not s in input.resource.scopes
}
