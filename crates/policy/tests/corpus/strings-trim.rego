package caracal.authz

result := {"decision": "deny", "diagnostics": [trim_space(input.principal.name), trim(input.principal.name, "aO "), trim_left(input.principal.name, "Oé"), trim_right(input.principal.name, "t "), trim_prefix(input.principal.name, "Orders"), trim_suffix(input.principal.name, "agent")]}
