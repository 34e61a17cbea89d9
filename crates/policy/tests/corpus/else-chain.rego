package caracal.authz

verdict := "allow" if {
	"role:admin" in input.principal.traits
} else := "deny" if {
	input.principal.registration_method == "dcr"
} else := "allow" if {
	count(input.context.requested_scopes) == 1
} else := "deny"

result := {"decision": verdict, "determining_policies": ["else"]}
