package caracal.authz

result := {"decision": "allow"} if "role:reader" in input.principal.traits

result := {"decision": "deny", "determining_policies": ["conflict"]} if input.principal.registration_method == "dcr"
