package caracal.authz

parts := split(input.resource.identifier, "/")

result := {"decision": "allow", "diagnostics": [parts[count(parts) - 1], concat("|", parts)]} if count(parts) >= 3
