package caracal.authz

result := {"decision": "deny", "diagnostics": regex.find_all_string_submatch_n("([a-z]+)[:./]([a-z]+)", concat(" ", input.context.requested_scopes), -1)}
