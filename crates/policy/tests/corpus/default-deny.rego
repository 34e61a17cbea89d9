package caracal.authz

default result := {"decision": "deny", "determining_policies": ["default"]}

result := {"decision": "allow", "determining_policies": ["default"]} if {
	"role:reader" in input.principal.traits
}
