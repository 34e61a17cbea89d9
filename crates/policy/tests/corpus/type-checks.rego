package caracal.authz

kinds := {k: type_name(v) | some k, v in input}

result := {"decision": "allow", "diagnostics": [kinds]} if {
	is_string(input.principal.id)
	is_array(input.context.requested_scopes)
	not is_null(input.session)
}
