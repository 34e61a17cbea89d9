package caracal.authz

default blocked := false

blocked if input.principal.registration_method == "dcr"

blocked if "blocked" in input.principal.labels

result := {"decision": "allow"} if not blocked
