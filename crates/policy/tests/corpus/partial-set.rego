package caracal.authz

deny contains "no-scope" if count(input.context.requested_scopes) == 0

deny contains "dcr" if input.principal.registration_method == "dcr"

deny contains sprintf("label:%s", [l]) if some l in input.principal.labels

result := {"decision": "deny", "diagnostics": [d | some d in deny]} if count(deny) > 0

result := {"decision": "allow"} if count(deny) == 0
